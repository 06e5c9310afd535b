import type { Instant } from './instant.ts'
import type { PicoUsd } from './money.ts'
import type { Usage } from './usage.ts'

/** Whether a figure came from the API's own usage, from an embedded upstream, or from a prior (design.md 5). */
export type Certainty = 'measured' | 'simulated' | 'assumed'

/**
 * One immutable line of the ledger: one paid answer. A correction is a new entry. `costPicoUsd` is null when the model
 * has no price in the book: such usage is *unpriced*, never zero.
 */
export interface LedgerEntry {
  readonly run: string
  readonly submission: number
  readonly ordinal: number
  /** The upstream's batch; null for a realtime call. */
  readonly upstreamBatchId: string | null
  readonly customId: string
  readonly at: Instant
  /** As resolved by the upstream, `message.model`. */
  readonly model: string
  readonly usage: Usage
  readonly costPicoUsd: PicoUsd | null
  /** What the same tokens would have cost in realtime without a cache; null when unpriced. */
  readonly realtimePicoUsd: PicoUsd | null
  readonly certainty: Certainty
  readonly priceBook: string
  /** `paid`, or `duplicate` for an answer to a submission that should not have existed. */
  readonly kind: 'paid' | 'duplicate'
}
