import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { inspect } from 'node:util'
import { TitheError } from '../core/errors.ts'
import { instant } from '../core/instant.ts'
import type { JsonObject } from '../core/json.ts'
import { type VirtualClock, virtualClock } from '../runtime/virtual.ts'
import { anthropicUpstream } from './anthropic.ts'
import type { BatchBody, CallContext, Upstream } from './upstream.ts'

const KEY = 'sk-ant-secret-1234'
const CONTEXT: CallContext = {
  apiVersion: '2026-10-21',
  betas: ['a-2026-01-01', 'b-2026-01-01'],
  workspace: 'default',
  tier: 'batch',
  receivedAt: instant(0),
}

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}
type Answer = (response: ServerResponse, seen: Seen, request: IncomingMessage) => void

interface Stub {
  readonly upstream: Upstream
  readonly clock: VirtualClock
  readonly seen: Seen[]
}

/** A server that reads each request whole and answers as told: the nth request by the nth answer, then by the last. */
async function stub(
  t: TestContext,
  answers: Answer | readonly Answer[],
  options: { path?: string; timeoutsMs?: { read?: number; create?: number; message?: number } } = {},
): Promise<Stub> {
  const seen: Seen[] = []
  const list = typeof answers === 'function' ? [answers] : answers
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method = '', url = '', headers } = request
      seen.push({ method, url, headers, body: Buffer.concat(chunks).toString('utf8') })
      list[Math.min(seen.length, list.length) - 1]!(response, seen.at(-1)!, request)
    })
  })
  const baseUrl = `${await listen(t, server)}${options.path ?? ''}`
  const clock = virtualClock(instant(0))
  const upstream = anthropicUpstream({ baseUrl, apiKey: KEY, clock, timeoutsMs: options.timeoutsMs })
  t.after(() => upstream.close())
  return { upstream, clock, seen }
}

async function listen(t: TestContext, server: ReturnType<typeof createServer>): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function json(status: number, body: JsonObject, headers: Record<string, string> = {}): Answer {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(JSON.stringify(body))
  }
}

const drop: Answer = (_, __, request) => request.socket.destroy()

const apiError = (type: string, message: string): JsonObject => ({
  type: 'error',
  error: { type, message },
  request_id: 'req_1',
})

const batch = (status = 'in_progress'): JsonObject => ({
  id: 'msgbatch_01A',
  type: 'message_batch',
  processing_status: status,
  request_counts: { processing: 2, succeeded: 0, errored: 0, canceled: 0, expired: 0 },
  created_at: '2026-11-22T10:00:00.100435Z',
  expires_at: '2026-11-23T10:00:00.100435Z',
  ended_at: null,
  cancel_initiated_at: null,
  archived_at: null,
  results_url: 'https://elsewhere.example/results',
  a_field_of_tomorrow: 1,
})

function bodyOf(elements: readonly string[]): BatchBody {
  return {
    rows: elements.length,
    sizeBytes: Buffer.byteLength(`{"requests":[${elements.join(',')}]}`),
    async *elements() {
      for (const element of elements) yield Buffer.from(element)
    },
  }
}

const TWO_ROWS = bodyOf(['{"custom_id":"a","params":{"x":"é"}}', '{"custom_id":"b","params":{}}'])

async function linesOf(upstream: Upstream): Promise<string[]> {
  const lines: string[] = []
  for await (const line of upstream.batchResults('msgbatch_01A'))
    lines.push(Buffer.from(line).toString('utf8'))
  return lines
}

/** What was thrown: a TitheError in which the key is nowhere, however deep one looks. */
async function failureOf(promise: Promise<unknown>): Promise<TitheError> {
  const error = await promise.then(
    () => assert.fail('nothing was thrown'),
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof TitheError, inspect(error))
  assert.ok(!inspect(error, { depth: 20, showHidden: true }).includes(KEY))
  return error
}

// -- create --

