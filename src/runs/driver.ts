import { assert } from '../core/assert.ts'
import { rowsInFlightMax } from '../core/batch-plan.ts'
import { decide, isOpen, type SubmissionCommand } from '../core/batch-state.ts'
import type { BudgetLimit } from '../core/budget.ts'
import { TitheError } from '../core/errors.ts'
import { forecastText } from '../core/forecast.ts'
import { formatDuration, type Instant, instant, MINUTE_MS, plusMs, SECOND_MS } from '../core/instant.ts'
import { settingsFromJson } from '../core/job.ts'
import { parsePlanJson } from '../core/plan-json.ts'
import { nextWave, probeProblem, type WaveSummary } from '../core/waves.ts'
import type { RunRecord, RunState, SubmissionRecord } from '../stores/store.ts'
import { announceLateEnd, lookAtDeadline, withdrawForDeadline } from './deadline.ts'
import { deleteIngested } from './delete-remote.ts'
import { endGivenUp } from './give-up.ts'
import { ingest } from './ingest.ts'
import { accountLatecomers } from './latecomers.ts'
import { holdRun } from './lease.ts'
import { poll } from './poll.ts'
import { progressOf } from './progress.ts'
import { answerInRealtime, REALTIME_CONCURRENCY } from './realtime.ts'
import { LOOK_AGAIN_MS, reconcile } from './reconcile.ts'
import { isRecovering } from './recovery-events.ts'
import { releaseWave } from './release-wave.ts'
import { budgetInForce, setBudget } from './run-budget.ts'
import { RunContext, unfenced } from './run-context.ts'
import type { RunDeps } from './run-deps.ts'
import { steadyClock, timeOfRun } from './steady-clock.ts'
import { askAgainAt, record, returnRows, type StopReason, submit, workspaceProblem } from './submit.ts'

/** An upstream that cannot be reached is asked again for so long before the driver gives up; nothing is lost by it. */
const UNREACHABLE_PATIENCE_MS = 15 * MINUTE_MS
const UNREACHABLE_WAIT_MS = 30 * SECOND_MS

/** How driving ended. `stopped` waits for a human, `in_progress` for time. */
export type DriveEnd =
  | { readonly kind: 'finished' }
  | { readonly kind: 'stopped'; readonly reason: string }
  | { readonly kind: 'in_progress'; readonly until: Instant | null }

export interface DriveOptions {
  /** One look at everything that is due, then back: for cron. */
  readonly once: boolean
  /** With `once`: waits until something has changed. For virtual time, which stands still between processes. */
  readonly onceUntilChange?: boolean
  /** Asks the upstream to cancel what is open and ends the rows that were not sent; what is done is kept. */
  readonly cancel?: boolean
  /** Reads the results of what has ended and stops with this reason: nothing is sent. */
  readonly ingestOnly?: string
  /** Goes on although the probe was bad, or with another budget: a human has decided. */
  readonly acceptProbe: boolean
  readonly budget?: BudgetLimit
}

/**
 * Drives a run to its end: look at every open submission, do what `decide` says, release the next wave when `nextWave`
 * says so, sleep until something is due. Every step is durable before the next, so it can be killed at any instant and
 * called again. One driver a run: a lease with a fence keeps a second one out. A run that is over is `finished` at once.
 * @throws `run_held`, `run_taken` when another process drives it; `unknown_run`; what the upstream and the store throw,
 * when waiting does not help: nothing is lost by it.
 */
export function drive(runId: string, deps: RunDeps, options: DriveOptions): Promise<DriveEnd> {
  return holdRun(runId, deps, async (fence) => {
    const run = await theRun(runId, deps)
    assert(run.state !== 'preparing', 'a run is driven once its rows are stored')
    if (run.state === 'finished' || run.state === 'canceled') return { kind: 'finished' }
    return await loop(await openContext(run, await onTimeOfRun(run.id, deps), fence, options), options)
  })
}

