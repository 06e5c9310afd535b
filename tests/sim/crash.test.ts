import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HOUR_MS, MINUTE_MS, plusMs, SECOND_MS } from '../../src/core/instant.ts'
import { REALTIME_CONCURRENCY } from '../../src/runs/realtime.ts'
import type { Upstream } from '../../src/upstreams/upstream.ts'
import {
  addRun,
  driveWorld,
  finalState,
  openEmptyWorld,
  openWorld,
  RUN,
  SETTINGS,
  type World,
  withUpstream,
} from './harness.ts'
import { judge } from './verdict.ts'
import { newWatch, watchRun, watchService, watchStore } from './watch.ts'

// A driver that dies before or after each of its writing calls in turn, and a second one that goes on. Every crash point is
// tried, not a sample: the dangerous ones are few and nobody knows all of them.

/** Shared contexts just long enough to be cached: hundreds of worlds are made. */
const request = (ordinal: number) => ({
  system: [{ type: 'text', text: `handbook ${ordinal % 2}. `.repeat(400) }],
})
/** A primer, batches that are late, rows that fail or are cut and go again, and a deadline that cancels the rest. */
const EVERYTHING = {
  rows: 12,
  request,
  shape: 'everything',
  settings: { ...SETTINGS, withinMs: 150 * MINUTE_MS, onTruncated: 'retry' as const },
  local: { seed: 2, batchLatencyMs: [20 * MINUTE_MS, 5 * HOUR_MS], erroredShare: 0.3, truncatedShare: 0.15 },
}

async function openEverything() {
  const watch = newWatch()
  const bare = await openEmptyWorld(EVERYTHING.local)
  const world: World = { ...bare, store: watchStore(bare.store, watch) }
  await addRun(world, RUN, EVERYTHING)
  const upstream = watchRun(world, RUN, watchService(world, watch, null), watch, null, 5 * MINUTE_MS)
  return { world, watch, upstream }
}

test('whichever call a driver dies in, before it or after it, the next one ends the run with every row done and paid once', async () => {
  const undisturbed = await openEverything()
  const { calls } = await driveWorld(undisturbed.world, { upstream: undisturbed.upstream })
  const submissions = await undisturbed.world.store.runs.submissions(RUN)
  assert.deepEqual(
    new Set(submissions.map((one) => one.kind)),
    new Set(['primer', 'bulk', 'retry', 'realtime']),
  )
  assert.ok(Math.max(...submissions.map((one) => one.wave)) >= 4, 'a primer and three waves more')
  assert.ok(
    submissions.some((one) => one.cancelInitiatedAt !== null),
    'the deadline cancels a batch',
  )
  assert.ok(calls > 80, `the run makes ${calls} calls`)
  let crashes = 0
  for (let call = 1; call <= calls; call++) {
    for (const when of ['before', 'after'] as const) {
      const { world, watch, upstream } = await openEverything()
      const first = await driveWorld(world, { upstream, crash: { call, when } })
      if (first.end !== 'crashed') continue
      crashes += 1
      const where = `a crash ${when} call ${call}`
      assert.deepEqual((await driveWorld(world, { upstream })).end, { kind: 'finished' }, where)
      const run = {
        id: RUN,
        rows: 12,
        settings: EVERYTHING.settings,
        isCanceled: false,
        isStuck: false,
        overAt: null,
      }
      const lostMax = REALTIME_CONCURRENCY
      const verdict = await judge(world, [run], watch, {
        lostMax,
        gone: new Set<string>(),
        isBlind: false,
        landedTooLate: false,
      })
      assert.deepEqual([...watch.violations, ...verdict.violations], [], where)
      await world.local.close()
    }
  }
  assert.ok(crashes >= calls, `${crashes} crashes`)
})