test('a create is one POST with exact bytes and headers', async (t) => {
  const headers = {
    'request-id': 'req_9',
    'anthropic-organization-id': 'org',
    'anthropic-workspace-id': 'wrkspc_1',
    'retry-after': '10',
    date: 'Sun, 22 Nov 2026 10:00:00 GMT',
  }
  const { upstream, seen } = await stub(t, json(200, batch(), headers), { path: '/proxy/' })
  const answer = await upstream.createBatch(TWO_ROWS, CONTEXT)
  assert.equal(answer.kind, 'accepted')
  assert.equal(answer.batch['a_field_of_tomorrow'], 1)
  assert.deepEqual(answer.headers, {
    requestId: 'req_9',
    organizationId: 'org',
    workspaceId: 'wrkspc_1',
    retryAfterMs: 10_000,
    date: Date.UTC(2026, 10, 22, 10),
  })
  assert.equal(seen.length, 1)
  const [request] = seen
  assert.equal(request!.url, '/proxy/v1/messages/batches')
  assert.equal(
    request!.body,
    '{"requests":[{"custom_id":"a","params":{"x":"é"}},{"custom_id":"b","params":{}}]}',
  )
  assert.equal(request!.headers['content-length'], String(TWO_ROWS.sizeBytes))
  assert.equal(request!.headers['transfer-encoding'], undefined)
  assert.equal(request!.headers['x-api-key'], KEY)
  assert.equal(request!.headers['anthropic-version'], '2026-10-21')
  assert.equal(request!.headers['anthropic-beta'], 'a-2026-01-01,b-2026-01-01')
  assert.match(request!.headers['user-agent']!, /^tithe\/\d+\.\d+\.\d+$/)
})

test('a connection dropped after the whole body was received is ambiguous, and nothing is sent again', async (t) => {
  const { upstream, seen } = await stub(t, drop)
  const answer = await upstream.createBatch(TWO_ROWS, CONTEXT)
  assert.equal(answer.kind, 'ambiguous')
  assert.equal(seen.length, 1)
})

test('an answer that never comes is ambiguous', async (t) => {
  const { upstream, seen } = await stub(t, () => {}, { timeoutsMs: { create: 50 } })
  const answer = await upstream.createBatch(TWO_ROWS, CONTEXT)
  assert.equal(answer.kind, 'ambiguous')
  assert.match(answer.reason, /UND_ERR_HEADERS_TIMEOUT/)
  assert.equal(seen.length, 1)
})

const cutInTheBody: Answer = (response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '900' })
  response.write('{"id":"msgbatch_01A","type":"mess', () => response.destroy())
}

for (const [name, answer] of Object.entries<Answer>({
  'a 200 whose connection breaks in the body': cutInTheBody,
  'a 200 whose body ends early': (response) => response.end('{"id":"msgbatch_01A","type":"mess'),
  'a 200 that is not a MessageBatch': json(200, { ok: true }),
  'a 202': json(202, batch()),
  'a 302': (response) => response.writeHead(302, { location: 'https://elsewhere.example/' }).end(),
  'a 408': json(408, apiError('timeout_error', 'slow')),
  'a 409': json(409, apiError('conflict_error', 'twice')),
  'a 500': json(500, apiError('api_error', 'Internal server error')),
  'a 529': json(529, apiError('overloaded_error', 'Overloaded')),
  'a 502 page of a proxy': (response) => response.writeHead(502).end('<html>Bad gateway</html>'),
  'a 403 page of a proxy, which may have let the request pass': (response) =>
    response.writeHead(403).end('<html>Blocked</html>'),
})) {
  test(`${name} leaves a create ambiguous, after one POST`, async (t) => {
    const { upstream, seen } = await stub(t, answer)
    assert.equal((await upstream.createBatch(TWO_ROWS, CONTEXT)).kind, 'ambiguous')
    assert.equal(seen.length, 1)
  })
}

