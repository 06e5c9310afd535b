import type { PlacedGroup, Placement } from './cache-plan.ts'
import { bandOf, costOf } from './cost.ts'
import type { Estimate, PoolProfile } from './job-profile.ts'
import type { Catalogue, Model, Price, Rates } from './models.ts'
import { type PicoUsd, picoUsd } from './money.ts'
import type { OutputEstimate } from './output-estimate.ts'
import type { Band } from './run-plan.ts'
import type { Usage } from './usage.ts'

// What a pool of rows costs when its rows go one certain way. The usage that would be reported is summed over the rows
// of each price band and priced by `costOf`, so plan and ledger have one formula.

/**
 * unmarked          No mark of ours.
 * all_write         Every marked row writes its prefix: a cold batch in which no row reads.
 * all_read          Every marked row reads: the other end of a cold batch.
 * primed            The first row of each group writes, the others read.
 * primed_unmarked   The first row of each group wrote, the others went unmarked.
 */
export type Scenario = 'unmarked' | 'all_write' | 'all_read' | 'primed' | 'primed_unmarked'

/** A pool with the model that it is priced on. */
export interface PricedPool {
  readonly pool: PoolProfile
  readonly model: Model
  readonly price: Price
  /** Tokens of that model for each token of the profile. */
  readonly tokenRatio: Band<number>
  /** By bracket of the profile, for each end of the band: the price with the one price band that holds there. */
  readonly bracketPrices: Readonly<Record<Estimate, readonly Price[]>>
}

export function pricedPool(
  pool: PoolProfile,
  cuts: readonly number[],
  on: { readonly model: Model; readonly price: Price; readonly tokenRatio: Band<number> },
): PricedPool {
  const pricesAt = (ratio: number): Price[] =>
    [...cuts, null].map((cut) => {
      // Above the last cut no price band ends; a token more than the last cut lies in it.
      const inside = cut ?? (cuts.at(-1) ?? 0) + 1
      const band = bandOf(on.price, inside * ratio)
      return { ...on.price, bands: [{ promptTokensMax: null, rates: band.rates }] }
    })
  const { low, best, high } = on.tokenRatio
  return { pool, ...on, bracketPrices: { low: pricesAt(low), best: pricesAt(best), high: pricesAt(high) } }
}

/** Rates that hold for most of the pool's rows, before batch and region, for comparing marks with one another. */
export function usualRates({ pool, bracketPrices }: PricedPool): Rates {
  const rows = pool.sums.best.map((sums) => sums.rows)
  return bracketPrices.best[rows.indexOf(Math.max(...rows))]!.bands[0]!.rates
}

export interface CostTerms {
  readonly estimate: Estimate
  readonly scenario: Scenario
  readonly tier: 'standard' | 'batch'
  readonly placement: Placement
  /** `max`: every row answers up to its `max_tokens`. */
  readonly output: OutputEstimate | 'max'
}

/** Usage of all rows of the pool together, by bracket of the profile. */
export function poolUsage(priced: PricedPool, terms: CostTerms): Usage[] {
  const { pool, tokenRatio } = priced
  const { estimate, scenario, placement } = terms
  const ratio = tokenRatio[estimate]
  // Positions were estimated once, at best; the ends of the band move them as they move the whole prompts.
  const total = (end: Estimate) => pool.sums[end].reduce((sum, { promptTokens }) => sum + promptTokens, 0)
  const bandRatio = total('best') === 0 ? 1 : total(estimate) / total('best')

  return pool.sums[estimate].map((sums, bracket): Usage => {
    const written = { '5m': 0, '1h': 0 }
    let read = 0
    let placed = 0
    for (const group of placement.groups) {
      const rows = group.rowsByBracket[estimate][bracket]!
      if (rows === 0) continue
      const tokens = Math.round(group.prefix.tokens * ratio * bandRatio)
      const writers = writersOf(group, scenario, estimate, bracket)
      written[group.ttl] += writers * tokens
      if (scenario === 'all_read') read += rows * tokens
      if (scenario === 'primed') read += (rows - writers) * tokens
      placed += rows * tokens
    }
    const ownShare = pool.rows === 0 ? 0 : pool.rowsWithOwnMarks / pool.rows
    if (placement.beside !== null && (scenario === 'all_read' || scenario === 'primed')) {
      const { prefix, rowsByBracket } = placement.beside
      const tokens = rowsByBracket[estimate][bracket]! * Math.round(prefix.tokens * ratio * bandRatio)
      read += Math.round(tokens * ownShare)
      placed += tokens
    }
    // What the user marked behind our marks is written by every row on every route.
    for (const ttl of ['5m', '1h'] as const) {
      const beyond = sums.ownMarkTokens[ttl] * ratio * bandRatio - placed * ownShare
      written[ttl] += Math.max(0, Math.round(beyond))
    }
    const promptTokens = Math.round(sums.promptTokens * ratio)
    return {
      inputTokens: Math.max(0, promptTokens - read - written['5m'] - written['1h']),
      cacheWrite5mTokens: written['5m'],
      cacheWrite1hTokens: written['1h'],
      cacheReadTokens: read,
      outputTokens: outputTokensOf(priced, terms, bracket),
      webSearchRequests: 0,
      serviceTier: terms.tier,
      inferenceGeo: pool.inferenceGeo,
      speed: terms.tier === 'batch' ? 'standard' : pool.speed,
    }
  })
}

function writersOf(group: PlacedGroup, scenario: Scenario, estimate: Estimate, bracket: number): number {
  const rows = group.rowsByBracket[estimate]
  switch (scenario) {
    case 'all_write':
      return rows[bracket]!
    case 'primed_unmarked':
      // Marks of the job stand in every row, also when the entry is dead.
      if (group.prefix.mark !== null) return rows[bracket]!
      return bracket === rows.findIndex((count) => count > 0) ? 1 : 0
    case 'primed':
      return bracket === rows.findIndex((count) => count > 0) ? 1 : 0
    default:
      return 0
  }
}

function outputTokensOf({ pool, tokenRatio }: PricedPool, terms: CostTerms, bracket: number): number {
  const sums = pool.sums[terms.estimate][bracket]!
  const limit = Math.round(sums.maxTokens * (pool.limitIsOutput ? tokenRatio[terms.estimate] : 1))
  if (terms.output === 'max') return limit
  const { perRow } = terms.output
  // Unknown is priced up to `max_tokens`.
  if (perRow === null) return terms.estimate === 'low' ? 0 : limit
  const tokens = perRow[terms.estimate] * tokenRatio[terms.estimate] * sums.rows
  return Math.min(limit, Math.round(tokens))
}

export function poolCost(
  priced: PricedPool,
  terms: CostTerms,
  charges: Pick<Catalogue, 'webSearchPicoUsd'>,
): PicoUsd {
  const costs = poolUsage(priced, terms).map(
    (usage, bracket) => costOf(usage, priced.bracketPrices[terms.estimate][bracket]!, charges).totalPicoUsd,
  )
  return picoUsd(costs.reduce((sum, cost) => sum + cost, 0n))
}
