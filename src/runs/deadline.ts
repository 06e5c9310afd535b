import { type DeadlineDecision, deadlineDecision, deadlineOf, realtimeMs } from '../core/deadline.ts'
import { formatDuration, formatTimestamp, type Instant } from '../core/instant.ts'
import { findModel, type MinuteLimits, minuteLimitsOf } from '../core/models.ts'
import type { RowCounts, SubmissionRecord } from '../stores/store.ts'
import { REALTIME_CONCURRENCY } from './realtime.ts'
import { type RunContext, unfenced } from './run-context.ts'
import { record, returnRows } from './submit.ts'

/** What stands in the run's events once its batches are being canceled for the deadline, and once it is missed. */
export const DEADLINE_EVENTS = { begun: 'deadline_fallback', missed: 'deadline_missed' } as const

const NOTHING: DeadlineDecision = { phase: 'batches', closing: false, nextAt: null }

/**
 * Asks what the deadline of a run needs now, and records what is decided once and for all: that its batches are canceled
 * for it, that it is missed. Nothing is canceled here; the driver does that, submission by submission.
 */
export async function lookAtDeadline(context: RunContext): Promise<DeadlineDecision> {
  const { settings, plan } = context
  if (settings.withinMs === null || plan.chosen.startsWith('realtime')) return NOTHING
  const submissions = await context.submissions()
  const deadlineAt = deadlineOf(
    context.run,
    firstIntentAt(submissions),
    settings.withinMs,
    await context.retriedAt(),
  )
  if (deadlineAt === null) return NOTHING
  const known = await context.eventKinds()
  const counts = await context.deps.store.runs.counts(context.run.id)
  const openRows = counts.pending + counts.submitted
  const decision = deadlineDecision({
    now: context.now(),
    deadlineAt,
    policy: settings.onDeadline,
    openRows,
    realtimeMs: realtimeMsOf(context, openRows),
    cancelLatencyMs: context.deps.cancelLatencyMs,
    begun: known.has(DEADLINE_EVENTS.begun),
  })
  if (decision.closing && !known.has(DEADLINE_EVENTS.begun)) {
    await begin(context, deadlineAt, counts)
  }
  if (decision.phase === 'overtaking') for (const one of submissions) await overtake(context, one)
  if (decision.phase === 'late' && !known.has(DEADLINE_EVENTS.missed))
    await miss(context, deadlineAt, openRows)
  return decision
}

/** Rows that came in the very look in which the time ran out: no look before it was late, and none after it sees them open. */
export async function announceLateEnd(context: RunContext): Promise<void> {
  const { settings, plan, run, deps } = context
  if (settings.withinMs === null || plan.chosen.startsWith('realtime')) return
  if ((await context.eventKinds()).has(DEADLINE_EVENTS.missed)) return
  const submissions = await context.submissions()
  const deadlineAt = deadlineOf(run, firstIntentAt(submissions), settings.withinMs, await context.retriedAt())
  if (deadlineAt === null) return
  const deciding = new Set(submissions.flatMap((one) => (one.isDuplicate ? [] : [one.number])))
  const ends = (await deps.store.runs.events(run.id)).filter(
    (event) => event.kind === 'ingested' && deciding.has(event.submission),
  )
  const lastAt = ends.reduce<Instant | null>((at, end) => (at === null || end.at > at ? end.at : at), null)
  if (lastAt === null || lastAt <= deadlineAt) return
  const message = `THE DEADLINE IS MISSED: the last rows came ${formatDuration(lastAt - deadlineAt)} after ${formatTimestamp(deadlineAt).slice(0, 19)}Z`
  await context.addEvent(DEADLINE_EVENTS.missed, message)
}

export function firstIntentAt(submissions: readonly SubmissionRecord[]): Instant | null {
  return submissions.find(({ intentAt }) => intentAt !== null)?.intentAt ?? null
}

async function begin(context: RunContext, deadlineAt: Instant, counts: RowCounts): Promise<void> {
  const open = counts.pending + counts.submitted
  const message = `${open} rows are open ${formatDuration(deadlineAt - context.now())} before the deadline: batches are canceled, and what they report as not done is answered in realtime, at the realtime price`
  await context.addEvent(DEADLINE_EVENTS.begun, message)
}

async function miss(context: RunContext, deadlineAt: Instant, openRows: number): Promise<void> {
  const hint =
    context.settings.onDeadline === 'pay_twice'
      ? ''
      : '; rows of a batch that has not ended are not sent again, for they may be done and paid for'
  const message = `THE DEADLINE IS MISSED: ${openRows} rows were open at ${formatTimestamp(deadlineAt).slice(0, 19)}Z${hint}`
  await context.addEvent(DEADLINE_EVENTS.missed, message)
}

/** What a batch has not given back by now is sent a second time: the job said so. What it answers is a duplicate. */
async function overtake(context: RunContext, submission: SubmissionRecord): Promise<void> {
  const { number, kind, state, isDuplicate } = submission
  const mayBePaid = kind !== 'realtime' && ['submitting', 'in_progress', 'canceling'].includes(state)
  if (!mayBePaid || isDuplicate) return
  const because = 'it has not ended in time: its rows are answered in realtime as well, and paid for twice'
  const change = { isDuplicate: true, because }
  const { deps, run, fence } = context
  unfenced(await deps.store.runs.touchSubmission(run.id, fence, number, change), run.id)
  await returnRows(context, number)
  deps.emit({ kind: 'note', message: `submission ${number}: ${because}` })
}

/** A planned submission, or one that was put off, is not sent any more; its rows go out in realtime. */
export async function withdrawForDeadline(context: RunContext, submission: SubmissionRecord): Promise<void> {
  const why = 'not sent: the deadline is too near for a batch'
  await record(context, submission, 'refused', why, { because: why })
  await returnRows(context, submission.number)
}

function realtimeMsOf(context: RunContext, rows: number): number {
  const { plan, settings, deps } = context
  const planned = Math.max(1, plan.rows)
  const measured = context.answeredRows > 0
  const load = {
    rows,
    promptTokens: measured ? context.promptTokens / context.answeredRows : plan.promptTokens.best / planned,
    outputTokens: measured ? context.outputTokens / context.answeredRows : plan.outputTokens.best / planned,
  }
  const { rules } = deps.catalogue
  const limits = plan.models.map((name): MinuteLimits => {
    const model = findModel(deps.catalogue, name)
    return model === null ? rules.tiers[settings.tier] : minuteLimitsOf(rules, settings.tier, model)
  })
  return Math.max(
    0,
    ...limits.map((each) => realtimeMs(load, each, REALTIME_CONCURRENCY, rules.outputTokenMs)),
  )
}
