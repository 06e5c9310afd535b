import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { scoreAnswer } from './expect.ts'
import type { Json } from './json.ts'

const text = (value: string) => ({ text: value, json: undefined })
const json = (value: Json) => ({ text: JSON.stringify(value), json: value })

test('an exact answer may have white space around it and nothing else', () => {
  assert.equal(scoreAnswer('card_arrival', { match: 'exact' }, text(' card_arrival\n')), 1)
  assert.equal(scoreAnswer('card_arrival', { match: 'exact' }, text('Card_arrival')), 0)
  assert.equal(scoreAnswer('card_arrival', { match: 'exact' }, text('card_arrival.')), 0)
})

test('plain numbers are compared by value, codes with leading zeros are not', () => {
  assert.equal(scoreAnswer('18', { match: 'exact' }, text('18.0')), 1)
  assert.equal(scoreAnswer(18, { match: 'exact' }, text('18')), 1)
  assert.equal(scoreAnswer('007', { match: 'exact' }, text('7')), 0)
})

test('a field of a JSON answer is compared instead of the whole', () => {
  assert.equal(
    scoreAnswer('refund', { match: 'exact', field: 'intent' }, json({ intent: 'refund', sure: 1 })),
    1,
  )
  assert.equal(scoreAnswer('refund', { match: 'exact', field: 'label' }, json({ intent: 'refund' })), 0)
  assert.equal(scoreAnswer('refund', { match: 'exact', field: 'intent' }, text('refund')), 0)
})

test('JSON is equal whatever the order of its keys', () => {
  assert.equal(
    scoreAnswer({ a: 1, b: [1, { c: null }] }, { match: 'json' }, json({ b: [1, { c: null }], a: 1 })),
    1,
  )
  assert.equal(scoreAnswer({ a: [1, 2] }, { match: 'json' }, json({ a: [2, 1] })), 0)
  assert.equal(scoreAnswer({ a: 1 }, { match: 'json' }, json({ a: 1, b: 2 })), 0)
  assert.equal(scoreAnswer({ a: 1 }, { match: 'json' }, text('not JSON')), 0)
})

test('fields counts the share of expected keys that are equal', () => {
  const expected = { vendor: 'Acme', total: 12.5, date: '2026-01-01', currency: 'EUR' }
  const answer = json({ currency: 'EUR', total: 12.5, vendor: 'ACME', date: '2026-01-01', extra: true })
  assert.equal(scoreAnswer(expected, { match: 'fields' }, answer), 0.75)
  assert.equal(scoreAnswer(expected, { match: 'fields' }, text('no')), 0)
})

test('a missing key is not equal to an expected null', () => {
  assert.equal(scoreAnswer({ vat: null }, { match: 'fields' }, json({})), 0)
})

test('every JSON value is the right answer to itself', () => {
  fc.assert(
    fc.property(
      fc.jsonValue(),
      fc.constantFrom('exact' as const, 'json' as const, 'fields' as const),
      (value, match) => {
        const expected = JSON.parse(JSON.stringify(value)) as Json
        const written =
          typeof expected === 'string' && match === 'exact' ? expected : JSON.stringify(expected)
        assert.equal(scoreAnswer(expected, { match }, { text: written, json: expected }), 1)
      },
    ),
  )
})
