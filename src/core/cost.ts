import type { Price, PriceBand, Rates, Ratio } from './models.ts'
import { type PicoUsd, picoUsd, timesRatio, ZERO_USD } from './money.ts'
import type { Ttl } from './request.ts'
import { promptTokens, type Usage } from './usage.ts'

/** What is charged apart from each other. The cache classes are named as the API's usage names them. */
export type TokenClass = 'input' | 'cache_write_5m' | 'cache_write_1h' | 'cache_read' | 'output'

export interface CostLine {
  /** `web_search` counts searches, the others tokens. */
  readonly class: TokenClass | 'web_search'
  readonly quantity: number
  /** Picodollars for one token or search, every modifier included. */
  readonly unitPicoUsd: bigint
  readonly costPicoUsd: PicoUsd
}

export interface Cost {
  /** Classes that were used, in the order of `TokenClass`. */
  readonly lines: readonly CostLine[]
  readonly totalPicoUsd: PicoUsd
}

export interface ChargesBesideTokens {
  readonly webSearchPicoUsd: bigint
}

/**
 * What one answer cost, exactly, by class (claude-api.md 3.15). The size of the whole prompt, cached tokens included,
 * picks the price band, which holds for the whole request, output included. Batch and US inference multiply every token
 * class; web searches keep their price. `priority` is priced like standard: it is a commitment bought elsewhere.
 */
export function costOf(usage: Usage, price: Price, { webSearchPicoUsd }: ChargesBesideTokens): Cost {
  const rates = effectiveRates(usage, price)
  const lines: CostLine[] = []
  let totalPicoUsd = ZERO_USD
  const charge = (lineClass: CostLine['class'], quantity: number, unitPicoUsd: bigint): void => {
    if (quantity === 0) return
    const costPicoUsd = picoUsd(BigInt(quantity) * unitPicoUsd)
    lines.push({ class: lineClass, quantity, unitPicoUsd, costPicoUsd })
    totalPicoUsd = picoUsd(totalPicoUsd + costPicoUsd)
  }
  charge('input', usage.inputTokens, rates.input)
  charge('cache_write_5m', usage.cacheWrite5mTokens, rates.write5m)
  charge('cache_write_1h', usage.cacheWrite1hTokens, rates.write1h)
  charge('cache_read', usage.cacheReadTokens, rates.read)
  charge('output', usage.outputTokens, rates.output)
  charge('web_search', usage.webSearchRequests, webSearchPicoUsd)
  return { lines, totalPicoUsd }
}

/** The same tokens in realtime, none of them cached: what a saving is measured against. Speed and region stay. */
export function realtimeCostOf(usage: Usage, price: Price, charges: ChargesBesideTokens): PicoUsd {
  return costOf(uncachedRealtime(usage), price, charges).totalPicoUsd
}

function uncachedRealtime(usage: Usage): Usage {
  return {
    ...usage,
    inputTokens: promptTokens(usage),
    cacheWrite5mTokens: 0,
    cacheWrite1hTokens: 0,
    cacheReadTokens: 0,
    serviceTier: 'standard',
  }
}

/** `1 − cost / realtime`; negative when it cost more, null when realtime would have been free. */
export function savingsOf(costPicoUsd: bigint, realtimePicoUsd: bigint): number | null {
  if (realtimePicoUsd === 0n) return null
  // Scaled as integers first: two totals past 2⁵³ would lose the digits that their quotient needs.
  return Number(((realtimePicoUsd - costPicoUsd) * 1_000_000_000n) / realtimePicoUsd) / 1e9
}

/** The price band that holds for a prompt of this size. */
export function bandOf(price: Price, tokens: number): PriceBand {
  const band = price.bands.find(
    ({ promptTokensMax }) => promptTokensMax === null || tokens <= promptTokensMax,
  )
  return band ?? price.bands.at(-1)!
}

/** Picodollars per token after every modifier of the request. */
function effectiveRates(usage: Usage, price: Price): Rates {
  // A model without fast mode ignores `speed` or refuses the request: it never bills another rate (claude-api.md 3.13).
  const rates = usage.speed === 'fast' && price.fast ? price.fast : bandOf(price, promptTokens(usage)).rates
  const ratios: Ratio[] = []
  if (usage.serviceTier === 'batch') ratios.push(price.ratios.batch)
  if (usage.inferenceGeo === 'us') ratios.push(price.ratios.usInference)
  if (ratios.length === 0) return rates
  const modified = (rate: bigint): bigint =>
    ratios.reduce((product, { numerator, denominator }) => timesRatio(product, numerator, denominator), rate)
  return {
    input: modified(rates.input),
    write5m: modified(rates.write5m),
    write1h: modified(rates.write1h),
    read: modified(rates.read),
    output: modified(rates.output),
  }
}

/** Upper bounds of one request that was not sent yet. */
export interface RequestBounds {
  readonly promptTokens: number
  readonly outputTokens: number
  readonly webSearches: number
  readonly serviceTier: Usage['serviceTier']
  readonly speed: Usage['speed']
  readonly inferenceGeo: string | null
  /** The dearest TTL of its marks; null without any. */
  readonly markTtl: Ttl | null
}

/**
 * The most that a request can cost within its bounds: nothing is read, everything is written, all of `max_tokens` is used
 * and every search made. What a hard budget reserves before the row is sent.
 */
export function worstCasePicoUsd(
  {
    promptTokens: tokens,
    outputTokens,
    webSearches,
    serviceTier,
    speed,
    inferenceGeo,
    markTtl,
  }: RequestBounds,
  price: Price,
  charges: ChargesBesideTokens,
): PicoUsd {
  const usage: Usage = {
    inputTokens: tokens,
    cacheWrite5mTokens: 0,
    cacheWrite1hTokens: 0,
    cacheReadTokens: 0,
    outputTokens,
    webSearchRequests: webSearches,
    serviceTier,
    inferenceGeo,
    speed,
  }
  // Nobody promises that anything is written, and a contract may price a write below an input.
  const ways = [usage]
  if (markTtl !== null) ways.push({ ...usage, inputTokens: 0, cacheWrite5mTokens: tokens })
  if (markTtl === '1h') ways.push({ ...usage, inputTokens: 0, cacheWrite1hTokens: tokens })
  return ways
    .map((way) => costOf(way, price, charges).totalPicoUsd)
    .reduce((dearest, cost) => (cost > dearest ? cost : dearest))
}
