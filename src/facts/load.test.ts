import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Instant, parseTimestamp } from '../core/instant.ts'
import {
  findModel,
  type Model,
  minimumCacheableTokens,
  minuteLimitsOf,
  priceAt,
  type Rates,
} from '../core/models.ts'
import { loadCatalogue, ratePicoUsd } from './load.ts'

const catalogue = loadCatalogue()
const at = (text: string): Instant => parseTimestamp(text)!
const TODAY = at('2026-11-22')

function model(name: string): Model {
  const found = findModel(catalogue, name)
  assert.ok(found, name)
  return found
}

function dollars(rates: Rates): number[] {
  return [rates.input, rates.output, rates.write5m, rates.write1h, rates.read].map(
    (rate) => Number(rate) / 1e6,
  )
}

// claude-api.md 4.3, typed again by hand: id, in, out, 5m write, 1h write, read, context, max output, minimum, tokenizer.
const PUBLISHED: [string, number, number, number, number, number, number, number, number, 'old' | 'new'][] = [
  ['claude-fable-5-2', 8, 40, 10, 16, 0.2, 1_000_000, 128_000, 512, 'new'],
  ['claude-mythos-5-2', 8, 40, 10, 16, 0.2, 1_000_000, 128_000, 512, 'new'],
  ['claude-fable-5-1', 10, 50, 12.5, 20, 0.25, 1_000_000, 128_000, 512, 'new'],
  ['claude-mythos-5-1', 10, 50, 12.5, 20, 0.25, 1_000_000, 128_000, 512, 'new'],
  ['claude-fable-5', 10, 50, 12.5, 20, 1, 1_000_000, 128_000, 512, 'new'],
  ['claude-mythos-5', 10, 50, 12.5, 20, 1, 1_000_000, 128_000, 512, 'new'],
  ['claude-opus-5-5', 4, 20, 5, 8, 0.2, 1_000_000, 128_000, 512, 'new'],
  ['claude-opus-5', 5, 25, 6.25, 10, 0.5, 1_000_000, 128_000, 512, 'new'],
  ['claude-opus-4-8', 5, 25, 6.25, 10, 0.5, 1_000_000, 128_000, 1_024, 'new'],
  ['claude-opus-4-7', 5, 25, 6.25, 10, 0.5, 1_000_000, 128_000, 2_048, 'new'],
  ['claude-opus-4-6', 5, 25, 6.25, 10, 0.5, 1_000_000, 128_000, 4_096, 'old'],
  ['claude-opus-4-5-20251101', 5, 25, 6.25, 10, 0.5, 200_000, 64_000, 4_096, 'old'],
  ['claude-sonnet-5-5', 2, 10, 2.5, 4, 0.1, 1_000_000, 128_000, 512, 'new'],
  ['claude-sonnet-5', 2, 10, 2.5, 4, 0.2, 1_000_000, 128_000, 1_024, 'new'],
  ['claude-sonnet-4-6', 3, 15, 3.75, 6, 0.3, 1_000_000, 128_000, 1_024, 'old'],
  ['claude-sonnet-4-5-20250929', 3, 15, 3.75, 6, 0.3, 200_000, 64_000, 1_024, 'old'],
  ['claude-haiku-5-5', 0.1, 0.5, 0.125, 0.2, 0.01, 1_000_000, 128_000, 512, 'new'],
  ['claude-haiku-4-5-20251001', 1, 5, 1.25, 2, 0.1, 200_000, 64_000, 4_096, 'old'],
]

for (const [id, input, output, write5m, write1h, read, context, outputMax, minimum, tokenizer] of PUBLISHED) {
  test(`${id} has the figures of claude-api.md 4.3`, () => {
    const found = model(id)
    const price = priceAt(found, TODAY)
    assert.ok(price)
    assert.deepEqual(dollars(price.bands[0]!.rates), [input, output, write5m, write1h, read])
    assert.equal(found.contextTokens, context)
    assert.equal(found.outputTokensMax, outputMax)
    assert.equal(minimumCacheableTokens(found, TODAY), minimum)
    assert.equal(found.tokenizer, tokenizer)
  })
}

test('every model that is neither retired nor a preview is in the table above, and the other way round', () => {
  const current = catalogue.models.filter(({ status }) => status !== 'retired').map(({ id }) => id)
  assert.deepEqual(current.toSorted(), [...PUBLISHED.map(([id]) => id), 'claude-mythos-preview'].toSorted())
})

