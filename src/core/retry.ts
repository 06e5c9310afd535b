import { type AccountErrors, accountTrouble } from './account-error.ts'
import { type AnswerFlaw, flawOf } from './answer.ts'
import { type Instant, MINUTE_MS, plusMs } from './instant.ts'
import type { AnswerPolicy, JobSettings } from './job.ts'
import { sentMaxTokens } from './row-revision.ts'
import type { Outcome, RowRevision } from './rows.ts'

interface RetryRule {
  readonly retry: boolean
  /** Before the first further attempt; doubles with each one, up to `RETRY_WAIT_MAX_MS`. */
  readonly waitMs: number
  readonly because: string
}

const RETRY_WAIT_MAX_MS = 60 * MINUTE_MS
/** Pauses of one row that are continued; each costs its whole prompt again, and one that never ends must end. */
export const CONTINUATIONS_MAX = 10
const MORE_ROOM = 2

/** What a row's error in a batch means for another attempt in a later batch (claude-api.md 2.6, 6.1). */
const RETRY_BY_ERROR_TYPE: ReadonlyMap<string, RetryRule> = new Map([
  ['invalid_request_error', { retry: false, waitMs: 0, because: 'the same request would be refused again' }],
  ['not_found_error', { retry: false, waitMs: 0, because: 'the model or file does not exist' }],
  ['permission_error', { retry: false, waitMs: 0, because: 'the key may not do this' }],
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

/** How one attempt ended. */
export interface AttemptSeen {
  readonly outcome: Outcome
  readonly stopReason: string | null
  readonly errorType: string | null
  readonly errorMessage: string | null
  readonly errorCode: string | null
  readonly schemaValid: boolean | null
}

/** The row as it was sent in that attempt. */
export interface RowSent {
  readonly submission: number
  /** This one included. */
  readonly attempts: number
  /** As rendered; a revision may have raised it. */
  readonly maxTokens: number
  readonly revision: RowRevision | null
  /** The most that the model can answer; null for a model that we do not know. */
  readonly outputTokensMax: number | null
  /** Why a paused answer could not be sent back; null when it can. */
  readonly cannotContinue: string | null
}

export interface RetryTerms
  extends Pick<JobSettings, 'maxAttempts' | 'onTruncated' | 'onRefused' | 'onSchemaInvalid'> {
  readonly accountErrors: AccountErrors
  /** Whether batches are canceled for the deadline: what they have verifiably not done goes on, in realtime. */
  readonly closing: boolean
}

/**
 * done: the attempt decides the row; `unfinished` says so of an answer that was left paused. again: the row goes into a
 * later batch, as the revision has it. stop: likewise, once a person has mended what `mend` says; until then the run stops.
 */
export type NextAttempt =
  | { readonly kind: 'done'; readonly because: string; readonly unfinished: boolean }
  | {
      readonly kind: 'again'
      readonly notBefore: Instant | null
      readonly revision: RowRevision | null
      readonly because: string
    }
  | { readonly kind: 'stop'; readonly revision: RowRevision | null; readonly mend: string }

/**
 * Whether an attempt decides its row or the row goes into a later batch. Errored and expired rows are not billed; an
 * answer that is paid for and unusable is asked for again only where the job says so, since that is paid for again. A
 * paused answer is continued whatever the job says: what it has found so far is sent along, and nothing is repeated.
 */
export function nextAttempt(seen: AttemptSeen, row: RowSent, terms: RetryTerms, now: Instant): NextAttempt {
  const { revision } = row
  // Continuations are not failures: they have a limit of their own.
  const used = row.attempts - (revision?.continues.length ?? 0)
  const isUsedUp = used >= terms.maxAttempts
  if (seen.outcome === 'errored') {
    const error = { type: seen.errorType, message: seen.errorMessage, code: seen.errorCode }
    const trouble = accountTrouble(error, terms.accountErrors)
    if (trouble !== null && !(trouble.mayBeOfRow && isUsedUp)) {
      return { kind: 'stop', revision, mend: trouble.mend }
    }
  }
  if (terms.closing && (seen.outcome === 'canceled' || seen.outcome === 'expired')) {
    return {
      kind: 'again',
      notBefore: null,
      revision,
      because: 'its batch has not done it, and the deadline is near',
    }
  }
  const flaw = flawOf(seen)
  if (flaw === 'unfinished') return continuation(row)
  const rule = flaw === null ? failureRule(seen) : flawRule(flaw, seen, row, terms)
  if (rule === null || !rule.retry) return done(rule?.because ?? `the row is ${seen.outcome}`)
  if (isUsedUp) return done(`${rule.because}; ${used} of ${terms.maxAttempts} attempts are used`)
  const waitMs = Math.min(rule.waitMs * 2 ** (used - 1), RETRY_WAIT_MAX_MS)
  return {
    kind: 'again',
    notBefore: waitMs === 0 ? null : plusMs(now, waitMs),
    revision: flaw === 'truncated' ? withMoreRoom(row) : revision,
    because: rule.because,
  }
}

function done(because: string): NextAttempt {
  return { kind: 'done', because, unfinished: false }
}

function failureRule({ outcome, errorType }: AttemptSeen): RetryRule | null {
  if (outcome === 'expired') return EXPIRED
  if (outcome === 'errored') return RETRY_BY_ERROR_TYPE.get(errorType ?? '') ?? UNKNOWN_ERROR
  return null
}

function flawRule(
  flaw: Exclude<AnswerFlaw, 'unfinished'>,
  seen: AttemptSeen,
  row: RowSent,
  terms: RetryTerms,
): RetryRule {
  const policies: Record<typeof flaw, AnswerPolicy> = {
    truncated: terms.onTruncated,
    refused: terms.onRefused,
    schema_invalid: terms.onSchemaInvalid,
  }
  const retry = policies[flaw] === 'retry'
  if (flaw !== 'truncated' || !retry) return { retry, waitMs: 0, because: `the answer is ${flaw}` }
  // The context window was full: more room for the answer would not make it larger.
  if (seen.stopReason !== 'max_tokens') return { retry: false, waitMs: 0, because: 'the context is full' }
  return sentMaxTokens(row) < roomMax(row)
    ? { retry, waitMs: 0, because: 'the answer was cut at max_tokens' }
    : { retry: false, waitMs: 0, because: 'the answer fills all that the model can say' }
}

function roomMax({ outputTokensMax }: RowSent): number {
  return outputTokensMax ?? Number.MAX_SAFE_INTEGER
}

function withMoreRoom(row: RowSent): RowRevision {
  const maxTokens = Math.min(sentMaxTokens(row) * MORE_ROOM, roomMax(row))
  return { maxTokens, continues: row.revision?.continues ?? [] }
}

function continuation(row: RowSent): NextAttempt {
  const continues = row.revision?.continues ?? []
  const why =
    row.cannotContinue ??
    (continues.length < CONTINUATIONS_MAX ? null : `it was continued ${CONTINUATIONS_MAX} times, the most`)
  if (why !== null) return { kind: 'done', because: `paused in a server tool: ${why}`, unfinished: true }
  return {
    kind: 'again',
    notBefore: null,
    revision: { maxTokens: row.revision?.maxTokens ?? null, continues: [...continues, row.submission] },
    because: 'it paused in a server tool, and is continued',
  }
}
