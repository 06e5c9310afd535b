import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { assert } from '../../core/assert.ts'
import { evolve, type SubmissionState } from '../../core/batch-state.ts'
import { type Answered, type LedgerUsage, UsageFold } from '../../core/compare-usage.ts'
import { TitheError } from '../../core/errors.ts'
import type { Instant } from '../../core/instant.ts'
import type { LedgerEntry, LedgerSum } from '../../core/ledger.ts'
import { openBodyFiles } from '../body-files.ts'
import { assertOver, assertReplaceable, BodyRanges, FORGOTTEN } from '../forgetting.ts'
import { gapBefore } from '../gap-before.ts'
import { mayBeBatch } from '../may-be-batch.ts'
import type {
  AttemptCounts,
  AttemptRecord,
  BodyRef,
  Fenced,
  LeaseAnswer,
  NewRow,
  PendingRow,
  RecordAnswer,
  ReopenedRow,
  ResultRecord,
  ResultToRecord,
  RowCounts,
  RowRecord,
  RowToSend,
  RunRecord,
  RunStore,
  Store,
  StoredEvent,
  SubmissionChange,
  SubmissionRecord,
} from '../store.ts'
import { storeError } from '../store-error.ts'
import { Connection, type Parameter } from './connection.ts'
import { migrate } from './migrations.ts'
import {
  type AttemptColumns,
  attemptRecord,
  type EntryColumns,
  ledgerEntry,
  ledgerSum,
  type PendingColumns,
  pendingRow,
  type RowColumns,
  rowRecord,
  rowToSend,
  type SubmissionColumns,
  type SumColumns,
  submissionRecord,
  type ToSendColumns,
} from './records.ts'
import * as sql from './statements.ts'

/** `tithe.sqlite` and body files under `dir`, made when absent (0700, files 0600). Throws `store_*` errors, exit code 3. */
export async function openSqliteStore(options: { dir: string }): Promise<Store> {
  return { runs: openSqliteRuns(options), bodies: openBodyFiles({ dir: join(options.dir, 'bodies') }) }
}

/** The part of the store that is SQL; `worker-main.ts` runs it on a thread of its own. */
export function openSqliteRuns({ dir }: { dir: string }): RunStore {
  const path = join(dir, 'tithe.sqlite')
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw storeError(error, path)
  }
  const connection = new Connection(path)
  try {
    migrate(connection)
  } catch (error) {
    connection.close()
    throw error
  }
  return new SqliteRuns(connection)
}

/**
 * Each method is one synchronous transaction on the calling thread; it is `async` so that an error is a rejection. A run
 * that is not there answers like an empty one to a read and `fenced` to a write: a newer driver has discarded it.
 */
class SqliteRuns implements RunStore {
  readonly #db: Connection

  constructor(connection: Connection) {
    this.#db = connection
  }

