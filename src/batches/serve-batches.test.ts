import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TitheError } from '../core/errors.ts'
import { HOUR_MS, instant, plusMs } from '../core/instant.ts'
import type { JsonObject } from '../core/json.ts'
import { loadCatalogue } from '../facts/load.ts'
import { seededIds } from '../runtime/ids.ts'
import type { Clock } from '../runtime/runtime.ts'
import { virtualClock } from '../runtime/virtual.ts'
import { LocalStore } from '../upstreams/local/local-store.ts'
import type { AnswerHeaders, BatchBody, CallContext, MessageAnswer, Messages } from '../upstreams/upstream.ts'
import { type ServedBatches, serveBatches } from './serve-batches.ts'

// Over somebody else's Messages, scripted here; the embedded service has tests of its own.

const START = instant(Date.parse('2026-11-22T12:00:00Z'))
const CALL_MS = 2_000
const HEADERS: AnswerHeaders = {
  requestId: 'req_1',
  organizationId: null,
  workspaceId: null,
  retryAfterMs: null,
  date: null,
}
const CONTEXT: CallContext = {
  workspace: 'wrkspc_own',
  tier: 'batch',
  apiVersion: '2023-06-01',
  betas: [],
  receivedAt: START,
}

const answered = (text: string): MessageAnswer => ({
  kind: 'answered',
  message: { type: 'message', text },
  headers: HEADERS,
})
const refusedWith = (status: number, retryAfterMs: number | null = null): MessageAnswer => ({
  kind: 'refused',
  error: { status, type: 'some_error', message: `status ${status}` },
  body: {},
  headers: { ...HEADERS, retryAfterMs },
})

interface Served {
  readonly clock: Clock
  readonly batches: ServedBatches
  /** What was called, with the time since the start. */
  readonly calls: { readonly body: string; readonly atMs: number }[]
  readonly running: { now: number; most: number }
}

type Script = (body: string, call: number) => MessageAnswer | TitheError | Error

function serve(
  script: Script,
  options: { concurrency?: number; store?: LocalStore; clock?: Clock } = {},
): Served {
  const clock = options.clock ?? virtualClock(START)
  const calls: Served['calls'][number][] = []
  const running = { now: 0, most: 0 }
  const messages: Messages = {
    async createMessage(bytes) {
      const body = Buffer.from(bytes).toString('utf8')
      calls.push({ body, atMs: clock.now() - START })
      const call = calls.filter((one) => one.body === body).length
      running.now += 1
      running.most = Math.max(running.most, running.now)
      await clock.sleepUntil(plusMs(clock.now(), CALL_MS))
      running.now -= 1
      const answer = script(body, call)
      if (answer instanceof Error) throw answer
      return answer
    },
    async countTokens() {
      return 1
    },
  }
  const settings = {
    workspace: 'wrkspc_own',
    organizationId: null,
    rules: loadCatalogue().rules,
    origin: 'http://127.0.0.1:8080',
    concurrency: options.concurrency ?? 4,
    pollAfterMs: 10_000,
  }
  const store = options.store ?? new LocalStore(':memory:', { groupRows: 1 })
  const batches = serveBatches(messages, store, { clock, ids: seededIds(clock.now()) }, settings)
  return { clock, batches, calls, running }
}

function bodyOf(rows: number): BatchBody {
  const elements = Array.from({ length: rows }, (_, i) =>
    Buffer.from(`{"custom_id":"row-${i}","params":{"n":${i}}}`),
  )
  return {
    rows,
    sizeBytes: 100,
    async *elements() {
      yield* elements
    },
  }
}

async function create({ batches }: Served, rows: number): Promise<string> {
  const created = await batches.createBatch(bodyOf(rows), CONTEXT)
  assert.ok(created.kind === 'accepted')
  return created.batch.id
}

async function resultsOf({ batches, clock }: Served, id: string): Promise<Map<string, JsonObject>> {
  while ((await batches.retrieveBatch(id))?.batch.processing_status !== 'ended') {
    await clock.sleepUntil(plusMs(clock.now(), 1_000))
  }
  const results = new Map<string, JsonObject>()
  for await (const bytes of batches.batchResults(id)) {
    const { custom_id: customId, result } = JSON.parse(Buffer.from(bytes).toString('utf8'))
    results.set(customId, result)
  }
  return results
}

