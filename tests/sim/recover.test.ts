import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Instant } from '../../src/core/instant.ts'
import { adoptBatches, recoverableRuns, surveyEnded } from '../../src/runs/recover.ts'
import { RECOVERY_EVENTS } from '../../src/runs/recovery-events.ts'
import type { RunDeps } from '../../src/runs/run-deps.ts'
import { seededIds } from '../../src/runtime/ids.ts'
import type { Clock } from '../../src/runtime/runtime.ts'
import {
  catalogue,
  driveWorld,
  finalState,
  openWorld,
  RUN,
  simRows,
  type World,
  type WorldOptions,
} from './harness.ts'

// The state file of a run is lost in the middle of it; its batches are not.

const OPTIONS = { rows: 100, local: { erroredShare: 0.1, batchLatencyMs: [45_000] } } satisfies WorldOptions

function depsOf(world: World): RunDeps {
  const sleepUntil = (_at: Instant, signal?: AbortSignal) =>
    new Promise<void>((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
  const wallClock: Clock = { kind: 'virtual', now: () => world.clock.now(), sleepUntil, hold: (held) => held }
  return {
    store: world.store,
    upstream: world.local,
    runtime: { clock: world.clock, ids: seededIds(5) },
    wallClock,
    catalogue,
    cancelLatencyMs: catalogue.rules.cancelLatencyMs,
    readAttachment: () => Promise.reject(new Error('no attachments here')),
    compileSchema: () => () => null,
    holder: 'recover',
    isHolderGone: () => true,
    emit: () => {},
    signal: new AbortController().signal,
  }
}

async function lostAfter(drives: number, options: WorldOptions = OPTIONS) {
  const world = await openWorld(options)
  for (let drive = 0; drive < drives; drive++) {
    await driveWorld(world, { drive: { once: true, onceUntilChange: true } })
  }
  // The rows are read from the job again; of the run itself nothing is left but its batches.
  const lost = { ...world, store: (await openWorld(options)).store }
  const at = world.clock.now()
  const kind = RECOVERY_EVENTS.begun
  await lost.store.runs.addEvent({ run: RUN, at, submission: 0, kind, detail: '' })
  const job = {
    async *rows() {
      yield* simRows(options)
    },
  }
  const surveyed = await surveyEnded(world.local, world.clock)
  return { lost, surveyed, ...(await recoverableRuns(surveyed, job)) }
}

for (const drives of [4, 7, 9]) {
  test(`a run whose state was lost after ${drives} steps is rebuilt from its batches, and ends with the same bill`, async () => {
    const { lost, surveyed, runs } = await lostAfter(drives)
    assert.equal(runs.length, 1)
    const record = (await lost.store.runs.findRuns(RUN))[0]!
    const before = await driveWorld(lost)
    assert.ok(
      before.end !== 'crashed' && before.end.kind === 'stopped',
      'nothing is sent before it is rebuilt',
    )
    const recovered = await adoptBatches(record, runs[0]!, surveyed, depsOf(lost), false)
    assert.deepEqual(recovered.unknown, [])
    const again = await adoptBatches(record, runs[0]!, surveyed, depsOf(lost), false)
    assert.deepEqual(again.unknown, [], 'doing it twice changes nothing')
    const half = await finalState(lost)
    assert.equal(half.invoice.equal, true, half.invoice.differences.join('\n'))
    assert.deepEqual((await driveWorld(lost)).end, { kind: 'finished' })
    const { counts, invoice } = await finalState(lost)
    assert.equal(counts.succeeded + counts.errored, 100)
    assert.equal(invoice.equal, true, invoice.differences.join('\n'))
    assert.equal(invoice.lines, counts.succeeded, 'no row is answered twice')
  })
}

test('another job’s rows, or rows in another order, are not taken for it', async () => {
  const { surveyed } = await lostAfter(7)
  const job = {
    async *rows() {
      for (const row of simRows(OPTIONS)) yield { ...row, userId: `case ${row.ordinal}` }
    },
  }
  assert.deepEqual((await recoverableRuns(surveyed, job)).runs, [])
})
