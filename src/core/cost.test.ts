import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadCatalogue } from '../facts/load.ts'
import { costOf, realtimeCostOf, savingsOf, worstCasePicoUsd } from './cost.ts'
import { type Instant, parseTimestamp } from './instant.ts'
import { findModel, type Price, priceAt } from './models.ts'
import { formatUsd } from './money.ts'
import { promptTokens, type Usage } from './usage.ts'

const catalogue = loadCatalogue()
const TODAY: Instant = parseTimestamp('2026-11-22')!

function price(name: string): Price {
  return priceAt(findModel(catalogue, name)!, TODAY)!
}

function usage(part: Partial<Usage>): Usage {
  return {
    inputTokens: 0,
    cacheWrite5mTokens: 0,
    cacheWrite1hTokens: 0,
    cacheReadTokens: 0,
    outputTokens: 0,
    webSearchRequests: 0,
    serviceTier: 'standard',
    inferenceGeo: null,
    speed: 'standard',
    ...part,
  }
}

// The job of claude-api.md 3.14: 1,000 rows of 10,000 shared and 5,000 own tokens, 1,000 of output, on Sonnet 4.6.
const ROWS = 1_000
function job(
  rowsThatRead: number,
  ttl: '5m' | '1h' | null,
  tier: Usage['serviceTier'],
  model: string,
): bigint {
  const own = { outputTokens: 1_000, serviceTier: tier }
  const uncached = usage({ ...own, inputTokens: 15_000 })
  const writes = usage({
    ...own,
    inputTokens: 5_000,
    ...(ttl === '1h' ? { cacheWrite1hTokens: 10_000 } : { cacheWrite5mTokens: 10_000 }),
  })
  const reads = usage({ ...own, inputTokens: 5_000, cacheReadTokens: 10_000 })
  const cost = (each: Usage): bigint => costOf(each, price(model), catalogue).totalPicoUsd
  if (ttl === null) return BigInt(ROWS) * cost(uncached)
  return BigInt(ROWS - rowsThatRead) * cost(writes) + BigInt(rowsThatRead) * cost(reads)
}

const SEED_TABLE: [string, number, '5m' | '1h' | null, Usage['serviceTier'], string][] = [
  ['simple', 0, null, 'standard', '$60.00'],
  ['realtime, 1 write and 999 reads, 5m', 999, '5m', 'standard', '$33.03'],
  ['realtime, 1 write and 999 reads, 1h', 999, '1h', 'standard', '$33.06'],
  ['batch', 0, null, 'batch', '$30.00'],
  ['batch, 1 write and 999 reads, 5m', 999, '5m', 'batch', '$16.52'],
  ['batch, 1 write and 999 reads, 1h', 999, '1h', 'batch', '$16.53'],
  ['batch, 98 %, 5m', 980, '5m', 'batch', '$16.85'],
  ['batch, 98 %, 1h', 980, '1h', 'batch', '$17.07'],
  ['batch, 90 %, 5m', 900, '5m', 'batch', '$18.23'],
  ['batch, 90 %, 1h', 900, '1h', 'batch', '$19.35'],
  ['batch, 70 %, 5m', 700, '5m', 'batch', '$21.68'],
  ['batch, 70 %, 1h', 700, '1h', 'batch', '$25.05'],
  ['batch, 50 %, 5m', 500, '5m', 'batch', '$25.13'],
  ['batch, 50 %, 1h', 500, '1h', 'batch', '$30.75'],
  ['batch, 30 %, 5m', 300, '5m', 'batch', '$28.58'],
  ['batch, 30 %, 1h', 300, '1h', 'batch', '$36.45'],
  ['batch, 0 %, 5m', 0, '5m', 'batch', '$33.75'],
  ['batch, 0 %, 1h', 0, '1h', 'batch', '$45.00'],
]

for (const [variant, rowsThatRead, ttl, tier, dollars] of SEED_TABLE) {
  test(`the job of claude-api.md 3.14 costs ${dollars}: ${variant}`, () => {
    assert.equal(formatUsd(job(rowsThatRead, ttl, tier, 'claude-sonnet-4-6')), dollars)
  })
}

