import { costOf, realtimeCostOf } from './cost.ts'
import type { Instant } from './instant.ts'
import { type Catalogue, findModel, priceAt } from './models.ts'
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

export interface PaidAnswer extends Omit<LedgerEntry, 'costPicoUsd' | 'realtimePicoUsd' | 'priceBook'> {
  /** The price book, contract rates included. */
  readonly catalogue: Catalogue
}

/** The ledger's line for one answer, priced with what was in force when it was given. */
export function entryFor({ catalogue, ...answer }: PaidAnswer): LedgerEntry {
  const model = findModel(catalogue, answer.model)
  const price = model === null ? null : priceAt(model, answer.at)
  return {
    ...answer,
    costPicoUsd: price === null ? null : costOf(answer.usage, price, catalogue).totalPicoUsd,
    realtimePicoUsd: price === null ? null : realtimeCostOf(answer.usage, price, catalogue),
    priceBook: catalogue.version,
  }
}
