import { TitheError } from '../core/errors.ts'
import { formatTimestamp, type Instant, instant, plusMs } from '../core/instant.ts'
import { isObject, type JsonObject } from '../core/json.ts'
import type { ApiRules } from '../core/models.ts'
import type { Clock, Runtime } from '../runtime/runtime.ts'
import type { ServedBatch, ServedBatchStore, ServedRow } from '../stores/served-store.ts'
import type {
  AnswerHeaders,
  BatchBody,
  Batches,
  BatchPage,
  CallContext,
  CreateAnswer,
  MessageAnswer,
  MessageBatch,
  Messages,
  RowExecutor,
} from '../upstreams/upstream.ts'
import { parseBatchElement } from './batch-element.ts'
import { retriedExecutor } from './retried-executor.ts'

/**
 * Message Batches over anything that has only Messages (claude-api.md 2).
 *
 * create ─► in_progress ──all rows done, or 24 h──► ended        A batch that is not ended has a runner in this process:
 *               └─ cancel ─► canceling ─running rows finish─┘    it waits for the batch's turn, keeps `concurrency` rows
 *                                                                going, records each result, and ends the batch.
 * A crash loses the runner and nothing else: `resume` starts one for every open batch, and rows that have no result yet
 * are executed (again).
 */

export interface ServeBatchesSettings {
  /** The only workspace that is seen; batches of others do not exist. */
  readonly workspace: string
  readonly organizationId: string | null
  readonly rules: Pick<ApiRules, 'batchRowsMax' | 'batchBytesMax' | 'batchExpiryMs' | 'resultsKeptMs'>
  /** Stands in `results_url` before `/v1/…`: clients call that address with their key (claude-api.md 2.3). */
  readonly origin: string
  /** Rows of one batch that run at the same time. */
  readonly concurrency: number
  /** What `retry-after` says while a batch is in progress. */
  readonly pollAfterMs: number
  /** When a batch starts and how long it lasts at least; at once, and as long as its rows, when left out. */
  readonly schedule?: (batch: number, createdAt: Instant) => { startsAt: Instant; endsNotBefore: Instant }
}

export interface ServedBatches extends Batches {
  /** Goes on with every batch that is not ended. Called once, before anything else. */
  resume(): Promise<void>
  /** Stops all runners, each after the row that it is at; the next `resume` goes on. */
  close(): Promise<void>
}

export function serveBatches<Effects>(
  messages: Messages | (Messages & RowExecutor<Effects>),
  store: ServedBatchStore<Effects | null>,
  runtime: Runtime,
  settings: ServeBatchesSettings,
): ServedBatches {
  const executor = 'executeRow' in messages ? messages : retriedExecutor(messages, runtime.clock)
  return new BatchServer<Effects | null>(executor, store, runtime, settings)
}

interface Runner {
  /** Aborted by a cancel: no further row begins. */
  readonly cancel: AbortController
  done: Promise<void>
}

const CREATE_CHUNK_ROWS = 1_000
const CREATE_CHUNK_BYTES = 1_000_000
const WINDOW = { rows: 256, sizeBytes: 1_000_000 }
const RESULTS_CHUNK_ROWS = 500
const LIST_LIMIT_DEFAULT = 20
const LIST_LIMIT_MAX = 1_000

class BatchServer<Effects> implements ServedBatches {
  readonly #executor: RowExecutor<Effects>
  readonly #store: ServedBatchStore<Effects>
  readonly #runtime: Runtime
  readonly #clock: Clock
  readonly #settings: ServeBatchesSettings
  readonly #runners = new Map<number, Runner>()
  readonly #closing = new AbortController()
  /** Set when a runner failed: every later call says so instead of waiting for a batch that will not end. */
  #failure: unknown = null

  constructor(
    executor: RowExecutor<Effects>,
    store: ServedBatchStore<Effects>,
    runtime: Runtime,
    settings: ServeBatchesSettings,
  ) {
    this.#executor = executor
    this.#store = store
    this.#runtime = runtime
    this.#clock = runtime.clock
    this.#settings = settings
  }

