import type { Instant } from '../../core/instant.ts'

// The local service's own bill. It shares no code and no price table with the ledger that it is compared with: prices
// arrive as plain data, one line is written for each answered request, and all arithmetic is in whole picodollars.

/** Picodollars per token. */
export interface InvoiceRates {
  readonly input: bigint
  readonly write5m: bigint
  readonly write1h: bigint
  readonly read: bigint
  readonly output: bigint
}

export interface InvoicePrice {
  readonly model: string
  readonly from: Instant
  /** Ascending; the last one has no limit. */
  readonly bands: readonly { readonly promptTokensMax: number | null; readonly rates: InvoiceRates }[]
  /** Null where `speed: "fast"` changes no price. */
  readonly fast: InvoiceRates | null
  /** Factors on every token category (claude-api.md 3.13). */
  readonly batchRatio: InvoiceRatio
  readonly usRatio: InvoiceRatio
}

export interface InvoiceRatio {
  readonly numerator: bigint
  readonly denominator: bigint
}

export interface InvoicePrices {
  readonly prices: readonly InvoicePrice[]
  readonly webSearchPicoUsd: bigint
}

/** What was used, before it is priced. */
export interface InvoiceUsage {
  /** Null for a realtime call. */
  readonly batchId: string | null
  /** Of the row; of a realtime call, the id of its message. Unique with `batchId`. */
  readonly customId: string
  readonly at: Instant
  readonly model: string
  readonly inputTokens: number
  readonly cacheWrite5mTokens: number
  readonly cacheWrite1hTokens: number
  readonly cacheReadTokens: number
  readonly outputTokens: number
  readonly webSearchRequests: number
  readonly tier: 'standard' | 'batch'
  readonly inferenceGeo: string
  readonly speed: 'standard' | 'fast'
}

export interface InvoiceLine extends InvoiceUsage {
  /** Null when the model has no price. */
  readonly costPicoUsd: bigint | null
}

/** Prices one answered request (claude-api.md 3.15). */
export function invoiceLineOf(usage: InvoiceUsage, table: InvoicePrices): InvoiceLine {
  const price = priceOf(usage, table)
  if (price === null) return { ...usage, costPicoUsd: null }
  const rates = ratesOf(usage, price)
  let cost =
    BigInt(usage.inputTokens) * rates.input +
    BigInt(usage.cacheWrite5mTokens) * rates.write5m +
    BigInt(usage.cacheWrite1hTokens) * rates.write1h +
    BigInt(usage.cacheReadTokens) * rates.read +
    BigInt(usage.outputTokens) * rates.output
  if (usage.tier === 'batch') cost = exactly(cost * price.batchRatio.numerator, price.batchRatio.denominator)
  if (usage.inferenceGeo === 'us') cost = exactly(cost * price.usRatio.numerator, price.usRatio.denominator)
  return { ...usage, costPicoUsd: cost + BigInt(usage.webSearchRequests) * table.webSearchPicoUsd }
}

/** The price in force: of those that began before, the one that began last. */
function priceOf(usage: InvoiceUsage, table: InvoicePrices): InvoicePrice | null {
  let inForce: InvoicePrice | null = null
  for (const price of table.prices) {
    if (price.model !== usage.model || price.from > usage.at) continue
    if (inForce === null || price.from >= inForce.from) inForce = price
  }
  return inForce
}

/** The whole prompt, cached tokens included, decides the price band of the whole request (claude-api.md 4). */
function ratesOf(usage: InvoiceUsage, price: InvoicePrice): InvoiceRates {
  if (usage.speed === 'fast' && price.fast !== null) return price.fast
  const prompt =
    usage.inputTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens + usage.cacheReadTokens
  for (const band of price.bands) {
    if (band.promptTokensMax === null || prompt <= band.promptTokensMax) return band.rates
  }
  throw new RangeError(`the price of ${price.model} has no price band for a prompt of ${prompt} tokens`)
}

function exactly(product: bigint, denominator: bigint): bigint {
  if (product % denominator !== 0n)
    throw new RangeError(`${product} / ${denominator} is no whole number of picodollars`)
  return product / denominator
}
