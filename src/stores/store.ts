import type { SubmissionEvent, SubmissionState } from '../core/batch-state.ts'
import type { LedgerUsage } from '../core/compare-usage.ts'
import type { Instant } from '../core/instant.ts'
import type { LedgerEntry, LedgerSum } from '../core/ledger.ts'
import type { Ttl } from '../core/request.ts'
import type { Outcome, RowOutcome, RowRevision } from '../core/rows.ts'
import type { Usage } from '../core/usage.ts'

// What must survive a crash, in domain words. Methods are async and hold no transaction open across awaits; arguments
// and answers can be cloned to a worker thread. Each method is one transaction; a method that writes takes the fence of
// the writer's lease and answers `fenced` when a newer driver holds the run, or has discarded it. A run that is not there
// reads as an empty one.

/** Where bytes stand in a body file. */
export interface BodyRef {
  readonly file: number
  readonly offset: number
  readonly length: number
}

/**
 * Append-only bytes: rendered requests, shared blocks, result lines. A writer appends only to files that it created and
 * truncates nothing of another's; `sync` comes before the commit that refers to what was appended. Only what nobody refers
 * to any more is ever overwritten.
 */
export interface BodyStore {
  append(bytes: Uint8Array): Promise<BodyRef>
  read(ref: BodyRef): Promise<Uint8Array>
  /**
   * In the order asked. Bodies that stand near each other in a file are read at once, and share their memory: `release`
   * gives it back at once, where waiting for the collector would let hundreds of megabytes pile up.
   */
  readAll(refs: readonly BodyRef[]): Promise<{ readonly bodies: readonly Uint8Array[]; release(): void }>
  /** Every file as far as it reaches now, whoever wrote it. */
  extents(): Promise<BodyRef[]>
  /**
   * Overwrites what stands in these extents and is not kept; a file of which nothing is kept is removed. Durable when it
   * answers. Only while nobody appends to these files who has not committed yet where.
   * @param kept by file and offset, without overlaps.
   */
  keepOnly(extents: readonly BodyRef[], kept: readonly BodyRef[]): Promise<void>
  /** fdatasync of everything that this writer appended. */
  sync(): Promise<void>
  close(): Promise<void>
}

/**
 * preparing: rows are being rendered, nothing was sent; a crash starts it anew. running: a driver may work on it.
 * stopped: waits for a human (`stopReason`). canceled and finished are final, unless a person sends rows again.
 */
export type RunState = 'preparing' | 'running' | 'stopped' | 'finished' | 'canceled'

export interface RunRecord {
  readonly id: string
  /** Of job and input: `run` on the same identity resumes or refuses instead of buying twice. */
  readonly fingerprint: string
  readonly name: string
  readonly jobPath: string | null
  readonly createdAt: Instant
  readonly finishedAt: Instant | null
  /** When its content was removed; what is left is the ledger. */
  readonly forgottenAt: Instant | null
  readonly state: RunState
  /** For people; null unless stopped. */
  readonly stopReason: string | null
  /** `local`, `anthropic`, with base URL but never a key. */
  readonly upstream: string
  readonly upstreamKind: 'local' | 'anthropic'
  /** From the headers of the first create; a later mismatch stops the run. */
  readonly organizationId: string | null
  readonly workspaceId: string | null
  /** JobSettings as JSON (bigints as decimal strings). */
  readonly settingsJson: string
  /** The RunPlan as JSON; `{}` while preparing. */
  readonly planJson: string
  readonly rows: number
}

export interface NewRow {
  readonly ordinal: number
  readonly userId: string
  readonly line: number | null
  readonly model: string
  /** Rows that may share a batch have equal variants: api version and betas, as one string. */
  readonly variant: string
  /** The stored request (`core/stored-request.ts`). */
  readonly request: BodyRef
  /** Exact bytes of `params` as sent, without marks, attachments in base64. */
  readonly paramsBytes: number
  /** Columns as JSON, for results. */
  readonly columns: BodyRef
  readonly expectedJson: string | null
  /** Prefix hashes (`core/prefix-hash.ts`) at the positions where a mark could stand, shallow first, as JSON. */
  readonly prefixesJson: string
  /** Estimated prompt tokens: best and upper. */
  readonly promptTokens: number
  readonly promptTokensHigh: number
  readonly maxTokens: number
  /** Most web searches that the request may make; null without a limit. */
  readonly webSearchesMax: number | null
  /** As the request asks for it: `us` has a price of its own. */
  readonly inferenceGeo: string | null
  readonly speed: Usage['speed']
  /** The dearest TTL among the marks that the request brings itself; null without any. */
  readonly ownMarkTtl: Ttl | null
  /** Set for a row that cannot be sent: it is done, with the outcome `invalid`. */
  readonly invalidProblem: string | null
}

