import { costOf, realtimeCostOf } from './cost.ts'
import type { Instant } from './instant.ts'
import { type Catalogue, findModel, priceAt } from './models.ts'
import { type PicoUsd, picoUsd } from './money.ts'
import { promptTokens, type Usage } from './usage.ts'

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

/** Entries of one submission and prefix group added up: what a driver needs to know of what was paid so far. */
export interface LedgerSum {
  readonly submission: number
  readonly group: string | null
  readonly isRealtime: boolean
  readonly entries: number
  /** That read from the cache. */
  readonly readingEntries: number
  readonly unpricedEntries: number
  readonly promptTokens: number
  readonly outputTokens: number
  /** Of those that have a price. */
  readonly costPicoUsd: PicoUsd
  /** The most tokens that one of them read from the cache and wrote into it. */
  readonly cachedTokensMax: number
}

/** One entry as a sum. */
export function sumOf(entry: LedgerEntry, group: string | null): LedgerSum {
  const { submission, upstreamBatchId, usage, costPicoUsd } = entry
  return {
    submission,
    group,
    isRealtime: upstreamBatchId === null,
    entries: 1,
    readingEntries: usage.cacheReadTokens > 0 ? 1 : 0,
    unpricedEntries: costPicoUsd === null ? 1 : 0,
    promptTokens: promptTokens(usage),
    outputTokens: usage.outputTokens,
    costPicoUsd: costPicoUsd ?? picoUsd(0n),
    cachedTokensMax: usage.cacheReadTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens,
  }
}

/** Two of the same submission and group. */
export function addSums(a: LedgerSum, b: LedgerSum): LedgerSum {
  return {
    ...a,
    entries: a.entries + b.entries,
    readingEntries: a.readingEntries + b.readingEntries,
    unpricedEntries: a.unpricedEntries + b.unpricedEntries,
    promptTokens: a.promptTokens + b.promptTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    costPicoUsd: picoUsd(a.costPicoUsd + b.costPicoUsd),
    cachedTokensMax: Math.max(a.cachedTokensMax, b.cachedTokensMax),
  }
}
