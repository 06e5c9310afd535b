import { assert } from '../../core/assert.ts'
import { TitheError } from '../../core/errors.ts'
import { type Instant, plusMs } from '../../core/instant.ts'
import type { JsonObject } from '../../core/json.ts'
import { type Catalogue, type Model, minimumCacheableTokens } from '../../core/models.ts'
import type { PicoUsd } from '../../core/money.ts'
import { randomToken } from '../../core/random-token.ts'
import type { Clock, Ids, Runtime } from '../../runtime/runtime.ts'
import type { ServedBatchStore } from '../../stores/served-store.ts'
import type {
  AnswerHeaders,
  ApiError,
  Batches,
  CallContext,
  ExecutedRow,
  MessageAnswer,
  Messages,
  RowExecutor,
  Upstream,
} from '../upstream.ts'
import { type AnswerSettings, type SimulatedAnswer, simulateAnswer } from './answers.ts'
import { Cache, type CacheBill, cachePromptOf, positionsOf } from './cache.ts'
import { type InvoiceLine, type InvoicePrices, invoiceLineOf } from './invoice.ts'
import { type LocalEffects, LocalStore } from './local-store.ts'
import { cacheRulesOf, invoicePricesOf } from './plain-facts.ts'
import { type CheckRequest, checkCall, promptTooLong } from './refusals.ts'
import { seededRandom } from './seeded.ts'
import { serviceClock } from './service-clock.ts'

/**
 * The Claude API inside this process: simulated answers, but real rules for caching, refusals, batches, time and money,
 * and a bill of its own. Nothing that happens to a request is left open when it begins: usage, answer and duration are
 * decided then and committed with its row, so that a killed process goes on exactly where it was.
 */
export interface LocalUpstream extends Upstream {
  readonly kind: 'local'
  /** One line for each answered request, in the order of billing. */
  invoice(): AsyncIterable<InvoiceLine>
  /** Unpriced lines count in `unpriced` only. */
  invoiceTotal(): Promise<InvoiceTotal>
  /** What was deleted is gone from its file, and of deleted batches' custom_ids what is not Tithe's own. */
  scrub(): void
  /** The service's time, in which its timestamps stand. */
  now(): Instant
}

export interface InvoiceTotal {
  readonly lines: number
  readonly unpriced: number
  readonly costPicoUsd: PicoUsd
}

/** Tokens of every block in prompt order (tools, system, messages), and of what the service adds around them. */
export type CountTokens = (
  request: JsonObject,
  model: Model,
) => { readonly perBlock: readonly number[]; readonly overheadTokens: number }

export interface LocalSettings extends AnswerSettings {
  readonly workspace: string
  readonly organizationId: string
  /** Rows of one batch that run at the same time. A cold batch writes a shared prefix that often. */
  readonly concurrency: number
  /** Times as fast as the clock; TTLs and expiries keep their proportion. */
  readonly speed: number
  readonly seed: number
  /** Ascending; one is drawn for each batch. The recorded ones of the catalogue when left out. */
  readonly batchLatencyMs?: readonly number[]
  readonly firstTokenMs: number
  readonly outputTokenMs: number
  /** What `retry-after` says while a batch is in progress, in the service's time. */
  readonly pollAfterMs: number
}

export const LOCAL_SETTINGS: LocalSettings = {
  workspace: 'wrkspc_local',
  organizationId: 'org_local',
  concurrency: 32,
  speed: 1,
  seed: 1,
  firstTokenMs: 900,
  outputTokenMs: 15,
  // As the API says it (claude-api.md 2.5).
  pollAfterMs: 10_000,
  outputTokensMedian: 200,
  refusedShare: 0,
  truncatedShare: 0,
  erroredShare: 0,
  pausedShare: 0,
}

/** `batches/serve-batches.ts`, handed in by the wiring. */
export type ServeBatches = (
  messages: Messages & RowExecutor<LocalEffects>,
  store: ServedBatchStore<LocalEffects | null>,
  runtime: Runtime,
  settings: {
    readonly workspace: string
    readonly organizationId: string
    readonly rules: Catalogue['rules']
    readonly origin: string
    readonly concurrency: number
    readonly pollAfterMs: number
    readonly schedule: (batch: number, createdAt: Instant) => { startsAt: Instant; endsNotBefore: Instant }
  },
) => Batches & { resume(): Promise<void>; close(): Promise<void> }