async function loop(context: RunContext, options: DriveOptions): Promise<DriveEnd> {
  const { deps, run } = context
  const patience = new Patience(context, options)
  if (options.ingestOnly === undefined && (await isHalfRecovered(context))) {
    return stop(context, `its batches are not all known: 'tithe recover' goes on where it stopped`)
  }
  for (;;) {
    deps.signal.throwIfAborted()
    const round = await patience.take(() => goRound(context, options))
    if (round.kind === 'stop') return stop(context, round.reason)
    if (round.kind === 'over') return finish(context, options.cancel ? 'canceled' : 'finished')
    const until = round.kind === 'waits' ? round.until : null
    deps.emit({ kind: 'progress', progress: await progressOf(context, until) })
    if (round.kind === 'acted') continue
    const goesOn = options.onceUntilChange === true && context.steps === 0
    if (options.once && !goesOn) return { kind: 'in_progress', until }
    if (until === null)
      throw new TitheError('nothing_due', `run ${run.id} has open work but nothing that will come due`)
    await deps.runtime.clock.sleepUntil(until, deps.signal)
  }
}

/** A run that is being rebuilt sends nothing before it is known what its batches have answered. */
async function isHalfRecovered(context: RunContext): Promise<boolean> {
  return isRecovering(await context.eventKinds())
}

/** What one look at a run came to. */
type Round =
  | { readonly kind: 'acted' }
  | { readonly kind: 'waits'; readonly until: Instant | null }
  | { readonly kind: 'stop'; readonly reason: string }
  | { readonly kind: 'over' }

/** Does everything that is due, or releases the next wave when nothing is. */
async function goRound(context: RunContext, options: DriveOptions): Promise<Round> {
  const reason = await checkWorkspace(context)
  if (reason !== null) return { kind: 'stop', reason }
  if (options.cancel) await cancelPending(context)
  const deadline = options.cancel ? null : await lookAtDeadline(context)
  context.closing = deadline?.closing === true
  let acted = false
  let until: Instant | null = deadline?.nextAt ?? null
  const open = await openSubmissions(context)
  // What keeps one create waiting keeps the others waiting too.
  const createsFrom = latest(open.map((one) => (one.state === 'planned' ? one.nextPollAt : null)))
  for (const submission of open) {
    const view = submission.state === 'planned' ? { ...submission, nextPollAt: createsFrom } : submission
    const canceling = options.cancel === true || (context.closing && submission.kind !== 'realtime')
    const command = decide(view, context.now(), canceling)
    if (command.kind === 'wait') {
      until = earliest(until, command.until)
      continue
    }
    const stopReason = await perform(context, submission, command.kind)
    if (context.mustStop !== null && !options.cancel) return { kind: 'stop', reason: context.mustStop }
    if (stopReason !== null) {
      const ends = options.cancel === true && (await giveUp(context, submission, stopReason))
      if (!ends) return { kind: 'stop', reason: stopReason }
    }
    acted = true
    // One create a round: the next one must know what this one was told.
    if (command.kind === 'submit') break
    context.deps.signal.throwIfAborted()
  }
  // A run that is being rebuilt needs its batches until all of them are known.
  if (options.ingestOnly === undefined && (await deleteIngested(context))) acted = true
  if (acted) return { kind: 'acted' }
  if (options.ingestOnly !== undefined) return { kind: 'stop', reason: options.ingestOnly }
  const decision = await decideWave(context, options)
  switch (decision.kind) {
    case 'stop':
      return decision
    case 'done':
      // Only batches that were overtaken can still be open: what they answer is paid for, and waited for.
      return open.length > 0 ? { kind: 'waits', until } : await conclude(context)
    case 'wait':
      return { kind: 'waits', until: earliest(until, decision.until) }
    case 'release': {
      if ((await accountLatecomers(context)).accounted > 0) return { kind: 'acted' }
      const refusal = await releaseWave(context, decision.release, decision.wave)
      return refusal === null ? { kind: 'acted' } : { kind: 'stop', reason: refusal }
    }
  }
}

/** An upstream out of reach is waited for, for a while; nothing is lost by it. */
class Patience {
  readonly #context: RunContext
  readonly #options: DriveOptions
  #unreachableSince: Instant | null = null

  constructor(context: RunContext, options: DriveOptions) {
    this.#context = context
    this.#options = options
  }

  async take(look: () => Promise<Round>): Promise<Round> {
    try {
      const round = await look()
      this.#unreachableSince = null
      return round
    } catch (error) {
      const now = this.#context.now()
      this.#unreachableSince ??= now
      const gaveUp = this.#options.once || now - this.#unreachableSince > UNREACHABLE_PATIENCE_MS
      if (gaveUp || !(error instanceof TitheError) || error.retry !== 'safe') throw error
      const until = askAgainAt(now, error.retryAfterMs, UNREACHABLE_WAIT_MS)
      const message = `${error.message}; asked again in ${formatDuration(until - now)}`
      this.#context.deps.emit({ kind: 'note', message })
      return { kind: 'waits', until }
    }
  }
}