/** Of the creates that reach it, the first is told to wait and the second takes place without an answer. */
function troubled(world: World): Upstream {
  let creates = 0
  return withUpstream(world, (local) => ({
    async createBatch(body, context) {
      creates += 1
      if (creates === 1) {
        const error = { status: 429, type: 'rate_limit_error', message: 'too many rows in the queue' }
        const none = { requestId: null, organizationId: null, workspaceId: null, date: null }
        return { kind: 'refused', error, headers: { ...none, retryAfterMs: 5 * SECOND_MS } }
      }
      const answer = await local.createBatch(body, context)
      return creates === 2 ? { kind: 'ambiguous', reason: 'the connection was lost' } : answer
    },
  }))
}

// Below, only crashes after a call: before it, the world is as it was after the one before.

test('in a world of retries, a 429 and a lost create, a resume answers every row once and a cancel ends them', async () => {
  const options = { rows: 12, request, local: { erroredShare: 0.3 } }
  for (let call = 1, crashed = true; crashed; call++) {
    for (const next of ['resume', 'cancel'] as const) {
      const world = await openWorld(options)
      const upstream = troubled(world)
      const first = await driveWorld(world, { upstream, crash: { call, when: 'after' } })
      crashed = first.end === 'crashed'
      const where = `${next} after a crash in call ${call}`
      if (!crashed) assert.ok(call > 50, `the run makes ${call} calls`)
      const { end } = await driveWorld(world, { upstream, drive: { cancel: next === 'cancel' } })
      assert.deepEqual(end, { kind: 'finished' }, where)
      const { counts, invoice } = await finalState(world)
      assert.equal(invoice.equal, true, `${where}: ${invoice.differences.join('\n')}`)
      assert.equal(invoice.lines, counts.succeeded, `${where}: no row is answered twice`)
      assert.equal(counts.succeeded + counts.errored + counts.canceled, 12, where)
      if (next === 'resume') assert.equal(counts.canceled, 0, where)
    }
  }
})

test('in realtime a crash loses no row, and pays again at most for the calls that were under way', async () => {
  for (let call = 1, crashed = true; crashed; call++) {
    const world = await openWorld({ rows: 12, request, settings: { batch: 'off' } })
    const first = await driveWorld(world, { crash: { call, when: 'after' } })
    crashed = first.end === 'crashed'
    const where = `a crash after call ${call}`
    assert.deepEqual((await driveWorld(world)).end, { kind: 'finished' }, where)
    const { counts, invoice } = await finalState(world)
    assert.equal(counts.succeeded, 12, where)
    assert.equal(invoice.entries, 12, where)
    assert.ok(invoice.lines <= 12 + 8, `${where}: ${invoice.lines} calls`)
  }
})

test('a driver that wakes up after another has taken its run, and died in any call, is told so and breaks nothing', async () => {
  let taken = 0
  for (let call = 1; call <= 8; call++) {
    for (let crash = 1; crash <= 8; crash++) {
      const world = await openWorld({ rows: 3, request, settings: { cache: 'off' } })
      let creates = 0
      const upstream = withUpstream(world, (local) => ({
        async createBatch(body, context) {
          creates += 1
          return creates === 1 ? { kind: 'ambiguous', reason: 'timeout' } : local.createBatch(body, context)
        },
      }))
      const meanwhile = async () => {
        await world.clock.sleepUntil(plusMs(world.clock.now(), HOUR_MS))
        await driveWorld(world, { upstream, crash: { call: crash, when: 'after' } })
      }
      const where = `another died in call ${crash} while this one slept after call ${call}`
      try {
        await driveWorld(world, { upstream, pause: { call, when: 'after', meanwhile } })
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'run_taken', `${where}: ${(error as Error).stack}`)
        taken += 1
      }
      assert.deepEqual((await driveWorld(world, { upstream })).end, { kind: 'finished' }, where)
      const { invoice } = await finalState(world)
      assert.equal(invoice.equal, true, `${where}: ${invoice.differences.join('\n')}`)
    }
  }
  assert.ok(taken > 20, `${taken} were taken`)
})
