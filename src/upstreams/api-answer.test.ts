import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseApiError } from './api-answer.ts'

test('an error is read with the code in its details, where it has one', () => {
  const error = { type: 'rate_limit_error', message: 'capped' }
  assert.deepEqual(parseApiError(429, { type: 'error', error }), { status: 429, ...error })
  const details = { error_code: 'enforced_spend_limit_reached' }
  assert.deepEqual(parseApiError(429, { type: 'error', error: { ...error, details } }), {
    status: 429,
    ...error,
    code: 'enforced_spend_limit_reached',
  })
  for (const odd of [null, 'text', {}, { error_code: 7 }]) {
    assert.deepEqual(parseApiError(429, { error: { ...error, details: odd } }), { status: 429, ...error })
  }
  assert.equal(parseApiError(502, { message: 'bad gateway' }), null)
})