/**
 * Once a driver, before it decides anything: the upstream must still be the one that the batches are at. What another
 * workspace does not show would look like a batch that is lost.
 */
async function checkWorkspace(context: RunContext): Promise<StopReason> {
  if (context.isWorkspaceChecked) return null
  const { organizationId, workspaceId } = context.workspace
  if (organizationId !== null || workspaceId !== null) {
    context.learn((await context.deps.upstream.listBatches({ limit: 1 })).headers)
    const problem = await workspaceProblem(context)
    if (problem !== null) return problem
  }
  context.isWorkspaceChecked = true
  return null
}

/** Every row has its outcome: what may have been paid beside is looked for before the run is called over. */
async function conclude(context: RunContext): Promise<Round> {
  await announceLateEnd(context)
  const { accounted, awaited } = await accountLatecomers(context)
  if (accounted > 0) return { kind: 'acted' }
  if (awaited === null) return { kind: 'over' }
  if (!context.saidAwaited) {
    const message = `every row is done, and the results can be had; the run is over when it is known what it cost: ${awaited}`
    context.deps.emit({ kind: 'note', message })
    context.saidAwaited = true
  }
  return { kind: 'waits', until: plusMs(context.now(), LOOK_AGAIN_MS) }
}

async function perform(
  context: RunContext,
  submission: SubmissionRecord,
  command: Exclude<SubmissionCommand['kind'], 'wait'>,
): Promise<StopReason> {
  switch (command) {
    case 'submit':
      return submission.kind === 'realtime' ? beginRealtime(context, submission) : submit(context, submission)
    case 'reconcile':
      return submission.kind === 'realtime'
        ? resumeRealtime(context, submission)
        : reconcile(context, submission)
    case 'poll':
      return submission.kind === 'realtime'
        ? answerInRealtime(context, submission)
        : poll(context, submission)
    case 'ingest':
      return submission.kind === 'realtime' ? endRealtime(context, submission) : ingest(context, submission)
    case 'withdraw':
      return withdraw(context, submission)
    case 'cancel':
      return submission.kind === 'realtime'
        ? withdrawRealtime(context, submission)
        : cancel(context, submission)
    case 'nothing':
      return null
  }
}

async function beginRealtime(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  await record(context, submission, 'intent_recorded', `${submission.rows} rows in realtime`, {
    intentAt: context.now(),
  })
  return resumeRealtime(context, { ...submission, state: 'submitting' })
}

async function resumeRealtime(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  await record(context, submission, 'accepted', 'realtime', { because: 'its rows are answered one by one' })
  return null
}

/** Its answers are recorded as they come, so nothing is left to read. */
async function endRealtime(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  await record(context, submission, 'ingested', `${submission.rows} rows`, {})
  context.deps.emit({ kind: 'ingested', submission: { ...submission, state: 'ingested' } })
  return null
}

async function openSubmissions(context: RunContext): Promise<SubmissionRecord[]> {
  return (await context.deps.store.runs.submissions(context.run.id)).filter((submission) =>
    isOpen(submission.state),
  )
}

type NextStep =
  | { readonly kind: 'release'; readonly release: Parameters<typeof releaseWave>[1]; readonly wave: number }
  | { readonly kind: 'wait'; readonly until: Instant | null }
  | { readonly kind: 'done' }
  | { readonly kind: 'stop'; readonly reason: string }

