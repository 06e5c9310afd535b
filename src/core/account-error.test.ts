import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadAccountErrors } from '../facts/account-errors.ts'
import { accountTrouble } from './account-error.ts'

const known = loadAccountErrors()
const LIMIT =
  'You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.'

test('what stops a run is of the key, the account or its spend limit; what passes or is of the row is not', () => {
  const table: readonly (readonly [string | null, string, string | null, string | null])[] = [
    ['authentication_error', 'invalid x-api-key', null, 'mend the API key'],
    ['billing_error', 'Your credit balance is too low', null, "mend the account's billing"],
    ['permission_error', 'not allowed', null, 'give the key the permission that it lacks'],
    ['invalid_request_error', LIMIT, null, 'raise the spend limit, or wait until it is lifted'],
    [
      'rate_limit_error',
      'spend cap',
      'enforced_spend_limit_reached',
      'raise the spend limit, or wait until it is lifted',
    ],
    ['rate_limit_error', 'This request would exceed your rate limit', null, null],
    ['invalid_request_error', 'messages: Field required', null, null],
    ['invalid_request_error', `a prompt that says: ${LIMIT}`, null, null],
    ['overloaded_error', 'Overloaded', null, null],
    ['constructor', '', null, null],
    [null, '', null, null],
  ]
  for (const [type, message, code, mend] of table) {
    assert.equal(accountTrouble({ type, message, code }, known)?.mend ?? null, mend, `${type} ${message}`)
  }
})