test('every row is called once with its exact params, and its message is the result', async () => {
  const served = serve((body) => answered(body))
  const results = await resultsOf(served, await create(served, 30))
  assert.deepEqual(
    served.calls.map(({ body }) => body).sort(),
    Array.from({ length: 30 }, (_, i) => `{"n":${i}}`).sort(),
  )
  assert.equal(results.size, 30)
  assert.deepEqual(results.get('row-7'), { type: 'succeeded', message: { type: 'message', text: '{"n":7}' } })
})

test('never more rows of a batch run at the same time than allowed, and never fewer without need', async () => {
  const served = serve((body) => answered(body), { concurrency: 5 })
  await resultsOf(served, await create(served, 23))
  assert.equal(served.running.most, 5)
  assert.equal(served.calls.at(-1)!.atMs, 4 * CALL_MS, '23 rows in five turns')
})

test('a refusal that will not change is the result, in a whole error response', async () => {
  const served = serve(() => refusedWith(400))
  const results = await resultsOf(served, await create(served, 1))
  assert.equal(served.calls.length, 1)
  assert.deepEqual(results.get('row-0'), {
    type: 'errored',
    error: { type: 'error', error: { type: 'some_error', message: 'status 400' }, request_id: 'req_1' },
  })
})

test('a call that fails for the moment is made again, after what retry-after says or twice the wait before', async () => {
  const served = serve(
    (body, call) => [refusedWith(529), refusedWith(429, 30_000), answered(body)][call - 1]!,
  )
  const results = await resultsOf(served, await create(served, 1))
  assert.equal(results.get('row-0')!['type'], 'succeeded')
  assert.deepEqual(
    served.calls.map(({ atMs }) => atMs),
    [0, CALL_MS + 1_000, 2 * CALL_MS + 31_000],
  )
})

test('a call is given up after five times, and the last refusal stands', async () => {
  const served = serve(() => refusedWith(500))
  const results = await resultsOf(served, await create(served, 1))
  assert.equal(served.calls.length, 5)
  assert.equal(results.get('row-0')!['type'], 'errored')
})

test('a connection that stays lost makes the row errored', async () => {
  const served = serve(
    () => new TitheError('upstream_unreachable', 'It could not be reached.', { retry: 'unknown' }),
  )
  const results = await resultsOf(served, await create(served, 1))
  assert.equal(served.calls.length, 5)
  const { error } = results.get('row-0')!['error'] as { error: JsonObject }
  assert.deepEqual(error, { type: 'api_error', message: 'It could not be reached.' })
})

test('an error of ours stops the service, loudly', async () => {
  const served = serve(() => new RangeError('a mistake'))
  const id = await create(served, 1)
  await served.clock.sleepUntil(plusMs(START, HOUR_MS))
  await assert.rejects(served.batches.retrieveBatch(id), { code: 'batches_stopped' })
})

test('closed in the middle, it goes on with the rows that have no result', async () => {
  const store = new LocalStore(':memory:', { groupRows: 1 })
  const clock = virtualClock(START)
  const before = serve((body) => answered(body), { store, clock, concurrency: 2 })
  const id = await create(before, 10)
  await clock.sleepUntil(plusMs(START, 2 * CALL_MS + 1))
  await before.batches.close()
  const done = before.calls.length
  assert.ok(done > 0 && done < 10, `${done} calls before`)

  const after = serve((body) => answered(body), { store, clock, concurrency: 2 })
  await after.batches.resume()
  assert.equal((await resultsOf(after, id)).size, 10)
  assert.deepEqual(
    [...before.calls, ...after.calls].map(({ body }) => body).sort(),
    Array.from({ length: 10 }, (_, i) => `{"n":${i}}`),
  )
})

test('a canceled batch is still canceling when the service comes back', async () => {
  const store = new LocalStore(':memory:', { groupRows: 1 })
  const clock = virtualClock(START)
  const before = serve((body) => answered(body), { store, clock, concurrency: 2 })
  const id = await create(before, 10)
  await clock.sleepUntil(plusMs(START, 1))
  await before.batches.cancelBatch(id)
  await before.batches.close()

  const after = serve((body) => answered(body), { store, clock, concurrency: 2 })
  await after.batches.resume()
  const types = [...(await resultsOf(after, id)).values()].map(({ type }) => type).sort()
  assert.deepEqual(types, [...Array(8).fill('canceled'), 'succeeded', 'succeeded'])
  assert.equal(after.calls.length, 0)
})
