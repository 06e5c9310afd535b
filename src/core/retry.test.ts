import assert from 'node:assert/strict'
import { test } from 'node:test'
import { instant, MINUTE_MS } from './instant.ts'
import { retryDecision } from './retry.ts'
import type { Outcome } from './rows.ts'

const NOW = instant(0)
const decided = (outcome: Outcome, errorType: string | null, attempts = 1, maxAttempts = 3) => {
  const decision = retryDecision({ outcome, errorType }, attempts, maxAttempts, NOW)
  return decision.kind === 'done' ? 'done' : decision.notBefore
}

test('every outcome and error type is either the end or a wait before the next attempt', () => {
  const table: readonly (readonly [Outcome, string | null, number | 'done'])[] = [
    ['succeeded', null, 'done'],
    ['canceled', null, 'done'],
    ['invalid', null, 'done'],
    ['expired', null, 0],
    ['errored', 'invalid_request_error', 'done'],
    ['errored', 'not_found_error', 'done'],
    ['errored', 'authentication_error', 'done'],
    ['errored', 'permission_error', 'done'],
    ['errored', 'billing_error', 'done'],
    ['errored', 'request_too_large', 'done'],
    ['errored', 'rate_limit_error', 2 * MINUTE_MS],
    ['errored', 'overloaded_error', MINUTE_MS],
    ['errored', 'timeout_error', MINUTE_MS],
    ['errored', 'api_error', MINUTE_MS],
    ['errored', 'an_error_of_tomorrow', MINUTE_MS],
    ['errored', 'constructor', MINUTE_MS],
    ['errored', null, MINUTE_MS],
  ]
  for (const [outcome, type, expected] of table)
    assert.equal(decided(outcome, type), expected, `${outcome} ${type}`)
})

test('waits double with each attempt, up to an hour', () => {
  const waits = [1, 2, 3, 6, 7, 8, 2_000].map((attempts) => decided('errored', 'api_error', attempts, 10_000))
  assert.deepEqual(
    waits,
    [1, 2, 4, 32, 60, 60, 60].map((minutes) => minutes * MINUTE_MS),
  )
})

test('the last attempt decides the row, whatever it was', () => {
  for (const maxAttempts of [1, 2, 3]) {
    assert.equal(decided('expired', null, maxAttempts, maxAttempts), 'done')
    assert.equal(decided('errored', 'api_error', maxAttempts, maxAttempts), 'done')
    if (maxAttempts > 1)
      assert.notEqual(decided('errored', 'api_error', maxAttempts - 1, maxAttempts), 'done')
  }
})