test('the same job elsewhere costs what claude-api.md 3.14 says', () => {
  for (const [model, dollars] of [
    ['claude-sonnet-5-5', '$10.51'],
    ['claude-haiku-4-5', '$5.51'],
    ['claude-haiku-5-5', '$0.55'],
  ] as const) {
    assert.equal(formatUsd(job(999, '5m', 'batch', model)), dollars, model)
  }
})

test('the parts of $16.52 are those of claude-api.md 3.14', () => {
  const whole = usage({
    inputTokens: 5_000_000,
    cacheWrite5mTokens: 10_000,
    cacheReadTokens: 9_990_000,
    outputTokens: 1_000_000,
    serviceTier: 'batch',
  })
  const lines = costOf(whole, price('claude-sonnet-4-6'), catalogue).lines
  assert.deepEqual(
    lines.map((line) => [line.class, formatUsd(line.costPicoUsd, 3)]),
    [
      ['input', '$7.500'],
      ['cache_write_5m', '$0.019'],
      ['cache_read', '$1.499'],
      ['output', '$7.500'],
    ],
  )
})

// The formula of claude-api.md 3.15 written out a second time, in rational arithmetic over the published dollars.
function formula(
  u: Usage,
  usd: { in: bigint; out: bigint; readPerMille: bigint },
): { num: bigint; den: bigint } {
  // Dollars ×1000 per million tokens stay whole for every price in use; the denominator carries the rest.
  const thousandths =
    1_000n * (BigInt(u.inputTokens) * usd.in + BigInt(u.outputTokens) * usd.out) +
    1_250n * BigInt(u.cacheWrite5mTokens) * usd.in +
    2_000n * BigInt(u.cacheWrite1hTokens) * usd.in +
    usd.readPerMille * BigInt(u.cacheReadTokens) * usd.in
  let num = thousandths
  let den = 1_000n
  if (u.serviceTier === 'batch') den *= 2n
  if (u.inferenceGeo === 'us') {
    num *= 11n
    den *= 10n
  }
  return { num, den }
}

const anyUsage = fc.record({
  inputTokens: fc.nat(2_000_000),
  cacheWrite5mTokens: fc.nat(2_000_000),
  cacheWrite1hTokens: fc.nat(2_000_000),
  cacheReadTokens: fc.nat(2_000_000),
  outputTokens: fc.nat(300_000),
  webSearchRequests: fc.nat(50),
  serviceTier: fc.constantFrom('standard', 'priority', 'batch'),
  inferenceGeo: fc.constantFrom(null, 'global', 'us'),
  speed: fc.constant('standard'),
}) as fc.Arbitrary<Usage>

test('any usage costs what the formula of claude-api.md 3.15 gives, to the last picodollar', () => {
  const models = [
    { name: 'claude-sonnet-4-6', usd: { in: 3n, out: 15n, readPerMille: 100n } },
    { name: 'claude-opus-5-5', usd: { in: 4n, out: 20n, readPerMille: 50n } },
    { name: 'claude-fable-5-1', usd: { in: 10n, out: 50n, readPerMille: 25n } },
  ]
  fc.assert(
    fc.property(anyUsage, fc.constantFrom(...models), (u, { name, usd }) => {
      const { num, den } = formula(u, usd)
      // Dollars per million tokens are picodollars ×10⁶ per token; a search costs a cent.
      const expected = (num * 1_000_000n) / den + BigInt(u.webSearchRequests) * 10_000_000_000n
      assert.equal((num * 1_000_000n) % den, 0n)
      const cost = costOf(u, price(name), catalogue)
      assert.equal(cost.totalPicoUsd, expected)
      assert.equal(
        cost.lines.reduce((sum, line) => sum + line.costPicoUsd, 0n),
        expected,
      )
    }),
  )
})

