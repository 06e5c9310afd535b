import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Check, Errors } from 'typebox/value'
import { FactFiles } from './facts-schema.ts'
import { factFiles } from './load.ts'

/** Paths of what the schema refuses after one change to the files. */
function refusals(change: (files: FactFiles) => void): string[] {
  const files = structuredClone(factFiles()) as FactFiles
  change(files)
  return [...Errors(FactFiles, files)].map((error) => error.instancePath)
}

test('the fact files have the shape that the loader relies on', () => {
  assert.deepEqual([...Errors(FactFiles, factFiles())], [])
  assert.ok(Check(FactFiles, factFiles()))
})

test('a fact without its source, its date or its day of checking is refused', () => {
  for (const key of ['source', 'from', 'checked', 'sure'] as const) {
    assert.deepEqual(
      refusals((files) => {
        delete (files.limits.batchRowsMax as Partial<FactFiles['limits']['batchRowsMax']>)[key]
      }),
      ['/limits/batchRowsMax'],
      key,
    )
  }
})

test('a wrong type, a misspelt key and an unknown word are refused where they stand', () => {
  assert.deepEqual(
    refusals((files) => {
      Object.assign(files.prices.prices[0]!.value.bands[0]!.rates, { input: '8' })
    }),
    ['/prices/prices/0/value/bands/0/rates/input'],
  )
  assert.deepEqual(
    refusals((files) => {
      Object.assign(files.models[0]!.value, { max_output: 1 })
    }),
    ['/models/0/value/max_output', '/models/0/value'],
  )
  assert.ok(
    refusals((files) => {
      Object.assign(files.parameters.parameters[0]!.value, { effortDefault: 'highest' })
    }).some((path) => path.startsWith('/parameters/parameters/0/value/effortDefault')),
  )
  assert.deepEqual(
    refusals((files) => {
      files.limits.batchRowsMax.from = 'last week'
    }),
    ['/limits/batchRowsMax/from'],
  )
})
