import type { Instant } from '../core/instant.ts'
import type { ApiSettings } from '../core/request.ts'

// What a service of Message Batches must not forget (batches/serve-batches.ts). Methods are async; each is one
// transaction.

/** `canceling` and `in_progress` batches have a runner; a batch is `ended` once and for all. */
export type ServedBatchState = 'in_progress' | 'canceling' | 'ended'

export interface ServedCounts {
  readonly succeeded: number
  readonly errored: number
  readonly canceled: number
  readonly expired: number
}

export interface ServedBatch extends ApiSettings {
  /** 1-based, in the order of creation. */
  readonly number: number
  /** `msgbatch_…` */
  readonly id: string
  readonly workspace: string
  readonly state: ServedBatchState
  readonly rows: number
  readonly createdAt: Instant
  /** Rows run from here on: the wait in the service's queue. */
  readonly startsAt: Instant
  /** The batch ends no earlier, even if its rows are done. */
  readonly endsNotBefore: Instant
  readonly expiresAt: Instant
  readonly cancelInitiatedAt: Instant | null
  readonly endedAt: Instant | null
  /** All zero until the batch has ended (claude-api.md 2.4). */
  readonly counts: ServedCounts
}

/** A row as it came. */
export interface ServedRow {
  /** 0-based place in the batch. */
  readonly row: number
  readonly customId: string
  /** The exact bytes of `params`. */
  readonly params: Uint8Array
}

export interface ServedResult {
  readonly row: number
  readonly customId: string
  readonly kind: 'succeeded' | 'errored'
  /** The line of the results file, without its newline. */
  readonly line: Uint8Array
  /** When the answer is complete. A service that knows it beforehand records a row when it begins. */
  readonly endsAt: Instant
}

/**
 * `Effects` is what a service wants to be committed with a row's result, or not at all (an invoice line, changes of its
 * cache); a service of somebody else's Messages has none.
 */
export interface ServedBatchStore<Effects> {
  /** Begins a batch that nobody sees until it is accepted; forgotten when the store is opened again before that. */
  receiveBatch(): Promise<number>
  addRows(batch: number, rows: readonly ServedRow[]): Promise<void>
  acceptBatch(batch: ServedBatch): Promise<void>
  discardBatch(batch: number): Promise<void>

  findBatch(workspace: string, id: string): Promise<ServedBatch | null>
  /** Newest first; only batches older than `olderThan`; with `newerThan`, the page next to it. */
  listBatches(
    workspace: string,
    page: { olderThan: number | null; newerThan: number | null; limit: number },
  ): Promise<ServedBatch[]>
  /** Accepted and not ended, oldest first. */
  openBatches(workspace: string): Promise<ServedBatch[]>

  /** Rows without a result, ascending from `afterRow` (exclusive, -1 for the start); at least one if there is one. */
  waitingRows(
    batch: number,
    afterRow: number,
    limit: { rows: number; sizeBytes: number },
  ): Promise<ServedRow[]>
  /** `endsAt` of results that are not complete at `at`, in the order of their rows. */
  unendedRows(batch: number, at: Instant): Promise<Instant[]>
  /**
   * Result and effects together; a second result for a row throws. May be buffered: results become durable in the order
   * in which they were recorded, and before anything else that is recorded after them.
   */
  recordResult(batch: number, result: ServedResult, effects: Effects, at: Instant): Promise<void>

  /** in_progress → canceling; false when it is not in progress. */
  startCancel(batch: number, at: Instant): Promise<boolean>
  /** → ended. Rows without a result are `canceled` or `expired`, as said; the bodies of all rows are forgotten. */
  endBatch(batch: number, at: Instant, unfinished: 'canceled' | 'expired'): Promise<void>

  /** Lines of an ended batch, in the order asked for; rows that do not exist (any more) are left out. */
  resultLines(
    batch: number,
    rows: readonly number[],
  ): Promise<{ customId: string; line: Uint8Array | null }[]>
  deleteBatch(batch: number): Promise<void>
}
