import { type Instant, instant } from '../../core/instant.ts'
import type { Catalogue } from '../../core/models.ts'
import type { CacheRules } from './cache.ts'
import type { InvoicePrices } from './invoice.ts'

// The catalogue as the plain data that the cache and the invoice take: they share no code with the core that they judge.

export function cacheRulesOf({ rules }: Catalogue): CacheRules {
  return { lookbackPositions: rules.cacheLookbackPositions, ttlMs: rules.cacheTtlMs }
}

export function invoicePricesOf({ models, webSearchPicoUsd }: Catalogue): InvoicePrices {
  const prices = models.flatMap((model) =>
    model.prices.map((price, i) => ({
      model: model.id,
      // A model's first price also holds before its date, as in core/models.ts.
      from: i === 0 ? instant(Number.MIN_SAFE_INTEGER) : (Date.parse(price.from) as Instant),
      bands: price.bands,
      fast: price.fast,
      batchRatio: price.ratios.batch,
      usRatio: price.ratios.usInference,
    })),
  )
  return { prices, webSearchPicoUsd }
}
