import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HOUR_MS, plusMs, SECOND_MS } from '../../src/core/instant.ts'
import type { Upstream } from '../../src/upstreams/upstream.ts'
import { driveWorld, finalState, openWorld, RUN, type World, withUpstream } from './harness.ts'

// A driver that dies before or after each of its writing calls in turn, and a second one that goes on. Every crash point is
// tried, not a sample: the dangerous ones are few and nobody knows all of them.

/** Shared contexts just long enough to be cached: hundreds of worlds are made. */
const request = (ordinal: number) => ({
  system: [{ type: 'text', text: `handbook ${ordinal % 2}. `.repeat(500) }],
})
const OPTIONS = { rows: 62, request, local: { erroredShare: 0.05 } }

test('whichever call a driver dies in, the next one ends the run with the same rows and the same bill', async () => {
  const undisturbed = await openWorld(OPTIONS)
  const { calls } = await driveWorld(undisturbed)
  const expected = await finalState(undisturbed)
  assert.equal(expected.invoice.equal, true, expected.invoice.differences.join('\n'))
  assert.ok(calls > 100, `the run makes ${calls} calls`)
  assert.match(JSON.stringify(await undisturbed.store.runs.submissions(RUN)), /"kind":"primer"/)
  let crashes = 0
  for (let call = 1; call <= calls; call++) {
    for (const when of ['before', 'after'] as const) {
      const world = await openWorld(OPTIONS)
      const first = await driveWorld(world, { crash: { call, when } })
      if (first.end !== 'crashed') continue
      crashes += 1
      const { end } = await driveWorld(world)
      const where = `a crash ${when} call ${call}`
      assert.deepEqual(end, { kind: 'finished' }, where)
      const final = await finalState(world)
      assert.equal(final.invoice.equal, true, `${where}: ${final.invoice.differences.join('\n')}`)
      assert.equal(final.invoice.lines, expected.invoice.lines, `${where}: no row is answered twice`)
      assert.deepEqual(final.counts, expected.counts, where)
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
