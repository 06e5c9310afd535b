import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadCatalogue } from '../facts/load.ts'
import { loadPriors } from '../facts/priors.ts'
import { TitheError } from './errors.ts'
import { instant, SECOND_MS } from './instant.ts'
import {
  expectationsFrom,
  measuredJson,
  parseMeasured,
  shareBand,
  type Visit,
  visitsTo,
  withVisit,
} from './measured.ts'

const { rules } = loadCatalogue()
const priors = loadPriors()

function visit(change: Partial<Visit> = {}): Visit {
  return {
    at: instant(Date.parse('2026-11-27T10:00:00Z')),
    upstream: 'https://api.anthropic.com',
    certainty: 'measured',
    organizationId: 'org_1',
    workspaceId: 'wrkspc_1',
    model: 'claude-haiku-5-5',
    batchLatenciesMs: [],
    cancelLatenciesMs: [],
    primed: null,
    realtimeReadsBatch: null,
    batchReadsRealtime: null,
    readsAcrossTtl: null,
    ...change,
  }
}

const textOrNull = fc.option(fc.string({ minLength: 1 }), { nil: null })
const yesNoOrNull = fc.option(fc.boolean(), { nil: null })
const visits = fc.record<Visit>(
  {
    at: fc.integer({ min: 0, max: 4e12 }).map(instant),
    upstream: fc.string({ minLength: 1 }),
    certainty: fc.constantFrom('measured', 'simulated'),
    organizationId: textOrNull,
    workspaceId: textOrNull,
    model: fc.string({ minLength: 1 }),
    batchLatenciesMs: fc.array(fc.nat()),
    cancelLatenciesMs: fc.array(fc.nat()),
    primed: fc.option(
      fc
        .tuple(fc.integer({ min: 1, max: 99 }), fc.nat())
        .map(([rows, n]) => ({ rows, read: n % (rows + 1) })),
      { nil: null },
    ),
    realtimeReadsBatch: yesNoOrNull,
    batchReadsRealtime: yesNoOrNull,
    readsAcrossTtl: yesNoOrNull,
  },
  { noNullPrototype: true },
)

test('what was measured reads back as it was written', () => {
  fc.assert(
    fc.property(fc.array(visits), (written) => {
      assert.deepEqual(parseMeasured(JSON.stringify(measuredJson(written)), 'measured.json'), written)
    }),
  )
})

test('a field that is missing or of another kind is named, whichever it is', () => {
  const [whole] = measuredJson([visit({ primed: { rows: 3, read: 2 } })])['visits'] as Record<
    string,
    unknown
  >[]
  assert.equal(Object.keys(whole!).length, 12)
  for (const key of Object.keys(whole!)) {
    for (const broken of [
      { ...whole, [key]: { odd: true } },
      { ...whole, [key]: undefined },
    ]) {
      const text = JSON.stringify({ schema: 'tithe.measured/1', visits: [whole, broken] })
      assert.throws(
        () => parseMeasured(text, 'home/measured.json'),
        (error) =>
          error instanceof TitheError &&
          error.code === 'measured_damaged' &&
          error.where?.path === `visits[1].${key}` &&
          error.where.file === 'home/measured.json',
        key,
      )
    }
  }
})

for (const [what, text, code] of [
  ['a file that was cut', '{"schema":"tithe.measured/1","vis', 'measured_damaged'],
  ['an empty file', '', 'measured_damaged'],
  ['a file of something else', '{"schema":"tithe.plan/1","visits":[]}', 'measured_damaged'],
  [
    'more rows read than were sent',
    JSON.stringify(measuredJson([visit({ primed: { rows: 1, read: 2 } })])),
    'measured_damaged',
  ],
  ['a file of a later version', '{"schema":"tithe.measured/2","visits":{}}', 'measured_newer'],
] as const) {
  test(`${what} is refused with ${code}`, () => {
    assert.throws(
      () => parseMeasured(text, 'f'),
      (error) => error instanceof TitheError && error.code === code,
    )
  })
}