/** pending: may be taken by the next wave. submitted: in an open submission. done: has its outcome. */
export type RowState = 'pending' | 'submitted' | 'done'

export interface RowRecord extends NewRow {
  readonly state: RowState
  /** The prefix group that planning gave it; null when nothing is shared. */
  readonly group: string | null
  readonly attempts: number
  /** Those of them that were made before a person had the row sent again: `max_attempts` counts from there. */
  readonly attemptsBefore: number
  readonly notBefore: Instant | null
  /** null: sent as it was rendered. */
  readonly revision: RowRevision | null
  readonly outcome: RowOutcome | null
  /** The submission whose attempt decided the outcome. */
  readonly decidedBy: number | null
}

/** A row that is sent again, and what takes its place; null where it goes out as it is stored. */
export interface ReopenedRow {
  readonly ordinal: number
  /** Can be sent, and has the same ordinal. `group` as in `RowRecord`. */
  readonly replacement: { readonly row: NewRow; readonly group: string | null } | null
}

/** The little that sending needs of a row: a batch has 100,000 of them. */
export type RowToSend = Pick<RowRecord, 'ordinal' | 'userId' | 'request' | 'group' | 'revision'>

/** The little that wave planning needs of a pending row. */
export interface PendingRow {
  readonly ordinal: number
  readonly variant: string
  readonly model: string
  readonly group: string | null
  readonly paramsBytes: number
  readonly promptTokens: number
  readonly promptTokensHigh: number
  readonly maxTokens: number
  readonly webSearchesMax: number | null
  readonly inferenceGeo: string | null
  readonly speed: Usage['speed']
  readonly ownMarkTtl: Ttl | null
  readonly userId: string
  readonly attempts: number
  readonly revision: RowRevision | null
}

export type WaveKind = 'primer' | 'probe' | 'bulk' | 'retry' | 'realtime'

export interface SubmissionRecord {
  readonly run: string
  /** 1-based; part of every custom_id of the submission. */
  readonly number: number
  readonly wave: number
  readonly kind: WaveKind
  readonly variant: string
  readonly state: SubmissionState
  readonly rows: number
  readonly sizeBytes: number
  /** The marks of this submission by group, as JSON (`core/cache-plan.ts`, MarkPlan). */
  readonly marksJson: string
  /** Digest of rows and bytes, recorded with the intent. */
  readonly fingerprint: string | null
  readonly intentAt: Instant | null
  /** The upstream's newest batch before the create: only newer ones can be ours. */
  readonly newestIdBefore: string | null
  /** The upstream's own time just before the create; null when it tells none. */
  readonly serverIntentAt: Instant | null
  /** Whose list was looked at before the create, and whose batch it is. */
  readonly organizationId: string | null
  readonly workspaceId: string | null
  readonly upstreamBatchId: string | null
  /** The upstream's own timestamps. */
  readonly createdAt: Instant | null
  readonly endedAt: Instant | null
  readonly expiresAt: Instant | null
  readonly cancelInitiatedAt: Instant | null
  /** `request_counts` of the ended batch, as JSON. */
  readonly countsJson: string | null
  readonly nextPollAt: Instant | null
  /** Presumed lost, and turned up after its rows were sent again: what it answered is paid for, and decides no row. */
  readonly isDuplicate: boolean
  /** A second batch of one create: its custom_ids carry that submission's number. null: its own. */
  readonly answersFor: number | null
  /** When the batch was deleted at the upstream. */
  readonly deletedAt: Instant | null
  readonly ingestedRows: number
  /** Why it is where it is, for `status`. */
  readonly because: string | null
}