for (const status of [400, 401, 402, 403, 413, 429]) {
  test(`a ${status} of the API refuses a create, after one POST`, async (t) => {
    const { upstream, seen } = await stub(
      t,
      json(status, apiError('some_error', `Because of ${KEY}.`), { 'retry-after': '3' }),
    )
    const answer = await upstream.createBatch(TWO_ROWS, CONTEXT)
    assert.equal(answer.kind, 'refused')
    assert.deepEqual(answer.error, { status, type: 'some_error', message: 'Because of [key].' })
    assert.equal(answer.headers.retryAfterMs, 3_000)
    assert.equal(seen.length, 1)
  })
}

for (const [name, body] of Object.entries({
  'in its short form': '{"error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}',
  'as a page': '<html><h1>413 Request Entity Too Large</h1></html>',
})) {
  test(`the 413 of the edge ${name} refuses a create`, async (t) => {
    const { upstream } = await stub(t, (response) => response.writeHead(413).end(body))
    const answer = await upstream.createBatch(TWO_ROWS, CONTEXT)
    assert.equal(answer.kind, 'refused')
    assert.equal(answer.error.status, 413)
    assert.equal(answer.error.type, 'request_too_large')
  })
}

test('a refused connection sent nothing, so that the create may be repeated', async (t) => {
  const server = createServer()
  const baseUrl = await listen(t, server)
  await new Promise((resolve) => server.close(resolve))
  const upstream = anthropicUpstream({ baseUrl, apiKey: KEY, clock: virtualClock(instant(0)) })
  t.after(() => upstream.close())
  const error = await failureOf(upstream.createBatch(TWO_ROWS, CONTEXT))
  assert.deepEqual([error.code, error.retry, error.exitCode], ['upstream_unreachable', 'safe', 3])
  assert.match(error.message, /ECONNREFUSED/)
  assert.equal((await failureOf(upstream.createMessage(Buffer.from('{}'), CONTEXT))).retry, 'safe')
})

test('a connection that breaks before the end of the body was handed over cannot have created anything', async (t) => {
  const server = createServer((request) => request.once('data', () => request.socket.destroy()))
  const upstream = anthropicUpstream({
    baseUrl: await listen(t, server),
    apiKey: KEY,
    clock: virtualClock(instant(0)),
  })
  t.after(() => upstream.close())
  const rest = Promise.withResolvers<void>()
  const body: BatchBody = {
    rows: 2,
    sizeBytes: 200_016,
    async *elements() {
      yield Buffer.alloc(100_000, 'a')
      await rest.promise
      yield Buffer.alloc(100_000, 'b')
    },
  }
  const error = await failureOf(upstream.createBatch(body, CONTEXT))
  assert.deepEqual([error.code, error.retry], ['upstream_unreachable', 'safe'])
  rest.resolve()
})

test('rows that cannot be read stop a create with their own error', async (t) => {
  const { upstream, seen } = await stub(t, json(200, batch()))
  const body: BatchBody = {
    rows: 2,
    sizeBytes: 300_000,
    async *elements() {
      yield Buffer.alloc(100_000, 'a')
      throw new TitheError('attachment_changed', 'a.pdf changed')
    },
  }
  assert.equal((await failureOf(upstream.createBatch(body, CONTEXT))).code, 'attachment_changed')
  assert.equal(seen.length, 0)
})

test('a body that does not count its bytes exactly is never sent whole', async (t) => {
  const { upstream, seen } = await stub(t, json(200, batch()))
  for (const sizeBytes of [TWO_ROWS.sizeBytes - 1, TWO_ROWS.sizeBytes + 1]) {
    await assert.rejects(
      upstream.createBatch({ ...TWO_ROWS, sizeBytes }, CONTEXT),
      /counts its bytes exactly/,
    )
  }
  await assert.rejects(upstream.createBatch({ ...TWO_ROWS, rows: 3 }, CONTEXT), /as many elements as it says/)
  assert.equal(seen.length, 0)
})