test('Haiku 5.5 costs five times as much in every class above 100,000 prompt tokens; no other model has bands', () => {
  const price = priceAt(model('claude-haiku-5-5'), TODAY)!
  assert.deepEqual(
    price.bands.map(({ promptTokensMax }) => promptTokensMax),
    [100_000, null],
  )
  assert.deepEqual(dollars(price.bands[1]!.rates), [0.5, 2.5, 0.625, 1, 0.05])
  for (const { id, prices } of catalogue.models) {
    for (const { bands } of prices) assert.equal(bands.length, id === 'claude-haiku-5-5' ? 2 : 1, id)
  }
})

test('a read of Sonnet 5.5 cost 0.20 dollars until 2026-10-07 and costs 0.10 since', () => {
  const sonnet = model('claude-sonnet-5-5')
  const readAt = (text: string) => Number(priceAt(sonnet, at(text))!.bands[0]!.rates.read) / 1e6
  assert.equal(readAt('2026-10-06T23:59:59Z'), 0.2)
  assert.equal(readAt('2026-10-07'), 0.1)
})

test('the minimum of Sonnet 4.6 was 2,048 tokens until it was 1,024', () => {
  const sonnet = model('claude-sonnet-4-6')
  assert.equal(minimumCacheableTokens(sonnet, at('2026-03-15')), 2_048)
  assert.equal(minimumCacheableTokens(sonnet, at('2026-05-29')), 1_024)
})

test('writes cost 1.25 and 2 times the input, reads a tenth or the fraction of claude-api.md 3.5', () => {
  for (const { id, prices } of catalogue.models) {
    for (const { bands, fast, from } of prices) {
      for (const rates of [...bands.map((band) => band.rates), ...(fast ? [fast] : [])]) {
        assert.equal(rates.write5m * 4n, rates.input * 5n, id)
        assert.equal(rates.write1h, rates.input * 2n, id)
        const fortieth = /-5-[12]$/.test(id) && /fable|mythos/.test(id)
        const twentieth = id === 'claude-opus-5-5' || (id === 'claude-sonnet-5-5' && from === '2026-10-07')
        assert.equal(
          rates.read * (fortieth ? 40n : twentieth ? 20n : 10n),
          rates.input,
          `${id} since ${from}`,
        )
      }
    }
  }
})

test('fast mode has the prices of claude-api.md 3.13, and only where the model supports it', () => {
  const fast = (id: string) => priceAt(model(id), TODAY)!.fast
  for (const [id, input, output] of [
    ['claude-opus-5-5', 8, 40],
    ['claude-opus-5', 10, 50],
    ['claude-opus-4-8', 10, 50],
  ] as const) {
    assert.deepEqual(dollars(fast(id)!).slice(0, 2), [input, output])
  }
  for (const { id, prices, parameters } of catalogue.models) {
    for (const price of prices) assert.equal(price.fast !== null, parameters.fastMode === 'supported', id)
  }
})

test('retired models have the dates and historic prices of claude-api.md 4, and no price where it has none', () => {
  const retired: [string, string, number[] | null][] = [
    ['claude-opus-4-1', '2026-08-05', [15, 75]],
    ['claude-opus-4-0', '2026-06-15', [15, 75]],
    ['claude-sonnet-4-0', '2026-06-15', [3, 15]],
    ['claude-3-5-haiku-latest', '2026-02-19', [0.8, 4]],
    ['claude-3-7-sonnet-latest', '2026-02-19', null],
    ['claude-3-haiku-20240307', '2026-04-20', null],
    ['claude-3-opus-latest', '2026-01-05', null],
    ['claude-3-5-sonnet-latest', '2025-10-28', null],
    ['claude-3-5-sonnet-20240620', '2025-10-28', null],
  ]
  for (const [name, date, price] of retired) {
    const found = model(name)
    assert.equal(found.status, 'retired', name)
    assert.deepEqual(found.retires, { date, notBefore: false }, name)
    const inForce = priceAt(found, TODAY)
    assert.deepEqual(inForce && dollars(inForce.bands[0]!.rates).slice(0, 2), price, name)
  }
  assert.deepEqual(model('claude-sonnet-4-5').retires, { date: '2026-11-30', notBefore: false })
  assert.deepEqual(model('claude-opus-4-5').retires, { date: '2026-11-24', notBefore: true })
})

test('every name means one model', () => {
  const names = catalogue.models.flatMap(({ id, aliases }) => [id, ...aliases])
  assert.equal(new Set(names).size, names.length)
  assert.equal(findModel(catalogue, 'claude-opus-5-20260723'), null)
})