/** Fields that an event may set. */
export type SubmissionChange = Partial<
  Pick<
    SubmissionRecord,
    | 'fingerprint'
    | 'intentAt'
    | 'newestIdBefore'
    | 'serverIntentAt'
    | 'organizationId'
    | 'workspaceId'
    | 'upstreamBatchId'
    | 'createdAt'
    | 'endedAt'
    | 'expiresAt'
    | 'cancelInitiatedAt'
    | 'countsJson'
    | 'nextPollAt'
    | 'isDuplicate'
    | 'deletedAt'
    | 'because'
    | 'sizeBytes'
    | 'rows'
    | 'marksJson'
  >
>

/** One attempt of a row: one submission of it and how that ended. Kept as history, never overwritten. */
export interface AttemptRecord {
  readonly run: string
  readonly submission: number
  readonly ordinal: number
  readonly customId: string
  readonly at: Instant
  readonly outcome: Outcome
  readonly stopReason: string | null
  /** `error.type` and message of the API for errored rows; for a row that was left unfinished, a message of ours. */
  readonly errorType: string | null
  readonly errorMessage: string | null
  /** The complete result line as received; null for rows that never got one. */
  readonly result: BodyRef | null
  /** Digest of the result: the same again changes nothing, a different one is loud. */
  readonly resultDigest: string
  /** null without `output.schema`; otherwise whether the answer was valid, and why not. */
  readonly schemaValid: boolean | null
  readonly schemaProblem: string | null
  /** null without `expect`; otherwise 0 to 1 (`fields` gives the share of fields that matched). */
  readonly score: number | null
}

export interface ResultToRecord {
  readonly attempt: AttemptRecord
  /** null when nothing was billed. */
  readonly entry: LedgerEntry | null
  /** done: this attempt decides the row. pending: the row goes into a later batch, not before `notBefore`. */
  readonly next:
    | { readonly kind: 'done' }
    | { readonly kind: 'pending'; readonly notBefore: Instant | null; readonly revision: RowRevision | null }
}

/** `conflict` names what differs: the row already has another result of the same submission. */
export type RecordAnswer = 'recorded' | 'already_recorded' | 'conflict'

export type LeaseAnswer =
  | { readonly kind: 'held'; readonly fence: number }
  | { readonly kind: 'taken'; readonly holder: string; readonly until: Instant }

export type Fenced = 'fenced'

export interface RowCounts {
  readonly pending: number
  readonly submitted: number
  readonly succeeded: number
  readonly errored: number
  readonly canceled: number
  readonly expired: number
  readonly invalid: number
  readonly unretrievable: number
  /** Among the succeeded. */
  readonly refused: number
  readonly truncated: number
  readonly schemaInvalid: number
  /** Paused in a server tool (`pause_turn`), and not continued to an end. */
  readonly unfinished: number
}

/** Attempts by outcome; the last four are among the succeeded. */
export type AttemptCounts = Omit<RowCounts, 'pending' | 'submitted' | 'unretrievable'>

/** One row of `results`: the row, its deciding attempt and what it cost over all its attempts. */
export interface ResultRecord {
  readonly row: RowRecord
  readonly attempt: AttemptRecord | null
  /** All entries of the row, every attempt. */
  readonly entries: readonly LedgerEntry[]
}

export interface StoredEvent {
  readonly run: string
  readonly at: Instant
  /** 0 for events of the whole run. */
  readonly submission: number
  readonly kind: string
  readonly detail: string
}

/** Runs, rows, submissions, attempts and the ledger. */
export interface RunStore {
  /** Writes the run in state `preparing`. */
  createRun(run: RunRecord): Promise<void>
  /** By unique prefix of the id, newest first; every run for the empty prefix. */
  findRuns(idPrefix: string): Promise<RunRecord[]>
  /** The newest run with this fingerprint that is not canceled; null when there is none. */
  runByFingerprint(fingerprint: string): Promise<RunRecord | null>
  /** Forgets a run that is still `preparing`, rows included. Answers false when it is past that. */
  discardPreparing(run: string): Promise<boolean>
  /** preparing → running, with the plan and the number of rows; groups are assigned before. */
  startRun(run: string, fence: number, planJson: string, rows: number): Promise<'ok' | Fenced>
  /** Compare-and-set on the state, with its event. */
  setRunState(
    run: string,
    fence: number,
    change: { from: readonly RunState[]; to: RunState; stopReason: string | null; at: Instant },
  ): Promise<'ok' | 'not_in_state' | Fenced>
  saveSettings(run: string, fence: number, settingsJson: string): Promise<'ok' | Fenced>
  /** The plan as revised by a wave's measurements. */
  savePlan(run: string, fence: number, planJson: string): Promise<'ok' | Fenced>
  /** Records organisation and workspace once; answers `mismatch` when they differ from what is recorded. */
  recordWorkspace(
    run: string,
    fence: number,
    ids: { organizationId: string | null; workspaceId: string | null },
  ): Promise<'ok' | 'mismatch' | Fenced>