async function decideWave(context: RunContext, options: DriveOptions): Promise<NextStep> {
  const { runs } = context.deps.store
  const submissions = await runs.submissions(context.run.id)
  const waves = waveSummaries(submissions)
  const counts = await runs.counts(context.run.id)
  const now = context.now()
  const nextRowAt = await runs.nextRowAt(context.run.id, now)
  const [ready] = await runs.pendingRows(context.run.id, now, null, 1)
  const tier = context.deps.catalogue.rules.tiers[context.settings.tier]
  const decision = nextWave({
    now,
    route: context.closing ? 'realtime' : context.plan.chosen,
    groups: context.plan.groups,
    rows: context.run.rows - counts.invalid,
    pending: ready === undefined ? 0 : counts.pending,
    nextRowAt,
    waves,
    withinMs: context.settings.withinMs,
    rowsInFlightMax: Math.max(1, rowsInFlightMax(tier.queuedRowsMax) - counts.submitted),
  })
  if (decision.kind === 'done') {
    const open = counts.pending + counts.submitted
    // What another driver was in the middle of when it took the run and died looks like the end to this one.
    if (open > 0) await context.renewLease()
    assert(open === 0, 'a run that is done has no row without an outcome')
    return decision
  }
  if (decision.kind === 'wait') return { kind: 'wait', until: decision.until }
  if (decision.kind === 'bulk' && !options.acceptProbe) {
    const probe = submissions.filter((submission) => submission.kind === 'probe')
    if (probe.length > 0 && submissions.at(-1)!.kind === 'probe') {
      const reason = await probeVerdict(context, probe)
      if (reason !== null) return { kind: 'stop', reason }
      context.deps.emit({ kind: 'note', message: `measured so far: ${forecastText(context.forecast())}` })
    }
  }
  const wave = Math.max(0, ...submissions.map((submission) => submission.wave)) + 1
  return { kind: 'release', release: decision, wave }
}

async function probeVerdict(context: RunContext, probe: readonly SubmissionRecord[]): Promise<string | null> {
  const total = { rows: 0, errored: 0, refused: 0, truncated: 0, schemaInvalid: 0 }
  for (const submission of probe) {
    const counts = await context.deps.store.runs.attemptCounts(context.run.id, submission.number)
    total.rows += counts.succeeded + counts.errored + counts.expired + counts.canceled
    total.errored += counts.errored + counts.expired
    total.refused += counts.refused
    total.truncated += counts.truncated
    total.schemaInvalid += counts.schemaInvalid
  }
  return probeProblem(total)
}

/** Submissions whose rows all went back are as if they had never been. */
function waveSummaries(submissions: readonly SubmissionRecord[]): WaveSummary[] {
  const told = submissions.filter(
    ({ state, rows, upstreamBatchId, isDuplicate }) =>
      !isDuplicate && !(rows > 0 && (state === 'refused' || (state === 'lost' && upstreamBatchId === null))),
  )
  return [...Map.groupBy(told, (submission) => submission.wave)].map(([wave, members]) => ({
    wave,
    kind: members[0]!.kind,
    rows: members.reduce((sum, member) => sum + member.rows, 0),
    open: members.some((member) => isOpen(member.state)),
    startedAt: members.reduce<Instant | null>(
      (first, { intentAt }) => (intentAt !== null && (first === null || intentAt < first) ? intentAt : first),
      null,
    ),
  }))
}

async function stop(context: RunContext, reason: string): Promise<DriveEnd> {
  await leaveRunning(context, 'stopped', reason)
  return { kind: 'stopped', reason }
}

async function finish(context: RunContext, to: 'finished' | 'canceled'): Promise<DriveEnd> {
  await leaveRunning(context, to, null)
  return { kind: 'finished' }
}

async function leaveRunning(context: RunContext, to: RunState, stopReason: string | null): Promise<void> {
  const change = { from: ['running'] as const, to, stopReason, at: context.now() }
  const answer = await context.deps.store.runs.setRunState(context.run.id, context.fence, change)
  assert(unfenced(answer, context.run.id) === 'ok', `run ${context.run.id} is running until it is ${to}`)
}

async function cancelPending({ deps, run, fence }: RunContext): Promise<void> {
  unfenced(await deps.store.runs.cancelPendingRows(run.id, fence), run.id)
}

async function withdraw(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  if (context.closing) {
    await withdrawForDeadline(context, submission)
    return null
  }
  const why = 'canceled before it was sent'
  await record(context, submission, 'refused', why, { because: why })
  await returnRows(context, submission.number)
  return null
}

async function withdrawRealtime(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  await giveUp(context, submission, 'canceled before every row was asked')
  return null
}