test('the oldest of many visits are forgotten', () => {
  let kept: Visit[] = []
  for (let i = 0; i < 203; i++) kept = withVisit(kept, visit({ at: instant(i) }))
  assert.deepEqual([kept.length, kept[0]!.at, kept.at(-1)!.at], [200, 3, 202])
})

test('visits are those of one upstream and workspace; of several workspaces unnamed, none', () => {
  const here = visit()
  const elsewhere = visit({ workspaceId: 'wrkspc_2' })
  const simulated = visit({ upstream: 'local (simulated)', certainty: 'simulated' })
  const place = { upstream: here.upstream, workspaceId: null }
  assert.deepEqual(visitsTo(place, [simulated, here]), [here])
  assert.deepEqual(visitsTo(place, [simulated, here, elsewhere]), [])
  assert.deepEqual(visitsTo({ ...place, workspaceId: 'wrkspc_2' }, [here, elsewhere]), [elsewhere])
  assert.deepEqual(visitsTo({ upstream: 'local (simulated)', workspaceId: null }, [simulated, here]), [
    simulated,
  ])
})

test('measured latencies are added to the recorded ones, and stand alone from the twentieth on', () => {
  const taking = (count: number) => [visit({ batchLatenciesMs: Array<number>(count).fill(777) })]
  const few = expectationsFrom(rules, priors, taking(19))
  assert.equal(few.batchLatenciesMs.length, rules.batchLatencyMs.length + 19)
  assert.deepEqual(
    few.batchLatenciesMs,
    few.batchLatenciesMs.toSorted((a, b) => a - b),
  )
  assert.match(few.latencies, /^52 recorded and 19 measured batch latencies \(measured 2026-11-27\)$/)
  const enough = expectationsFrom(rules, priors, taking(20))
  assert.deepEqual(enough.batchLatenciesMs, Array(20).fill(777))
  assert.equal(enough.latencies, '20 measured batch latencies (measured 2026-11-27)')
})

test('a cancel is reckoned at the longest that was seen, the recorded one included while few were', () => {
  const taking = (latencies: number[]) =>
    expectationsFrom(rules, priors, [visit({ cancelLatenciesMs: latencies })]).cancelLatencyMs
  assert.equal(taking([]), 25 * SECOND_MS)
  assert.equal(taking([3_000]), 25 * SECOND_MS)
  assert.equal(taking([90_000]), 90_000)
  assert.equal(taking(Array(20).fill(3_000)), 3_000)
})

test('without a visit the share behind a primer is the prior, and says so', () => {
  const { primed } = expectationsFrom(rules, priors, [])
  assert.deepEqual(
    [primed.read, primed.certainty, primed.date],
    [priors.primedHitRate.value, 'assumed', null],
  )
})

test('shares of several visits are summed before the band is drawn, and dated by the newest', () => {
  const { primed } = expectationsFrom(rules, priors, [
    visit({ primed: { rows: 3, read: 3 } }),
    visit({ primed: { rows: 3, read: 0 }, at: instant(Date.parse('2026-11-28')) }),
  ])
  assert.equal(primed.read.best, 0.5)
  assert.deepEqual([primed.certainty, primed.date], ['measured', '2026-11-28'])
  assert.match(primed.why, /^3 of 6 rows behind a primer read/)
})

test("Wilson's band of 3 in 3 begins at 44 %", () => {
  const { low, best, high } = shareBand(3, 3)
  assert.deepEqual([Math.round(low * 1000), best, high], [438, 1, 1])
})

test('a band lies between 0 and 1, holds its share, and narrows with the sample', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 500 }), fc.nat(), (sample, n) => {
      const count = n % (sample + 1)
      const { low, best, high } = shareBand(count, sample)
      assert.ok(0 <= low && low <= best && best <= high && high <= 1)
      const larger = shareBand(count * 10, sample * 10)
      assert.ok(larger.high - larger.low < high - low)
    }),
  )
})