  /**
   * One driver a run. Takes a lease that is free, lapsed or one's own; each taking raises the fence, one's own too.
   * Throws `unknown_run`.
   */
  acquireLease(run: string, holder: string, now: Instant, until: Instant): Promise<LeaseAnswer>
  /** `fenced` too after the lease was released: a late renewal revives nothing. */
  renewLease(run: string, fence: number, until: Instant): Promise<'ok' | Fenced>
  releaseLease(run: string, fence: number): Promise<void>
  /** Who holds the run now, by its recorded lease, lapsed or not; null when nobody does. For `status`. */
  leaseHolder(run: string): Promise<{ readonly holder: string; readonly until: Instant } | null>

  addRows(run: string, fence: number, rows: readonly NewRow[]): Promise<'ok' | Fenced>
  /** Ascending by ordinal, from `afterOrdinal` (exclusive; -1 for the start). */
  rowsPage(run: string, afterOrdinal: number, limit: number): Promise<RowRecord[]>
  /** In the order asked; ordinals that are not there are left out. `blocks` answers likewise. */
  rowsByOrdinal(run: string, ordinals: readonly number[]): Promise<RowRecord[]>
  assignGroups(
    run: string,
    fence: number,
    groups: readonly { ordinal: number; group: string | null }[],
  ): Promise<'ok' | Fenced>
  /** Pending rows whose `notBefore` has come, by variant, model, group, ordinal; `after` is the last of the page before. */
  pendingRows(run: string, now: Instant, after: PendingRow | null, limit: number): Promise<PendingRow[]>
  /** The earliest `notBefore` of pending rows that still wait; null when none waits. */
  nextRowAt(run: string, now: Instant): Promise<Instant | null>

  /** Digest of a shared block → where it stands; used so that each distinct block is stored once a run. */
  putBlocks(
    run: string,
    fence: number,
    blocks: readonly { hash: string; ref: BodyRef }[],
  ): Promise<'ok' | Fenced>
  blocks(run: string, hashes: readonly string[]): Promise<{ hash: string; ref: BodyRef }[]>

  /** Creates a submission in state `planned` and moves its rows pending → submitted, one more attempt each. */
  planSubmission(
    fence: number,
    submission: Omit<SubmissionRecord, 'number'>,
    ordinals: readonly number[],
  ): Promise<{ kind: 'planned'; number: number } | { kind: 'rows_taken' } | { kind: Fenced }>
  submissions(run: string): Promise<SubmissionRecord[]>
  /** Row counts of the submissions of all runs that are planned or sent and have not ended: no two should be equal. */
  openSizes(): Promise<number[]>
  /** Ordinals of a submission's rows, ascending. */
  submissionRows(run: string, submission: number, afterOrdinal: number, limit: number): Promise<number[]>
  /** The rows that a submission still holds, ascending. */
  rowsToSend(run: string, submission: number, afterOrdinal: number, limit: number): Promise<RowToSend[]>
  /** Compare-and-set through `core/batch-state.ts` `evolve`, with its event, in one transaction. */
  recordEvent(
    run: string,
    fence: number,
    submission: number,
    event: { kind: SubmissionEvent; from: SubmissionState; at: Instant; detail: string },
    change: SubmissionChange,
  ): Promise<'ok' | 'not_in_state' | Fenced>
  /**
   * A second batch that was made of one create: a submission of its own in state `ended`, a duplicate, of the same rows,
   * none of which it takes. Once for a batch; answers its number, or null when the batch is known already.
   */
  addDuplicate(
    run: string,
    fence: number,
    of: number,
    batch: Pick<SubmissionRecord, 'upstreamBatchId' | 'createdAt' | 'expiresAt' | 'endedAt' | 'because'>,
  ): Promise<number | null | Fenced>
  /**
   * A submission of a run that is rebuilt from its batches, in state `ended`, under the number that its custom_ids carry.
   * Those of its rows that are pending become its own, one more attempt each, whenever they might be taken next. Numbers
   * below it that are not there are filled with refused submissions of no rows, which a batch that is found later replaces.
   * Answers `known` when the number is taken by anything else.
   */
  adoptSubmission(
    fence: number,
    submission: SubmissionRecord,
    ordinals: readonly number[],
  ): Promise<'ok' | 'known' | Fenced>
  /** A change without a change of state (next poll). */
  touchSubmission(
    run: string,
    fence: number,
    submission: number,
    change: SubmissionChange,
  ): Promise<'ok' | Fenced>
  /**
   * The rows that a submission still holds go back to pending, and their attempt counter goes back; answers how many.
   * For one that was never sent, was refused or is lost, and for realtime calls. While a batch of it may exist
   * (`may-be-batch.ts`) its rows may be paid for: that is an assertion.
   */
  returnRows(
    run: string,
    fence: number,
    submission: number,
    then: { kind: 'pending'; notBefore: Instant | null },
  ): Promise<number | Fenced>

