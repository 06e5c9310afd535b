import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalogue } from '../facts/load.ts'
import { checkModel } from './check-model.ts'
import { parseTimestamp } from './instant.ts'

const catalogue = loadCatalogue()
const check = (name: string, date = '2026-11-22', hasBudget = false) =>
  checkModel(catalogue, name, { at: parseTimestamp(date)!, hasBudget })
const codes = (...args: Parameters<typeof check>) =>
  check(...args).map(({ severity, code }) => `${severity} ${code}`)

test('a current model passes under its id and its alias', () => {
  assert.deepEqual(codes('claude-sonnet-4-6'), [])
  assert.deepEqual(codes('claude-fable-5-2'), [])
  assert.deepEqual(codes('claude-haiku-4-5', '2026-08-01'), [])
})

test('an unknown name is an error with the nearest current one', () => {
  const [found] = check('claude-sonet-4-6')
  assert.equal(found!.code, 'unknown_model')
  assert.match(found!.hint!, /claude-sonnet-4-6/)
  assert.match(check('gpt-9')[0]!.hint!, /tithe models/)
})

test('a retired model is an error with its day, and was none before it', () => {
  assert.match(check('claude-opus-4-1')[0]!.message, /retired on 2026-08-05/)
  assert.deepEqual(codes('claude-opus-4-1'), ['error retired_model'])
  assert.deepEqual(codes('claude-opus-4-1', '2026-08-04'), ['warning model_retires'])
})

test('a deprecated model warns with its day until that day', () => {
  assert.deepEqual(codes('claude-sonnet-4-5'), ['warning model_retires'])
  assert.match(check('claude-sonnet-4-5')[0]!.message, /2026-11-30/)
  assert.deepEqual(codes('claude-sonnet-4-5', '2026-11-30'), ['error retired_model'])
})

test('a model whose promised life is nearly or already over warns, one with a year to go does not', () => {
  assert.match(check('claude-opus-4-5')[0]!.message, /until 2026-11-24 only/)
  assert.deepEqual(codes('claude-haiku-4-5'), ['warning model_retires'])
  assert.deepEqual(codes('claude-opus-5'), [])
})

test('a model without a price warns, and is an error where a budget must hold', () => {
  assert.deepEqual(codes('claude-mythos-preview'), ['warning model_retires', 'warning unpriced_model'])
  assert.deepEqual(codes('claude-mythos-preview', '2026-11-22', true), [
    'warning model_retires',
    'error unpriced_model',
  ])
})
