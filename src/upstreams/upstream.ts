import type { Instant } from '../core/instant.ts'
import type { JsonObject } from '../core/json.ts'
import type { ApiSettings } from '../core/request.ts'

/** The MessageBatch object as the API sends it (claude-api.md 2.3); unknown fields pass through. */
export interface MessageBatch extends JsonObject {
  readonly id: string
  readonly type: 'message_batch'
  readonly processing_status: 'in_progress' | 'canceling' | 'ended'
  readonly request_counts: RequestCounts & JsonObject
  readonly created_at: string
  readonly expires_at: string
  readonly ended_at: string | null
  readonly cancel_initiated_at: string | null
  readonly archived_at: string | null
  readonly results_url: string | null
}

export interface RequestCounts {
  readonly processing: number
  readonly succeeded: number
  readonly errored: number
  readonly canceled: number
  readonly expired: number
}

/** What every answer carries beside its body. */
export interface AnswerHeaders {
  readonly requestId: string | null
  readonly organizationId: string | null
  readonly workspaceId: string | null
  /** From `retry-after`, in milliseconds. */
  readonly retryAfterMs: number | null
  /** The server's `Date`; upstream timestamps are compared only with this. */
  readonly date: Instant | null
}

/** The API's error body, or what stood in its place. */
export interface ApiError {
  readonly status: number
  /** `error.type`; `unknown_error` when the body had none. */
  readonly type: string
  readonly message: string
  /** `error.details.error_code`, where the API gives one. */
  readonly code?: string
}

/** The settings of one call. `tier` chooses the cache pool and the price of an embedded upstream. */
export interface CallContext extends ApiSettings {
  readonly workspace: string
  readonly tier: 'standard' | 'batch'
  readonly receivedAt: Instant
}

export type MessageAnswer =
  | { readonly kind: 'answered'; readonly message: JsonObject; readonly headers: AnswerHeaders }
  | {
      readonly kind: 'refused'
      readonly error: ApiError
      readonly body: JsonObject
      readonly headers: AnswerHeaders
    }

/** Whatever answers Messages calls. */
export interface Messages {
  /**
   * One non-streaming call. A refusal is an answer; a lost connection or timeout throws
   * `TitheError('upstream_unreachable', …, {retry: 'unknown'})`.
   */
  createMessage(body: Uint8Array, context: CallContext): Promise<MessageAnswer>
  countTokens(body: Uint8Array, context: CallContext): Promise<number>
}

/** A row of a batch, executed by an embedded service that knows how long an answer takes before it is complete. */
export interface ExecutedRow<Effects> {
  readonly answer: MessageAnswer
  /** When the answer is complete; until then the row occupies its place among the concurrent ones. */
  readonly endsAt: Instant
  /** Committed with the row's result (`stores/served-store.ts`). */
  readonly effects: Effects
}

export interface RowExecutor<Effects> {
  executeRow(
    body: Uint8Array,
    context: CallContext,
    row: { readonly batchId: string; readonly customId: string },
  ): Promise<ExecutedRow<Effects>>
}

/** A batch about to be created. Elements are the exact bytes of `{"custom_id":…,"params":…}`. */
export interface BatchBody {
  readonly rows: number
  /** Of the whole HTTP body, `{"requests":[…]}`, counted exactly. */
  readonly sizeBytes: number
  elements(): AsyncIterable<Uint8Array>
}

/**
 * How a create ended. Only a well-formed refusal (400, 401, 402, 403, 413, 429) means not accepted; every other
 * ending (5xx, 408, 409, timeout, a cut 200) is ambiguous and is reconciled against the list, never retried blindly.
 */
export type CreateAnswer =
  | { readonly kind: 'accepted'; readonly batch: MessageBatch; readonly headers: AnswerHeaders }
  | { readonly kind: 'refused'; readonly error: ApiError; readonly headers: AnswerHeaders }
  | { readonly kind: 'ambiguous'; readonly reason: string }

export interface BatchPage {
  readonly data: readonly MessageBatch[]
  readonly has_more: boolean
  readonly first_id: string | null
  readonly last_id: string | null
  /** Whose list it is, and what time it is there. */
  readonly headers: AnswerHeaders
}

/**
 * Message Batches (claude-api.md 2). A refusal throws a `TitheError` whose code is the API's `error.type`; any other
 * failure throws `upstream_unreachable`, with `retry: 'safe'` when a retry may help, and `retryAfterMs` when
 * the server said how long to wait. Exit code 3 for both.
 */
export interface Batches {
  /**
   * One call, never retried inside. Throws `upstream_unreachable`, safe, when the end of the body never left this process
   * (no connection, or one that broke before): then nothing can have been created. Errors of `elements()` pass through.
   */
  createBatch(body: BatchBody, context: CallContext): Promise<CreateAnswer>
  /** Null when the API answers 404. */
  retrieveBatch(id: string): Promise<{ readonly batch: MessageBatch; readonly headers: AnswerHeaders } | null>
  listBatches(query: { limit?: number; after_id?: string; before_id?: string }): Promise<BatchPage>
  cancelBatch(id: string): Promise<MessageBatch>
  deleteBatch(id: string): Promise<void>
  /**
   * The results file as lines without their newline, in chunks as they arrive. A connection that breaks throws
   * (`upstream_unreachable`, safe); a file that ends early and cleanly just ends: the caller counts.
   */
  batchResults(id: string): AsyncIterable<Uint8Array>
}

export interface Upstream extends Messages, Batches {
  /** `local` or `anthropic`. */
  readonly kind: 'local' | 'anthropic'
  /** For people and for the run's record; never holds a key. */
  readonly description: string
  readonly workspace: string
  close(): Promise<void>
}
