import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HOUR_MS } from '../../src/core/instant.ts'
import { resultRows } from '../../src/runs/result-rows.ts'
import { type RetryOrder, reopenRows, surveyRetry } from '../../src/runs/retry-run.ts'
import type { RunDeps } from '../../src/runs/run-deps.ts'
import {
  catalogue,
  describer,
  driveWorld,
  finalState,
  openWorld,
  RUN,
  SETTINGS,
  START,
  simRows,
  type World,
  type WorldOptions,
} from './harness.ts'

// A person has rows sent again, within the run and by the job as it is then.

const FINISHED = { kind: 'finished' }
const request = (ordinal: number) => ({
  system: [{ type: 'text', text: `handbook ${ordinal % 2}. `.repeat(400) }],
})
/** Errored rows end so at once. */
const SOME_FAIL = {
  rows: 12,
  request,
  settings: { maxAttempts: 1 },
  local: { seed: 2, erroredShare: 0.4, truncatedShare: 0.2 },
} as const

async function orderOf(world: World, order: Partial<RetryOrder> = {}): Promise<RetryOrder> {
  const [run] = await world.store.runs.findRuns(RUN)
  return { run: run!, only: null, job: null, ...order }
}

function jobOf(options: WorldOptions): RetryOrder['job'] {
  return {
    settings: { ...SETTINGS, ...options.settings },
    async *rows() {
      yield* simRows(options)
    },
  }
}

const reopen =
  (order: RetryOrder) =>
  async (deps: RunDeps): Promise<void> => {
    await reopenRows({ ...deps, clock: deps.runtime.clock }, order, describer())
  }

async function rowsOf({ store }: World) {
  return await Array.fromAsync(resultRows(store, RUN))
}

const isUsable = (row: { outcome: string; stopReason: string | null }) =>
  row.outcome === 'succeeded' && row.stopReason === 'end_turn'

test('rows without a usable answer are sent again, the newest attempt decides, and what came before is history and cost', async () => {
  const world = await openWorld(SOME_FAIL)
  assert.deepEqual((await driveWorld(world)).end, FINISHED)
  const before = await rowsOf(world)
  const bad = before.filter((row) => !isUsable(row))
  assert.ok(
    bad.some((row) => row.outcome === 'errored') && bad.some((row) => row.stopReason === 'max_tokens'),
  )
  const order = await orderOf(world)
  const survey = await surveyRetry(world.store, order, describer(), catalogue, START)
  assert.equal(survey.rows, bad.length)
  assert.ok(survey.worstPicoUsd! > 0n)
  assert.deepEqual((await driveWorld(world, { before: reopen(order) })).end, FINISHED)
  const after = await rowsOf(world)
  for (const [index, row] of after.entries()) {
    const wasBad = bad.includes(before[index]!)
    assert.equal(row.attempts, wasBad ? 2 : 1)
    assert.equal(row.history.length, row.attempts)
    assert.equal(row.outcome, row.history.at(-1)!.outcome)
  }
  const { invoice } = await finalState(world)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
  const truncated = after.find((_, index) => before[index]!.stopReason === 'max_tokens')!
  assert.ok(truncated.costPicoUsd! > before[truncated.ordinal]!.costPicoUsd!, 'both attempts are paid for')
})

test('max_attempts counts anew for rows that a person sends again', async () => {
  const world = await openWorld({
    ...SOME_FAIL,
    settings: { maxAttempts: 2 },
    local: { seed: 3, erroredShare: 1 },
  })
  await driveWorld(world)
  assert.deepEqual(new Set((await rowsOf(world)).map((row) => row.attempts)), new Set([2]))
  await driveWorld(world, { before: reopen(await orderOf(world)) })
  assert.deepEqual(new Set((await rowsOf(world)).map((row) => row.attempts)), new Set([4]))
})

