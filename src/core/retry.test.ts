import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadAccountErrors } from '../facts/account-errors.ts'
import { instant, MINUTE_MS } from './instant.ts'
import { type AttemptSeen, CONTINUATIONS_MAX, nextAttempt, type RetryTerms, type RowSent } from './retry.ts'
import type { Outcome, RowRevision } from './rows.ts'

const NOW = instant(0)
const TERMS: RetryTerms = {
  maxAttempts: 3,
  onTruncated: 'keep',
  onRefused: 'keep',
  onSchemaInvalid: 'keep',
  accountErrors: loadAccountErrors(),
  closing: false,
}
const SEEN: AttemptSeen = {
  outcome: 'succeeded',
  stopReason: 'end_turn',
  errorType: null,
  errorMessage: null,
  errorCode: null,
  schemaValid: null,
}
const SENT: RowSent = {
  submission: 4,
  attempts: 1,
  maxTokens: 500,
  revision: null,
  outputTokensMax: 64_000,
  cannotContinue: null,
}

const next = (seen: Partial<AttemptSeen>, sent: Partial<RowSent> = {}, terms: Partial<RetryTerms> = {}) =>
  nextAttempt({ ...SEEN, ...seen }, { ...SENT, ...sent }, { ...TERMS, ...terms }, NOW)

const decided = (outcome: Outcome, errorType: string | null, attempts = 1, maxAttempts = 3) => {
  const decision = next({ outcome, errorType, stopReason: null }, { attempts }, { maxAttempts })
  return decision.kind === 'again' ? decision.notBefore : decision.kind
}
const revisionOf = (...of: Parameters<typeof next>): RowRevision | null | string => {
  const decision = next(...of)
  return decision.kind === 'again' ? decision.revision : decision.kind
}

test('every outcome and error type is the end, a wait before the next attempt, or a stop for a human', () => {
  const table: readonly (readonly [Outcome, string | null, number | null | 'done' | 'stop'])[] = [
    ['succeeded', null, 'done'],
    ['canceled', null, 'done'],
    ['invalid', null, 'done'],
    ['expired', null, null],
    ['errored', 'invalid_request_error', 'done'],
    ['errored', 'not_found_error', 'done'],
    ['errored', 'authentication_error', 'stop'],
    ['errored', 'permission_error', 'stop'],
    ['errored', 'billing_error', 'stop'],
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

test('a row that met an error of the account waits however often it was sent, unless the error may be its own', () => {
  assert.equal(decided('errored', 'billing_error', 9), 'stop')
  assert.equal(decided('errored', 'permission_error', 3), 'done')
  const errorMessage = 'You have reached your specified API usage limits. You will regain access later.'
  const limit = next({ outcome: 'errored', errorType: 'invalid_request_error', errorMessage })
  assert.deepEqual(limit, {
    kind: 'stop',
    revision: null,
    mend: 'raise the spend limit, or wait until it is lifted',
  })
})

test('unusable answers are kept unless the job says otherwise, each policy for its own kind', () => {
  const flaws = [
    [{ stopReason: 'max_tokens', schemaValid: false }, 'onTruncated'],
    [{ stopReason: 'refusal', schemaValid: false }, 'onRefused'],
    [{ schemaValid: false }, 'onSchemaInvalid'],
  ] as const
  for (const [seen, own] of flaws) {
    for (const policy of ['onTruncated', 'onRefused', 'onSchemaInvalid'] as const) {
      const { kind } = next(seen, {}, { [policy]: 'retry' })
      assert.equal(kind, policy === own ? 'again' : 'done', `${JSON.stringify(seen)} under ${policy}`)
    }
    assert.equal(next(seen, { attempts: 3 }, { [own]: 'retry' }).kind, 'done')
  }
})

test('a cut answer gets twice the room of the last time, never more than the model has', () => {
  const cut = { stopReason: 'max_tokens' }
  const retry = { onTruncated: 'retry' } as const
  const revised = (maxTokens: number) => ({ maxTokens, continues: [1] })
  assert.deepEqual(revisionOf(cut, {}, retry), { maxTokens: 1_000, continues: [] })
  assert.deepEqual(revisionOf(cut, { revision: revised(1_000) }, retry), revised(2_000))
  assert.deepEqual(revisionOf(cut, { revision: revised(40_000) }, retry), revised(64_000))
  assert.equal(revisionOf(cut, { revision: revised(64_000) }, retry), 'done')
  assert.deepEqual(revisionOf(cut, { outputTokensMax: null, maxTokens: 90_000 }, retry), {
    maxTokens: 180_000,
    continues: [],
  })
  assert.equal(revisionOf({ stopReason: 'model_context_window_exceeded' }, {}, retry), 'done')
})

test('a pause is continued with all that was found before, beyond max_attempts, and not without end', () => {
  const paused = { stopReason: 'pause_turn', schemaValid: false }
  assert.deepEqual(revisionOf(paused, { attempts: 3 }), { maxTokens: null, continues: [4] })
  const before = { maxTokens: 1_000, continues: [1, 3] }
  assert.deepEqual(revisionOf(paused, { attempts: 9, revision: before }), {
    maxTokens: 1_000,
    continues: [1, 3, 4],
  })
  const most = { maxTokens: null, continues: Array.from({ length: CONTINUATIONS_MAX }, (_, i) => i + 1) }
  assert.deepEqual(next(paused, { revision: most }), {
    kind: 'done',
    because: 'paused in a server tool: it was continued 10 times, the most',
    unfinished: true,
  })
  const large = next(paused, { cannotContinue: 'it would be larger than a batch' })
  assert.ok(large.kind === 'done' && large.unfinished)
})

test('an error after a pause is sent again with what was found before the pause, and pauses use up no attempts', () => {
  const revision = { maxTokens: null, continues: [1, 2, 3] }
  const error = { outcome: 'errored', errorType: 'api_error', stopReason: null } as const
  assert.deepEqual(revisionOf(error, { attempts: 4, revision }), revision)
  assert.equal(next(error, { attempts: 6, revision }).kind, 'done')
})

test('whatever happens to a row, it is sent at most max_attempts times beside its continuations', () => {
  const ends = fc.constantFrom<Partial<AttemptSeen>>(
    { stopReason: 'max_tokens' },
    { stopReason: 'refusal' },
    { stopReason: 'pause_turn' },
    { schemaValid: false },
    { outcome: 'errored', errorType: 'api_error', stopReason: null },
    { outcome: 'expired', stopReason: null },
    {},
  )
  const policy = fc.constantFrom('keep' as const, 'retry' as const)
  const terms = fc.record({
    maxAttempts: fc.integer({ min: 1, max: 5 }),
    onTruncated: policy,
    onRefused: policy,
    onSchemaInvalid: policy,
  })
  fc.assert(
    fc.property(terms, fc.array(ends, { minLength: 20, maxLength: 20 }), (policies, fates) => {
      let revision: RowRevision | null = null
      for (const [index, fate] of fates.entries()) {
        const attempts = index + 1
        const decision = next(fate, { submission: attempts, attempts, revision }, policies)
        if (decision.kind !== 'again') return
        revision = decision.revision
        const continued: number = revision?.continues.length ?? 0
        assert.ok(attempts - continued < policies.maxAttempts || fate.stopReason === 'pause_turn')
        assert.ok(continued <= CONTINUATIONS_MAX)
        assert.ok((revision?.maxTokens ?? 0) <= 64_000)
      }
      assert.fail('twenty attempts are more than any policy allows')
    }),
  )
})
