import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HOUR_MS, instant, MINUTE_MS } from './instant.ts'
import type { GroupPlan } from './run-plan.ts'
import {
  bulkRows,
  marksToRelease,
  nextWave,
  probeProblem,
  probeRows,
  type WaveSummary,
  type WaveView,
} from './waves.ts'

const group: GroupPlan = {
  group: 'p1:a',
  model: 'claude-sonnet-4-6',
  variant: 'v',
  rows: 1_000,
  marks: [{ path: 'system[0]', ttl: '1h', prefixHash: 'p1:a', tokens: 10_000 }],
  prime: true,
  because: 'shared by all',
}
const ttls = { '5m': 5 * MINUTE_MS, '1h': HOUR_MS }
const settled = (kind: WaveSummary['kind'], rows: number, wave: number): WaveSummary => ({
  wave,
  kind,
  rows,
  open: false,
  startedAt: instant(0),
})
const view = (change: Partial<WaveView>): WaveView => ({
  now: instant(10 * MINUTE_MS),
  route: 'batch_primed_1h',
  groups: [group],
  rows: 5_000,
  pending: 5_000,
  nextRowAt: null,
  waves: [],
  withinMs: null,
  rowsInFlightMax: 190_000,
  ...change,
})

test('a primed job goes primer, probe, then ten times more, then the rest', () => {
  assert.equal(nextWave(view({})).kind, 'primer')
  const primed = [settled('primer', 1, 1)]
  assert.deepEqual(nextWave(view({ waves: primed, pending: 4_999 })), {
    kind: 'probe',
    rows: 50,
    because: 'measures hit rate, output and errors before the bulk',
  })
  const probed = [...primed, settled('probe', 50, 2)]
  const bulk = nextWave(view({ waves: probed, pending: 4_949 }))
  assert.ok(bulk.kind === 'bulk' && bulk.rows === 500)
  const last = nextWave(view({ waves: [...probed, settled('bulk', 500, 3)], pending: 4_449 }))
  assert.ok(last.kind === 'bulk' && last.rows === 4_449)
})

test('an open primer is waited for until its patience ends, then the bulk goes on without it', () => {
  const open: WaveSummary = { wave: 1, kind: 'primer', rows: 1, open: true, startedAt: instant(0) }
  const waiting = nextWave(view({ waves: [open] }))
  assert.ok(waiting.kind === 'wait' && waiting.until === 30 * MINUTE_MS)
  assert.equal(nextWave(view({ waves: [open], now: instant(30 * MINUTE_MS) })).kind, 'probe')
  const hurried = nextWave(view({ waves: [open], withinMs: HOUR_MS }))
  assert.equal(hurried.kind, 'probe', 'a tenth of an hour is over after ten minutes')
})

test('a primer comes before everything else or not at all; a probe that measured nothing comes again', () => {
  const waves = [settled('probe', 50, 1)]
  assert.equal(nextWave(view({ waves })).kind, 'bulk', 'not after the probe')
  assert.equal(
    nextWave(view({ waves: [settled('primer', 0, 1)] })).kind,
    'probe',
    'no row of it could be sent',
  )
  assert.equal(nextWave(view({ waves: [settled('primer', 1, 1), settled('probe', 0, 2)] })).kind, 'probe')
})

test('in realtime a wave is no larger than what may be in flight', () => {
  const decision = nextWave(view({ route: 'realtime', pending: 5_000, rowsInFlightMax: 2_000 }))
  assert.ok(decision.kind === 'realtime' && decision.rows === 2_000)
})

test('from every state of a run one thing follows: rows, a wait until an instant that comes, or the end', () => {
  const kinds = ['primer', 'probe', 'bulk', 'retry', 'realtime'] as const
  const wave = fc.record({
    wave: fc.integer({ min: 1, max: 9 }),
    kind: fc.constantFrom(...kinds),
    rows: fc.integer({ min: 0, max: 5_000 }),
    open: fc.boolean(),
    startedAt: fc.option(fc.integer({ min: 0, max: HOUR_MS }).map(instant)),
  })
  fc.assert(
    fc.property(
      fc.array(wave, { maxLength: 4 }),
      fc.integer({ min: 0, max: 5_000 }),
      fc.option(fc.integer({ min: HOUR_MS + 1, max: 2 * HOUR_MS }).map(instant)),
      fc.constantFrom('batch_primed_1h', 'batch_cold_5m', 'batch', 'realtime'),
      fc.integer({ min: 1, max: 10_000 }),
      (waves, pending, nextRowAt, route, rowsInFlightMax) => {
        const now = instant(HOUR_MS)
        const decision = nextWave(view({ now, waves, pending, nextRowAt, route, rowsInFlightMax }))
        const isOpen = waves.some((one) => one.open)
        if (decision.kind === 'done') assert.ok(!isOpen && pending === 0 && nextRowAt === null)
        else if (decision.kind === 'wait') {
          assert.ok(isOpen || (pending === 0 && nextRowAt !== null))
          // Without an instant of its own, an open wave's submissions have one.
          assert.ok(decision.until === null ? isOpen : decision.until > now)
        } else {
          assert.ok(pending > 0 && waves.every((one) => !one.open || one.kind === 'primer'))
          if (decision.kind !== 'primer') assert.ok(decision.rows >= 1 && decision.rows <= pending)
          if (decision.kind === 'bulk' || decision.kind === 'realtime')
            assert.ok(decision.rows <= rowsInFlightMax)
        }
      },
    ),
  )
})

test('nothing is released while a wave is under way, and nothing is done while rows wait', () => {
  const open: WaveSummary = { wave: 2, kind: 'probe', rows: 50, open: true, startedAt: instant(0) }
  assert.equal(nextWave(view({ waves: [open] })).kind, 'wait')
  assert.equal(nextWave(view({ pending: 0, nextRowAt: instant(1) })).kind, 'wait')
  assert.equal(nextWave(view({ pending: 0 })).kind, 'done')
})

test('waves reach the end in few steps and never take more than is pending or allowed', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3_000_000 }),
      fc.integer({ min: 1_000, max: 475_000 }),
      (rows, allowed) => {
        let pending = rows
        let largest = probeRows(rows)
        pending -= largest
        let waves = 0
        while (pending > 0) {
          const size = bulkRows(pending, largest, allowed)
          assert.ok(size > 0 && size <= pending && size <= allowed)
          pending -= size
          largest = Math.max(largest, size)
          waves++
        }
        assert.ok(waves <= 5 + Math.ceil(rows / Math.min(allowed, rows)), `${waves} waves`)
      },
    ),
  )
})

test('a primed group is marked only while its entry is proven alive', () => {
  const release = (touchedAt: number | null, now: number) =>
    marksToRelease(
      group,
      'batch_primed_1h',
      touchedAt === null ? null : instant(touchedAt),
      instant(now),
      ttls,
    )
  assert.equal(release(null, 0).marks.length, 0)
  assert.equal(release(0, HOUR_MS - 1).marks.length, 1)
  assert.equal(release(0, HOUR_MS).marks.length, 0)
  assert.equal(marksToRelease(group, 'batch_cold_1h', null, instant(0), ttls).marks.length, 1)
})

test('a probe of which more than half is unusable stops the run, in words', () => {
  const probe = { rows: 30, errored: 10, refused: 3, truncated: 2, schemaInvalid: 0 }
  assert.equal(probeProblem(probe), null)
  assert.equal(
    probeProblem({ ...probe, truncated: 3 }),
    '16 of 30 probe rows are unusable: 10 errored, 3 refused, 3 truncated at max_tokens',
  )
})