  async createRun(run: RunRecord): Promise<void> {
    assert(run.state === 'preparing', 'a run is created in state preparing')
    this.#db.run(
      sql.INSERT_RUN,
      run.id,
      run.fingerprint,
      run.name,
      run.jobPath,
      run.createdAt,
      run.finishedAt,
      run.stopReason,
      run.upstream,
      run.upstreamKind,
      run.organizationId,
      run.workspaceId,
      run.rows,
      run.settingsJson,
      run.planJson,
    )
  }

  async findRuns(idPrefix: string): Promise<RunRecord[]> {
    return this.#db.all<RunRecord>(sql.RUNS_BY_PREFIX, idPrefix).map((run) => ({ ...run }))
  }

  async runByFingerprint(fingerprint: string): Promise<RunRecord | null> {
    const run = this.#db.get<RunRecord>(sql.NEWEST_RUN_BY_FINGERPRINT, fingerprint)
    return run === undefined ? null : { ...run }
  }

  async discardPreparing(run: string): Promise<boolean> {
    return this.#db.run(sql.DELETE_PREPARING_RUN, run) === 1
  }

  async startRun(run: string, fence: number, planJson: string, rows: number): Promise<'ok' | Fenced> {
    return this.#write(run, fence, (number) => {
      const changed = this.#db.run(sql.START_RUN, planJson, rows, number)
      assert(changed === 1, `run ${run} is still preparing when it starts`)
      return 'ok'
    })
  }

  async setRunState(
    run: string,
    fence: number,
    change: {
      from: readonly RunRecord['state'][]
      to: RunRecord['state']
      stopReason: string | null
      at: Instant
    },
  ): Promise<'ok' | 'not_in_state' | Fenced> {
    const { from, to, stopReason, at } = change
    return this.#write(run, fence, (number) => {
      if (this.#db.run(sql.SET_RUN_STATE, to, stopReason, at, number, JSON.stringify(from)) === 0) {
        return 'not_in_state'
      }
      this.#db.run(sql.INSERT_EVENT, number, at, 0, to, stopReason ?? '')
      return 'ok'
    })
  }

  async saveSettings(run: string, fence: number, settingsJson: string): Promise<'ok' | Fenced> {
    return this.#write(run, fence, (number) => {
      this.#db.run(sql.SAVE_SETTINGS, settingsJson, number)
      return 'ok'
    })
  }

  async savePlan(run: string, fence: number, planJson: string): Promise<'ok' | Fenced> {
    return this.#write(run, fence, (number) => {
      this.#db.run(sql.SAVE_PLAN, planJson, number)
      return 'ok'
    })
  }

  async recordWorkspace(
    run: string,
    fence: number,
    ids: { organizationId: string | null; workspaceId: string | null },
  ): Promise<'ok' | 'mismatch' | Fenced> {
    return this.#write(run, fence, (number) => {
      const known = this.#db.get<typeof ids>(sql.WORKSPACE_OF_RUN, number)!
      if (differ(known.organizationId, ids.organizationId) || differ(known.workspaceId, ids.workspaceId)) {
        return 'mismatch'
      }
      this.#db.run(sql.RECORD_WORKSPACE, ids.organizationId, ids.workspaceId, number)
      return 'ok'
    })
  }

  async acquireLease(run: string, holder: string, now: Instant, until: Instant): Promise<LeaseAnswer> {
    return this.#db.write((): LeaseAnswer => {
      const lease = this.#db.get<{ number: number; fence: number; holder: string | null; until: Instant }>(
        sql.LEASE_OF_RUN,
        run,
      )
      if (lease === undefined) throw unknownRun(run)
      if (lease.holder !== null && lease.holder !== holder && lease.until > now) {
        return { kind: 'taken', holder: lease.holder, until: lease.until }
      }
      this.#db.run(sql.TAKE_LEASE, holder, until, lease.number)
      return { kind: 'held', fence: lease.fence + 1 }
    })
  }

  async renewLease(run: string, fence: number, until: Instant): Promise<'ok' | Fenced> {
    return this.#write(run, fence, (number) =>
      this.#db.run(sql.RENEW_LEASE, until, number) === 1 ? 'ok' : 'fenced',
    )
  }

  async releaseLease(run: string, fence: number): Promise<void> {
    this.#db.run(sql.RELEASE_LEASE, run, fence)
  }

  async leaseHolder(run: string): Promise<{ holder: string; until: Instant } | null> {
    const lease = this.#db.get<{ holder: string; until: Instant }>(sql.LEASE_HOLDER, run)
    return lease === undefined ? null : { ...lease }
  }

  async addRows(run: string, fence: number, rows: readonly NewRow[]): Promise<'ok' | Fenced> {
    return this.#write(run, fence, (number) => {
      const lanes = new Map<string, number>()
      for (const row of rows) {
        this.#db.run(sql.INSERT_ROW, number, ...inputColumns(row))
        const lane = this.#lane(lanes, number, row.variant, row.model, null)
        const [state, outcome] = row.invalidProblem === null ? ['pending', null] : ['done', 'invalid']
        this.#db.run(sql.INSERT_ROW_STATE, number, row.ordinal, lane, state, outcome)
      }
      return 'ok'
    })
  }

  async rowsPage(run: string, afterOrdinal: number, limit: number): Promise<RowRecord[]> {
    return this.#read(run, [], (number) =>
      this.#db.all<RowColumns>(sql.ROWS_AFTER, number, afterOrdinal, limit).map(rowRecord),
    )
  }

  async rowsByOrdinal(run: string, ordinals: readonly number[]): Promise<RowRecord[]> {
    return this.#read(run, [], (number) =>
      this.#db.all<RowColumns>(sql.ROWS_BY_ORDINAL, JSON.stringify(ordinals), number).map(rowRecord),
    )
  }

  async assignGroups(
    run: string,
    fence: number,
    groups: readonly { ordinal: number; group: string | null }[],
  ): Promise<'ok' | Fenced> {
    return this.#write(run, fence, (number) => {
      const lanes = new Map<string, number>()
      for (const { ordinal, group } of groups) {
        const before = this.#db.get<{ lane: number; variant: string; model: string }>(
          sql.LANE_OF_ROW,
          number,
          ordinal,
        )
        assert(before !== undefined, `row ${ordinal} of run ${run} exists when it gets its group`)
        const lane = this.#lane(lanes, number, before.variant, before.model, group)
        if (lane !== before.lane) this.#db.run(sql.SET_LANE, lane, number, ordinal)
      }
      return 'ok'
    })
  }

  async pendingRows(
    run: string,
    now: Instant,
    after: PendingRow | null,
    limit: number,
  ): Promise<PendingRow[]> {
    return this.#read(run, [], (number) => {
      const lane = [number, after?.variant ?? '', after?.model ?? '', after?.group ?? ''] as const
      const rows: PendingColumns[] =
        after === null
          ? []
          : this.#db.all<PendingColumns>(sql.PENDING_ROWS_OF_LANE, ...lane, after.ordinal, now, limit)
      if (rows.length < limit) {
        rows.push(
          ...this.#db.all<PendingColumns>(sql.PENDING_ROWS_AFTER_LANE, ...lane, now, limit - rows.length),
        )
      }
      return rows.map(pendingRow)
    })
  }

  async nextRowAt(run: string, now: Instant): Promise<Instant | null> {
    return this.#read(
      run,
      null,
      (number) => this.#db.get<{ at: Instant | null }>(sql.NEXT_ROW_AT, number, now)!.at,
    )
  }

  async putBlocks(
    run: string,
    fence: number,
    blocks: readonly { hash: string; ref: BodyRef }[],
  ): Promise<'ok' | Fenced> {
    return this.#write(run, fence, (number) => {
      for (const { hash, ref } of blocks) {
        this.#db.run(sql.INSERT_BLOCK, number, hash, ref.file, ref.offset, ref.length)
      }
      return 'ok'
    })
  }

  async blocks(run: string, hashes: readonly string[]): Promise<{ hash: string; ref: BodyRef }[]> {
    return this.#read(run, [], (number) =>
      this.#db
        .all<{ hash: string } & BodyRef>(sql.BLOCKS_BY_HASH, JSON.stringify(hashes), number)
        .map(({ hash, ...ref }) => ({ hash, ref })),
    )
  }

  async planSubmission(
    fence: number,
    submission: Omit<SubmissionRecord, 'number'>,
    ordinals: readonly number[],
  ): Promise<{ kind: 'planned'; number: number } | { kind: 'rows_taken' } | { kind: Fenced }> {
    assert(submission.state === 'planned', 'a submission is created in state planned')
    assert(submission.rows === ordinals.length, 'a submission counts the rows that it is given')
    const answer = this.#write(
      submission.run,
      fence,
      (run) => {
        const { number } = this.#db.get<{ number: number }>(sql.NEXT_SUBMISSION, run)!
        const wanted = JSON.stringify(ordinals)
        if (this.#db.run(sql.TAKE_ROWS, number, run, wanted) < ordinals.length) return 'rows_taken'
        this.#db.run(
          sql.INSERT_SUBMISSION,
          run,
          number,
          submission.wave,
          submission.kind,
          submission.variant,
          submission.rows,
          submission.sizeBytes,
          submission.fingerprint,
          submission.intentAt,
          submission.newestIdBefore,
          submission.upstreamBatchId,
          submission.createdAt,
          submission.endedAt,
          submission.expiresAt,
          submission.nextPollAt,
          submission.because,
          submission.marksJson,
          submission.serverIntentAt,
          submission.organizationId,
          submission.workspaceId,
          submission.cancelInitiatedAt,
          submission.countsJson,
          Number(submission.isDuplicate),
          submission.answersFor,
          submission.deletedAt,
        )
        this.#db.run(sql.INSERT_SUBMISSION_ROWS, run, number, wanted)
        return number
      },
      (planned) => planned !== 'rows_taken',
    )
    return typeof answer === 'number' ? { kind: 'planned', number: answer } : { kind: answer }
  }

  async submissions(run: string): Promise<SubmissionRecord[]> {
    return this.#db.all<SubmissionColumns>(sql.SUBMISSIONS_OF_RUN, run).map(submissionRecord)
  }

  async openSizes(): Promise<number[]> {
    return this.#db.all<{ rows: number }>(sql.OPEN_SIZES).map(({ rows }) => rows)
  }

  async submissionRows(
    run: string,
    submission: number,
    afterOrdinal: number,
    limit: number,
  ): Promise<number[]> {
    return this.#db
      .all<{ ordinal: number }>(sql.ROWS_OF_SUBMISSION, run, submission, afterOrdinal, limit)
      .map((row) => row.ordinal)
  }

  async rowsToSend(
    run: string,
    submission: number,
    afterOrdinal: number,
    limit: number,
  ): Promise<RowToSend[]> {
    return this.#read(run, [], (number) =>
      this.#db.all<ToSendColumns>(sql.ROWS_TO_SEND, number, submission, afterOrdinal, limit).map(rowToSend),
    )
  }

  async recordEvent(
    run: string,
    fence: number,
    submission: number,
    event: { kind: Parameters<typeof evolve>[1]; from: SubmissionState; at: Instant; detail: string },
    change: SubmissionChange,
  ): Promise<'ok' | 'not_in_state' | Fenced> {
    return this.#write(run, fence, (number) => {
      const to = evolve(event.from, event.kind)
      if (to === null || this.#db.run(sql.SET_SUBMISSION_STATE, to, number, submission, event.from) === 0) {
        return 'not_in_state'
      }
      this.#db.run(sql.CHANGE_SUBMISSION, JSON.stringify(change), number, submission)
      this.#db.run(sql.INSERT_EVENT, number, event.at, submission, event.kind, event.detail)
      return 'ok'
    })
  }

  async addDuplicate(
    run: string,
    fence: number,
    of: number,
    batch: Pick<SubmissionRecord, 'upstreamBatchId' | 'createdAt' | 'expiresAt' | 'endedAt' | 'because'>,
  ): Promise<number | null | Fenced> {
    return this.#write(run, fence, (found): number | null => {
      const { number } = this.#db.get<{ number: number }>(sql.NEXT_SUBMISSION, found)!
      const { upstreamBatchId, createdAt, expiresAt, endedAt, because } = batch
      const added = this.#db.run(
        sql.INSERT_DUPLICATE,
        ...[found, of, number, upstreamBatchId, createdAt, expiresAt, endedAt, because],
      )
      if (added === 0) return null
      this.#db.run(sql.COPY_SUBMISSION_ROWS, found, of, number)
      return number
    })
  }

  async adoptSubmission(
    fence: number,
    submission: SubmissionRecord,
    ordinals: readonly number[],
  ): Promise<'ok' | 'known' | Fenced> {
    return this.#write(submission.run, fence, (run) => {
      const insert = (one: SubmissionRecord) =>
        this.#db.run(
          sql.ADOPT_SUBMISSION,
          ...[run, one.number, one.state, one.wave, one.kind, one.variant, one.rows, one.sizeBytes],
          ...[one.marksJson, one.upstreamBatchId, one.createdAt, one.expiresAt, one.endedAt, one.because],
          ...[one.organizationId, one.workspaceId, one.countsJson],
        )
      const { number: next } = this.#db.get<{ number: number }>(sql.NEXT_SUBMISSION, run)!
      for (let gap = next; gap < submission.number; gap++) insert(gapBefore(submission, gap))
      if (insert(submission) === 0) return 'known'
      const wanted = JSON.stringify(ordinals)
      this.#db.run(sql.ADOPT_ROWS, submission.number, run, wanted)
      this.#db.run(sql.INSERT_SUBMISSION_ROWS, run, submission.number, wanted)
      return 'ok'
    })
  }

  async touchSubmission(
    run: string,
    fence: number,
    submission: number,
    change: SubmissionChange,
  ): Promise<'ok' | Fenced> {
    return this.#write(run, fence, (number) => {
      this.#db.run(sql.CHANGE_SUBMISSION, JSON.stringify(change), number, submission)
      return 'ok'
    })
  }

  async returnRows(
    run: string,
    fence: number,
    submission: number,
    then: { kind: 'pending'; notBefore: Instant | null },
  ): Promise<number | Fenced> {
    return this.#write(run, fence, (number) => {
      const from = this.#db.get<Pick<SubmissionColumns, 'kind' | 'state' | 'isDuplicate'>>(
        sql.STATE_OF_SUBMISSION,
        number,
        submission,
      )
      assert(from !== undefined, `submission ${submission} of run ${run} exists when its rows return`)
      const mayBePaid = mayBeBatch({ ...from, isDuplicate: from.isDuplicate === 1 })
      assert(!mayBePaid, `rows do not return from a batch that is ${from.state}: they may be paid for`)
      return this.#db.run(sql.RETURN_ROWS, then.notBefore, number, submission)
    })
  }

  async endUnretrievable(run: string, fence: number, submission: number): Promise<number | Fenced> {
    return this.#write(run, fence, (number) => {
      const from = this.#db.get<Pick<SubmissionRecord, 'state' | 'upstreamBatchId'>>(
        sql.STATE_OF_SUBMISSION,
        number,
        submission,
      )
      assert(
        from?.state === 'lost' && from.upstreamBatchId !== null,
        'only the rows of a known batch that is lost are unretrievable',
      )
      return this.#db.run(sql.END_UNRETRIEVABLE, number, submission)
    })
  }

  async cancelPendingRows(run: string, fence: number): Promise<number | Fenced> {
    return this.#write(run, fence, (number) => this.#db.run(sql.CANCEL_PENDING_ROWS, number))
  }

  async reopenRows(run: string, fence: number, rows: readonly ReopenedRow[]): Promise<number | Fenced> {
    assertReplaceable(rows)
    return this.#write(run, fence, (number) => {
      const lanes = new Map<string, number>()
      let reopened = 0
      for (const { ordinal, replacement } of rows) {
        if (this.#db.run(sql.REOPEN_ROW, number, ordinal) === 0) continue
        reopened += 1
        if (replacement === null) continue
        const { row, group } = replacement
        this.#db.run(sql.REPLACE_ROW, number, ...inputColumns(row))
        this.#db.run(sql.SET_LANE, this.#lane(lanes, number, row.variant, row.model, group), number, ordinal)
      }
      return reopened
    })
  }

  async forgetRun(
    run: string,
    fence: number,
    kept: { at: Instant; settingsJson: string; planJson: string; eventKinds: readonly string[] },
  ): Promise<'ok' | Fenced> {
    return this.#write(run, fence, (number) => {
      assertOver(this.#db.get<Pick<RunRecord, 'id' | 'state'>>(sql.STATE_OF_RUN, number)!)
      this.#db.run(sql.FORGET_RUN, number, kept.settingsJson, kept.planJson, kept.at)
      this.#db.run(sql.FORGET_ROWS, number, FORGOTTEN)
      this.#db.run(sql.FORGET_BLOCKS, number)
      this.#db.run(sql.FORGET_SUBMISSIONS, number)
      this.#db.run(sql.FORGET_ATTEMPTS, number)
      this.#db.run(sql.FORGET_ENTRIES, number)
      this.#db.run(sql.FORGET_EVENTS, number, JSON.stringify(kept.eventKinds))
      return 'ok'
    })
  }

  async bodyRanges(): Promise<BodyRef[]> {
    const ranges = new BodyRanges()
    this.#db.each<BodyRef>(sql.BODY_REFS, (ref) => ranges.add(ref))
    return ranges.merged
  }

  async scrub(): Promise<void> {
    this.#db.scrub()
  }

  async recordResults(
    run: string,
    fence: number,
    submission: number,
    results: readonly ResultToRecord[],
  ): Promise<RecordAnswer[] | Fenced> {
    return this.#write(run, fence, (number) => {
      const answers = results.map((result) => this.#recordResult(number, submission, result))
      const recorded = answers.filter((answer) => answer === 'recorded').length
      this.#db.run(sql.COUNT_INGESTED, recorded, number, submission)
      return answers
    })
  }

  #recordResult(run: number, submission: number, { attempt, entry, next }: ResultToRecord): RecordAnswer {
    const { ordinal } = attempt
    const inserted = this.#db.insert(
      sql.INSERT_ATTEMPT,
      run,
      submission,
      ordinal,
      attempt.customId,
      attempt.at,
      attempt.outcome,
      attempt.stopReason,
      attempt.errorType,
      attempt.errorMessage,
      attempt.result?.file ?? null,
      attempt.result?.offset ?? null,
      attempt.result?.length ?? null,
      attempt.resultDigest,
      attempt.schemaValid === null ? null : Number(attempt.schemaValid),
      attempt.schemaProblem,
      attempt.score,
    )
    if (inserted === null) {
      const known = this.#db.get<{ digest: string }>(sql.DIGEST_OF_ATTEMPT, run, submission, ordinal)
      return known?.digest === attempt.resultDigest ? 'already_recorded' : 'conflict'
    }
    if (next.kind === 'done') this.#db.run(sql.DECIDE_ROW, attempt.outcome, run, ordinal, submission)
    else {
      const revision = next.revision === null ? null : JSON.stringify(next.revision)
      this.#db.run(sql.RELEASE_ROW, next.notBefore, revision, run, ordinal, submission)
    }
    if (entry !== null) {
      assert(
        entry.submission === submission && entry.ordinal === ordinal,
        'an entry belongs to the attempt that it is recorded with',
      )
      this.#insertEntry(inserted, entry)
    }
    return 'recorded'
  }

  #insertEntry(attempt: number, entry: LedgerEntry): void {
    this.#db.run(
      sql.INSERT_ENTRY,
      attempt,
      entry.upstreamBatchId,
      entry.customId,
      entry.at,
      entry.model,
      entry.usage.inputTokens,
      entry.usage.cacheWrite5mTokens,
      entry.usage.cacheWrite1hTokens,
      entry.usage.cacheReadTokens,
      entry.usage.outputTokens,
      entry.usage.webSearchRequests,
      entry.usage.serviceTier,
      entry.usage.inferenceGeo,
      entry.usage.speed,
      entry.costPicoUsd,
      entry.realtimePicoUsd,
      entry.certainty,
      entry.priceBook,
      entry.kind,
    )
  }

  async missingResults(run: string, submission: number, limit: number): Promise<number[]> {
    return this.#db
      .all<{ ordinal: number }>(sql.MISSING_RESULTS, run, submission, limit)
      .map((row) => row.ordinal)
  }

  async counts(run: string): Promise<RowCounts> {
    // An unknown run has no number and so no rows: every count is 0.
    return this.#db.read(() => {
      const number = this.#db.get<{ number: number }>(sql.NUMBER_OF_RUN, run)?.number ?? 0
      const rows = this.#db.get<Omit<RowCounts, Flaw>>(sql.COUNT_ROWS, number)!
      const flaws = this.#db.get<Pick<RowCounts, Flaw>>(sql.COUNT_FLAWS, number)!
      return { ...rows, ...flaws }
    })
  }

  async attemptCounts(run: string, submission: number): Promise<AttemptCounts> {
    return { ...this.#db.get<AttemptCounts>(sql.COUNT_ATTEMPTS, run, submission)! }
  }

  async attemptsOf(run: string, ordinals: readonly number[]): Promise<AttemptRecord[]> {
    return this.#read(run, [], (number) =>
      this.#db
        .all<AttemptColumns>(sql.ATTEMPTS_OF_ROWS, JSON.stringify(ordinals), number)
        .map((columns) => attemptRecord(run, columns)),
    )
  }

  async resultsPage(run: string, afterOrdinal: number, limit: number): Promise<ResultRecord[]> {
    return this.#read(run, [], (number) => {
      const rows = this.#db.all<RowColumns>(sql.ROWS_AFTER, number, afterOrdinal, limit).map(rowRecord)
      if (rows.length === 0) return []
      const range = [number, rows[0]!.ordinal, rows.at(-1)!.ordinal] as const
      const attempts = new Map<number, AttemptRecord>()
      for (const columns of this.#db.all<AttemptColumns>(sql.ATTEMPTS_BETWEEN, ...range)) {
        attempts.set(columns.ordinal, attemptRecord(run, columns))
      }
      const entries = Map.groupBy(
        this.#db
          .allBigInts<EntryColumns>(sql.ENTRIES_BETWEEN, ...range)
          .map((columns) => ledgerEntry(run, columns)),
        (entry) => entry.ordinal,
      )
      return rows.map((row) => ({
        row,
        attempt: attempts.get(row.ordinal) ?? null,
        entries: entries.get(row.ordinal) ?? [],
      }))
    })
  }

  async ledgerPage(
    run: string,
    after: { submission: number; ordinal: number } | null,
    limit: number,
  ): Promise<LedgerEntry[]> {
    const { submission, ordinal } = after ?? { submission: 0, ordinal: -1 }
    return this.#db
      .allBigInts<EntryColumns>(sql.ENTRIES_AFTER, run, submission, ordinal, limit)
      .map((columns) => ledgerEntry(run, columns))
  }

  async ledgerSums(run: string): Promise<LedgerSum[]> {
    return this.#db.allBigInts<SumColumns>(sql.LEDGER_SUMS, run).map(ledgerSum)
  }

  async ledgerUsage(): Promise<LedgerUsage[]> {
    const fold = new UsageFold()
    this.#db.each<Answered>(sql.LEDGER_USAGE, (columns) => fold.add(columns))
    return fold.sums()
  }

  async addEvent(event: StoredEvent): Promise<void> {
    this.#db.write(() => {
      const run = this.#db.get<{ number: number }>(sql.NUMBER_OF_RUN, event.run)
      if (run === undefined) throw unknownRun(event.run)
      this.#db.run(sql.INSERT_EVENT, run.number, event.at, event.submission, event.kind, event.detail)
    })
  }

  async events(run: string): Promise<StoredEvent[]> {
    return this.#db.all<StoredEvent>(sql.EVENTS_OF_RUN, run).map((event) => ({ ...event }))
  }

  async close(): Promise<void> {
    this.#db.close()
  }

  /** One transaction under the write lock, if `fence` is still the run's. `keep` false rolls it back. */
  #write<T>(
    run: string,
    fence: number,
    body: (number: number) => T,
    keep?: (answer: T | Fenced) => boolean,
  ): T | Fenced {
    return this.#db.write((): T | Fenced => {
      const held = this.#db.get<{ number: number; fence: number }>(sql.FENCE_OF_RUN, run)
      return held === undefined || held.fence !== fence ? 'fenced' : body(held.number)
    }, keep)
  }

  #read<T>(run: string, none: T, body: (number: number) => T): T {
    return this.#db.read(() => {
      const found = this.#db.get<{ number: number }>(sql.NUMBER_OF_RUN, run)
      return found === undefined ? none : body(found.number)
    })
  }

  /** `known` saves the look-up within one call. */
  #lane(
    known: Map<string, number>,
    run: number,
    variant: string,
    model: string,
    group: string | null,
  ): number {
    const names = [run, variant, model, group ?? ''] as const
    const key = names.join('\n')
    let lane = known.get(key)
    if (lane === undefined) {
      this.#db.run(sql.INSERT_LANE, ...names)
      lane = this.#db.get<{ lane: number }>(sql.LANE_BY_NAMES, ...names)!.lane
      known.set(key, lane)
    }
    return lane
  }
}

/** A row as INSERT_ROW and REPLACE_ROW take it, after the run's number. */
function inputColumns(row: NewRow): Parameter[] {
  return [
    row.ordinal,
    row.userId,
    row.line,
    row.request.file,
    row.request.offset,
    row.request.length,
    row.paramsBytes,
    row.columns.file,
    row.columns.offset,
    row.columns.length,
    row.promptTokens,
    row.promptTokensHigh,
    row.maxTokens,
    row.expectedJson,
    row.invalidProblem,
    row.prefixesJson,
    row.webSearchesMax,
    row.inferenceGeo,
    row.speed,
    row.ownMarkTtl,
  ]
}

type Flaw = 'refused' | 'truncated' | 'schemaInvalid' | 'unfinished'

/** An answer without the header says nothing; two different ids say that the key belongs elsewhere. */
function differ(known: string | null, given: string | null): boolean {
  return known !== null && given !== null && known !== given
}

function unknownRun(run: string): TitheError {
  return new TitheError('unknown_run', `there is no run ${run} in this store`, {
    hint: 'See `tithe status` for the runs of this home.',
  })
}