  async resume(): Promise<void> {
    for (const batch of await this.#store.openBatches(this.#settings.workspace)) this.#start(batch)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.all([...this.#runners.values()].map((runner) => runner.done))
  }

  async createBatch(body: BatchBody, context: CallContext): Promise<CreateAnswer> {
    this.#check()
    const { rules, workspace } = this.#settings
    if (context.workspace !== workspace) {
      return this.#refused(403, 'permission_error', 'The key does not belong to this workspace.')
    }
    if (body.sizeBytes > rules.batchBytesMax) {
      return this.#refused(413, 'request_too_large', 'Request exceeds the maximum size')
    }
    const number = await this.#clock.hold(this.#store.receiveBatch())
    let received: { rows: number } | { refusal: string } | null = null
    try {
      received = await this.#clock.hold(this.#receive(number, body))
    } finally {
      if (received === null || 'refusal' in received) await this.#store.discardBatch(number)
    }
    if ('refusal' in received) return this.#refused(400, 'invalid_request_error', received.refusal)

    const createdAt = this.#clock.now()
    const expiresAt = plusMs(createdAt, rules.batchExpiryMs)
    const schedule = this.#settings.schedule?.(number, createdAt)
    const batch: ServedBatch = {
      number,
      id: `msgbatch_01${this.#runtime.ids.token(22)}`,
      workspace,
      apiVersion: context.apiVersion,
      betas: context.betas,
      state: 'in_progress',
      rows: received.rows,
      createdAt,
      startsAt: earlier(schedule?.startsAt ?? createdAt, expiresAt),
      endsNotBefore: earlier(schedule?.endsNotBefore ?? createdAt, expiresAt),
      expiresAt,
      cancelInitiatedAt: null,
      endedAt: null,
      counts: { succeeded: 0, errored: 0, canceled: 0, expired: 0 },
    }
    await this.#clock.hold(this.#store.acceptBatch(batch))
    this.#start(batch)
    return { kind: 'accepted', batch: this.#view(batch), headers: this.#headers(null) }
  }

  /** Reads the elements into the store. One bad custom_id refuses the whole batch (claude-api.md 2.2). */
  async #receive(number: number, body: BatchBody): Promise<{ rows: number } | { refusal: string }> {
    const { batchRowsMax } = this.#settings.rules
    const customIds = new Set<string>()
    let duplicate: string | null = null
    let rows = 0
    let chunk: ServedRow[] = []
    let chunkBytes = 0
    for await (const bytes of body.elements()) {
      const element = parseBatchElement(bytes, rows)
      if (element.kind === 'refused') return { refusal: element.message }
      if (customIds.has(element.customId)) duplicate ??= element.customId
      customIds.add(element.customId)
      chunk.push({ row: rows, customId: element.customId, params: element.params })
      chunkBytes += element.params.byteLength
      rows += 1
      if (rows > batchRowsMax) {
        return {
          refusal: `requests: List should have at most ${batchRowsMax} items after validation, not ${body.rows}`,
        }
      }
      if (chunk.length >= CREATE_CHUNK_ROWS || chunkBytes >= CREATE_CHUNK_BYTES) {
        await this.#store.addRows(number, chunk)
        chunk = []
        chunkBytes = 0
      }
    }
    if (rows === 0) return { refusal: 'requests: List should have at least 1 item after validation, not 0' }
    if (duplicate !== null) {
      return {
        refusal: `requests: custom_id's must be unique within a batch. Duplicate custom_id found: ${duplicate}`,
      }
    }
    await this.#store.addRows(number, chunk)
    return { rows }
  }

  async retrieveBatch(id: string): Promise<{ batch: MessageBatch; headers: AnswerHeaders } | null> {
    this.#check()
    const batch = await this.#clock.hold(this.#store.findBatch(this.#settings.workspace, id))
    if (batch === null) return null
    const retryAfterMs = batch.state === 'ended' ? null : this.#settings.pollAfterMs
    return { batch: this.#view(batch), headers: this.#headers(retryAfterMs) }
  }

  async listBatches(query: { limit?: number; after_id?: string; before_id?: string }): Promise<BatchPage> {
    this.#check()
    const limit = query.limit ?? LIST_LIMIT_DEFAULT
    if (!Number.isInteger(limit) || limit < 1 || limit > LIST_LIMIT_MAX) {
      throw refusal('invalid_request_error', `limit: Input should be between 1 and ${LIST_LIMIT_MAX}`)
    }
    const cursor = async (id: string | undefined) => (id === undefined ? null : (await this.#find(id)).number)
    const olderThan = await cursor(query.after_id)
    const newerThan = await cursor(query.before_id)
    const page = { olderThan, newerThan, limit: limit + 1 }
    const found = await this.#clock.hold(this.#store.listBatches(this.#settings.workspace, page))
    // With `before_id` the page ends next to the cursor, so the one too many is the newest.
    const data = newerThan === null ? found.slice(0, limit) : found.slice(-limit)
    return {
      data: data.map((batch) => this.#view(batch)),
      has_more: found.length > limit,
      first_id: data[0]?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
      headers: this.#headers(null),
    }
  }

  async cancelBatch(id: string): Promise<MessageBatch> {
    this.#check()
    const batch = await this.#find(id)
    if (batch.state === 'ended') {
      throw refusal('invalid_request_error', `Message Batch ${id} has already ended and cannot be canceled.`)
    }
    if (await this.#clock.hold(this.#store.startCancel(batch.number, this.#clock.now()))) {
      this.#runners.get(batch.number)?.cancel.abort()
    }
    return this.#view(await this.#find(id))
  }

  async deleteBatch(id: string): Promise<void> {
    this.#check()
    const batch = await this.#find(id)
    if (batch.state !== 'ended') {
      const message = 'In progress batches cannot be deleted. Consider canceling the batch instead.'
      throw refusal('invalid_request_error', message)
    }
    await this.#clock.hold(this.#store.deleteBatch(batch.number))
  }

  async *batchResults(id: string): AsyncIterable<Uint8Array> {
    this.#check()
    const batch = await this.#find(id)
    if (batch.state !== 'ended' || this.#archivedAt(batch) !== null) {
      throw refusal('not_found_error', `Message Batch ${id} has no available results.`)
    }
    // Rows without a result all ended in the same way.
    const unfinished = batch.counts.canceled > 0 ? 'canceled' : 'expired'
    for (const rows of scrambled(batch, RESULTS_CHUNK_ROWS)) {
      for (const { customId, line } of await this.#clock.hold(this.#store.resultLines(batch.number, rows))) {
        yield line ?? utf8.encode(JSON.stringify({ custom_id: customId, result: { type: unfinished } }))
      }
    }
  }

  // -- running --

  #start(batch: ServedBatch): void {
    const runner: Runner = { cancel: new AbortController(), done: Promise.resolve() }
    if (batch.state === 'canceling') runner.cancel.abort()
    this.#runners.set(batch.number, runner)
    runner.done = this.#run(batch, runner.cancel.signal)
      .catch((error: unknown) => {
        this.#failure ??= error
      })
      .finally(() => this.#runners.delete(batch.number))
  }

  async #run(batch: ServedBatch, canceled: AbortSignal): Promise<void> {
    const { concurrency } = this.#settings
    const halted = AbortSignal.any([canceled, this.#closing.signal])
    await this.#sleep(batch.startsAt, halted)

    const busyUntil = await this.#clock.hold(this.#store.unendedRows(batch.number, this.#clock.now()))
    const window = new RowWindow((afterRow) =>
      this.#clock.hold(this.#store.waitingRows(batch.number, afterRow, WINDOW)),
    )
    const places = Array.from({ length: Math.max(concurrency, busyUntil.length) }, async (_, place) => {
      await this.#sleep(busyUntil[place] ?? this.#clock.now(), this.#closing.signal)
      if (place < concurrency) await this.#work(batch, window, halted)
    })
    await Promise.all(places)

    await this.#sleep(batch.endsNotBefore, halted)
    if (this.#closing.signal.aborted) return
    const unfinished = canceled.aborted ? 'canceled' : 'expired'
    await this.#clock.hold(this.#store.endBatch(batch.number, this.#clock.now(), unfinished))
  }

  /** One of the places at which rows run: takes the next row when the one before is complete. */
  async #work(batch: ServedBatch, window: RowWindow, halted: AbortSignal): Promise<void> {
    while (!halted.aborted && this.#clock.now() < batch.expiresAt) {
      const row = await window.next()
      if (row === null) return
      const context: CallContext = {
        workspace: batch.workspace,
        tier: 'batch',
        apiVersion: batch.apiVersion,
        betas: batch.betas,
        receivedAt: this.#clock.now(),
      }
      const ids = { batchId: batch.id, customId: row.customId }
      const { answer, endsAt, effects } = await this.#executor.executeRow(row.params, context, ids)
      const kind = answer.kind === 'answered' ? ('succeeded' as const) : ('errored' as const)
      const line = resultLine(row.customId, answer)
      const result = { row: row.row, customId: row.customId, kind, line, endsAt }
      await this.#clock.hold(this.#store.recordResult(batch.number, result, effects, this.#clock.now()))
      await this.#sleep(endsAt, this.#closing.signal)
    }
  }

  /** Returns at `at`, or at once when the signal says so. */
  async #sleep(at: Instant, signal: AbortSignal): Promise<void> {
    if (at <= this.#clock.now() || signal.aborted) return
    try {
      await this.#clock.sleepUntil(at, signal)
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  // -- what clients see --

  async #find(id: string): Promise<ServedBatch> {
    const batch = await this.#clock.hold(this.#store.findBatch(this.#settings.workspace, id))
    if (batch === null) throw refusal('not_found_error', `Message Batch ${id} not found.`)
    return batch
  }

  #archivedAt(batch: ServedBatch): Instant | null {
    const at = plusMs(batch.createdAt, this.#settings.rules.resultsKeptMs)
    return batch.state === 'ended' && this.#clock.now() >= at ? at : null
  }

  #view(batch: ServedBatch): MessageBatch {
    const ended = batch.state === 'ended'
    const archivedAt = this.#archivedAt(batch)
    const timestamp = (at: Instant | null) => (at === null ? null : formatTimestamp(at))
    return {
      id: batch.id,
      type: 'message_batch',
      processing_status: batch.state,
      request_counts: { processing: ended ? 0 : batch.rows, ...batch.counts },
      created_at: formatTimestamp(batch.createdAt),
      expires_at: formatTimestamp(batch.expiresAt),
      ended_at: timestamp(batch.endedAt),
      cancel_initiated_at: timestamp(batch.cancelInitiatedAt),
      archived_at: timestamp(archivedAt),
      results_url:
        ended && archivedAt === null
          ? `${this.#settings.origin}/v1/messages/batches/${batch.id}/results`
          : null,
    }
  }

  #headers(retryAfterMs: number | null): AnswerHeaders {
    return {
      requestId: `req_011${this.#runtime.ids.token(21)}`,
      organizationId: this.#settings.organizationId,
      workspaceId: this.#settings.workspace,
      retryAfterMs,
      date: this.#clock.now(),
    }
  }

  #refused(status: number, type: string, message: string): CreateAnswer {
    return { kind: 'refused', error: { status, type, message }, headers: this.#headers(null) }
  }

  #check(): void {
    if (this.#failure === null) return
    const why = this.#failure instanceof Error ? this.#failure.message : String(this.#failure)
    throw new TitheError('batches_stopped', `the service of Message Batches stopped: ${why}`, {
      hint: 'look at its disk first; what it has answered is kept, and it goes on when it is opened again',
      retry: 'never',
      exitCode: 3,
      cause: this.#failure,
    })
  }
}

/** A few rows at a time, however large the batch. */
class RowWindow {
  readonly #load: (afterRow: number) => Promise<ServedRow[]>
  #rows: ServedRow[] = []
  #next = 0
  #lastRow = -1
  #loading: Promise<void> | null = null
  #exhausted = false

  constructor(load: (afterRow: number) => Promise<ServedRow[]>) {
    this.#load = load
  }

  async next(): Promise<ServedRow | null> {
    while (this.#next === this.#rows.length) {
      if (this.#exhausted) return null
      this.#loading ??= this.#refill()
      await this.#loading
    }
    return this.#rows[this.#next++]!
  }

  async #refill(): Promise<void> {
    this.#rows = await this.#load(this.#lastRow)
    this.#next = 0
    this.#lastRow = this.#rows.at(-1)?.row ?? this.#lastRow
    this.#exhausted = this.#rows.length === 0
    this.#loading = null
  }
}

/**
 * All rows of a batch in an order that is not theirs, in chunks, without a list of them: steps of about 0.62 of the
 * number of rows, which visit every row once because the two have no common divisor.
 */
function* scrambled(batch: ServedBatch, chunkRows: number): Generator<number[]> {
  let step = Math.max(1, Math.floor(batch.rows * 0.618))
  while (greatestCommonDivisor(step, batch.rows) !== 1) step += 1
  let chunk: number[] = []
  for (let i = 0, row = batch.number % batch.rows; i < batch.rows; i++, row = (row + step) % batch.rows) {
    chunk.push(row)
    if (chunk.length < chunkRows) continue
    yield chunk
    chunk = []
  }
  yield chunk
}

function greatestCommonDivisor(one: number, other: number): number {
  return other === 0 ? one : greatestCommonDivisor(other, one % other)
}

const utf8 = new TextEncoder()

/** A line of the results file. An error stands in it as a whole error response (claude-api.md 2.6). */
function resultLine(customId: string, answer: MessageAnswer): Uint8Array {
  const result =
    answer.kind === 'answered'
      ? { type: 'succeeded', message: answer.message }
      : { type: 'errored', error: errorResponse(answer) }
  return utf8.encode(JSON.stringify({ custom_id: customId, result }))
}

function errorResponse(answer: MessageAnswer & { kind: 'refused' }): JsonObject {
  if (answer.body['type'] === 'error' && isObject(answer.body['error'])) return answer.body
  const { type, message } = answer.error
  return { type: 'error', error: { type, message }, request_id: answer.headers.requestId }
}

/** The API said no: `code` is its `error.type`. */
function refusal(type: string, message: string): TitheError {
  return new TitheError(type, message, { retry: 'never', exitCode: 3 })
}

function earlier(one: Instant, other: Instant): Instant {
  return instant(Math.min(one, other))
}