test('a body of 100 MB goes out no faster than it is taken in', async (t) => {
  let receivedBytes = 0
  const server = createServer(async (request, response) => {
    for await (const chunk of request) {
      receivedBytes += (chunk as Buffer).length
      await new Promise((resolve) => setImmediate(resolve))
    }
    json(200, batch())(response, null as never, request)
  })
  const upstream = anthropicUpstream({
    baseUrl: await listen(t, server),
    apiKey: KEY,
    clock: virtualClock(instant(0)),
  })
  t.after(() => upstream.close())
  const element = Buffer.alloc(100_000, 'a')
  const rows = 1_000
  let producedBytes = 0
  let aheadBytes = 0
  const body: BatchBody = {
    rows,
    sizeBytes: rows * element.length + rows - 1 + '{"requests":[]}'.length,
    async *elements() {
      for (let row = 0; row < rows; row++) {
        producedBytes += element.length
        aheadBytes = Math.max(aheadBytes, producedBytes - receivedBytes)
        yield element
      }
    },
  }
  assert.equal((await upstream.createBatch(body, CONTEXT)).kind, 'accepted')
  assert.equal(receivedBytes, body.sizeBytes)
  // What lies between is the buffers of two sockets and of the kernel.
  assert.ok(aheadBytes < 20_000_000, `${aheadBytes} bytes ahead`)
})

// -- retrieve, list, cancel, delete --

test('a list is tried again after the wait that the server asks for', async (t) => {
  const page = { data: [batch()], has_more: true, first_id: 'msgbatch_01A', last_id: 'msgbatch_01A' }
  const { upstream, clock, seen } = await stub(t, [
    json(429, apiError('rate_limit_error', 'slow down'), { 'retry-after': '7' }),
    json(529, apiError('overloaded_error', 'Overloaded')),
    drop,
    json(200, page),
  ])
  const found = await upstream.listBatches({ limit: 5, after_id: 'msgbatch_00' })
  assert.deepEqual(
    found.data.map((each) => each.id),
    ['msgbatch_01A'],
  )
  assert.equal(found.has_more, true)
  assert.deepEqual(
    seen.map(({ method, url }) => `${method} ${url}`),
    new Array(4).fill('GET /v1/messages/batches?limit=5&after_id=msgbatch_00'),
  )
  assert.equal(clock.now(), 7_000 + 1_000 + 2_000)
})

test('a read is given up after four tries, or at once when the wait is long', async (t) => {
  const busy = await stub(t, json(500, apiError('api_error', 'broken')))
  const error = await failureOf(busy.upstream.retrieveBatch('msgbatch_01A'))
  assert.deepEqual([error.code, error.retry, error.exitCode], ['upstream_unreachable', 'safe', 3])
  assert.equal(busy.seen.length, 4)
  const limited = await stub(
    t,
    json(429, apiError('rate_limit_error', 'tomorrow'), { 'retry-after': '3600' }),
  )
  const told = await failureOf(limited.upstream.listBatches({}))
  assert.deepEqual([told.retry, told.retryAfterMs], ['safe', 3_600_000])
  assert.equal(limited.seen.length, 1)
})

test('a batch that is not there is null, once asked', async (t) => {
  const { upstream, seen } = await stub(
    t,
    json(404, apiError('not_found_error', 'Message Batch x not found.')),
  )
  assert.equal(await upstream.retrieveBatch('x/../y'), null)
  assert.deepEqual(
    seen.map((each) => each.url),
    ['/v1/messages/batches/x%2F..%2Fy'],
  )
})