test('the whole prompt, cached tokens included, decides the band of Haiku 5.5, and output follows it', () => {
  const at = (tokens: Partial<Usage>) =>
    costOf(usage(tokens), price('claude-haiku-5-5'), catalogue).totalPicoUsd
  const parts = {
    inputTokens: 20_000,
    cacheReadTokens: 50_000,
    cacheWrite1hTokens: 30_000,
    outputTokens: 1_000,
  }
  const small = at(parts)
  const large = at({ ...parts, inputTokens: 20_001 })
  // 20k × 0.10 + 50k × 0.01 + 30k × 0.20 + 1k × 0.50 dollars per million.
  assert.equal(small, 2_000_000_000n + 500_000_000n + 6_000_000_000n + 500_000_000n)
  assert.equal(large, small * 5n + 500_000n)
})

test('fast mode has its own rates where the model has it and the normal ones where it is ignored', () => {
  const tokens = usage({ inputTokens: 1_000_000, outputTokens: 1_000_000, speed: 'fast' })
  assert.equal(formatUsd(costOf(tokens, price('claude-opus-5-5'), catalogue).totalPicoUsd), '$48.00')
  assert.equal(formatUsd(costOf(tokens, price('claude-opus-5'), catalogue).totalPicoUsd), '$60.00')
  assert.equal(formatUsd(costOf(tokens, price('claude-opus-4-6'), catalogue).totalPicoUsd), '$30.00')
})

test('a web search costs a cent, in a batch and in the United States too', () => {
  const searches = usage({ webSearchRequests: 3, serviceTier: 'batch', inferenceGeo: 'us' })
  assert.equal(formatUsd(costOf(searches, price('claude-opus-5'), catalogue).totalPicoUsd, 2), '$0.03')
})

test('realtime without a cache is the same tokens at input and output price', () => {
  fc.assert(
    fc.property(anyUsage, (u) => {
      const sonnet = price('claude-sonnet-5')
      const plain = usage({
        inputTokens: promptTokens(u),
        outputTokens: u.outputTokens,
        webSearchRequests: u.webSearchRequests,
        inferenceGeo: u.inferenceGeo,
      })
      assert.equal(realtimeCostOf(u, sonnet, catalogue), costOf(plain, sonnet, catalogue).totalPicoUsd)
    }),
  )
})

test('savings are a share of the realtime cost, negative when caching cost more', () => {
  assert.equal(savingsOf(16_520_000n, 60_000_000n), 0.724666666)
  assert.equal(savingsOf(45n, 30n), -0.5)
  assert.equal(savingsOf(0n, 0n), null)
  assert.equal(savingsOf(1n << 80n, 1n << 81n), 0.5)
})

test('no usage within its bounds costs more than the worst case', () => {
  fc.assert(
    fc.property(
      anyUsage,
      fc.constantFrom('claude-haiku-5-5', 'claude-sonnet-4-6', 'claude-fable-5-2'),
      (u, name) => {
        const bounds = {
          promptTokens: promptTokens(u),
          outputTokens: u.outputTokens,
          webSearches: u.webSearchRequests,
          serviceTier: u.serviceTier,
          speed: u.speed,
          inferenceGeo: u.inferenceGeo,
          markTtl: '1h',
        } as const
        const worst = worstCasePicoUsd(bounds, price(name), catalogue)
        assert.ok(costOf(u, price(name), catalogue).totalPicoUsd <= worst)
        const without1h = {
          ...u,
          cacheWrite1hTokens: 0,
          inputTokens: u.inputTokens + u.cacheWrite1hTokens,
        }
        const worst5m = worstCasePicoUsd({ ...bounds, markTtl: '5m' }, price(name), catalogue)
        assert.ok(costOf(without1h, price(name), catalogue).totalPicoUsd <= worst5m && worst5m <= worst)
        const unmarked = usage({
          ...u,
          inputTokens: bounds.promptTokens,
          cacheWrite5mTokens: 0,
          cacheWrite1hTokens: 0,
          cacheReadTokens: 0,
        })
        assert.equal(
          worstCasePicoUsd({ ...bounds, markTtl: null }, price(name), catalogue),
          costOf(unmarked, price(name), catalogue).totalPicoUsd,
        )
      },
    ),
  )
})
