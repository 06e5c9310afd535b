import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalogue } from '../facts/load.ts'
import { withContractPrices } from './contract-prices.ts'
import { parseTimestamp } from './instant.ts'
import { MODEL_COLUMNS, modelRows, modelsJson } from './models-json.ts'

const catalogue = loadCatalogue()
const json = JSON.parse(JSON.stringify(modelsJson(catalogue)))
const model = (id: string) => json.models.find((one: { id: string }) => one.id === id)
const table = (date: string, all: boolean) => modelRows(catalogue, parseTimestamp(date)!, all)

test('every model stands in the JSON with prices by class and band, minimums by date, tokenizer, retirement, source', () => {
  assert.equal(Object.keys(json)[0], 'schema')
  assert.equal(json.schema, 'tithe.models/1')
  assert.equal(json.price_book, catalogue.version)
  assert.equal(json.models.length, catalogue.models.length)
  for (const one of json.models) {
    assert.ok(one.source && one.checked && one.sure, one.id)
    assert.ok(
      one.minimum_cacheable.every((fact: { source: string }) => fact.source),
      one.id,
    )
    assert.ok(
      one.prices.every((price: { source: string }) => price.source),
      one.id,
    )
  }
  assert.deepEqual(model('claude-haiku-5-5').prices[0].bands, [
    {
      prompt_tokens_max: 100_000,
      usd_per_million_tokens: {
        input: 0.1,
        cache_write_5m: 0.125,
        cache_write_1h: 0.2,
        cache_read: 0.01,
        output: 0.5,
      },
    },
    {
      prompt_tokens_max: null,
      usd_per_million_tokens: {
        input: 0.5,
        cache_write_5m: 0.625,
        cache_write_1h: 1,
        cache_read: 0.05,
        output: 2.5,
      },
    },
  ])
  assert.deepEqual(
    model('claude-sonnet-4-6').minimum_cacheable.map((fact: { tokens: number; from: string }) => [
      fact.tokens,
      fact.from,
    ]),
    [
      [2_048, '2026-02-17'],
      [1_024, '2026-05-29'],
    ],
  )
  assert.deepEqual(model('claude-sonnet-4-5-20250929').retires, { date: '2026-11-30', not_before: false })
  assert.equal(json.price_factors.batch, 0.5)
  assert.equal(json.price_factors.inference_geo_us, 1.1)
  assert.equal(json.web_search_usd, 0.01)
})

test('a model without a price has an empty list of prices', () => {
  assert.deepEqual(model('claude-3-opus-20240229').prices, [])
})

test('the keys are snake_case throughout', () => {
  assert.doesNotMatch(JSON.stringify(json), /"[a-z0-9_]+[A-Z]\w*":/)
})

test('contract rates are shown as such', () => {
  const contract = withContractPrices(catalogue, { 'claude-opus-5': { input: 4 } })
  const opus = modelsJson(contract).models.find(({ id }) => id === 'claude-opus-5')!
  assert.equal(opus.prices[0]!.contract, true)
  assert.equal(opus.prices[0]!.bands[0]!.usd_per_million_tokens.input, 4)
})

test('the table has a line for each band, and retired models only when asked for', () => {
  const rows = table('2026-11-22', false)
  assert.ok(rows.every((cells) => cells.length === MODEL_COLUMNS.length))
  const haiku = rows.findIndex(([name]) => name === 'claude-haiku-5-5')
  assert.deepEqual(rows[haiku]!.slice(0, 6), ['claude-haiku-5-5', '0.1', '0.5', '0.125', '0.2', '0.01'])
  assert.deepEqual(rows[haiku + 1]!.slice(0, 3), ['  prompts over 100,000', '0.5', '2.5'])
  const names = (date: string, all: boolean) => table(date, all).map(([name]) => name)
  assert.ok(names('2026-11-22', false).includes('claude-sonnet-4-5-20250929'))
  assert.ok(!names('2026-11-30', false).includes('claude-sonnet-4-5-20250929'))
  assert.ok(names('2026-11-30', true).includes('claude-sonnet-4-5-20250929'))
  assert.ok(!names('2026-11-22', false).includes('claude-3-opus-20240229'))
  assert.equal(table('2026-11-22', true).find(([name]) => name === 'claude-3-opus-20240229')![1], 'unpriced')
})

test('the table shows what is in force on its day', () => {
  const read = (date: string) => table(date, false).find(([name]) => name === 'claude-sonnet-5-5')![5]
  assert.deepEqual([read('2026-10-01'), read('2026-11-22')], ['0.2', '0.1'])
})