export interface LocalOptions {
  /** SQLite file of the service, or `:memory:`. One process at a time. */
  readonly file: string
  readonly clock: Clock
  readonly ids: Ids
  readonly catalogue: Catalogue
  readonly countTokens: CountTokens
  /** Reads what counting needs and cannot wait for (PDFs); called before each count. */
  readonly lookInto?: (request: JsonObject) => Promise<void>
  readonly checkRequest: CheckRequest
  readonly serveBatches: ServeBatches
  readonly settings?: Partial<LocalSettings>
}

/** How long the service takes to refuse a row. */
const REFUSAL_MS = 5
/** Results that a killed process may have to execute again, on virtual time; in real time each is committed at once. */
const GROUP_ROWS = 128

/**
 * Opens the service and goes on with its batches.
 * @throws `local_file_in_use` when another process has the file open, `local_file_newer`.
 */
export async function openLocalUpstream(options: LocalOptions): Promise<LocalUpstream> {
  const settings = { ...LOCAL_SETTINGS, ...options.settings }
  const groupRows = options.clock.kind === 'virtual' ? GROUP_ROWS : 1
  const store = new LocalStore(options.file, { groupRows })
  const clock = serviceClock(options.clock, settings.speed, store.savedNow())
  const messages = new LocalMessages(options, settings, clock, store)
  const latencies = settings.batchLatencyMs ?? options.catalogue.rules.batchLatencyMs
  const batches = options.serveBatches(
    messages,
    store,
    { clock, ids: options.ids },
    {
      workspace: settings.workspace,
      organizationId: settings.organizationId,
      rules: options.catalogue.rules,
      origin: 'http://local.invalid',
      concurrency: settings.concurrency,
      // Clients wait on their own clock, which is not sped up.
      pollAfterMs: Math.ceil(settings.pollAfterMs / settings.speed),
      schedule: (batch, createdAt) => scheduleOf(`${settings.seed} batch ${batch}`, createdAt, latencies),
    },
  )
  await batches.resume()

  return {
    kind: 'local',
    description: `local (simulated), ${options.file}`,
    workspace: settings.workspace,
    createMessage: (body, context) => messages.createMessage(body, context),
    countTokens: (body, context) => messages.countTokens(body, context),
    createBatch: (body, context) => batches.createBatch(body, context),
    retrieveBatch: (id) => batches.retrieveBatch(id),
    listBatches: (query) => batches.listBatches(query),
    cancelBatch: (id) => batches.cancelBatch(id),
    deleteBatch: (id) => batches.deleteBatch(id),
    batchResults: (id) => batches.batchResults(id),
    invoice: () => store.invoice(),
    invoiceTotal: () => totalOf(store.invoice()),
    scrub: () => store.scrub(),
    now: () => clock.now(),
    async close() {
      messages.close()
      await batches.close()
      store.close()
    },
  }
}

/** A drawn latency, of which a drawn part is spent in the queue: a row may start anywhere in it. */
function scheduleOf(seed: string, createdAt: Instant, latenciesMs: readonly number[]) {
  const random = seededRandom(seed)
  const latencyMs = latenciesMs[Math.floor(random() * latenciesMs.length)] ?? 0
  return {
    startsAt: plusMs(createdAt, Math.floor(latencyMs * random())),
    endsNotBefore: plusMs(createdAt, latencyMs),
  }
}

async function totalOf(invoice: AsyncIterable<InvoiceLine>): Promise<InvoiceTotal> {
  let lines = 0
  let unpriced = 0
  let cost = 0n
  for await (const { costPicoUsd } of invoice) {
    lines += 1
    if (costPicoUsd === null) unpriced += 1
    else cost += costPicoUsd
  }
  return { lines, unpriced, costPicoUsd: cost as PicoUsd }
}

/** Answers one request after the other; `executeRow` as soon as it begins, `createMessage` when it is complete. */
class LocalMessages implements Messages, RowExecutor<LocalEffects> {
  readonly #options: LocalOptions
  readonly #settings: LocalSettings
  readonly #clock: Clock
  readonly #store: LocalStore
  readonly #cache: Cache
  readonly #prices: InvoicePrices
  readonly #closing = new AbortController()

  constructor(options: LocalOptions, settings: LocalSettings, clock: Clock, store: LocalStore) {
    this.#options = options
    this.#settings = settings
    this.#clock = clock
    this.#store = store
    this.#cache = new Cache(cacheRulesOf(options.catalogue), store.liveCacheEntries(clock.now()))
    this.#prices = invoicePricesOf(options.catalogue)
  }