test('the hidden prompt of tools has the sizes of claude-api.md 5.2', () => {
  const sizes: [string, number, number | null][] = [
    ['claude-opus-5-5', 286, null],
    ['claude-sonnet-5-5', 286, null],
    ['claude-opus-5', 286, 406],
    ['claude-haiku-5-5', 286, 406],
    ['claude-opus-4-8', 290, 410],
    ['claude-opus-4-7', 675, 804],
    ['claude-opus-4-6', 497, 589],
    ['claude-sonnet-4-6', 497, 589],
    ['claude-opus-4-5', 496, 588],
    ['claude-sonnet-4-5', 496, 588],
    ['claude-haiku-4-5', 496, 588],
    ['claude-sonnet-5', 354, 474],
    ['claude-opus-4-1', 313, 315],
    ['claude-opus-4-0', 313, 315],
    ['claude-sonnet-4-0', 313, 315],
    ['claude-3-5-haiku-latest', 264, 355],
  ]
  for (const [name, auto, forced] of sizes)
    assert.deepEqual(model(name).toolPromptTokens, { auto, forced }, name)
  assert.equal(model('claude-fable-5-2').toolPromptTokens, null)
})

test('a forced tool choice has a hidden prompt exactly where the model accepts one', () => {
  for (const { id, toolPromptTokens, parameters } of catalogue.models) {
    if (toolPromptTokens) assert.equal(toolPromptTokens.forced !== null, parameters.forcedToolChoice, id)
  }
})

test('the models before Opus 4.5 and Sonnet 4.6, and Haiku 4.5, drop the thinking of finished turns (claude-api.md 3.6)', () => {
  const drops = catalogue.models.filter(({ parameters }) => parameters.dropsOldThinking).map(({ id }) => id)
  assert.deepEqual(drops.toSorted(), [
    'claude-3-5-haiku-20241022',
    'claude-3-5-sonnet-20240620',
    'claude-3-5-sonnet-20241022',
    'claude-3-7-sonnet-20250219',
    'claude-3-haiku-20240307',
    'claude-3-opus-20240229',
    'claude-haiku-4-5-20251001',
    'claude-opus-4-1-20250805',
    'claude-opus-4-20250514',
    'claude-sonnet-4-20250514',
    'claude-sonnet-4-5-20250929',
  ])
})

test('version 2026-10-21 takes away the three things of claude-api.md 1.1, the one before it nothing', () => {
  assert.deepEqual(
    catalogue.rules.apiVersions.map(({ id, ...takes }) => [id, Object.values(takes)]),
    [
      ['2023-06-01', [false, false, false]],
      ['2026-10-21', [true, true, true]],
    ],
  )
})

test('the tiers have the limits of claude-api.md 2.9 and 6.4', () => {
  const { tiers } = catalogue.rules
  assert.deepEqual(
    (['start', 'build', 'scale'] as const).map((name) => [
      tiers[name].batchRequestsPerMinute,
      tiers[name].queuedRowsMax,
      tiers[name].requestsPerMinute,
      tiers[name].inputTokensPerMinute,
      tiers[name].outputTokensPerMinute,
    ]),
    [
      [1_000, 200_000, 1_000, 2_000_000, 400_000],
      [2_000, 300_000, 5_000, 5_000_000, 1_000_000],
      [4_000, 500_000, 10_000, 10_000_000, 2_000_000],
    ],
  )
  assert.deepEqual(minuteLimitsOf(catalogue.rules, 'build', model('claude-fable-5-2')), {
    requestsPerMinute: 2_000,
    inputTokensPerMinute: 1_500_000,
    outputTokensPerMinute: 300_000,
  })
  assert.equal(
    minuteLimitsOf(catalogue.rules, 'build', model('claude-opus-5')).inputTokensPerMinute,
    5_000_000,
  )
})

test('the recorded batch latencies are those that their source describes', () => {
  const latencies = catalogue.rules.batchLatencyMs
  assert.equal(latencies.length, 52)
  assert.deepEqual(
    latencies,
    latencies.toSorted((a, b) => a - b),
  )
  assert.equal(Math.round((latencies[25]! + latencies[26]!) / 2_000), 49)
  assert.equal(latencies.filter((ms) => ms > 5 * 60_000).length, 7)
  assert.deepEqual(
    latencies.slice(-4).map((ms) => Math.round(ms / 60_000)),
    [91, 114, 117, 157],
  )
})

test('the version changes with the content and the catalogue is read once', () => {
  assert.match(catalogue.version, /^\d{4}-\d{2}-\d{2}\.[0-9a-f]{12}$/)
  assert.equal(loadCatalogue(), catalogue)
})

test('dollars per million tokens become picodollars per token without rounding', () => {
  assert.equal(ratePicoUsd(0.125), 125_000n)
  assert.equal(ratePicoUsd(0.01), 10_000n)
  assert.equal(ratePicoUsd(75), 75_000_000n)
  assert.throws(() => ratePicoUsd(0.0000001), /whole number/)
})
