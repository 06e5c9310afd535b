import { parseResultLine } from '../core/answer.ts'
import { assert } from '../core/assert.ts'
import { parseCustomId } from '../core/custom-id.ts'
import { TitheError } from '../core/errors.ts'
import { formatTimestamp, type Instant, parseTimestamp, plusMs, SECOND_MS } from '../core/instant.ts'
import {
  type FoundRun,
  foundRuns,
  ordinalsOf,
  runsOfJob,
  type SurveyedBatch,
  unknownTo,
} from '../core/recover-run.ts'
import { nameOf } from '../core/rows.ts'
import type { Clock } from '../runtime/runtime.ts'
import type { RunRecord, SubmissionRecord } from '../stores/store.ts'
import type { Upstream } from '../upstreams/upstream.ts'
import { rowsOf } from './batch-owner.ts'
import { type BeginDeps, beginRun, type RunIdentity } from './begin-run.ts'
import { type DriveEnd, drive } from './driver.ts'
import { holdRun } from './lease.ts'
import type { PlannableJob, PlanningDeps, PlanningOptions } from './plan-run.ts'
import { RECOVERY_EVENTS } from './recovery-events.ts'
import { unfenced } from './run-context.ts'
import type { RunDeps } from './run-deps.ts'

const LIST_PAGE = 100
/** Lines of a batch that are held against the job. */
const SAMPLE_LINES = 20
/** On virtual time, batches that have not ended are looked at again so much later. */
const LOOK_AGAIN_MS = 60 * SECOND_MS

/** As `surveyBatches`; on virtual time, which stands still between processes, once every batch has ended. */
export async function surveyEnded(upstream: Upstream, clock: Clock): Promise<SurveyedBatch[]> {
  for (;;) {
    const batches = await surveyBatches(upstream)
    if (clock.kind === 'real' || !batches.some((batch) => batch.state === 'open')) return batches
    await clock.sleepUntil(plusMs(clock.now(), LOOK_AGAIN_MS))
  }
}

/** All batches of the workspace, with what the results of those that have ended begin with. */
async function surveyBatches(upstream: Upstream): Promise<SurveyedBatch[]> {
  const batches: SurveyedBatch[] = []
  let after: string | undefined
  for (;;) {
    const page = await upstream.listBatches({ limit: LIST_PAGE, after_id: after })
    for (const batch of page.data) {
      const isOpen = batch.processing_status !== 'ended'
      const isGone = batch.archived_at !== null
      batches.push({
        id: batch.id,
        createdAt: parseTimestamp(batch.created_at)!,
        expiresAt: parseTimestamp(batch.expires_at)!,
        rows: rowsOf(batch),
        state: isOpen ? 'open' : isGone ? 'gone' : 'ended',
        customIds: isOpen || isGone ? null : await sampleOf(upstream, batch.id),
      })
    }
    if (!page.has_more || page.last_id === null) return batches
    after = page.last_id
  }
}

/** Null where no result can be read. */
async function sampleOf(upstream: Upstream, batchId: string): Promise<string[] | null> {
  const ids: string[] = []
  try {
    for await (const bytes of upstream.batchResults(batchId)) {
      const line = parseResultLine(Buffer.from(bytes).toString('utf8'))
      if (line !== null) ids.push(line.customId)
      if (ids.length === SAMPLE_LINES) break
    }
  } catch (error) {
    if (!(error instanceof TitheError) || error.code !== 'not_found_error') throw error
  }
  return ids.length === 0 ? null : ids
}

/** What a survey says of one job. */
export interface Recoverable {
  /** Runs that fit the job; exactly one can be rebuilt. */
  readonly runs: readonly FoundRun[]
  readonly batches: readonly SurveyedBatch[]
}

/** Holds what was surveyed against the rows of the job, which are read once for it. */
export async function recoverableRuns(
  batches: readonly SurveyedBatch[],
  job: Pick<PlannableJob, 'rows'>,
): Promise<Recoverable> {
  const wanted = ordinalsOf(batches)
  const userIds = new Map<number, string>()
  for await (const row of job.rows()) {
    if (wanted.has(row.ordinal)) userIds.set(row.ordinal, nameOf(row))
    if (userIds.size === wanted.size) break
  }
  return { runs: runsOfJob(foundRuns(batches, (ordinal) => userIds.get(ordinal) ?? null)), batches }
}

/**
 * Stores the job's rows as a run with the id that its batches carry. It cannot be driven before `adoptBatches` has said
 * that everything is known: an event that is recorded before it starts keeps it from that.
 */
export async function rebuildRun(
  deps: BeginDeps,
  run: string,
  job: PlannableJob,
  identity: RunIdentity,
  planning: PlanningDeps,
  options: PlanningOptions,
): Promise<RunRecord> {
  const named = { ...deps, ids: { ...deps.ids, runId: () => run } }
  const begun = await beginRun(named, job, identity, planning, options, async () => {
    const detail = 'rebuilt from the batches of the workspace'
    await deps.store.runs.addEvent({
      run,
      at: deps.clock.now(),
      submission: 0,
      kind: RECOVERY_EVENTS.begun,
      detail,
    })
    return true
  })
  assert(begun !== null, 'a run that is rebuilt asks for no consent')
  return begun
}

export interface Recovered {
  readonly end: DriveEnd
  /** Batches that could be the run's and cannot be read. */
  readonly unknown: readonly SurveyedBatch[]
}

/**
 * Gives a rebuilt run its batches, one after the other in the order of their submissions, and reads their results. Sends
 * nothing. Doing it again adds what has ended since.
 * @param acceptUnknown rows that an unreadable batch may have answered are sent again, and may be paid for again.
 */
