import { isOpen } from '../../core/batch-state.ts'
import { deadlineOf } from '../../core/deadline.ts'
import { formatDuration, formatTimestamp, type Instant, plusMs, SECOND_MS } from '../../core/instant.ts'
import { settingsFromJson } from '../../core/job.ts'
import { formatUsd, moneyFields } from '../../core/money.ts'
import { DEADLINE_EVENTS, firstIntentAt } from '../../runs/deadline.ts'
import { forgottenOn } from '../../runs/forgotten.ts'
import { driverOf } from '../../runs/lease.ts'
import { retriedAt, sinceRetry } from '../../runs/retry-events.ts'
import type { RowCounts, RunRecord, StoredEvent, SubmissionRecord } from '../../stores/store.ts'
import { catalogueFor, isHolderGone } from '../../wiring.ts'
import { exitCodeOf } from '../exit-codes.ts'
import type { Flags } from '../flags.ts'
import type { Session } from '../session.ts'
import { renderTable } from '../table.ts'

const WATCH_MS = SECOND_MS

interface Status {
  readonly run: RunRecord
  readonly counts: RowCounts
  readonly submissions: readonly SubmissionRecord[]
  readonly spentPicoUsd: bigint
  /** The process that drives it; null when nobody does. */
  readonly driver: string | null
  /** How long the upstream keeps results, from the creation of their batch (claude-api.md 2.9). */
  readonly resultsKeptMs: number
  /** When the results were wanted; null without `within`, or before anything was sent. */
  readonly deadlineAt: Instant | null
  /** What was done about the deadline, in the run's own words. */
  readonly deadlineEvents: readonly StoredEvent[]
}

export async function run(session: Session, args: readonly string[], flags: Flags): Promise<number> {
  const { id } = await session.findRun(args[0])
  const { store, clock } = await session.home()
  let printed = ''
  for (;;) {
    const status = await readStatus(session, id)
    const text = session.terminal.json
      ? `${JSON.stringify(statusJson(status))}\n`
      : `${renderStatus(status)}\n`
    if (text !== printed) await session.terminal.out(text)
    printed = text
    const over = status.run.state !== 'running' && status.run.state !== 'preparing'
    if (!flags['watch'] || over) return exitCodeOf(await store.runs.counts(id), status.run.state)
    await clock.sleepUntil(plusMs(clock.now(), WATCH_MS), session.signal)
  }
}

async function readStatus(session: Session, id: string): Promise<Status> {
  const { store, clock } = await session.home()
  const run = (await store.runs.findRuns(id)).find((one) => one.id === id)!
  let spentPicoUsd = 0n
  let after: { submission: number; ordinal: number } | null = null
  for (;;) {
    const page = await store.runs.ledgerPage(id, after, 2_000)
    if (page.length === 0) break
    for (const entry of page) spentPicoUsd += entry.costPicoUsd ?? 0n
    after = page.at(-1)!
  }
  const submissions = await store.runs.submissions(id)
  const { withinMs } = settingsFromJson(run.settingsJson)
  const kinds: readonly string[] = Object.values(DEADLINE_EVENTS)
  const events = await store.runs.events(id)
  return {
    run,
    counts: await store.runs.counts(id),
    submissions,
    deadlineAt: deadlineOf(run, firstIntentAt(submissions), withinMs, retriedAt(events)),
    deadlineEvents: sinceRetry(events).filter((event) => kinds.includes(event.kind)),
    spentPicoUsd,
    driver: await driverOf(id, { store, wallClock: clock, isHolderGone }),
    resultsKeptMs: catalogueFor(null).rules.resultsKeptMs,
  }
}

function statusJson(status: Status) {
  const { run, counts, submissions, spentPicoUsd, driver, resultsKeptMs } = status
  const time = (at: Instant | null) => (at === null ? null : formatTimestamp(at))
  return {
    schema: 'tithe.status/1',
    run: run.id,
    job: run.name,
    state: run.state,
    stop_reason: run.stopReason,
    upstream: run.upstream,
    created_at: time(run.createdAt),
    finished_at: time(run.finishedAt),
    forgotten_at: time(run.forgottenAt),
    deadline_at: time(status.deadlineAt),
    deadline_missed: status.deadlineEvents.some((event) => event.kind === DEADLINE_EVENTS.missed),
    driver,
    rows: run.rows,
    counts: {
      pending: counts.pending,
      submitted: counts.submitted,
      succeeded: counts.succeeded,
      errored: counts.errored,
      canceled: counts.canceled,
      expired: counts.expired,
      invalid: counts.invalid,
      unretrievable: counts.unretrievable,
      refused: counts.refused,
      truncated: counts.truncated,
      schema_invalid: counts.schemaInvalid,
      unfinished: counts.unfinished,
    },
    ...moneyFields('spent', spentPicoUsd),
    submissions: submissions.map((one) => ({
      number: one.number,
      wave: one.wave,
      kind: one.kind,
      state: one.state,
      rows: one.rows,
      ingested_rows: one.ingestedRows,
      size_bytes: one.sizeBytes,
      batch_id: one.upstreamBatchId,
      intent_at: time(one.intentAt),
      created_at: time(one.createdAt),
      ended_at: time(one.endedAt),
      expires_at: time(one.expiresAt),
      results_until: time(resultsUntil(one, resultsKeptMs)),
      duplicate: one.isDuplicate,
      deleted_at: time(one.deletedAt),
      organization_id: one.organizationId,
      workspace_id: one.workspaceId,
      next_poll_at: time(one.nextPollAt),
      because: one.because,
    })),
  }
}

