import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TitheError } from '../../src/core/errors.ts'
import { MINUTE_MS } from '../../src/core/instant.ts'
import { PICO_PER_USD, picoUsd } from '../../src/core/money.ts'
import { driveWorld, finalState, openWorld, RUN, type World, withUpstream } from './harness.ts'

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
  const losing = withUpstream(world, (local) => ({
    async createBatch(body, context) {
      creates += 1
      const answer = await local.createBatch(body, context)
      return creates === 2 ? { kind: 'ambiguous', reason: 'the connection was lost' } : answer
    },
  }))
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
  const losing = withUpstream(world, (local) => ({
    async createBatch(body, context) {
      if (lost) return local.createBatch(body, context)
      lost = true
      return { kind: 'ambiguous', reason: 'timeout' }
    },
  }))
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

test('results that end early and cleanly are read again until every row is there', async () => {
  const world = await openWorld({ rows: 100 })
  const read = new Set<string>()
  const short = withUpstream(world, (local) => ({
    async *batchResults(id: string) {
      let left = read.has(id) ? Number.POSITIVE_INFINITY : 2
      read.add(id)
      for await (const line of local.batchResults(id)) if (left-- > 0) yield line
    },
  }))
  const { end, events } = await driveWorld(world, { upstream: short })
  assert.deepEqual(end, { kind: 'finished' })
  assert.ok(events.some((event) => event.kind === 'note' && event.message.includes('came short')))
  const { counts, invoice } = await finalState(world)
  assert.equal(counts.succeeded, 100)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
})

test('results that stay short stop the run for a human, and nothing is sent again', async () => {
  const world = await openWorld({ rows: 100 })
  const short = withUpstream(world, (local) => ({
    async *batchResults(id: string) {
      let first = true
      for await (const line of local.batchResults(id)) {
        if (!first) yield line
        first = false
      }
    },
  }))
  const { end } = await driveWorld(world, { upstream: short })
  assert.ok(end !== 'crashed' && end.kind === 'stopped')
  assert.match(end.reason, /lack rows that were sent \(the first: row \d+\), read 3 times/)
  const { end: resumed } = await driveWorld(world, { drive: { acceptProbe: true } })
  assert.deepEqual(resumed, { kind: 'finished' })
  assert.equal((await finalState(world)).invoice.lines, 100)
})

test('the same result twice changes nothing; a different one for the same row is loud', async () => {
  const twice = await openWorld({ rows: 100 })
  const repeating = withUpstream(twice, (local) => ({
    async *batchResults(id: string) {
      for await (const line of local.batchResults(id)) {
        yield line
        yield line
      }
    },
  }))
  assert.deepEqual((await driveWorld(twice, { upstream: repeating })).end, { kind: 'finished' })
  assert.equal((await finalState(twice)).invoice.equal, true)

  const different = await openWorld({ rows: 100 })
  const changing = withUpstream(different, (local) => ({
    async *batchResults(id: string) {
      for await (const line of local.batchResults(id)) {
        yield line
        yield Buffer.from(Buffer.from(line).toString('utf8').replace('"output_tokens":', '"output_tokens":9'))
      }
    },
  }))
  const { end } = await driveWorld(different, { upstream: changing })
  assert.ok(end !== 'crashed' && end.kind === 'stopped')
  assert.match(end.reason, /came with two different results; the first is kept/)
})

test('a result with its keys in another order is the same result, in one file and in the next', async () => {
  const repeated = await openWorld({ rows: 100 })
  const shuffling = withUpstream(repeated, (local) => ({
    async *batchResults(id: string) {
      for await (const line of local.batchResults(id)) {
        yield line
        yield keysReversed(line)
      }
    },
  }))
  assert.deepEqual((await driveWorld(repeated, { upstream: shuffling })).end, { kind: 'finished' })
  assert.equal((await finalState(repeated)).invoice.equal, true)

  const readAgain = await openWorld({ rows: 100 })
  const begun = new Set<string>()
  const cutOnce = withUpstream(readAgain, (local) => ({
    async *batchResults(id: string) {
      const isFirst = !begun.has(id)
      begun.add(id)
      let left = 1
      for await (const line of local.batchResults(id)) {
        if (isFirst && left-- === 0) return
        yield isFirst ? line : keysReversed(line)
      }
    },
  }))
  assert.deepEqual((await driveWorld(readAgain, { upstream: cutOnce })).end, { kind: 'finished' })
  assert.equal((await finalState(readAgain)).invoice.equal, true)
})