  /**
   * The rows that a lost submission still holds end as `unretrievable`, decided by it, without an attempt; answers how
   * many. Its batch was known, and its results cannot be read any more.
   */
  endUnretrievable(run: string, fence: number, submission: number): Promise<number | Fenced>

  /** Ends every pending row with the outcome `canceled`, without an attempt; answers how many. */
  cancelPendingRows(run: string, fence: number): Promise<number | Fenced>

  /**
   * done → pending, each with what takes its place, atomically; answers how many. Rows that are not done stay as they are.
   * Their attempts and entries are history and money; `attemptsBefore` becomes what `attempts` is.
   */
  reopenRows(run: string, fence: number, rows: readonly ReopenedRow[]): Promise<number | Fenced>

  /**
   * Removes the content of a run that is finished or canceled: of rows, attempts, blocks, submissions and events all that
   * could repeat or name what was asked and answered. Outcomes, tokens and money stay, and the identities in custom_ids.
   * Asked again, it changes nothing but what was left.
   */
  forgetRun(
    run: string,
    fence: number,
    kept: {
      readonly at: Instant
      readonly settingsJson: string
      readonly planJson: string
      /** Kinds of events whose detail is none of the content. */
      readonly eventKinds: readonly string[]
    },
  ): Promise<'ok' | Fenced>
  /** All places in body files that any run refers to, by file and offset; those that touch are one. */
  bodyRanges(): Promise<BodyRef[]>
  /** Bytes of what is not stored any more are gone from the disk. Throws while another process keeps it from that. */
  scrub(): Promise<void>

  /**
   * Attempts, row states and ledger entries of a chunk of results, atomically; idempotent by (submission, ordinal). A
   * row that the submission no longer holds keeps its state: the attempt and its entry are history and money.
   */
  recordResults(
    run: string,
    fence: number,
    submission: number,
    results: readonly ResultToRecord[],
  ): Promise<RecordAnswer[] | Fenced>
  /** Ordinals of the submission that have no attempt recorded yet. */
  missingResults(run: string, submission: number, limit: number): Promise<number[]>

  counts(run: string): Promise<RowCounts>
  /** How the attempts of one submission ended, whatever became of their rows since. */
  attemptCounts(run: string, submission: number): Promise<AttemptCounts>
  /** Every attempt of the rows, in the order asked and of their submissions. */
  attemptsOf(run: string, ordinals: readonly number[]): Promise<AttemptRecord[]>
  /** Ascending by ordinal. */
  resultsPage(run: string, afterOrdinal: number, limit: number): Promise<ResultRecord[]>
  /** Ascending by submission and ordinal. `after` is the last entry of the page before. */
  ledgerPage(
    run: string,
    after: { submission: number; ordinal: number } | null,
    limit: number,
  ): Promise<LedgerEntry[]>
  /** The ledger of a run, duplicates included, added up by submission and group, of which there may be several sums. */
  ledgerSums(run: string): Promise<LedgerSum[]>
  /** The ledger of all runs, duplicates included, added up; in no order. */
  ledgerUsage(): Promise<LedgerUsage[]>
  addEvent(event: StoredEvent): Promise<void>
  events(run: string): Promise<StoredEvent[]>
  close(): Promise<void>
}

export interface Store {
  readonly runs: RunStore
  readonly bodies: BodyStore
}
