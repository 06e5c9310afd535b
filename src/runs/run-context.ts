import { TitheError } from '../core/errors.ts'
import { compareForecast, type ForecastComparison } from '../core/forecast.ts'
import { type Instant, instant, plusMs } from '../core/instant.ts'
import type { JobSettings } from '../core/job.ts'
import { settingsOfVariant } from '../core/job.ts'
import type { LedgerSum } from '../core/ledger.ts'
import { picoUsd } from '../core/money.ts'
import { compareWorkspace, type Evidence, type WorkspaceIds } from '../core/recovery.ts'
import type { RetryTerms } from '../core/retry.ts'
import type { GroupPlan, MarkPlan, RunPlan } from '../core/run-plan.ts'
import { marksToRelease } from '../core/waves.ts'
import { loadAccountErrors } from '../facts/account-errors.ts'
import type { RunRecord, StoredEvent, SubmissionRecord } from '../stores/store.ts'
import type { AnswerHeaders, CallContext } from '../upstreams/upstream.ts'
import { LEASE_MS } from './lease.ts'
import { retriedAt, sinceRetry } from './retry-events.ts'
import type { RunDeps } from './run-deps.ts'

/** Marks by group, as a submission records them: rows of a group that is not named go out unmarked. */
export type MarksByGroup = Readonly<Record<string, readonly MarkPlan[]>>

/** Whose batch it is, by the custom_ids in its results. `unknown` until they can be read, `gone` when they never will. */
export type BatchOwner = { readonly submission: number } | 'foreign' | 'unknown' | 'gone'

/** Of a prefix's estimated tokens that must be read or written to show that it is cached: estimates may be high. */
const COVERED_SHARE = 0.7

/** A run in the hands of its one driver. What stands here beside the store's records can be derived from them again. */
export class RunContext {
  readonly deps: RunDeps
  readonly run: RunRecord
  readonly settings: JobSettings
  readonly plan: RunPlan
  readonly fence: number
  readonly groups: ReadonlyMap<string, GroupPlan>
  /** How the upstream says that the key or the account must be mended. */
  readonly accountErrors = loadAccountErrors()
  /** Whose batches the run has, as far as the upstream has said. */
  workspace: WorkspaceIds
  /** Group → created_at of the last batch whose rows wrote or read its entry. */
  readonly touchedAt = new Map<string, Instant>()
  /** Groups whose entry was written or read in realtime: batches and realtime have caches apart (claude-api.md 3.7). */
  readonly touchedInRealtime = new Set<string>()
  /** Changes of a submission's state by this driver. */
  steps = 0
  spentPicoUsd = 0n
  answeredRows = 0
  readingRows = 0
  promptTokens = 0
  outputTokens = 0
  unpricedRows = 0
  /** Whose the batches are that were read, by their id. */
  readonly owners = new Map<string, Exclude<BatchOwner, 'unknown'>>()
  /** Whether this driver has seen that the upstream is the one that the run's batches are at. */
  isWorkspaceChecked = false
  /** Whether it was said what the end of the run is waiting for. */
  saidAwaited = false
  /** Batches that could not be deleted at the upstream, as was said. */
  readonly undeleted = new Set<string>()
  /** Whether batches are canceled for the deadline: what they report as canceled goes on in realtime. */
  closing = false
  #events: StoredEvent[] | null = null
  #answersFor: WorkspaceIds | null = null
  #toldTime = false
  /** Why nothing more may be sent until a person has mended something; the driver stops when it is set. */
  mustStop: string | null = null
  /** Upstream's clock minus ours; its timestamps are compared only with its own time (design.md 4.5). */
  #serverAheadMs = 0

  constructor(deps: RunDeps, run: RunRecord, settings: JobSettings, plan: RunPlan, fence: number) {
    this.deps = deps
    this.run = run
    this.settings = settings
    this.plan = plan
    this.fence = fence
    this.workspace = { organizationId: run.organizationId, workspaceId: run.workspaceId }
    this.groups = new Map(plan.groups.map((group) => [group.group, group]))
  }

  now(): Instant {
    return this.deps.runtime.clock.now()
  }