async function cancel(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  try {
    await context.deps.upstream.cancelBatch(submission.upstreamBatchId!)
  } catch (error) {
    // Refused because it has ended already or is not there: the next poll tells which.
    const codes = ['invalid_request_error', 'not_found_error']
    if (!(error instanceof TitheError) || !codes.includes(error.code)) throw error
  }
  await record(context, submission, 'cancel_requested', submission.upstreamBatchId!, {
    nextPollAt: null,
    because: context.closing
      ? 'canceled for the deadline; rows that are done keep their results, the others are answered in realtime'
      : 'a cancel was asked for; rows that are done keep their results',
  })
  return null
}

/**
 * What cannot be had any more keeps a canceled run from its end no longer. Answers false where nothing is known of it yet
 * that a cancel could end: whether a create took place, or whose batches these are.
 */
async function giveUp(context: RunContext, stale: SubmissionRecord, reason: string): Promise<boolean> {
  const submission = (await context.submissions()).find((one) => one.number === stale.number)!
  if (!isOpen(submission.state)) return true
  if (submission.state === 'submitting' || context.workspaceSeen(context.workspace) !== 'same') return false
  // What a batch has answered is paid for, and may be there, or whole, the next time: it is given up when asked again.
  if (submission.kind !== 'realtime' && reason !== context.run.stopReason) return false
  await record(context, submission, 'gone', reason, { because: reason })
  await endGivenUp(context, { ...submission, state: 'lost' })
  context.deps.emit({ kind: 'note', message: `submission ${submission.number} is given up: ${reason}` })
  return true
}

function earliest(one: Instant | null, other: Instant | null): Instant | null {
  return one === null ? other : other === null ? one : instant(Math.min(one, other))
}

function latest(instants: readonly (Instant | null)[]): Instant | null {
  return instants.reduce(
    (one, other) => (one === null || (other !== null && other > one) ? other : one),
    null,
  )
}

async function openContext(
  run: RunRecord,
  deps: RunDeps,
  fence: number,
  options: DriveOptions,
): Promise<RunContext> {
  if (run.state === 'stopped') {
    const change = {
      from: ['stopped'],
      to: 'running',
      stopReason: null,
      at: deps.runtime.clock.now(),
    } as const
    unfenced(await deps.store.runs.setRunState(run.id, fence, change), run.id)
  }
  const { runs } = deps.store
  if (options.budget !== undefined) await setBudget(runs, run.id, options.budget, deps.runtime.clock.now())
  const stored = settingsFromJson(run.settingsJson)
  const budget = await budgetInForce(runs, run)
  const settings =
    budget === null ? stored : { ...stored, budgetPicoUsd: budget.picoUsd, budgetMode: budget.mode }
  const context = new RunContext(deps, run, settings, parsePlanJson(run.planJson), fence)
  await recallLedger(context)
  // A crash between a refusal and the return of its rows would leave them in no hand; returning them again is harmless.
  for (const submission of await context.submissions()) {
    const { number, kind, state } = submission
    if (state === 'refused' || state === 'lost') await endGivenUp(context, submission)
    if (isOpen(state) && submission.isDuplicate) await returnRows(context, number)
    if (kind === 'realtime' && state === 'in_progress') {
      const message = `submission ${number} is answered in realtime: if its driver was killed, up to ${REALTIME_CONCURRENCY} calls were under way, and their rows, asked again, are paid twice`
      deps.emit({ kind: 'note', message })
    }
  }
  return context
}

/** What earlier drivers learnt stands in the ledger: spend, hits, and which entries were touched when. */
async function recallLedger(context: RunContext): Promise<void> {
  const createdAt = new Map((await context.submissions()).map((one) => [one.number, one.createdAt]))
  for (const sum of await context.deps.store.runs.ledgerSums(context.run.id)) {
    context.count(sum, createdAt.get(sum.submission) ?? null)
  }
}

/** A run lives on from where its last driver left it, although the clock of this machine may have been set back since. */
async function onTimeOfRun(runId: string, deps: RunDeps): Promise<RunDeps> {
  const { clock } = deps.runtime
  const last = await timeOfRun(runId, deps.store, clock)
  return { ...deps, runtime: { ...deps.runtime, clock: steadyClock(clock, last) } }
}

async function theRun(runId: string, deps: RunDeps): Promise<RunRecord> {
  const run = (await deps.store.runs.findRuns(runId)).find((found) => found.id === runId)
  if (!run) throw new TitheError('unknown_run', `there is no run ${runId} in this home`)
  return run
}