/** Batches go on without us; what was not submitted waits for a driver. */
function driverLine(counts: RowCounts, submissions: readonly SubmissionRecord[]): string {
  const next = submissions
    .flatMap((one) => (isOpen(one.state) && one.nextPollAt !== null ? [one.nextPollAt] : []))
    .sort((a, b) => a - b)[0]
  const looks = next === undefined ? '' : `; the next look is due at ${formatTimestamp(next).slice(0, 19)}Z`
  return counts.pending > 0
    ? `a driver must live until the last ${counts.pending} rows are submitted${looks}`
    : `everything is submitted: a driver is needed only to read the results${looks}`
}

/** The last day on which results that were not read yet can be; null for those that stand in the store. */
function resultsUntil(
  { state, createdAt, deletedAt }: SubmissionRecord,
  resultsKeptMs: number,
): Instant | null {
  const isRead = !isOpen(state) || deletedAt !== null
  return isRead || createdAt === null ? null : plusMs(createdAt, resultsKeptMs)
}

function renderStatus(status: Status): string {
  const { run, counts, submissions, spentPicoUsd, driver, resultsKeptMs } = status
  const done =
    counts.succeeded +
    counts.errored +
    counts.canceled +
    counts.expired +
    counts.invalid +
    counts.unretrievable
  const lines = [
    `run ${run.id} · ${run.name} · ${run.state}${driver === null ? '' : ` · driven by ${driver}`}`,
    `upstream ${run.upstream}`,
    `rows ${run.rows}: ${done} done, ${counts.submitted} in batches, ${counts.pending} not yet submitted`,
  ]
  if (run.forgottenAt !== null) lines.push(`${forgottenOn(run.forgottenAt)}: the ledger is what is left`)
  if (status.deadlineAt !== null) {
    lines.push(`wanted by ${formatTimestamp(status.deadlineAt).slice(0, 19)}Z`)
    lines.push(...status.deadlineEvents.map((event) => `  ${event.detail}`))
  }
  if (run.state === 'running') lines.push(driverLine(counts, submissions))
  if (run.state === 'running' && driver === null)
    lines.push(`nobody drives it: 'tithe resume ${run.id}' goes on`)
  if (run.stopReason !== null)
    lines.push(`stopped: ${run.stopReason}`, `  hint: 'tithe resume ${run.id}' goes on`)
  lines.push(`spent ${formatUsd(spentPicoUsd)}`, '')
  if (submissions.length > 0) {
    const until = submissions.map((one) => dayOf(resultsUntil(one, resultsKeptMs)))
    const showsUntil = until.some((day) => day !== '')
    lines.push(
      renderTable(
        [
          { header: '#', align: 'right' },
          { header: 'wave' },
          { header: 'state' },
          { header: 'rows', align: 'right' },
          { header: 'read', align: 'right' },
          { header: 'batch' },
          { header: 'took' },
          ...(showsUntil ? [{ header: 'readable until' }] : []),
          { header: 'because' },
        ],
        submissions.map((one, index) => [
          String(one.number),
          `${one.wave} ${one.kind}`,
          one.state,
          String(one.rows),
          String(one.ingestedRows),
          one.upstreamBatchId ?? '',
          one.createdAt !== null && one.endedAt !== null ? formatDuration(one.endedAt - one.createdAt) : '',
          ...(showsUntil ? [until[index]!] : []),
          isOpen(one.state) || one.isDuplicate || one.state === 'refused' || one.state === 'lost'
            ? (one.because ?? '')
            : '',
        ]),
      ),
    )
  }
  return lines.join('\n')
}

function dayOf(at: Instant | null): string {
  return at === null ? '' : formatTimestamp(at).slice(0, 10)
}