  serverNow(): Instant {
    return plusMs(this.now(), this.#serverAheadMs)
  }

  /** The upstream's own time; null when it has told none. */
  serverDate(): Instant | null {
    return this.#toldTime ? this.serverNow() : null
  }

  /** Every answer says what time it is there, and for whom it answers. */
  learn(headers: AnswerHeaders): void {
    this.#answersFor = headers
    if (headers.date === null) return
    this.#toldTime = true
    this.#serverAheadMs = instant(headers.date) - this.now()
  }

  /** Whose batches the last answer was about, against what was recorded. */
  workspaceSeen(recorded: WorkspaceIds): Evidence['workspace'] {
    return this.#answersFor === null ? 'same' : compareWorkspace(recorded, this.#answersFor)
  }

  /** Takes over what the last answer says and was not known; answers whether that is anything. */
  learnWorkspace(): boolean {
    const { organizationId, workspaceId } = this.workspace
    this.workspace = {
      organizationId: organizationId ?? this.#answersFor?.organizationId ?? null,
      workspaceId: workspaceId ?? this.#answersFor?.workspaceId ?? null,
    }
    return this.workspace.organizationId !== organizationId || this.workspace.workspaceId !== workspaceId
  }

  /** @throws `run_taken` when another driver has the run. */
  async renewLease(): Promise<void> {
    const until = plusMs(this.deps.wallClock.now(), LEASE_MS)
    unfenced(await this.deps.store.runs.renewLease(this.run.id, this.fence, until), this.run.id)
  }

  /** An event of the whole run, said to whoever listens. */
  async addEvent(kind: string, detail: string): Promise<void> {
    const event = { run: this.run.id, at: this.now(), submission: 0, kind, detail }
    await this.deps.store.runs.addEvent(event)
    ;(await this.#eventsOfRun()).push(event)
    this.deps.emit({ kind: 'note', message: detail })
  }

  /** The kinds of events of the whole run that were recorded so far, by whichever driver, since rows were last sent again. */
  async eventKinds(): Promise<ReadonlySet<string>> {
    return new Set(sinceRetry(await this.#eventsOfRun()).map((event) => event.kind))
  }

  /** When a person last had rows sent again. */
  async retriedAt(): Promise<Instant | null> {
    return retriedAt(await this.#eventsOfRun())
  }

  async #eventsOfRun(): Promise<StoredEvent[]> {
    this.#events ??= (await this.deps.store.runs.events(this.run.id)).filter(
      (event) => event.submission === 0,
    )
    return this.#events
  }

  submissions(): Promise<SubmissionRecord[]> {
    return this.deps.store.runs.submissions(this.run.id)
  }

  retryTerms(): RetryTerms {
    const { maxAttempts, onTruncated, onRefused, onSchemaInvalid } = this.settings
    const { accountErrors, closing } = this
    return { maxAttempts, onTruncated, onRefused, onSchemaInvalid, accountErrors, closing }
  }

  callContext(variant: string, tier: CallContext['tier']): CallContext {
    return {
      ...settingsOfVariant(variant),
      workspace: this.deps.upstream.workspace,
      tier,
      receivedAt: this.now(),
    }
  }

  /** The marks with which rows of a group go out now; none when its entry is not known to live. */
  releasedMarks(group: string): readonly MarkPlan[] {
    const plan = this.groups.get(group)
    if (plan === undefined) return []
    const touchedAt = this.touchedAt.get(group) ?? null
    const ttls = this.deps.catalogue.rules.cacheTtlMs
    return marksToRelease(plan, this.plan.chosen, touchedAt, this.serverNow(), ttls).marks
  }

  /** What was measured so far, against the plan. */
  forecast(): ForecastComparison {
    return compareForecast(this.plan, {
      rows: this.answeredRows,
      rowsThatRead: this.readingRows,
      promptTokens: this.promptTokens,
      outputTokens: this.outputTokens,
      costPicoUsd: this.unpricedRows > 0 ? null : picoUsd(this.spentPicoUsd),
    })
  }

  /** Takes in what was paid. `createdAt` is that of the submission's batch. */
  count(sum: LedgerSum, createdAt: Instant | null): void {
    this.spentPicoUsd += sum.costPicoUsd
    this.unpricedRows += sum.unpricedEntries
    this.answeredRows += sum.entries
    this.readingRows += sum.readingEntries
    this.promptTokens += sum.promptTokens
    this.outputTokens += sum.outputTokens
    const { group, cachedTokensMax: cached } = sum
    if (group === null || createdAt === null) return
    const prefix = this.groups.get(group)?.marks.at(-1)?.tokens ?? 0
    // Less than the prefix was cached (a shallower mark, or a minimum that we have wrong): no proof for the group.
    if (cached === 0 || cached < COVERED_SHARE * prefix) return
    if (sum.isRealtime) {
      this.touchedInRealtime.add(group)
      return
    }
    const before = this.touchedAt.get(group)
    if (before === undefined || before < createdAt) this.touchedAt.set(group, createdAt)
  }
}

/** Another driver took the run: this one must not write again. */
export function unfenced<T>(answer: T | 'fenced', run: string): T {
  if (answer === 'fenced') {
    throw new TitheError('run_taken', `run ${run} is now driven by another process`, {
      hint: `watch it with 'tithe status ${run} --watch'`,
    })
  }
  return answer
}
