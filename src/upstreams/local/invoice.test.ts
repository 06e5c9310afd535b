import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { costOf } from '../../core/cost.ts'
import { instant } from '../../core/instant.ts'
import { findModel, priceAt } from '../../core/models.ts'
import { loadCatalogue } from '../../facts/load.ts'
import { type InvoicePrices, type InvoiceUsage, invoiceLineOf } from './invoice.ts'
import { START } from './local.contract-setup.ts'
import { invoicePricesOf } from './plain-facts.ts'

/** Haiku 5.5 of claude-api.md 4, in picodollars per token: five times the price above 100,000 tokens. */
const RATES = { input: 100_000n, write5m: 125_000n, write1h: 200_000n, read: 10_000n, output: 500_000n }
const LARGE = { input: 500_000n, write5m: 625_000n, write1h: 1_000_000n, read: 50_000n, output: 2_500_000n }
const TABLE: InvoicePrices = {
  webSearchPicoUsd: 10_000_000_000n,
  prices: [
    {
      model: 'haiku',
      from: instant(1_000),
      bands: [
        { promptTokensMax: 100_000, rates: RATES },
        { promptTokensMax: null, rates: LARGE },
      ],
      fast: null,
      batchRatio: { numerator: 1n, denominator: 2n },
      usRatio: { numerator: 11n, denominator: 10n },
    },
  ],
}
const USAGE: InvoiceUsage = {
  batchId: 'msgbatch_1',
  customId: 'row',
  at: instant(2_000),
  model: 'haiku',
  inputTokens: 1_000,
  cacheWrite5mTokens: 2_000,
  cacheWrite1hTokens: 3_000,
  cacheReadTokens: 4_000,
  outputTokens: 100,
  webSearchRequests: 0,
  tier: 'standard',
  inferenceGeo: 'global',
  speed: 'standard',
}
const cost = (changes: Partial<InvoiceUsage>) => invoiceLineOf({ ...USAGE, ...changes }, TABLE).costPicoUsd

test('every class of tokens has its price', () => {
  // 0.1 + 0.25 + 0.6 + 0.04 + 0.05 thousandths of a dollar
  assert.equal(cost({}), 1_040_000_000n)
})

test('a batch costs half, US inference eleven tenths, and a search always the same', () => {
  assert.equal(cost({ tier: 'batch' }), 520_000_000n)
  assert.equal(cost({ inferenceGeo: 'us' }), 1_144_000_000n)
  assert.equal(cost({ tier: 'batch', inferenceGeo: 'us' }), 572_000_000n)
  assert.equal(cost({ tier: 'batch', webSearchRequests: 2 }), 20_520_000_000n)
})

test('the whole prompt, cached tokens included, decides the band of the whole request', () => {
  assert.equal(cost({ cacheReadTokens: 94_000 }), 1_040_000_000n + 90_000n * 10_000n)
  assert.equal(cost({ cacheReadTokens: 94_001 }), (1_040_000_000n + 90_001n * 10_000n) * 5n)
})

test('a model without a price is unpriced, not free, and so is a time before its first price', () => {
  assert.equal(cost({ model: 'other' }), null)
  assert.equal(cost({ at: instant(999) }), null)
})

test('the invoice and the core price every usage alike', () => {
  const catalogue = loadCatalogue()
  const table = invoicePricesOf(catalogue)
  const tokens = fc.oneof(fc.nat(3_000), fc.nat(300_000))
  const usage = fc.record({
    model: fc.constantFrom(...catalogue.models.filter(({ prices }) => prices.length > 0).map(({ id }) => id)),
    atMs: fc.nat(400).map((days) => START - days * 86_400_000),
    counts: fc.tuple(tokens, tokens, tokens, tokens, tokens),
    webSearchRequests: fc.nat(5),
    tier: fc.constantFrom('standard' as const, 'batch' as const),
    inferenceGeo: fc.constantFrom('us', 'global', 'not_available'),
    speed: fc.constantFrom('standard' as const, 'fast' as const),
  })
  fc.assert(
    fc.property(usage, ({ model, atMs, counts, webSearchRequests, tier, inferenceGeo, speed }) => {
      const [inputTokens, cacheWrite5mTokens, cacheWrite1hTokens, cacheReadTokens, outputTokens] = counts
      const used = { inputTokens, cacheWrite5mTokens, cacheWrite1hTokens, cacheReadTokens, outputTokens }
      const at = instant(atMs)
      const line = invoiceLineOf(
        { ...used, webSearchRequests, tier, inferenceGeo, speed, batchId: 'b', customId: 'c', at, model },
        table,
      )
      const price = priceAt(findModel(catalogue, model)!, at)!
      const cost = costOf(
        { ...used, webSearchRequests, serviceTier: tier, inferenceGeo, speed },
        price,
        catalogue,
      )
      assert.equal(line.costPicoUsd, cost.totalPicoUsd as bigint)
    }),
    { numRuns: 500 },
  )
})
