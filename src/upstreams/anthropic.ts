import { buildConnector, Client, type Dispatcher, Pool } from 'undici'
import packageJson from '../../package.json' with { type: 'json' }
import { TitheError } from '../core/errors.ts'
import { HOUR_MS, MINUTE_MS, plusMs, SECOND_MS } from '../core/instant.ts'
import type { JsonObject } from '../core/json.ts'
import type { ApiSettings } from '../core/request.ts'
import type { Clock } from '../runtime/runtime.ts'
import {
  parseAnswerHeaders,
  parseApiError,
  parseBatchPage,
  parseMessageBatch,
  parseObject,
} from './api-answer.ts'
import { type BodyProgress, batchBytes } from './batch-bytes.ts'
import { splitLines } from './lines.ts'
import type {
  AnswerHeaders,
  ApiError,
  BatchBody,
  BatchPage,
  CallContext,
  CreateAnswer,
  MessageAnswer,
  MessageBatch,
  Upstream,
} from './upstream.ts'

// The API over HTTP. What may be repeated safely is repeated here, a few times; what creates or answers something that
// costs money is sent once, and how it ended is for the caller to judge. Redirects are never followed and
// `results_url` is never read: the key goes to the base URL and nowhere else.

export interface AnthropicSettings {
  /** Scheme, host, port and an optional path before `/v1`. */
  readonly baseUrl: string
  readonly apiKey: string
  /** `wrkspc_…`, for a key that can act in several workspaces (claude-api.md 1). */
  readonly workspace?: string
  readonly clock: Clock
  readonly timeoutsMs?: Partial<Timeouts>
}

/** How long nothing may come over the wire; a connection that moves is never cut. */
interface Timeouts {
  readonly connect: number
  readonly read: number
  readonly create: number
  readonly message: number
}

/** A non-streaming answer of 128,000 tokens takes about an hour (claude-api.md 6.5). */
const TIMEOUTS_MS: Timeouts = {
  connect: 10 * SECOND_MS,
  read: MINUTE_MS,
  create: 10 * MINUTE_MS,
  message: HOUR_MS,
}

/** For calls without settings of their own; the answers about batches are the same under every version. */
const MANAGEMENT: ApiSettings = { apiVersion: '2023-06-01', betas: [] }

/** These mean that no batch was created, when the API itself said so (claude-api.md 2.2, 6.1). */
const NOT_ACCEPTED = [400, 401, 402, 403, 413, 429]
/** A call that can be repeated is, after these. */
const PASSING = [408, 409, 429, 500, 502, 503, 504, 529]
const TRIES = 4
const FIRST_WAIT_MS = SECOND_MS / 2
/** A longer `retry-after` is not slept through here: the caller has other things to do meanwhile. */
const WAIT_MAX_MS = MINUTE_MS

/** @throws TitheError `bad_base_url`, `bad_api_key` */
export function anthropicUpstream(settings: AnthropicSettings): Upstream {
  return new AnthropicUpstream(settings)
}

interface Call {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** From `/v1` on. */
  readonly path: string
  readonly settings: ApiSettings
  readonly timeoutMs: number
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>
  readonly bodyBytes?: number
}

interface HttpAnswer {
  readonly status: number
  readonly headers: AnswerHeaders
  readonly body: JsonObject | null
}

/** Wraps what kept a connection from coming about: nothing can have been sent on it. */
class NotConnected extends Error {}

class AnthropicUpstream implements Upstream {
  readonly kind = 'anthropic'
  readonly description: string
  readonly workspace: string
  readonly #origin: string
  readonly #basePath: string
  readonly #apiKey: string
  readonly #headers: Readonly<Record<string, string>>
  readonly #clock: Clock
  readonly #timeoutsMs: Timeouts
  readonly #pool: Pool
  readonly #creates = new Set<Client>()
  readonly #closing = new AbortController()