  async createMessage(body: Uint8Array, context: CallContext): Promise<MessageAnswer> {
    await this.#lookInto(body)
    const { answer, endsAt, effects } = this.#execute(body, context, null)
    await this.#clock.sleepUntil(endsAt, this.#closing.signal)
    this.#store.recordCall(effects, this.#clock.now())
    return answer
  }

  /** Calls that wait for their answer get none, and are not billed. */
  close(): void {
    const message = 'The local service was closed before it answered.'
    this.#closing.abort(new TitheError('upstream_unreachable', message, { retry: 'safe', exitCode: 3 }))
  }

  async executeRow(
    body: Uint8Array,
    context: CallContext,
    row: { batchId: string; customId: string },
  ): Promise<ExecutedRow<LocalEffects>> {
    await this.#lookInto(body)
    return this.#execute(body, context, row)
  }

  /** Time stands still meanwhile: reading a PDF takes the machine's time, not the service's. */
  async #lookInto(body: Uint8Array): Promise<void> {
    const { lookInto } = this.#options
    if (lookInto === undefined || !viewOf(body).includes('"document"')) return
    const request = parseBody(body)
    if (request !== null) await this.#clock.hold(lookInto(request))
  }

  async countTokens(body: Uint8Array, context: CallContext): Promise<number> {
    // Counting asks for no `max_tokens` (claude-api.md 5.1).
    const request = parseBody(body)
    const counted = request === null ? null : { max_tokens: 1, ...request }
    const checked = checkCall(counted, this.#refusalContext({ ...context, tier: 'standard' }))
    if (checked.kind === 'refused')
      throw new TitheError(checked.error.type, checked.error.message, { exitCode: 3 })
    await this.#lookInto(body)
    const { perBlock, overheadTokens } = this.#options.countTokens(counted!, checked.model)
    return sum(perBlock) + overheadTokens
  }

  #execute(
    body: Uint8Array,
    context: CallContext,
    row: { batchId: string; customId: string } | null,
  ): ExecutedRow<LocalEffects> {
    const startedAt = this.#clock.now()
    const refused = (error: ApiError): ExecutedRow<LocalEffects> => ({
      answer: refusedAnswer(error, this.#headers(startedAt), row !== null),
      endsAt: plusMs(startedAt, REFUSAL_MS),
      effects: { invoiceLine: null, cacheEntries: [] },
    })

    const request = parseBody(body)
    if (request === null) return refused(NOT_JSON)
    const checked = checkCall(request, this.#refusalContext(context))
    if (checked.kind === 'refused') return refused(checked.error)
    const { model } = checked
    const resolved: JsonObject = { ...request, model: model.id }
    const { perBlock, overheadTokens } = this.#options.countTokens(resolved, model)
    const positions = positionsOf(resolved)
    assert(perBlock.length === positions.length, 'tokens are counted for every position of the prompt')
    const totalTokens = sum(perBlock) + overheadTokens
    const tooLong = promptTooLong(totalTokens, model)
    if (tooLong !== null) return refused(tooLong)

    const prompt = cachePromptOf(resolved, positions, context, model.parameters)
    const content = prompt.prefixHashes.at(-1) ?? ''
    const call = `${this.#settings.seed} ${content} ${row === null ? startedAt : row.customId}`
    const answer = simulateAnswer(resolved, model, { content, call }, this.#settings)
    if (answer.kind === 'errored') return refused(OUR_FAULT)

    const random = seededRandom(`${call} time`)
    const firstTokenAt = plusMs(startedAt, this.#settings.firstTokenMs * (0.5 + random()))
    const endsAt = plusMs(
      firstTokenAt,
      answer.outputTokens * this.#settings.outputTokenMs * (0.75 + 0.5 * random()),
    )
    const bill = this.#cache.serve({
      ...prompt,
      workspace: context.workspace,
      model: model.id,
      pool: context.tier,
      blockTokens: perBlock,
      totalTokens,
      minimumTokens: minimumCacheableTokens(model, startedAt),
      startedAt,
      firstTokenAt,
    })

    // A row's message has the same id when a crash makes it run again.
    const seed = row && `${row.batchId} ${row.customId}`
    const token = seed === null ? this.#options.ids.token(22) : randomToken(22, seededRandom(seed))
    const messageId = `msg_01${token}`
    const inferenceGeo = inferenceGeoOf(resolved, model)
    const isFast = resolved['speed'] === 'fast' && model.parameters.fastMode === 'supported'
    const invoiceLine = invoiceLineOf(
      {
        batchId: row?.batchId ?? null,
        customId: row?.customId ?? messageId,
        at: startedAt,
        model: model.id,
        inputTokens: bill.inputTokens,
        cacheWrite5mTokens: bill.write5mTokens,
        cacheWrite1hTokens: bill.write1hTokens,
        cacheReadTokens: bill.readTokens,
        outputTokens: answer.outputTokens,
        webSearchRequests: answer.webSearches,
        tier: context.tier,
        inferenceGeo,
        speed: isFast ? 'fast' : 'standard',
      },
      this.#prices,
    )
    const usage = usageOf(bill, answer, context.tier, inferenceGeo, isFast)
    const message: JsonObject = {
      ...messageOf(messageId, model, answer, usage),
      // On Messages only, since 2026-09-23 (claude-api.md 6.6).
      ...(row === null ? { diagnostics: null } : {}),
    }
    return {
      answer: { kind: 'answered', message, headers: this.#headers(startedAt) },
      endsAt,
      effects: { invoiceLine, cacheEntries: bill.changed },
    }
  }

  #refusalContext(context: CallContext) {
    const { tier, apiVersion, betas } = context
    const { catalogue, checkRequest } = this.#options
    return { tier, apiVersion, betas, at: this.#clock.now(), catalogue, checkRequest }
  }

  #headers(date: Instant): AnswerHeaders {
    return {
      requestId: `req_011${this.#options.ids.token(21)}`,
      organizationId: this.#settings.organizationId,
      workspaceId: this.#settings.workspace,
      retryAfterMs: null,
      date,
    }
  }
}

const NOT_JSON: ApiError = {
  status: 400,
  type: 'invalid_request_error',
  message: 'The request body is not valid JSON: it could not be parsed',
}
const OUR_FAULT: ApiError = { status: 500, type: 'api_error', message: 'Internal server error' }

/** The same memory as a Buffer. */
function viewOf(body: Uint8Array): Buffer {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength)
}

