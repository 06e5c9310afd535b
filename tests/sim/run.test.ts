import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MINUTE_MS } from '../../src/core/instant.ts'
import type { Upstream } from '../../src/upstreams/upstream.ts'
import { driveWorld, finalState, openWorld, RUN, type World } from './harness.ts'

const waves = async (world: World) =>
  (await world.store.runs.submissions(RUN)).map((one) => `${one.wave} ${one.kind} ${one.rows} ${one.state}`)

test('a primed run answers every row once and pays what the upstream invoices', async () => {
  const world = await openWorld({ rows: 400 })
  const { end } = await driveWorld(world)
  assert.deepEqual(end, { kind: 'finished' })
  const { counts, invoice } = await finalState(world)
  assert.equal(counts.succeeded, 400)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
  assert.equal(invoice.lines, 400)
  assert.deepEqual(await waves(world), ['1 primer 2 ingested', '2 probe 30 ingested', '3 bulk 368 ingested'])
})

test('after the primer every row reads the cache', async () => {
  const world = await openWorld({ rows: 200, local: { batchLatencyMs: [MINUTE_MS] } })
  await driveWorld(world)
  let writes = 0
  let reads = 0
  for await (const line of world.local.invoice()) {
    writes += line.cacheWrite1hTokens + line.cacheWrite5mTokens > 0 ? 1 : 0
    reads += line.cacheReadTokens > 0 ? 1 : 0
  }
  assert.deepEqual({ writes, reads }, { writes: 2, reads: 198 })
})

test('rows that fail for a while are sent again in a later batch and answered once', async () => {
  const world = await openWorld({ rows: 120, local: { erroredShare: 0.2 } })
  const { end } = await driveWorld(world)
  assert.equal(end === 'crashed' ? end : end.kind, 'finished')
  const { counts, invoice } = await finalState(world)
  assert.equal(counts.succeeded + counts.errored, 120)
  assert.equal(counts.pending + counts.submitted, 0)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
})

test('a probe that is mostly refused stops the run before the bulk, and a human may go on', async () => {
  const world = await openWorld({ rows: 400, local: { refusedShare: 0.9 } })
  const { end } = await driveWorld(world)
  assert.ok(end !== 'crashed' && end.kind === 'stopped')
  assert.match(end.reason, /of 30 probe rows are unusable: \d+ refused/)
  assert.ok((await finalState(world)).counts.pending > 300, 'the bulk was not sent')
  const { end: second } = await driveWorld(world, { drive: { acceptProbe: true } })
  assert.deepEqual(second, { kind: 'finished' })
})

test('a create whose answer is lost is found again by the custom_ids in its results, not sent twice', async () => {
  const world = await openWorld({ rows: 100 })
  let creates = 0
  const losing = new Proxy(world.local as Upstream, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (name !== 'createBatch') return typeof value === 'function' ? value.bind(target) : value
      return async (...args: Parameters<Upstream['createBatch']>) => {
        creates += 1
        const answer = await target.createBatch(...args)
        return creates === 2 ? { kind: 'ambiguous', reason: 'the connection was lost' } : answer
      }
    },
  })
  const { end } = await driveWorld(world, { upstream: losing })
  assert.deepEqual(end, { kind: 'finished' })
  const { counts, invoice } = await finalState(world)
  assert.equal(counts.succeeded, 100)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
  assert.equal(invoice.lines, 100)
  assert.equal(creates, (await world.store.runs.submissions(RUN)).length)
})

test('a create that never arrived is sent again only after half an hour without a trace', async () => {
  const world = await openWorld({ rows: 100 })
  let lost = false
  const losing = new Proxy(world.local as Upstream, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (name !== 'createBatch') return typeof value === 'function' ? value.bind(target) : value
      return async (...args: Parameters<Upstream['createBatch']>) => {
        if (lost) return target.createBatch(...args)
        lost = true
        return { kind: 'ambiguous', reason: 'timeout' }
      }
    },
  })
  await driveWorld(world, { upstream: losing })
  const { counts, invoice } = await finalState(world)
  assert.equal(counts.succeeded, 100)
  assert.equal(invoice.lines, 100)
  const [first, second] = await world.store.runs.submissions(RUN)
  assert.equal(first!.state, 'lost')
  assert.ok(second!.intentAt! - first!.intentAt! >= 30 * MINUTE_MS)
})

test('a cancel keeps what is done, ends what is not, and pays only for answers', async () => {
  const world = await openWorld({ rows: 400 })
  await driveWorld(world, { drive: { once: true } })
  const { end } = await driveWorld(world, { drive: { cancel: true, acceptProbe: true } })
  assert.deepEqual(end, { kind: 'finished' })
  const [run] = await world.store.runs.findRuns(RUN)
  assert.equal(run!.state, 'canceled')
  const { counts, invoice } = await finalState(world)
  assert.equal(counts.pending + counts.submitted, 0)
  assert.equal(counts.succeeded + counts.canceled, 400)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
})

test('a run with batch: off is answered in realtime, each shared prefix written once', async () => {
  const world = await openWorld({ rows: 60, settings: { batch: 'off' } })
  const { end } = await driveWorld(world)
  assert.deepEqual(end, { kind: 'finished' })
  assert.equal((await finalState(world)).counts.succeeded, 60)
  let writes = 0
  for await (const line of world.local.invoice())
    writes += line.cacheWrite1hTokens + line.cacheWrite5mTokens > 0 ? 1 : 0
  assert.equal(writes, 2)
})