export async function adoptBatches(
  run: RunRecord,
  found: FoundRun,
  surveyed: readonly SurveyedBatch[],
  deps: RunDeps,
  acceptUnknown: boolean,
): Promise<Recovered> {
  const { runs } = deps.store
  const unknown = unknownTo(found, surveyed, run.rows)
  const reason = reasonOf(unknown)
  const bySubmission = [...found.batches].sort(
    (a, b) => a.submission - b.submission || a.createdAt - b.createdAt,
  )
  let end: DriveEnd = { kind: 'stopped', reason }
  for (const batch of bySubmission) {
    const known = new Set((await runs.submissions(run.id)).map((one) => one.upstreamBatchId))
    if (!known.has(batch.id)) await adopt(run, batch, deps)
    end = await drive(run.id, deps, { once: false, acceptProbe: true, ingestOnly: reason })
  }
  if (unknown.length > 0 && !acceptUnknown) return { end, unknown }
  if (unknown.length > 0) await keepNumbersFree(run, unknown.length, deps)
  const detail = unknown.length === 0 ? 'every batch is known' : reason
  const at = deps.runtime.clock.now()
  await runs.addEvent({ run: run.id, at, submission: 0, kind: RECOVERY_EVENTS.complete, detail })
  return { end, unknown }
}

/** Between the submissions that are known and those that are not there may be others that never had a batch. */
const NUMBERS_KEPT_FREE = 1_000

/** No later submission may carry a number that an unreadable batch of the run could have. */
async function keepNumbersFree(run: RunRecord, count: number, deps: RunDeps): Promise<void> {
  const { runs } = deps.store
  const last = (await runs.submissions(run.id)).at(-1)
  assert(last !== undefined, 'a run is rebuilt from at least one batch')
  const gap = {
    ...last,
    number: last.number + count + NUMBERS_KEPT_FREE,
    state: 'refused',
    rows: 0,
    upstreamBatchId: null,
  } as const
  const because = 'may be of a batch that could not be read when the run was rebuilt'
  await holdRun(run.id, deps, async (fence) =>
    unfenced(await runs.adoptSubmission(fence, { ...gap, because }, []), run.id),
  )
}

function reasonOf(unknown: readonly SurveyedBatch[]): string {
  if (unknown.length === 0) return 'it was rebuilt from its batches; nothing was sent'
  const until = Math.max(...unknown.map((batch) => batch.expiresAt)) as Instant
  const open = unknown.some((batch) => batch.state === 'open')
  const what = unknown.length === 1 ? 'a batch' : `${unknown.length} batches`
  const hope = open ? `; at ${formatTimestamp(until).slice(0, 19)}Z at the latest all have ended` : ''
  return `${what} of the workspace may be of this run and cannot be read${hope}: what they answered would be paid for again`
}

async function adopt(run: RunRecord, batch: FoundRun['batches'][number], deps: RunDeps): Promise<void> {
  const { runs } = deps.store
  const answer = await deps.upstream.retrieveBatch(batch.id)
  const ordinals = await ordinalsIn(deps.upstream, batch.id, run.id)
  if (ordinals.length < batch.rows) {
    const message = `the results of batch ${batch.id} came short: ${ordinals.length} of ${batch.rows} rows`
    throw new TitheError('results_short', message, {
      hint: 'recover again: nothing was lost',
      retry: 'safe',
      exitCode: 3,
    })
  }
  const times = {
    createdAt: batch.createdAt,
    expiresAt: batch.expiresAt,
    endedAt: answer === null ? null : parseTimestamp(answer.batch.ended_at ?? ''),
  }
  await holdRun(run.id, deps, async (fence) => {
    const ids = {
      organizationId: answer?.headers.organizationId ?? null,
      workspaceId: answer?.headers.workspaceId ?? null,
    }
    unfenced(await runs.recordWorkspace(run.id, fence, ids), run.id)
    const [row] = await runs.rowsByOrdinal(run.id, ordinals.slice(0, 1))
    const submission: SubmissionRecord = {
      run: run.id,
      number: batch.submission,
      wave: batch.submission,
      kind: 'bulk',
      variant: row?.variant ?? '',
      state: 'ended',
      rows: ordinals.length,
      sizeBytes: 0,
      marksJson: '{}',
      fingerprint: null,
      intentAt: null,
      newestIdBefore: null,
      serverIntentAt: null,
      ...ids,
      upstreamBatchId: batch.id,
      ...times,
      cancelInitiatedAt: null,
      countsJson: answer === null ? null : JSON.stringify(answer.batch.request_counts),
      nextPollAt: null,
      isDuplicate: false,
      answersFor: null,
      deletedAt: null,
      ingestedRows: 0,
      because: 'found by the custom_ids in its results',
    }
    const adopted = unfenced(await runs.adoptSubmission(fence, submission, ordinals), run.id)
    if (adopted === 'ok') return
    const because = `a second batch of submission ${batch.submission}: what it answered was paid for twice`
    const second = { upstreamBatchId: batch.id, ...times, because }
    unfenced(await runs.addDuplicate(run.id, fence, batch.submission, second), run.id)
  })
}

/** The rows that a batch of the run was sent with: every one has its line (claude-api.md 2.6). */
async function ordinalsIn(upstream: Upstream, batchId: string, run: string): Promise<number[]> {
  const ordinals = new Set<number>()
  for await (const bytes of upstream.batchResults(batchId)) {
    const line = parseResultLine(Buffer.from(bytes).toString('utf8'))
    const id = line === null ? null : parseCustomId(line.customId)
    if (id?.run === run) ordinals.add(id.ordinal)
  }
  return [...ordinals].sort((a, b) => a - b)
}