test('a wrong key is said with a hint, and the key itself never, not even when the server repeats it', async (t) => {
  const { upstream, seen } = await stub(
    t,
    json(401, apiError('authentication_error', `invalid x-api-key ${KEY}`)),
  )
  const error = await failureOf(upstream.listBatches({}))
  assert.deepEqual([error.code, error.exitCode], ['authentication_error', 3])
  assert.match(error.message, /invalid x-api-key \[key\]/)
  assert.match(error.hint!, /ANTHROPIC_API_KEY/)
  assert.equal(seen.length, 1)
})

test('cancel and delete go to the paths of the API', async (t) => {
  const { upstream, seen } = await stub(t, [
    json(200, batch('canceling')),
    json(200, { id: 'msgbatch_01A', type: 'message_batch_deleted' }),
  ])
  assert.equal((await upstream.cancelBatch('msgbatch_01A')).processing_status, 'canceling')
  await upstream.deleteBatch('msgbatch_01A')
  assert.deepEqual(
    seen.map(({ method, url }) => `${method} ${url}`),
    ['POST /v1/messages/batches/msgbatch_01A/cancel', 'DELETE /v1/messages/batches/msgbatch_01A'],
  )
})

// -- results --

test('results are read from the base URL, whatever results_url says, and come as lines across any cuts', async (t) => {
  const lines = ['{"custom_id":"a","text":"Grüße 🎉"}', '{"custom_id":"b"}', '{"custom_id":"c"}']
  const bytes = Buffer.from(`${lines.join('\n')}\n`)
  const { upstream, seen } = await stub(t, async (response) => {
    response.writeHead(200, { 'content-type': 'application/x-jsonl' })
    for (let i = 0; i < bytes.length; i++)
      await new Promise((resolve) => response.write(bytes.subarray(i, i + 1), resolve))
    response.end()
  })
  assert.deepEqual(await linesOf(upstream), lines)
  assert.deepEqual(
    seen.map((each) => each.url),
    ['/v1/messages/batches/msgbatch_01A/results'],
  )
})

test('a results connection that breaks throws, and what came before it was yielded', async (t) => {
  const { upstream } = await stub(t, (response) => {
    response.writeHead(200, { 'content-length': '1000' })
    response.write('{"custom_id":"a"}\n{"custom_id":"b', () => response.destroy())
  })
  const lines: string[] = []
  const error = await failureOf(
    (async () => {
      for await (const line of upstream.batchResults('msgbatch_01A')) lines.push(Buffer.from(line).toString())
    })(),
  )
  assert.deepEqual(lines, ['{"custom_id":"a"}'])
  assert.deepEqual([error.code, error.retry, error.exitCode], ['upstream_unreachable', 'safe', 3])
})

test('results that end early and cleanly just end', async (t) => {
  const { upstream } = await stub(t, (response) => response.end('{"custom_id":"a"}\n'))
  assert.deepEqual(await linesOf(upstream), ['{"custom_id":"a"}'])
})

test('results that are not there throw as the API says it; an overloaded server may be asked again', async (t) => {
  const none = json(404, apiError('not_found_error', 'Message Batch x has no available results.'))
  const { upstream } = await stub(t, [none, json(529, apiError('overloaded_error', 'Overloaded'))])
  assert.equal((await failureOf(linesOf(upstream))).code, 'not_found_error')
  const overloaded = await failureOf(linesOf(upstream))
  assert.deepEqual([overloaded.code, overloaded.retry], ['upstream_unreachable', 'safe'])
})

test('results are taken in no faster than they are read, and a reader who leaves ends the download', async (t) => {
  let sentBytes = 0
  const closed = Promise.withResolvers<void>()
  const line = Buffer.from(`${'x'.repeat(99_999)}\n`)
  const { upstream } = await stub(t, (response) => {
    response.on('close', closed.resolve)
    const send = () => {
      while (!response.destroyed && response.write(line)) sentBytes += line.length
      sentBytes += line.length
      response.once('drain', send)
    }
    send()
  })
  let read = 0
  for await (const each of upstream.batchResults('msgbatch_01A')) {
    assert.equal(each.length, 99_999)
    await new Promise((resolve) => setImmediate(resolve))
    read += 1
    if (read === 300) break
  }
  await closed.promise
  assert.ok(sentBytes < 300 * line.length + 20_000_000, `${sentBytes} bytes sent`)
})