test('a primer that takes longer than its entry lives releases the rest unmarked', async () => {
  const world = await openWorld({ rows: 100, local: { batchLatencyMs: [2 * 60 * MINUTE_MS] } })
  const { end } = await driveWorld(world)
  assert.deepEqual(end, { kind: 'finished' })
  let written = 0
  for await (const line of world.local.invoice())
    written += line.cacheWrite1hTokens + line.cacheWrite5mTokens > 0 ? 1 : 0
  assert.equal(written, 2, 'only the primer wrote')
  assert.equal((await finalState(world)).invoice.equal, true)
})

test('a budget is never exceeded, and a larger one lets the run go on', async () => {
  const small = picoUsd(PICO_PER_USD / 5n)
  const world = await openWorld({ rows: 200, settings: { budgetPicoUsd: small } })
  const { end } = await driveWorld(world)
  assert.ok(end !== 'crashed' && end.kind === 'stopped')
  assert.match(end.reason, /the budget of \$0\.20 is reached: \$0\.\d+ spent/)
  const stopped = await finalState(world)
  assert.ok(stopped.costPicoUsd <= small && stopped.counts.pending > 0)
  const { end: resumed } = await driveWorld(world, {
    drive: { budget: { picoUsd: picoUsd(PICO_PER_USD * 10n), mode: 'hard' } },
  })
  assert.deepEqual(resumed, { kind: 'finished' })
})

test('a 429 on a create waits as told and sends the rows once', async () => {
  const world = await openWorld({ rows: 100 })
  let refusals = 0
  const busy = withUpstream(world, (local) => ({
    async createBatch(body, context) {
      if (refusals++ % 2 === 1) return local.createBatch(body, context)
      const headers = {
        requestId: null,
        organizationId: null,
        workspaceId: null,
        retryAfterMs: 5_000,
        date: null,
      }
      const error = { status: 429, type: 'rate_limit_error', message: 'too many rows in the queue' }
      return { kind: 'refused', error, headers }
    },
  }))
  const { end } = await driveWorld(world, { upstream: busy })
  assert.deepEqual(end, { kind: 'finished' })
  const { counts, invoice } = await finalState(world)
  assert.deepEqual([counts.succeeded, invoice.lines], [100, 100])
})

test('an upstream out of reach is asked again; one that stays so ends the driver, not the run', async () => {
  const world = await openWorld({ rows: 100 })
  let failures = 3
  const unreachable = () =>
    new TitheError('upstream_unreachable', 'connection refused', { retry: 'safe', exitCode: 3 })
  const flaky = withUpstream(world, (local) => ({
    async createBatch(body, context) {
      if (failures-- > 0) throw unreachable()
      return local.createBatch(body, context)
    },
  }))
  assert.deepEqual((await driveWorld(world, { upstream: flaky })).end, { kind: 'finished' })
  assert.equal((await finalState(world)).invoice.lines, 100)

  const away = await openWorld({ rows: 100 })
  const gone = withUpstream(away, () => ({
    createBatch: () => Promise.reject(unreachable()),
  }))
  await assert.rejects(driveWorld(away, { upstream: gone }), /connection refused/)
  assert.deepEqual((await driveWorld(away)).end, { kind: 'finished' })
})

function keysReversed(line: Uint8Array): Uint8Array {
  const reversed = JSON.stringify(JSON.parse(Buffer.from(line).toString('utf8')), (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).reverse())
      : value,
  )
  const bytes = Buffer.from(reversed)
  assert.ok(!bytes.equals(line))
  return bytes
}
