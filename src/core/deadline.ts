import type { Instant } from './instant.ts'
import { MINUTE_MS, plusMs } from './instant.ts'
import type { DeadlinePolicy } from './job.ts'
import type { MinuteLimits } from './models.ts'

// When batches are late. A batch cannot be hurried and shows no progress, so a deadline is kept by canceling whole batches
// early enough: what they have done is kept, and only what they report as canceled or expired is answered in realtime, at
// the realtime price. A row of a batch that has not ended may be done and paid for: it is not sent again unless the job
// says `on_deadline: pay_twice`.
//
//   batches ──cancelAt──► closing ──overtakeAt──► overtaking (pay_twice) ──deadline──► late
//
// `late` announces: what was begun goes on, and nothing new is canceled, for realtime prices would buy nothing any more.

/** What decides when a deadline needs something done. */
export interface DeadlineView {
  readonly now: Instant
  /** When the results were wanted. */
  readonly deadlineAt: Instant
  readonly policy: DeadlinePolicy
  /** Rows without an outcome, sent or not. */
  readonly openRows: number
  /** How long those take in realtime, at most (`realtimeMs`). */
  readonly realtimeMs: number
  /** From the request to cancel a batch to its end, as measured or assumed. */
  readonly cancelLatencyMs: number
  /** Whether batches of the run were canceled for it already: then it is not gone back on. */
  readonly begun: boolean
}

export type DeadlinePhase = 'batches' | 'closing' | 'overtaking' | 'late'

export interface DeadlineDecision {
  readonly phase: DeadlinePhase
  /** Whether whole batches are canceled and nothing more is sent in one. */
  readonly closing: boolean
  /** When the phase changes by time alone; null when it does not. */
  readonly nextAt: Instant | null
}

/** A cancel may take longer than any that was seen, and its end is noticed at a poll. */
const CANCEL_MARGIN = 2
const NOTICE_MS = MINUTE_MS

export function deadlineDecision(view: DeadlineView): DeadlineDecision {
  const { now, deadlineAt, policy, openRows, begun } = view
  const isLate = now >= deadlineAt
  if (openRows === 0) return { phase: 'batches', closing: false, nextAt: null }
  if (policy === 'announce' || (isLate && !begun)) {
    return { phase: isLate ? 'late' : 'batches', closing: false, nextAt: isLate ? null : deadlineAt }
  }
  const overtakeAt = plusMs(deadlineAt, -view.realtimeMs)
  const cancelAt = plusMs(overtakeAt, -(view.cancelLatencyMs * CANCEL_MARGIN + NOTICE_MS))
  if (!begun && now < cancelAt) return { phase: 'batches', closing: false, nextAt: cancelAt }
  if (policy === 'pay_twice' && now >= overtakeAt) {
    return { phase: isLate ? 'late' : 'overtaking', closing: true, nextAt: isLate ? null : deadlineAt }
  }
  const nextAt = policy === 'pay_twice' ? overtakeAt : deadlineAt
  return isLate ? { phase: 'late', closing: true, nextAt: null } : { phase: 'closing', closing: true, nextAt }
}

/**
 * When the results were wanted, on the clock that the run lives by. The embedded service has a time of its own, which may
 * be ahead of the machine's: there it counts from the first create.
 * @param retriedAt when a person last had rows sent again: they are waited for anew.
 */
export function deadlineOf(
  run: { readonly createdAt: Instant; readonly upstreamKind: 'local' | 'anthropic' },
  firstIntentAt: Instant | null,
  withinMs: number | null,
  retriedAt: Instant | null,
): Instant | null {
  if (withinMs === null) return null
  const begun = retriedAt ?? (run.upstreamKind === 'local' ? firstIntentAt : run.createdAt)
  return begun === null ? null : plusMs(begun, withinMs)
}

/** What a row is like, as far as realtime is concerned. */
export interface RealtimeLoad {
  readonly rows: number
  /** Means of a row. */
  readonly promptTokens: number
  readonly outputTokens: number
}

/** How far a run of calls may be slower than it is reckoned: refusals that are waited out, answers longer than the mean. */
const REALTIME_MARGIN = 1.5

/**
 * How long rows take in realtime: as many at a time as we send, each as long as its answer takes to generate, and within
 * the tier's limits by the minute. In milliseconds, with a margin.
 * @param outputTokenMs for one token of an answer.
 */
export function realtimeMs(
  load: RealtimeLoad,
  limits: MinuteLimits,
  concurrency: number,
  outputTokenMs: number,
): number {
  if (load.rows === 0) return 0
  const callMs = Math.max(1, load.outputTokens) * outputTokenMs
  const turns = Math.ceil(load.rows / concurrency)
  const minutes = Math.max(
    load.rows / limits.requestsPerMinute,
    (load.rows * load.promptTokens) / limits.inputTokensPerMinute,
    (load.rows * load.outputTokens) / limits.outputTokensPerMinute,
  )
  return Math.ceil(Math.max(turns * callMs, minutes * MINUTE_MS) * REALTIME_MARGIN + callMs)
}
