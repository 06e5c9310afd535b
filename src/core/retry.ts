import { type Instant, MINUTE_MS, plusMs } from './instant.ts'
import type { Outcome } from './rows.ts'

interface RetryRule {
  readonly retry: boolean
  /** Before the first further attempt; doubles with each one, up to `RETRY_WAIT_MAX_MS`. */
  readonly waitMs: number
  readonly because: string
}

const RETRY_WAIT_MAX_MS = 60 * MINUTE_MS

/** What a row's error in a batch means for another attempt in a later batch (claude-api.md 2.6, 6.1). */
const RETRY_BY_ERROR_TYPE: ReadonlyMap<string, RetryRule> = new Map([
  ['invalid_request_error', { retry: false, waitMs: 0, because: 'the same request would be refused again' }],
  ['not_found_error', { retry: false, waitMs: 0, because: 'the model or file does not exist' }],
  ['authentication_error', { retry: false, waitMs: 0, because: 'the key must be mended first' }],
  ['permission_error', { retry: false, waitMs: 0, because: 'the key may not do this' }],
  ['billing_error', { retry: false, waitMs: 0, because: 'the account must be mended first' }],
  ['request_too_large', { retry: false, waitMs: 0, because: 'the same request would be too large again' }],
  ['rate_limit_error', { retry: true, waitMs: 2 * MINUTE_MS, because: 'the limit refills with time' }],
  ['overloaded_error', { retry: true, waitMs: MINUTE_MS, because: 'the service was overloaded' }],
  ['timeout_error', { retry: true, waitMs: MINUTE_MS, because: 'the request took too long once' }],
  ['api_error', { retry: true, waitMs: MINUTE_MS, because: "an error on the service's side" }],
])

/** A type that we have not heard of may pass: new types may appear (claude-api.md 6.1). */
const UNKNOWN_ERROR: RetryRule = {
  retry: true,
  waitMs: MINUTE_MS,
  because: 'an error type that we do not know',
}
const EXPIRED: RetryRule = { retry: true, waitMs: 0, because: 'the batch ran out of time before this row' }

export type RetryDecision =
  | { readonly kind: 'done'; readonly because: string }
  | { readonly kind: 'retry'; readonly notBefore: Instant; readonly because: string }

/** Whether an attempt decides its row or the row goes into a later batch. Errored and expired rows are not billed. */
export function retryDecision(
  failure: { readonly outcome: Outcome; readonly errorType: string | null },
  attempts: number,
  maxAttempts: number,
  now: Instant,
): RetryDecision {
  const rule =
    failure.outcome === 'expired'
      ? EXPIRED
      : failure.outcome === 'errored'
        ? (RETRY_BY_ERROR_TYPE.get(failure.errorType ?? '') ?? UNKNOWN_ERROR)
        : null
  if (rule === null) return { kind: 'done', because: `the row is ${failure.outcome}` }
  if (!rule.retry) return { kind: 'done', because: rule.because }
  if (attempts >= maxAttempts) {
    return { kind: 'done', because: `${rule.because}; ${attempts} of ${maxAttempts} attempts are used` }
  }
  const waitMs = Math.min(rule.waitMs * 2 ** (attempts - 1), RETRY_WAIT_MAX_MS)
  return { kind: 'retry', notBefore: plusMs(now, waitMs), because: rule.because }
}