  constructor({ baseUrl, apiKey, workspace, clock, timeoutsMs }: AnthropicSettings) {
    const url = parseBaseUrl(baseUrl)
    if (!/^[\x21-\x7e]+$/.test(apiKey)) {
      throw new TitheError(
        'bad_api_key',
        'The API key is empty or holds a space, a line break or a letter outside ASCII.',
        {
          hint: 'Set ANTHROPIC_API_KEY to the key alone.',
        },
      )
    }
    this.#origin = url.origin
    this.#basePath = url.pathname.replace(/\/+$/, '')
    this.description = this.#origin + this.#basePath
    this.workspace = workspace ?? 'default'
    this.#apiKey = apiKey
    this.#headers = {
      'x-api-key': apiKey,
      'user-agent': `tithe/${packageJson.version}`,
      accept: 'application/json',
      ...(workspace === undefined ? {} : { 'anthropic-workspace-id': workspace }),
    }
    this.#clock = clock
    this.#timeoutsMs = { ...TIMEOUTS_MS, ...timeoutsMs }
    this.#pool = new Pool(this.#origin, this.#connection())
  }

  async createBatch(body: BatchBody, context: CallContext): Promise<CreateAnswer> {
    const progress: BodyProgress = { complete: false, failure: null }
    // A connection of its own: one that lay idle may be closed by the server just as the body goes out, which would
    // look like a lost answer and cost a reconciliation.
    const client = new Client(this.#origin, this.#connection())
    this.#creates.add(client)
    try {
      const call: Call = {
        method: 'POST',
        path: '/v1/messages/batches',
        settings: context,
        timeoutMs: this.#timeoutsMs.create,
        body: batchBytes(body, progress),
        bodyBytes: body.sizeBytes,
      }
      const answer = await this.#send(call, client)
      return createAnswerOf(answer, this.#apiErrorOf(answer))
    } catch (error) {
      if (progress.failure !== null) throw progress.failure.error
      // A body whose end never left this process cannot have been accepted.
      if (!progress.complete) throw this.#unreachable('create a batch', nameOf(error), 'safe', error)
      return {
        kind: 'ambiguous',
        reason: `the connection failed after the whole batch was sent (${nameOf(error)})`,
      }
    } finally {
      this.#creates.delete(client)
      await client.destroy()
    }
  }

  async retrieveBatch(id: string): Promise<{ batch: MessageBatch; headers: AnswerHeaders } | null> {
    const call = this.#management('GET', batchPath(id))
    const answer = await this.#repeat(`retrieve batch ${id}`, call, parseMessageBatch)
    if (answer.kind === 'done') return { batch: answer.value, headers: answer.headers }
    if (answer.error.status === 404) return null
    throw this.#refused(`retrieve batch ${id}`, answer.error)
  }

  async listBatches(query: { limit?: number; after_id?: string; before_id?: string }): Promise<BatchPage> {
    const search = new URLSearchParams()
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) search.set(name, String(value))
    const call = this.#management('GET', `/v1/messages/batches${search.size === 0 ? '' : `?${search}`}`)
    const answer = await this.#repeat('list batches', call, parseBatchPage)
    if (answer.kind === 'refused') throw this.#refused('list batches', answer.error)
    return { ...answer.value, headers: answer.headers }
  }

  async cancelBatch(id: string): Promise<MessageBatch> {
    return await this.#must(
      `cancel batch ${id}`,
      this.#management('POST', `${batchPath(id)}/cancel`),
      parseMessageBatch,
    )
  }

  async deleteBatch(id: string): Promise<void> {
    await this.#must(`delete batch ${id}`, this.#management('DELETE', batchPath(id)), (body) => body)
  }

  async *batchResults(id: string): AsyncGenerator<Uint8Array> {
    const what = `read the results of batch ${id}`
    const call = this.#management('GET', `${batchPath(id)}/results`)
    try {
      const response = await this.#request(call, this.#pool)
      if (response.statusCode !== 200) {
        const answer = await readAnswer(response)
        if (PASSING.includes(answer.status)) {
          const waitMs = answer.headers.retryAfterMs
          throw this.#unreachable(what, `HTTP ${answer.status}`, 'safe', undefined, waitMs)
        }
        throw this.#refused(what, this.#errorOf(answer))
      }
      yield* splitLines(response.body)
    } catch (error) {
      throw error instanceof TitheError ? error : this.#unreachable(what, nameOf(error), 'safe', error)
    }
  }

  async createMessage(body: Uint8Array, context: CallContext): Promise<MessageAnswer> {
    const timeoutMs = this.#timeoutsMs.message
    const call: Call = {
      method: 'POST',
      path: '/v1/messages',
      settings: context,
      timeoutMs,
      body,
      bodyBytes: body.length,
    }
    let answer: HttpAnswer
    try {
      answer = await this.#send(call, this.#pool)
    } catch (error) {
      const retry = error instanceof NotConnected ? 'safe' : 'unknown'
      throw this.#unreachable('create a message', nameOf(error), retry, error)
    }
    const { status, headers } = answer
    if (status >= 400)
      return { kind: 'refused', error: this.#errorOf(answer), body: answer.body ?? {}, headers }
    if (answer.body?.['type'] !== 'message') {
      throw this.#unreachable('create a message', `HTTP ${status} without a message`, 'unknown')
    }
    return { kind: 'answered', message: answer.body, headers }
  }

  async countTokens(body: Uint8Array, context: CallContext): Promise<number> {
    const call: Call = {
      ...this.#management('POST', '/v1/messages/count_tokens'),
      settings: context,
      body,
      bodyBytes: body.length,
    }
    return await this.#must('count tokens', call, ({ input_tokens: tokens }) =>
      typeof tokens === 'number' ? tokens : null,
    )
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the upstream was closed'))
    await Promise.all([this.#pool.destroy(), ...[...this.#creates].map((client) => client.destroy())])
  }

  // -- sending --

  #connection(): Client.Options {
    const connect = buildConnector({ timeout: this.#timeoutsMs.connect, allowH2: false })
    return {
      // Pipelining would put one call behind another's answer; HTTP/2 may send a call again on its own.
      pipelining: 1,
      allowH2: false,
      connect: (options, callback) =>
        connect(options, (error, socket) => {
          if (error === null) callback(null, socket!)
          else callback(new NotConnected(nameOf(error), { cause: error }), null)
        }),
    }
  }

  #management(method: Call['method'], path: string): Call {
    return { method, path, settings: MANAGEMENT, timeoutMs: this.#timeoutsMs.read }
  }

  async #request(call: Call, dispatcher: Dispatcher): Promise<Dispatcher.ResponseData> {
    const { betas, apiVersion } = call.settings
    return await dispatcher.request({
      origin: this.#origin,
      method: call.method,
      path: this.#basePath + call.path,
      headersTimeout: call.timeoutMs,
      bodyTimeout: call.timeoutMs,
      headers: {
        ...this.#headers,
        'anthropic-version': apiVersion,
        ...(betas.length === 0 ? {} : { 'anthropic-beta': betas.join(',') }),
        ...(call.body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': String(call.bodyBytes) }),
      },
      ...(call.body === undefined ? {} : { body: call.body as Dispatcher.DispatchOptions['body'] }),
    })
  }

  async #send(call: Call, dispatcher: Dispatcher): Promise<HttpAnswer> {
    return await readAnswer(await this.#request(call, dispatcher))
  }

  /** Sends until there is an answer that means something, a few times. Only for calls that may be repeated. */
  async #repeat<T>(
    what: string,
    call: Call,
    parse: (body: JsonObject) => T | null,
  ): Promise<{ kind: 'done'; value: T; headers: AnswerHeaders } | { kind: 'refused'; error: ApiError }> {
    for (let tries = 1; ; tries++) {
      let trouble: string
      let toldMs: number | null = null
      let cause: unknown
      try {
        const answer = await this.#send(call, this.#pool)
        if (answer.status >= 400 && !PASSING.includes(answer.status)) {
          return { kind: 'refused', error: this.#errorOf(answer) }
        }
        const value = answer.status === 200 && answer.body !== null ? parse(answer.body) : null
        if (value !== null) return { kind: 'done', value, headers: answer.headers }
        trouble =
          answer.status === 200 ? 'HTTP 200 with a body that is cut or foreign' : `HTTP ${answer.status}`
        toldMs = answer.headers.retryAfterMs
      } catch (error) {
        trouble = nameOf(error)
        cause = error
      }
      const waitMs = toldMs ?? FIRST_WAIT_MS * 2 ** (tries - 1)
      if (tries === TRIES || waitMs > WAIT_MAX_MS || this.#closing.signal.aborted) {
        throw this.#unreachable(what, trouble, 'safe', cause, toldMs)
      }
      await this.#clock.sleepUntil(plusMs(this.#clock.now(), waitMs), this.#closing.signal)
    }
  }

  async #must<T>(what: string, call: Call, parse: (body: JsonObject) => T | null): Promise<T> {
    const answer = await this.#repeat(what, call, parse)
    if (answer.kind === 'refused') throw this.#refused(what, answer.error)
    return answer.value
  }

  // -- saying what went wrong --

  /** The error as the API tells it; null where a proxy answered. Should it repeat the key, the key is taken out. */
  #apiErrorOf({ status, body }: HttpAnswer): ApiError | null {
    const error = parseApiError(status, body)
    return error && { ...error, message: error.message.replaceAll(this.#apiKey, '[key]') }
  }

  #errorOf(answer: HttpAnswer): ApiError {
    const { status } = answer
    return this.#apiErrorOf(answer) ?? { status, type: 'unknown_error', message: `HTTP ${status}` }
  }

  #refused(what: string, { status, type, message }: ApiError): TitheError {
    const hints: Record<number, string> = {
      401: 'Check the API key: ANTHROPIC_API_KEY must hold a key that is valid at this base URL.',
      403: 'The API key is valid but may not do this: check its workspace and its permissions.',
      404: 'Check the base URL, and that the key belongs to the workspace that created it.',
    }
    return new TitheError(type, `${this.description} refused to ${what}: ${status} ${type}: ${message}`, {
      hint: hints[status],
      exitCode: 3,
    })
  }

  #unreachable(
    what: string,
    trouble: string,
    retry: 'safe' | 'unknown',
    cause?: unknown,
    retryAfterMs: number | null = null,
  ): TitheError {
    return new TitheError(
      'upstream_unreachable',
      `${this.description} could not be reached to ${what} (${trouble}).`,
      {
        hint: 'Check the network and the base URL, then resume: everything recorded so far is safe.',
        retry,
        ...(retryAfterMs === null ? {} : { retryAfterMs }),
        exitCode: 3,
        cause,
      },
    )
  }
}

