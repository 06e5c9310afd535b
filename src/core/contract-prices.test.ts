import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalogue } from '../facts/load.ts'
import { type ContractPrices, withContractPrices } from './contract-prices.ts'
import { TitheError } from './errors.ts'
import { parseTimestamp } from './instant.ts'
import { findModel, priceAt } from './models.ts'

const catalogue = loadCatalogue()
const TODAY = parseTimestamp('2026-11-22')!
const rates = (name: string, contract: ContractPrices) =>
  priceAt(findModel(withContractPrices(catalogue, contract), name)!, TODAY)!

function refusal(contract: ContractPrices): TitheError {
  try {
    withContractPrices(catalogue, contract)
  } catch (error) {
    if (error instanceof TitheError) return error
    throw error
  }
  assert.fail('was accepted')
}

test('stated rates replace the published ones, and the cache classes left out follow the input', () => {
  const price = rates('claude-sonnet-4-6', { 'claude-sonnet-4-6': { input: 2.4, output: 12 } })
  assert.deepEqual(price.bands[0]!.rates, {
    input: 2_400_000n,
    write5m: 3_000_000n,
    write1h: 4_800_000n,
    read: 240_000n,
    output: 12_000_000n,
  })
  assert.equal(price.contract, true)
})

test('an alias names its model, and higher bands keep their proportion', () => {
  const price = rates('claude-haiku-5-5', { 'claude-haiku-5-5': { input: 0.08 } })
  assert.equal(price.bands[1]!.promptTokensMax, null)
  assert.equal(price.bands[1]!.rates.input, 400_000n)
  assert.equal(price.bands[1]!.rates.output, 2_500_000n)
  assert.equal(
    rates('claude-haiku-4-5-20251001', { 'claude-haiku-4-5': { read: 0.05 } }).bands[0]!.rates.read,
    50_000n,
  )
})

test('the version tells the contract apart from the published book and from another contract', () => {
  const contracts: ContractPrices[] = [
    {},
    { 'claude-opus-5': { input: 4 } },
    { 'claude-opus-5': { input: 3 } },
  ]
  const versions = contracts.map((contract) => withContractPrices(catalogue, contract).version)
  assert.equal(versions[0], catalogue.version)
  assert.equal(new Set(versions).size, 3)
  assert.equal(priceAt(findModel(catalogue, 'claude-opus-5')!, TODAY)!.bands[0]!.rates.input, 5_000_000n)
})

test('a model without published prices needs every class', () => {
  const error = refusal({ 'claude-3-haiku-20240307': { input: 0.25, output: 1.25 } })
  assert.equal(error.code, 'invalid_contract_price')
  assert.match(error.hint!, /write_5m/)
  const whole = { input: 0.25, output: 1.25, write_5m: 0.3, write_1h: 0.5, read: 0.03 }
  assert.equal(
    rates('claude-3-haiku-20240307', { 'claude-3-haiku-20240307': whole }).bands[0]!.rates.read,
    30_000n,
  )
})

test('a model of another server joins the catalogue with the rates that the job gives, all of them', () => {
  const whole = { input: 0.5, output: 1, write_5m: 0.5, write_1h: 0.5, read: 0.1 }
  const withRates = withContractPrices(catalogue, { llama: whole }, new Set(['llama']))
  assert.equal(priceAt(findModel(withRates, 'llama')!, TODAY)!.bands[0]!.rates.read, 100_000n)
  assert.equal(findModel(catalogue, 'llama'), null)
  assert.equal(refusal({ llama: whole }).problems[0]!.code, 'unknown_model')
  assert.throws(
    () => withContractPrices(catalogue, { llama: { input: 0.5, output: 1 } }, new Set(['llama'])),
    /every one/,
  )
})

test('an unknown model, a negative price and one finer than picodollars are all reported at once', () => {
  const error = refusal({
    'claude-sonet-5': { input: 1 },
    'claude-opus-5': { input: -1, read: 0.000001 },
  })
  assert.deepEqual(
    error.problems.map(({ where }) => where?.path),
    ['prices.claude-sonet-5', 'prices.claude-opus-5.input', 'prices.claude-opus-5.read'],
  )
  assert.equal(error.hint, 'did you mean claude-sonnet-5?')
})

test('a rate whose derived classes would need rounding asks for them', () => {
  assert.match(refusal({ 'claude-opus-5': { input: 0.00002 } }).message, /no exact counterpart/)
})
