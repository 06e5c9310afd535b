import { isOpen } from '../core/batch-state.ts'
import type { Instant } from '../core/instant.ts'
import type { RunContext } from './run-context.ts'
import type { RunProgress } from './run-deps.ts'

/**
 * Where the run stands. Within a batch the API shows no progress (claude-api.md 2.4), so the time to the end is known
 * only when a batch of the run has ended: the waves still to come, at the pace of the slowest seen.
 */
export async function progressOf(context: RunContext, until: Instant | null): Promise<RunProgress> {
  const { runs } = context.deps.store
  const counts = await runs.counts(context.run.id)
  const submissions = await runs.submissions(context.run.id)
  const open = submissions.filter((submission) => isOpen(submission.state))
  const last = submissions.at(-1)
  const probed = submissions.some(
    (submission) => submission.kind === 'probe' && submission.state === 'ingested',
  )
  const chosen = context.plan.routes.find((route) => route.route === context.plan.chosen)
  const durations = submissions.flatMap(({ createdAt, endedAt }) =>
    createdAt !== null && endedAt !== null ? [endedAt - createdAt] : [],
  )
  const slowestMs = durations.length === 0 ? null : Math.max(...durations)
  const openSince = Math.min(...open.flatMap(({ createdAt }) => (createdAt === null ? [] : [createdAt])))
  const wavesToCome = counts.pending === 0 ? 0 : 1
  const runningMs = Number.isFinite(openSince) ? context.serverNow() - openSince : 0
  return {
    rows: context.run.rows,
    counts,
    wave: last?.wave ?? 0,
    waveKind: last?.kind ?? null,
    inFlightRows: counts.submitted,
    batchesInFlight: open.length,
    spentPicoUsd: context.spentPicoUsd,
    // The probe is the first wave that speaks for the rest.
    forecastPicoUsd: (probed ? context.forecast().expectedTotal : null) ?? chosen?.cost?.best ?? null,
    hitRate: context.answeredRows === 0 ? null : context.readingRows / context.answeredRows,
    until,
    etaMs: slowestMs === null ? null : Math.max(0, slowestMs - runningMs) + wavesToCome * slowestMs,
  }
}