// -- messages --

test('a message is answered, or refused with the body of the refusal, after one call', async (t) => {
  const message = { id: 'msg_01', type: 'message', content: [], usage: { input_tokens: 1, output_tokens: 1 } }
  const { upstream, seen } = await stub(t, [
    json(200, message),
    json(529, apiError('overloaded_error', 'Overloaded'), { 'retry-after': '2' }),
    (response) => response.writeHead(503).end('<html>'),
  ])
  const body = Buffer.from('{"model":"m"}')
  const answered = await upstream.createMessage(body, CONTEXT)
  assert.equal(answered.kind, 'answered')
  assert.equal(answered.message['id'], 'msg_01')
  const refused = await upstream.createMessage(body, CONTEXT)
  assert.equal(refused.kind, 'refused')
  assert.deepEqual(refused.error, { status: 529, type: 'overloaded_error', message: 'Overloaded' })
  assert.equal(refused.body['request_id'], 'req_1')
  assert.equal(refused.headers.retryAfterMs, 2_000)
  const page = await upstream.createMessage(body, CONTEXT)
  assert.equal(page.kind, 'refused')
  assert.equal(page.error.type, 'unknown_error')
  assert.deepEqual(
    seen.map((each) => `${each.method} ${each.url} ${each.body}`),
    new Array(3).fill('POST /v1/messages {"model":"m"}'),
  )
})

test('a message whose answer is lost may have been paid for, and is not sent again', async (t) => {
  for (const answer of [drop, cutInTheBody, json(200, { ok: true })]) {
    const { upstream, seen } = await stub(t, answer)
    const error = await failureOf(upstream.createMessage(Buffer.from('{}'), CONTEXT))
    assert.deepEqual([error.code, error.retry], ['upstream_unreachable', 'unknown'])
    assert.equal(seen.length, 1)
  }
})

test('tokens are counted, with a retry', async (t) => {
  const { upstream, seen } = await stub(t, [drop, json(200, { input_tokens: 42 })])
  assert.equal(await upstream.countTokens(Buffer.from('{"model":"m"}'), CONTEXT), 42)
  assert.deepEqual(
    seen.map((each) => `${each.url} ${each.body}`),
    new Array(2).fill('/v1/messages/count_tokens {"model":"m"}'),
  )
  assert.equal(seen[1]!.headers['anthropic-version'], '2026-10-21')
})

// -- settings --

test('a key that cannot be a header and a base URL that is none are refused without naming them', () => {
  const clock = virtualClock(instant(0))
  const open = (baseUrl: string, apiKey: string) => () => anthropicUpstream({ baseUrl, apiKey, clock })
  const isKeyError = (error: unknown) =>
    error instanceof TitheError && error.code === 'bad_api_key' && !error.message.includes('sk')
  for (const key of ['', 'sk-1\n', 'sk 1', 'sk-ü'])
    assert.throws(open('https://api.anthropic.com', key), isKeyError)
  const isUrlError = (error: unknown) =>
    error instanceof TitheError && error.code === 'bad_base_url' && !error.message.includes('pass')
  for (const url of ['api.anthropic.com', 'ftp://a.b', 'https://me:pass@a.b', 'https://a.b/?key=pass']) {
    assert.throws(open(url, KEY), isUrlError)
  }
})

test('closing ends calls in flight and waits between tries', async (t) => {
  const inFlight = Promise.withResolvers<void>()
  const { upstream } = await stub(t, () => inFlight.resolve())
  const creating = upstream.createBatch(TWO_ROWS, CONTEXT)
  await inFlight.promise
  await upstream.close()
  assert.equal((await creating).kind, 'ambiguous')
})
