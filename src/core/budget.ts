import { costOf, worstCasePicoUsd } from './cost.ts'
import type { Instant } from './instant.ts'
import type { BudgetMode } from './job.ts'
import { type Catalogue, findModel, priceAt } from './models.ts'
import { formatUsd, type PicoUsd, parseUsd, picoUsd } from './money.ts'
import { dearestTtl, type Ttl } from './request.ts'
import { sentMaxTokens, sentPromptTokensHigh } from './row-revision.ts'
import type { RowRevision } from './rows.ts'
import type { MarkPlan, RunPlan } from './run-plan.ts'
import type { Usage } from './usage.ts'

/** What a run may spend, and what is set aside for rows that are sent and not answered yet. */
export interface BudgetLimit {
  readonly picoUsd: PicoUsd
  readonly mode: BudgetMode
}

/** `25`, `"$0.50"`, `"25 soft"`: an amount above zero; null when it is none. */
export function parseBudget(stated: string | number): BudgetLimit | null {
  const [, amount = '', mode] = /^\s*(\S+)(?:\s+(soft|hard))?\s*$/.exec(String(stated)) ?? []
  const picoUsd = parseUsd(amount)
  if (picoUsd === null || picoUsd <= 0n) return null
  return { picoUsd, mode: mode === 'soft' ? 'soft' : 'hard' }
}

/** As `parseBudget` reads it back, to the picodollar: `25`, `0.5 soft`. */
export function budgetText({ picoUsd, mode }: BudgetLimit): string {
  const digits = picoUsd.toString().padStart(13, '0')
  const amount = `${digits.slice(0, -12)}.${digits.slice(-12)}`.replace(/\.?0+$/, '')
  return mode === 'soft' ? `${amount} soft` : amount
}

/** The limit and its kind, for people: `budget of $25.00`, `soft budget of $25.00`. */
export function budgetName({ picoUsd, mode }: BudgetLimit): string {
  return `${mode === 'soft' ? 'soft budget' : 'budget'} of ${formatUsd(picoUsd)}`
}

/** A row as a budget sees it: as it will be sent. */
export interface RowToReserve {
  readonly model: string
  readonly promptTokensHigh: number
  readonly maxTokens: number
  readonly webSearchesMax: number | null
  readonly inferenceGeo: string | null
  readonly speed: Usage['speed']
  readonly ownMarkTtl: Ttl | null
  readonly revision: RowRevision | null
}

/** How it goes out: in a batch or in realtime, and with which marks of ours. */
export interface SendingTerms {
  readonly tier: 'batch' | 'standard'
  readonly marks: readonly Pick<MarkPlan, 'ttl' | 'tokens'>[]
}

/** What a soft budget goes by: the upper end of what the plan expects. */
export interface Expectation {
  /** Share of the marked rows that read; null where the plan says nothing of this tier. */
  readonly hitRate: number | null
  readonly outputTokens: number | null
}

/** `unbounded` says what has no upper bound: then no budget can be kept. */
export type Reservation =
  | { readonly kind: 'bounded'; readonly picoUsd: PicoUsd }
  | { readonly kind: 'unbounded'; readonly what: 'price' | 'web_searches' }

/**
 * What is set aside for a row before it is sent. hard (`expected` null): its worst case. soft: the upper estimate of its
 * prompt, read from the cache as often as is expected, and the upper end of the expected output.
 */
