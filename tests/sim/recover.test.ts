import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HOUR_MS, type Instant, plusMs } from '../../src/core/instant.ts'
import { adoptBatches, recoverableRuns, surveyEnded } from '../../src/runs/recover.ts'
import { RECOVERY_EVENTS } from '../../src/runs/recovery-events.ts'
import type { RunDeps } from '../../src/runs/run-deps.ts'
import { seededIds } from '../../src/runtime/ids.ts'
import type { Clock } from '../../src/runtime/runtime.ts'
import type { Upstream } from '../../src/upstreams/upstream.ts'
import {
  catalogue,
  driveWorld,
  finalState,
  openWorld,
  RUN,
  simRows,
  type World,
  type WorldOptions,
  withUpstream,
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

/** As a service elsewhere is looked at: batches that have not ended are not waited for. */
async function surveyNow(world: World, upstream: Upstream = world.local) {
  const clock: Clock = {
    kind: 'real',
    now: world.clock.now,
    sleepUntil: () => assert.fail(),
    hold: (held) => held,
  }
  return surveyEnded(upstream, clock)
}

async function* jobRows(options: WorldOptions = OPTIONS) {
  yield* simRows(options)
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
  return lost
}

async function surveyedAfter(drives: number) {
  const lost = await lostAfter(drives)
  const surveyed = await surveyEnded(lost.local, lost.clock)
  return { lost, surveyed, ...(await recoverableRuns(surveyed, { rows: jobRows })) }
}

/** Takes up a lost run by what the workspace shows right now. */
async function recoverNow(lost: World, acceptUnknown = false, upstream: Upstream = lost.local) {
  const surveyed = await surveyNow(lost, upstream)
  const { runs } = await recoverableRuns(surveyed, { rows: jobRows })
  assert.equal(runs.length, 1)
  const record = (await lost.store.runs.findRuns(RUN))[0]!
  return adoptBatches(record, runs[0]!, surveyed, { ...depsOf(lost), upstream }, acceptUnknown)
}

/** Batches of the workspace, oldest first. */
async function batchesOf(world: World) {
  return (await world.local.listBatches({ limit: 100 })).data.toReversed()
}

/** Sees the batch as it is 29 days after its creation. */
function withArchived(world: World, id: string): Upstream {
  return withUpstream(world, (upstream) => ({
    listBatches: async (query) => {
      const page = await upstream.listBatches(query)
      const data = page.data.map((one) =>
        one.id === id ? { ...one, archived_at: one.ended_at, results_url: null } : one,
      )
      return { ...page, data }
    },
  }))
}

for (const drives of [4, 7, 9]) {
  test(`a run whose state was lost after ${drives} steps is rebuilt from its batches, and ends with the same bill`, async () => {
    const { lost, surveyed, runs } = await surveyedAfter(drives)
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
  const { surveyed } = await surveyedAfter(7)
  const job = {
    async *rows() {
      for (const row of simRows(OPTIONS)) yield { ...row, userId: `case ${row.ordinal}` }
    },
  }
  assert.deepEqual((await recoverableRuns(surveyed, job)).runs, [])
})

test('while a batch is open, a rebuilt run sends nothing; recovered again once it has ended, it pays for no row twice', async () => {
  const lost = await lostAfter(3)
  const open = (await batchesOf(lost)).filter((batch) => batch.processing_status !== 'ended')
  assert.equal(open.length, 1)
  const first = await recoverNow(lost)
  assert.deepEqual([first.unknown.map(({ id }) => id), first.end.kind], [[open[0]!.id], 'stopped'])
  const resumed = await driveWorld(lost)
  assert.ok(resumed.end !== 'crashed' && resumed.end.kind === 'stopped')
  assert.equal((await batchesOf(lost)).length, 3, 'nothing was sent')

  await lost.clock.sleepUntil(plusMs(lost.clock.now(), HOUR_MS))
  assert.deepEqual((await recoverNow(lost)).unknown, [])
  assert.deepEqual((await driveWorld(lost)).end, { kind: 'finished' })
  const { counts, invoice } = await finalState(lost)
  assert.equal(counts.succeeded + counts.errored, 100)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
  assert.equal(invoice.lines, counts.succeeded, 'no row is answered twice')
})

for (const place of [0, 1, 2]) {
  test(`rows of archived batch ${place + 1} are paid for again only where that is accepted`, async () => {
    const lost = await lostAfter(3)
    await lost.clock.sleepUntil(plusMs(lost.clock.now(), HOUR_MS))
    const archived = (await batchesOf(lost))[place]!
    const upstream = withArchived(lost, archived.id)
    const { unknown } = await recoverNow(lost, false, upstream)
    assert.deepEqual(
      unknown.map(({ id }) => id),
      [archived.id],
    )
    const resumed = await driveWorld(lost, { upstream })
    assert.ok(resumed.end !== 'crashed' && resumed.end.kind === 'stopped')
    assert.equal((await batchesOf(lost)).length, 3, 'nothing was sent')

    await recoverNow(lost, true, upstream)
    assert.deepEqual((await driveWorld(lost, { upstream })).end, { kind: 'finished' })
    const { counts } = await finalState(lost)
    assert.equal(counts.succeeded + counts.errored, 100)
    const numbers = (await lost.store.runs.submissions(RUN)).flatMap((one) =>
      one.state === 'refused' ? [] : one.number,
    )
    assert.ok(!numbers.includes(place + 1), 'no new batch carries the number of the archived one')
  })
}

test('a run that deletes its batches deletes none while it is rebuilt, for it may have to be rebuilt again', async () => {
  const lost = await lostAfter(5, { ...OPTIONS, settings: {} })
  const deleting = await openWorld({ ...OPTIONS, settings: { deleteRemote: 'after_ingest' } })
  const home = { ...lost, store: deleting.store }
  const at = home.clock.now()
  await home.store.runs.addEvent({ run: RUN, at, submission: 0, kind: RECOVERY_EVENTS.begun, detail: '' })
  await home.clock.sleepUntil(plusMs(at, HOUR_MS))
  const before = (await batchesOf(home)).length
  await recoverNow(home)
  const { runs } = home.store
  assert.ok((await runs.submissions(RUN)).some((one) => one.state === 'ingested'))
  assert.equal((await batchesOf(home)).length, before)
  assert.deepEqual((await driveWorld(home)).end, { kind: 'finished' })
  assert.equal((await batchesOf(home)).length, 0)
})