/** Exactly as `CreateAnswer` documents. */
function createAnswerOf(answer: HttpAnswer, error: ApiError | null): CreateAnswer {
  const { status, headers, body } = answer
  const batch = status === 200 && body !== null ? parseMessageBatch(body) : null
  if (batch !== null) return { kind: 'accepted', batch, headers }
  if (NOT_ACCEPTED.includes(status)) {
    if (error !== null) return { kind: 'refused', error, headers }
    // Whoever found the body too large has not taken it in, whatever their page looks like. The other refusals must be
    // the API's own: a proxy that blocks an answer may have let the request pass.
    const tooLarge = { status, type: 'request_too_large', message: 'The request exceeds the maximum size.' }
    if (status === 413) return { kind: 'refused', error: tooLarge, headers }
  }
  const type = error?.type ?? (status === 200 ? 'a body that is not a batch' : 'no error of the API')
  const request = headers.requestId === null ? '' : `, request ${headers.requestId}`
  return { kind: 'ambiguous', reason: `HTTP ${status}, ${type}${request}` }
}

async function readAnswer(response: Dispatcher.ResponseData): Promise<HttpAnswer> {
  const headers = parseAnswerHeaders(response.headers)
  return { status: response.statusCode, headers, body: parseObject(await response.body.bytes()) }
}

function parseBaseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  const isPlain =
    url !== null && url.username === '' && url.password === '' && url.search === '' && url.hash === ''
  if (isPlain && ['http:', 'https:'].includes(url.protocol)) return url
  throw new TitheError(
    'bad_base_url',
    'The base URL of the upstream must be http or https, a host, and perhaps a path.',
    {
      hint: 'For example https://api.anthropic.com or http://localhost:8080; the key goes into ANTHROPIC_API_KEY.',
    },
  )
}

function batchPath(id: string): string {
  return `/v1/messages/batches/${encodeURIComponent(id)}`
}

/** The code of a network error (`ECONNRESET`), which says enough and holds nothing private. */
function nameOf(error: unknown): string {
  if (error instanceof NotConnected) return error.message
  const { code, name } = error as { code?: unknown; name?: unknown }
  return typeof code === 'string' ? code : String(name)
}