export function reservationOf(
  row: RowToReserve,
  { tier, marks }: SendingTerms,
  expected: Expectation | null,
  catalogue: Catalogue,
  at: Instant,
): Reservation {
  const model = findModel(catalogue, row.model)
  const price = model && priceAt(model, at)
  if (!price) return { kind: 'unbounded', what: 'price' }
  if (row.webSearchesMax === null && expected === null) return { kind: 'unbounded', what: 'web_searches' }
  const promptTokens = sentPromptTokensHigh(row)
  const common = { serviceTier: tier, inferenceGeo: row.inferenceGeo, speed: row.speed } as const
  // The service sets 5-minute marks of its own behind what a server tool has found (claude-api.md 3.15).
  const toolTtl = row.webSearchesMax === 0 ? null : '5m'
  const markTtl = dearestTtl([...marks.map((mark) => mark.ttl), row.ownMarkTtl, toolTtl])
  if (expected === null) {
    const outputTokens = sentMaxTokens(row)
    const bounds = { ...common, promptTokens, outputTokens, webSearches: row.webSearchesMax ?? 0, markTtl }
    return { kind: 'bounded', picoUsd: worstCasePicoUsd(bounds, price, catalogue) }
  }
  const prefixTokens = Math.min(promptTokens, marks.at(-1)?.tokens ?? 0)
  const cacheReadTokens = Math.floor(prefixTokens * (expected.hitRate ?? 0))
  const written = prefixTokens - cacheReadTokens
  const usage: Usage = {
    ...common,
    inputTokens: promptTokens - prefixTokens,
    cacheWrite5mTokens: markTtl === '1h' ? 0 : written,
    cacheWrite1hTokens: markTtl === '1h' ? written : 0,
    cacheReadTokens,
    outputTokens: Math.min(sentMaxTokens(row), expected.outputTokens ?? Number.POSITIVE_INFINITY),
    webSearchRequests: row.webSearchesMax ?? 0,
  }
  return { kind: 'bounded', picoUsd: costOf(usage, price, catalogue).totalPicoUsd }
}

/** What a soft budget expects of rows of one tier. */
export function expectationOf(
  plan: Pick<RunPlan, 'chosen' | 'routes' | 'rows' | 'outputTokens'>,
  tier: SendingTerms['tier'],
): Expectation {
  const chosen = plan.routes.find(({ route }) => route === plan.chosen)
  const isOfTier = plan.chosen.startsWith('batch') === (tier === 'batch')
  const { source, high } = plan.outputTokens
  return {
    hitRate: isOfTier ? (chosen?.hitRate?.expected ?? null) : null,
    outputTokens: source === 'unknown' || plan.rows === 0 ? null : Math.ceil(high / plan.rows),
  }
}

/** Money at one moment of a run. */
export interface BudgetAccount {
  readonly limitPicoUsd: bigint
  readonly spentPicoUsd: bigint
  /** For rows that are sent and not answered, and for those whose cost will never be known. */
  readonly reservedPicoUsd: bigint
}

/** What can still be set aside; never negative. */
export function remainingPicoUsd({ limitPicoUsd, spentPicoUsd, reservedPicoUsd }: BudgetAccount): bigint {
  const left = limitPicoUsd - spentPicoUsd - reservedPicoUsd
  return left > 0n ? left : 0n
}

/** The account with one more row set aside; null when the budget does not bear it with everything before it. */
export function reserve(account: BudgetAccount, rowPicoUsd: bigint): BudgetAccount | null {
  return rowPicoUsd > remainingPicoUsd(account)
    ? null
    : { ...account, reservedPicoUsd: account.reservedPicoUsd + rowPicoUsd }
}

/** The smallest budget in whole cents that bears so much. */
export function budgetFor(neededPicoUsd: bigint, mode: BudgetMode): BudgetLimit {
  const cent = 10_000_000_000n
  return { picoUsd: picoUsd(((neededPicoUsd + cent - 1n) / cent) * cent), mode }
}

/** How a budget was kept. Every amount is zero or more. */
export interface BudgetOutcome {
  readonly limit: BudgetLimit
  readonly spentPicoUsd: PicoUsd
  readonly overshootPicoUsd: PicoUsd
  /** Of the overshoot: answers to submissions that should not have existed. */
  readonly byDuplicatesPicoUsd: PicoUsd
  /** Of the overshoot: answers that cost more than was set aside for them. */
  readonly byBoundsPicoUsd: PicoUsd
}

export function budgetOutcome(
  limit: BudgetLimit,
  spentPicoUsd: PicoUsd,
  duplicatesPicoUsd: PicoUsd,
): BudgetOutcome {
  const over = spentPicoUsd - limit.picoUsd
  const overshoot = over > 0n ? over : 0n
  const byDuplicates = duplicatesPicoUsd < overshoot ? duplicatesPicoUsd : overshoot
  return {
    limit,
    spentPicoUsd,
    overshootPicoUsd: picoUsd(overshoot),
    byDuplicatesPicoUsd: picoUsd(byDuplicates),
    byBoundsPicoUsd: picoUsd(overshoot - byDuplicates),
  }
}
