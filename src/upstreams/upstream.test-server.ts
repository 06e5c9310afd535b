import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { TitheError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Clock } from '../runtime/runtime.ts'
import type { AnswerHeaders, CallContext, MessageBatch, Upstream } from './upstream.ts'

// Any upstream under the routes of the API (claude-api.md 2.1), so that the HTTP client can be held to the same contract
// as what it talks to. For tests: bodies are read whole.

const STATUS_BY_TYPE: Readonly<Record<string, number>> = {
  invalid_request_error: 400,
  authentication_error: 401,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
}
const BATCHES = '/v1/messages/batches'

export interface TestServer {
  readonly baseUrl: string
  close(): Promise<void>
}

export async function serveUpstream(upstream: Upstream, clock: Clock): Promise<TestServer> {
  const server = createServer((request, response) => {
    answer(upstream, clock, request, response).catch((error: unknown) => answerError(response, error))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(
  upstream: Upstream,
  clock: Clock,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const origin = `http://${request.headers.host}`
  const url = new URL(request.url!, origin)
  const [, id = '', action = ''] = /^\/v1\/messages\/batches\/([^/]+)\/?(.*)$/.exec(url.pathname) ?? []
  const body = await readBody(request)
  const context = contextOf(upstream, clock, request)
  // Clients call `results_url` with their key, so it must name this very server.
  const send = (batch: MessageBatch, headers?: AnswerHeaders) =>
    sendJson(
      response,
      200,
      { ...batch, results_url: batch.results_url && `${origin}${BATCHES}/${id}/results` },
      headers,
    )

  switch (`${request.method} ${id === '' ? url.pathname : `${BATCHES}/:id/${action}`}`) {
    case `POST ${BATCHES}`: {
      const created = await upstream.createBatch(batchBodyOf(body), { ...context, tier: 'batch' })
      if (created.kind === 'accepted') return send(created.batch, created.headers)
      if (created.kind === 'refused') return sendError(response, created.error, created.headers)
      response.destroy()
      return
    }
    case `GET ${BATCHES}`: {
      const query = Object.fromEntries(url.searchParams)
      const limit = query['limit'] === undefined ? undefined : Number(query['limit'])
      const { headers, ...page } = await upstream.listBatches({ ...query, limit })
      return sendJson(response, 200, page, headers)
    }
    case `GET ${BATCHES}/:id/`: {
      const found = await upstream.retrieveBatch(id)
      if (found !== null) return send(found.batch, found.headers)
      throw new TitheError('not_found_error', `Message Batch ${id} not found.`)
    }
    case `DELETE ${BATCHES}/:id/`:
      await upstream.deleteBatch(id)
      return sendJson(response, 200, { id, type: 'message_batch_deleted' })
    case `POST ${BATCHES}/:id/cancel`:
      return send(await upstream.cancelBatch(id))
    case `GET ${BATCHES}/:id/results`:
      for await (const line of upstream.batchResults(id)) {
        if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-jsonl' })
        response.write(line)
        response.write('\n')
      }
      response.end()
      return
    case 'POST /v1/messages': {
      const answered = await upstream.createMessage(body, context)
      if (answered.kind === 'answered') return sendJson(response, 200, answered.message, answered.headers)
      return sendJson(response, answered.error.status, answered.body, answered.headers)
    }
    case 'POST /v1/messages/count_tokens':
      return sendJson(response, 200, { input_tokens: await upstream.countTokens(body, context) })
    default:
      throw new TitheError('not_found_error', 'Not found')
  }
}

function contextOf(upstream: Upstream, clock: Clock, request: IncomingMessage): CallContext {
  const betas = request.headers['anthropic-beta']
  return {
    apiVersion: String(request.headers['anthropic-version']),
    betas: betas === undefined ? [] : String(betas).split(','),
    workspace: upstream.workspace,
    tier: 'standard',
    receivedAt: clock.now(),
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

function batchBodyOf(body: Buffer) {
  const { requests } = JSON.parse(body.toString('utf8')) as { requests: Json[] }
  return {
    rows: requests.length,
    sizeBytes: body.length,
    async *elements() {
      for (const element of requests) yield Buffer.from(JSON.stringify(element))
    },
  }
}

function sendJson(response: ServerResponse, status: number, body: JsonObject, headers?: AnswerHeaders): void {
  const { requestId, organizationId, workspaceId, retryAfterMs, date } = headers ?? {}
  for (const [name, value] of Object.entries({
    'content-type': 'application/json',
    'request-id': requestId,
    'anthropic-organization-id': organizationId,
    'anthropic-workspace-id': workspaceId,
    'retry-after': retryAfterMs && String(Math.ceil(retryAfterMs / 1_000)),
    date: date && new Date(date).toUTCString(),
  })) {
    if (value) response.setHeader(name, value)
  }
  response.writeHead(status).end(JSON.stringify(body))
}

function sendError(
  response: ServerResponse,
  error: { status: number; type: string; message: string },
  headers?: AnswerHeaders,
): void {
  const { status, type, message } = error
  sendJson(response, status, { type: 'error', error: { type, message }, request_id: null }, headers)
}

function answerError(response: ServerResponse, error: unknown): void {
  const { code: type, message } =
    error instanceof TitheError ? error : { code: 'api_error', message: String(error) }
  if (response.headersSent) response.destroy()
  else sendError(response, { status: STATUS_BY_TYPE[type] ?? 500, type, message })
}