function parseBody(body: Uint8Array): JsonObject | null {
  try {
    return JSON.parse(viewOf(body).toString('utf8')) as JsonObject
  } catch {
    // Not JSON is an answer of the API, not an error of ours.
    return null
  }
}

/** In results an error has details and no request id when the row never ran (claude-api.md 2.6). */
function refusedAnswer(error: ApiError, headers: AnswerHeaders, inBatch: boolean): MessageAnswer {
  const { type, message } = error
  const body: JsonObject = inBatch
    ? {
        type: 'error',
        error: { details: { error_visibility: 'user_facing' }, type, message },
        request_id: null,
      }
    : { type: 'error', error: { type, message }, request_id: headers.requestId }
  return { kind: 'refused', error, body, headers }
}

type Answered = SimulatedAnswer & { readonly kind: 'answered' }

function messageOf(id: string, model: Model, answer: Answered, usage: JsonObject): JsonObject {
  const { content, stopReason } = answer
  return {
    id,
    type: 'message',
    role: 'assistant',
    model: model.id,
    content,
    stop_reason: stopReason,
    stop_sequence: null,
    stop_details: stopReason === 'refusal' ? { type: 'refusal', category: null, explanation: null } : null,
    container: null,
    usage,
  }
}

function usageOf(
  bill: CacheBill,
  answer: Answered,
  tier: CallContext['tier'],
  inferenceGeo: string,
  isFast: boolean,
): JsonObject {
  return {
    input_tokens: bill.inputTokens,
    cache_creation_input_tokens: bill.write5mTokens + bill.write1hTokens,
    cache_read_input_tokens: bill.readTokens,
    cache_creation: {
      ephemeral_5m_input_tokens: bill.write5mTokens,
      ephemeral_1h_input_tokens: bill.write1hTokens,
    },
    output_tokens: answer.outputTokens,
    output_tokens_details: answer.thinkingTokens === null ? null : { thinking_tokens: answer.thinkingTokens },
    server_tool_use:
      answer.webSearches === 0 ? null : { web_search_requests: answer.webSearches, web_fetch_requests: 0 },
    service_tier: tier,
    inference_geo: inferenceGeo,
    ...(isFast ? { speed: 'fast' } : {}),
  }
}

/** `not_available` on models before 4.6 (claude-api.md 2.6), else as asked for. */
function inferenceGeoOf(request: JsonObject, model: Model): string {
  if (!model.parameters.inferenceGeo) return 'not_available'
  return typeof request['inference_geo'] === 'string' ? request['inference_geo'] : 'global'
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0)
}