test('a row goes out as the edited job renders it, and in no group whose prefix it has not', async () => {
  const world = await openWorld(SOME_FAIL)
  await driveWorld(world)
  const truncated = (await rowsOf(world)).filter((row) => row.stopReason === 'max_tokens').length
  assert.ok(truncated > 0)
  const edited = {
    ...SOME_FAIL,
    settings: { maxAttempts: 7, outputSchema: { type: 'object' } },
    request: (ordinal: number) => ({
      max_tokens: 4_321,
      system: [{ type: 'text', text: `a better handbook ${ordinal % 2}. `.repeat(400) }],
    }),
  }
  const order = await orderOf(world, { only: 'truncated', job: jobOf(edited) })
  await driveWorld(world, { before: reopen(order) })
  const rows = await world.store.runs.rowsPage(RUN, -1, 20)
  const again = rows.filter((row) => row.maxTokens === 4_321)
  assert.equal(again.length, truncated)
  assert.ok(again.every((row) => row.group === null && row.attempts > 1))
  const [run] = await world.store.runs.findRuns(RUN)
  const settings = JSON.parse(run!.settingsJson) as typeof SETTINGS
  assert.deepEqual([settings.maxAttempts, settings.outputSchema], [7, { type: 'object' }])
})

test('a chosen row that the job no longer has is an error, and nothing is changed', async () => {
  const world = await openWorld(SOME_FAIL)
  await driveWorld(world)
  const job = jobOf({ ...SOME_FAIL, rows: 1 })
  const order = await orderOf(world, { job })
  await assert.rejects(surveyRetry(world.store, order, describer(), catalogue, START), { code: 'row_gone' })
  assert.equal((await world.store.runs.findRuns(RUN))[0]!.state, 'finished')
})

test('a run that is not over is not retried', async () => {
  const world = await openWorld(SOME_FAIL)
  await assert.rejects(driveWorld(world, { before: reopen(await orderOf(world)) }), { code: 'not_over' })
})

test('rows of a canceled run are answered after all', async () => {
  const world = await openWorld({ rows: 12, request })
  await driveWorld(world, { drive: { cancel: true } })
  assert.equal((await finalState(world)).counts.canceled, 12)
  await driveWorld(world, { before: reopen(await orderOf(world, { only: 'canceled' })) })
  assert.equal((await finalState(world)).counts.succeeded, 12)
})

test('a deadline counts anew from the retry: rows go out in a batch again, although it was missed before', async () => {
  const world = await openWorld({
    ...SOME_FAIL,
    settings: { maxAttempts: 1, withinMs: 2 * HOUR_MS },
    local: { ...SOME_FAIL.local, batchLatencyMs: [45_000] },
  })
  await driveWorld(world)
  await world.clock.sleepUntil((world.clock.now() + 9 * HOUR_MS) as typeof START)
  await driveWorld(world, { before: reopen(await orderOf(world)) })
  const submissions = await world.store.runs.submissions(RUN)
  assert.deepEqual(new Set(submissions.slice(-1).map((one) => one.kind)), new Set(['retry']))
  const events = (await world.store.runs.events(RUN)).map((event) => event.kind)
  assert.ok(!events.includes('deadline_missed'), events.join())
})

test('whichever call a retry dies in, before it or after it, resume ends the run, and a second retry what was not reached', async () => {
  const openDone = async () => {
    const world = await openWorld({ ...SOME_FAIL, shape: 'retried' })
    await driveWorld(world)
    return world
  }
  const edited = jobOf({ ...SOME_FAIL, request: (ordinal) => ({ ...request(ordinal), max_tokens: 999 }) })
  let crashes = 0
  for (let call = 1, crashed = true; crashed; call++) {
    for (const when of ['before', 'after'] as const) {
      const world = await openDone()
      const usable = (await rowsOf(world)).filter(isUsable).length
      const order = await orderOf(world, { job: edited })
      const first = await driveWorld(world, { before: reopen(order), crash: { call, when } })
      crashed = first.end === 'crashed'
      crashes += crashed ? 1 : 0
      const where = `a crash ${when} call ${call}`
      assert.deepEqual((await driveWorld(world)).end, FINISHED, where)
      const { counts, invoice } = await finalState(world)
      assert.equal(invoice.equal, true, `${where}: ${invoice.differences.join('\n')}`)
      assert.equal(counts.pending + counts.submitted, 0, where)
      assert.ok((await rowsOf(world)).filter(isUsable).length >= usable, where)
      for (const row of await rowsOf(world)) assert.ok(row.attempts <= 2, where)
      await world.local.close()
    }
  }
  assert.ok(crashes > 40, `${crashes} crashes`)
})
