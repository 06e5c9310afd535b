import { assert } from '../core/assert.ts'
import { evolve, isOpen, type SubmissionEvent, type SubmissionState } from '../core/batch-state.ts'
import { type LedgerUsage, UsageFold } from '../core/compare-usage.ts'
import { withoutSlug } from '../core/custom-id.ts'
import { TitheError } from '../core/errors.ts'
import type { Instant } from '../core/instant.ts'
import { addSums, type LedgerEntry, type LedgerSum, sumOf } from '../core/ledger.ts'
import { assertOver, assertReplaceable, BodyRanges, FORGOTTEN } from './forgetting.ts'
import { gapBefore } from './gap-before.ts'
import { mayBeBatch } from './may-be-batch.ts'
import type {
  AttemptCounts,
  AttemptRecord,
  BodyRef,
  BodyStore,
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
  RowState,
  RowToSend,
  RunRecord,
  RunState,
  RunStore,
  Store,
  StoredEvent,
  SubmissionChange,
  SubmissionRecord,
} from './store.ts'

/**
 * The same store for simulation: nothing is durable, everything is deterministic, and `close` keeps what is stored, so
 * that a driver can be killed and another started on the same store.
 */
export function openMemoryStore(): Store {
  return { runs: new MemoryRuns(), bodies: new MemoryBodies() }
}

interface StoredRow {
  input: NewRow
  state: RowState
  group: string | null
  attempts: number
  attemptsBefore: number
  notBefore: Instant | null
  revision: RowRecord['revision']
  /** submitted: the submission that holds the row; done: the one that decided it. */
  submission: number | null
  outcome: RowRecord['outcome']
}

interface StoredSubmission {
  record: SubmissionRecord
  /** Ascending. */
  readonly ordinals: readonly number[]
  readonly attempts: Map<number, AttemptRecord>
  readonly entries: Map<number, LedgerEntry>
}

interface StoredRun {
  record: RunRecord
  fence: number
  lease: { readonly holder: string; readonly until: Instant } | null
  readonly rows: Map<number, StoredRow>
  readonly blocks: Map<string, BodyRef>
  readonly submissions: StoredSubmission[]
  readonly events: StoredEvent[]
  /** Rows by ordinal and by place in a wave; null when rows or groups have changed since. */
  byOrdinal: readonly StoredRow[] | null
  byLane: readonly StoredRow[] | null
}

class MemoryRuns implements RunStore {
  /** In order of creation. */
  readonly #runs = new Map<string, StoredRun>()

  async createRun(run: RunRecord): Promise<void> {
    assert(run.state === 'preparing', 'a run is created in state preparing')
    assert(!this.#runs.has(run.id), `run ${run.id} is created once`)
    this.#runs.set(run.id, {
      record: { ...run },
      fence: 0,
      lease: null,
      rows: new Map(),
      blocks: new Map(),
      submissions: [],
      events: [],
      byOrdinal: null,
      byLane: null,
    })
  }

  async findRuns(idPrefix: string): Promise<RunRecord[]> {
    return this.#newestFirst().filter((run) => run.id.startsWith(idPrefix))
  }

  async runByFingerprint(fingerprint: string): Promise<RunRecord | null> {
    const found = this.#newestFirst().find(
      (run) => run.fingerprint === fingerprint && run.state !== 'canceled',
    )
    return found ?? null
  }

  async discardPreparing(run: string): Promise<boolean> {
    return this.#runs.get(run)?.record.state === 'preparing' && this.#runs.delete(run)
  }

  async startRun(run: string, fence: number, planJson: string, rows: number): Promise<'ok' | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    assert(stored.record.state === 'preparing', `run ${run} is still preparing when it starts`)
    stored.record = { ...stored.record, state: 'running', planJson, rows }
    return 'ok'
  }

  async setRunState(
    run: string,
    fence: number,
    change: { from: readonly RunState[]; to: RunState; stopReason: string | null; at: Instant },
  ): Promise<'ok' | 'not_in_state' | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    const { from, to, stopReason, at } = change
    if (!from.includes(stored.record.state)) return 'not_in_state'
    const finishedAt = to === 'finished' || to === 'canceled' ? at : null
    stored.record = { ...stored.record, state: to, stopReason, finishedAt }
    stored.events.push({ run, at, submission: 0, kind: to, detail: stopReason ?? '' })
    return 'ok'
  }

  async saveSettings(run: string, fence: number, settingsJson: string): Promise<'ok' | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    stored.record = { ...stored.record, settingsJson }
    return 'ok'
  }

  async savePlan(run: string, fence: number, planJson: string): Promise<'ok' | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    stored.record = { ...stored.record, planJson }
    return 'ok'
  }

  async recordWorkspace(
    run: string,
    fence: number,
    ids: { organizationId: string | null; workspaceId: string | null },
  ): Promise<'ok' | 'mismatch' | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    const { organizationId, workspaceId } = stored.record
    if ((organizationId ?? ids.organizationId) !== (ids.organizationId ?? organizationId)) return 'mismatch'
    if ((workspaceId ?? ids.workspaceId) !== (ids.workspaceId ?? workspaceId)) return 'mismatch'
    stored.record = {
      ...stored.record,
      organizationId: organizationId ?? ids.organizationId,
      workspaceId: workspaceId ?? ids.workspaceId,
    }
    return 'ok'
  }

  async acquireLease(run: string, holder: string, now: Instant, until: Instant): Promise<LeaseAnswer> {
    const stored = this.#known(run)
    const { lease } = stored
    if (lease !== null && lease.holder !== holder && lease.until > now) return { kind: 'taken', ...lease }
    stored.fence += 1
    stored.lease = { holder, until }
    return { kind: 'held', fence: stored.fence }
  }

  async renewLease(run: string, fence: number, until: Instant): Promise<'ok' | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null || stored.lease === null) return 'fenced'
    stored.lease = { ...stored.lease, until }
    return 'ok'
  }

  async releaseLease(run: string, fence: number): Promise<void> {
    const stored = this.#held(run, fence)
    if (stored !== null) stored.lease = null
  }

  async leaseHolder(run: string): Promise<{ holder: string; until: Instant } | null> {
    return this.#runs.get(run)?.lease ?? null
  }

  async addRows(run: string, fence: number, rows: readonly NewRow[]): Promise<'ok' | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    const added = new Set(rows.map((row) => row.ordinal))
    assert(
      added.size === rows.length && !rows.some((row) => stored.rows.has(row.ordinal)),
      'an ordinal is added once',
    )
    for (const input of rows) {
      const invalid = input.invalidProblem !== null
      stored.rows.set(input.ordinal, {
        input: { ...input },
        state: invalid ? 'done' : 'pending',
        group: null,
        attempts: 0,
        attemptsBefore: 0,
        notBefore: null,
        revision: null,
        submission: null,
        outcome: invalid ? 'invalid' : null,
      })
    }
    stored.byOrdinal = null
    stored.byLane = null
    return 'ok'
  }

  async rowsPage(run: string, afterOrdinal: number, limit: number): Promise<RowRecord[]> {
    return this.#page(run, afterOrdinal, limit).map(rowRecord)
  }

  async rowsByOrdinal(run: string, ordinals: readonly number[]): Promise<RowRecord[]> {
    const rows = this.#runs.get(run)?.rows
    return ordinals.flatMap((ordinal) => {
      const row = rows?.get(ordinal)
      return row === undefined ? [] : [rowRecord(row)]
    })
  }

  async assignGroups(
    run: string,
    fence: number,
    groups: readonly { ordinal: number; group: string | null }[],
  ): Promise<'ok' | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    for (const { ordinal } of groups) {
      assert(stored.rows.has(ordinal), `row ${ordinal} of run ${run} exists when it gets its group`)
    }
    for (const { ordinal, group } of groups) stored.rows.get(ordinal)!.group = group
    stored.byLane = null
    return 'ok'
  }

  async pendingRows(
    run: string,
    now: Instant,
    after: PendingRow | null,
    limit: number,
  ): Promise<PendingRow[]> {
    const stored = this.#runs.get(run)
    if (stored === undefined) return []
    stored.byLane ??= [...stored.rows.values()].sort((a, b) => compareLanes(laneOf(a), laneOf(b)))
    const page: PendingRow[] = []
    const start =
      after === null ? 0 : firstIndex(stored.byLane, (row) => compareLanes(laneOf(row), after) > 0)
    for (let index = start; index < stored.byLane.length && page.length < limit; index++) {
      const row = stored.byLane[index]!
      if (row.state === 'pending' && (row.notBefore === null || row.notBefore <= now))
        page.push(pendingRow(row))
    }
    return page
  }

  async nextRowAt(run: string, now: Instant): Promise<Instant | null> {
    let next: Instant | null = null
    for (const { state, notBefore } of this.#runs.get(run)?.rows.values() ?? []) {
      if (state !== 'pending' || notBefore === null || notBefore <= now) continue
      if (next === null || notBefore < next) next = notBefore
    }
    return next
  }

  async putBlocks(
    run: string,
    fence: number,
    blocks: readonly { hash: string; ref: BodyRef }[],
  ): Promise<'ok' | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    for (const { hash, ref } of blocks) if (!stored.blocks.has(hash)) stored.blocks.set(hash, ref)
    return 'ok'
  }

  async blocks(run: string, hashes: readonly string[]): Promise<{ hash: string; ref: BodyRef }[]> {
    const blocks = this.#runs.get(run)?.blocks
    return hashes.flatMap((hash) => {
      const ref = blocks?.get(hash)
      return ref === undefined ? [] : [{ hash, ref }]
    })
  }

  async planSubmission(
    fence: number,
    submission: Omit<SubmissionRecord, 'number'>,
    ordinals: readonly number[],
  ): Promise<{ kind: 'planned'; number: number } | { kind: 'rows_taken' } | { kind: Fenced }> {
    assert(submission.state === 'planned', 'a submission is created in state planned')
    assert(submission.rows === ordinals.length, 'a submission counts the rows that it is given')
    const stored = this.#held(submission.run, fence)
    if (stored === null) return { kind: 'fenced' }
    const rows = new Set(ordinals.map((ordinal) => stored.rows.get(ordinal)))
    if (rows.size < ordinals.length || [...rows].some((row) => row?.state !== 'pending'))
      return { kind: 'rows_taken' }
    const number = stored.submissions.length + 1
    for (const row of rows as Set<StoredRow>) {
      row.state = 'submitted'
      row.submission = number
      row.attempts += 1
      row.notBefore = null
    }
    stored.submissions.push({
      record: { ...submission, number, ingestedRows: 0 },
      ordinals: [...ordinals].sort((a, b) => a - b),
      attempts: new Map(),
      entries: new Map(),
    })
    return { kind: 'planned', number }
  }

  async submissions(run: string): Promise<SubmissionRecord[]> {
    return this.#submissions(run).map(({ record }) => record)
  }

  async submissionRows(
    run: string,
    submission: number,
    afterOrdinal: number,
    limit: number,
  ): Promise<number[]> {
    const ordinals = this.#submission(run, submission)?.ordinals ?? []
    const start = firstIndex(ordinals, (ordinal) => ordinal > afterOrdinal)
    return ordinals.slice(start, start + limit)
  }

  async rowsToSend(
    run: string,
    submission: number,
    afterOrdinal: number,
    limit: number,
  ): Promise<RowToSend[]> {
    const stored = this.#runs.get(run)
    const ordinals = this.#submission(run, submission)?.ordinals ?? []
    return ordinals
      .filter((ordinal) => ordinal > afterOrdinal)
      .map((ordinal) => stored!.rows.get(ordinal)!)
      .filter((row) => row.state === 'submitted' && row.submission === submission)
      .slice(0, limit)
      .map(({ input, group, revision }) => ({
        ordinal: input.ordinal,
        userId: input.userId,
        request: input.request,
        group,
        revision,
      }))
  }

  async recordEvent(
    run: string,
    fence: number,
    submission: number,
    event: { kind: SubmissionEvent; from: SubmissionState; at: Instant; detail: string },
    change: SubmissionChange,
  ): Promise<'ok' | 'not_in_state' | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    const found = this.#submission(run, submission)
    const state = evolve(event.from, event.kind)
    if (state === null || found?.record.state !== event.from) return 'not_in_state'
    found.record = { ...changed(found.record, change), state }
    stored.events.push({ run, at: event.at, submission, kind: event.kind, detail: event.detail })
    return 'ok'
  }

  async addDuplicate(
    run: string,
    fence: number,
    of: number,
    batch: Pick<SubmissionRecord, 'upstreamBatchId' | 'createdAt' | 'expiresAt' | 'endedAt' | 'because'>,
  ): Promise<number | null | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    const { submissions } = stored
    const original = submissions[of - 1]
    const isKnown = submissions.some(({ record }) => record.upstreamBatchId === batch.upstreamBatchId)
    if (original === undefined || isKnown) return null
    const number = submissions.length + 1
    const { wave, kind, variant, rows, sizeBytes, marksJson, organizationId, workspaceId } = original.record
    submissions.push({
      record: {
        ...{ run, number, wave, kind, variant, rows, sizeBytes, marksJson, organizationId, workspaceId },
        ...batch,
        state: 'ended',
        fingerprint: null,
        intentAt: null,
        newestIdBefore: null,
        serverIntentAt: null,
        cancelInitiatedAt: null,
        countsJson: null,
        nextPollAt: null,
        isDuplicate: true,
        answersFor: of,
        deletedAt: null,
        ingestedRows: 0,
      },
      ordinals: original.ordinals,
      attempts: new Map(),
      entries: new Map(),
    })
    return number
  }

  async adoptSubmission(
    fence: number,
    submission: SubmissionRecord,
    ordinals: readonly number[],
  ): Promise<'ok' | 'known' | Fenced> {
    const stored = this.#held(submission.run, fence)
    if (stored === null) return 'fenced'
    const { submissions, rows } = stored
    while (submissions.length + 1 < submission.number) {
      const record = gapBefore(submission, submissions.length + 1)
      submissions.push({ record, ordinals: [], attempts: new Map(), entries: new Map() })
    }
    const taken = submissions[submission.number - 1]?.record
    if (taken !== undefined && !(taken.state === 'refused' && taken.rows === 0)) return 'known'
    for (const ordinal of ordinals) {
      const row = rows.get(ordinal)!
      if (row.state !== 'pending') continue
      row.state = 'submitted'
      row.submission = submission.number
      row.attempts += 1
      row.notBefore = null
    }
    submissions[submission.number - 1] = {
      record: submission,
      ordinals: [...ordinals].sort((a, b) => a - b),
      attempts: new Map(),
      entries: new Map(),
    }
    return 'ok'
  }

  async touchSubmission(
    run: string,
    fence: number,
    submission: number,
    change: SubmissionChange,
  ): Promise<'ok' | Fenced> {
    if (this.#held(run, fence) === null) return 'fenced'
    const found = this.#submission(run, submission)
    if (found !== undefined) found.record = changed(found.record, change)
    return 'ok'
  }

  async returnRows(
    run: string,
    fence: number,
    submission: number,
    then: { kind: 'pending'; notBefore: Instant | null },
  ): Promise<number | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    const found = this.#submission(run, submission)
    assert(found !== undefined, `submission ${submission} of run ${run} exists when its rows return`)
    const { record } = found
    assert(
      !mayBeBatch(record),
      `rows do not return from a batch that is ${record.state}: they may be paid for`,
    )
    let returned = 0
    for (const ordinal of found.ordinals) {
      const row = stored.rows.get(ordinal)!
      if (row.state !== 'submitted' || row.submission !== submission) continue
      row.state = 'pending'
      row.submission = null
      row.attempts -= 1
      row.notBefore = then.notBefore
      returned += 1
    }
    return returned
  }

  async endUnretrievable(run: string, fence: number, submission: number): Promise<number | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    const found = this.#submission(run, submission)
    assert(
      found?.record.state === 'lost' && found.record.upstreamBatchId !== null,
      'only the rows of a known batch that is lost are unretrievable',
    )
    let ended = 0
    for (const ordinal of found.ordinals) {
      const row = stored.rows.get(ordinal)!
      if (row.state !== 'submitted' || row.submission !== submission) continue
      row.state = 'done'
      row.outcome = 'unretrievable'
      ended += 1
    }
    return ended
  }

  async openSizes(): Promise<number[]> {
    return [...this.#runs.values()].flatMap(({ submissions }) =>
      submissions.flatMap(({ record }) =>
        record.kind !== 'realtime' && isOpen(record.state) && record.state !== 'ended' ? [record.rows] : [],
      ),
    )
  }

  async cancelPendingRows(run: string, fence: number): Promise<number | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    let canceled = 0
    for (const row of stored.rows.values()) {
      if (row.state !== 'pending') continue
      row.state = 'done'
      row.outcome = 'canceled'
      row.notBefore = null
      canceled += 1
    }
    return canceled
  }

  async reopenRows(run: string, fence: number, rows: readonly ReopenedRow[]): Promise<number | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    assertReplaceable(rows)
    let reopened = 0
    for (const { ordinal, replacement } of rows) {
      const row = stored.rows.get(ordinal)
      if (row?.state !== 'done') continue
      if (replacement !== null) {
        row.input = { ...replacement.row }
        row.group = replacement.group
      }
      row.state = 'pending'
      row.submission = null
      row.outcome = null
      row.notBefore = null
      row.revision = null
      row.attemptsBefore = row.attempts
      reopened += 1
    }
    stored.byLane = null
    return reopened
  }

  async forgetRun(
    run: string,
    fence: number,
    kept: { at: Instant; settingsJson: string; planJson: string; eventKinds: readonly string[] },
  ): Promise<'ok' | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    const { settingsJson, planJson } = kept
    assertOver(stored.record)
    const forgottenAt = stored.record.forgottenAt ?? kept.at
    stored.record = { ...stored.record, fingerprint: '', settingsJson, planJson, forgottenAt }
    stored.blocks.clear()
    for (const row of stored.rows.values()) {
      row.input = {
        ...row.input,
        userId: '',
        request: FORGOTTEN_REF,
        columns: FORGOTTEN_REF,
        expectedJson: null,
        prefixesJson: '[]',
        invalidProblem: row.input.invalidProblem === null ? null : FORGOTTEN,
      }
    }
    for (const submission of stored.submissions) {
      submission.record = { ...submission.record, fingerprint: null, because: null }
      for (const [ordinal, attempt] of submission.attempts) {
        submission.attempts.set(ordinal, {
          ...attempt,
          customId: withoutSlug(attempt.customId),
          errorMessage: null,
          result: null,
          resultDigest: '',
          schemaProblem: null,
        })
      }
      for (const [ordinal, entry] of submission.entries) {
        submission.entries.set(ordinal, { ...entry, customId: withoutSlug(entry.customId) })
      }
    }
    for (const [index, event] of stored.events.entries()) {
      if (!kept.eventKinds.includes(event.kind)) stored.events[index] = { ...event, detail: '' }
    }
    return 'ok'
  }

  async bodyRanges(): Promise<BodyRef[]> {
    const refs = [...this.#runs.values()].flatMap(({ rows, blocks, submissions }) => [
      ...[...rows.values()].flatMap(({ input }) => [input.request, input.columns]),
      ...blocks.values(),
      ...submissions.flatMap(({ attempts }) => [...attempts.values()].flatMap(({ result }) => result ?? [])),
    ])
    const ranges = new BodyRanges()
    for (const ref of refs.sort((a, b) => a.file - b.file || a.offset - b.offset)) ranges.add(ref)
    return ranges.merged
  }

  async scrub(): Promise<void> {}

  async recordResults(
    run: string,
    fence: number,
    submission: number,
    results: readonly ResultToRecord[],
  ): Promise<RecordAnswer[] | Fenced> {
    const stored = this.#held(run, fence)
    if (stored === null) return 'fenced'
    const found = this.#submission(run, submission)
    assert(found !== undefined, `submission ${submission} of run ${run} exists when its results come`)
    const members = new Set(found.ordinals)
    for (const { attempt, entry } of results) {
      assert(members.has(attempt.ordinal), `row ${attempt.ordinal} belongs to submission ${submission}`)
      assert(
        entry === null || (entry.submission === submission && entry.ordinal === attempt.ordinal),
        'an entry belongs to the attempt that it is recorded with',
      )
    }
    return results.map(({ attempt, entry, next }) => {
      const { ordinal } = attempt
      const known = found.attempts.get(ordinal)
      if (known !== undefined) {
        return known.resultDigest === attempt.resultDigest ? 'already_recorded' : 'conflict'
      }
      found.attempts.set(ordinal, { ...attempt, run, submission })
      if (entry !== null) found.entries.set(ordinal, { ...entry, run })
      found.record = { ...found.record, ingestedRows: found.record.ingestedRows + 1 }
      const row = stored.rows.get(ordinal)!
      // A late result of a submission that was given up is history and money, and moves no row.
      if (row.state === 'submitted' && row.submission === submission) {
        row.state = next.kind
        if (next.kind === 'done') {
          row.outcome = attempt.outcome
        } else {
          row.submission = null
          row.notBefore = next.notBefore
          row.revision = next.revision
        }
      }
      return 'recorded'
    })
  }

  async missingResults(run: string, submission: number, limit: number): Promise<number[]> {
    const found = this.#submission(run, submission)
    return found?.ordinals.filter((ordinal) => !found.attempts.has(ordinal)).slice(0, limit) ?? []
  }

  async counts(run: string): Promise<RowCounts> {
    const rows = [...(this.#runs.get(run)?.rows.values() ?? [])]
    const count = (holds: (row: StoredRow) => boolean) => rows.filter(holds).length
    const { refused, truncated, schemaInvalid, unfinished } = countAttempts(
      rows.flatMap((row) => this.#decidingAttempt(run, row) ?? []),
    )
    return {
      pending: count((row) => row.state === 'pending'),
      submitted: count((row) => row.state === 'submitted'),
      succeeded: count((row) => row.outcome === 'succeeded'),
      errored: count((row) => row.outcome === 'errored'),
      canceled: count((row) => row.outcome === 'canceled'),
      expired: count((row) => row.outcome === 'expired'),
      invalid: count((row) => row.outcome === 'invalid'),
      unretrievable: count((row) => row.outcome === 'unretrievable'),
      refused,
      truncated,
      schemaInvalid,
      unfinished,
    }
  }

  async attemptCounts(run: string, submission: number): Promise<AttemptCounts> {
    return countAttempts([...(this.#submission(run, submission)?.attempts.values() ?? [])])
  }

  async attemptsOf(run: string, ordinals: readonly number[]): Promise<AttemptRecord[]> {
    return ordinals.flatMap((ordinal) =>
      this.#submissions(run).flatMap(({ attempts }) => attempts.get(ordinal) ?? []),
    )
  }

  async resultsPage(run: string, afterOrdinal: number, limit: number): Promise<ResultRecord[]> {
    return this.#page(run, afterOrdinal, limit).map((row) => ({
      row: rowRecord(row),
      attempt: this.#decidingAttempt(run, row),
      entries: this.#submissions(run).flatMap(({ entries }) => entries.get(row.input.ordinal) ?? []),
    }))
  }

  async ledgerPage(
    run: string,
    after: { submission: number; ordinal: number } | null,
    limit: number,
  ): Promise<LedgerEntry[]> {
    const page: LedgerEntry[] = []
    for (const { record, ordinals, entries } of this.#submissions(run)) {
      if (after !== null && record.number < after.submission) continue
      const sameSubmission = after !== null && record.number === after.submission
      const start = sameSubmission ? firstIndex(ordinals, (ordinal) => ordinal > after.ordinal) : 0
      for (let index = start; index < ordinals.length; index++) {
        const entry = entries.get(ordinals[index]!)
        if (entry === undefined) continue
        if (page.push(entry) === limit) return page
      }
    }
    return page
  }

  async ledgerSums(run: string): Promise<LedgerSum[]> {
    const sums = new Map<string, LedgerSum>()
    for (const { entries } of this.#submissions(run)) {
      for (const entry of entries.values()) {
        const one = sumOf(entry, this.#runs.get(run)!.rows.get(entry.ordinal)!.group)
        const key = `${one.submission} ${one.isRealtime} ${one.group}`
        const sum = sums.get(key)
        sums.set(key, sum === undefined ? one : addSums(sum, one))
      }
    }
    return [...sums.values()]
  }

  async ledgerUsage(): Promise<LedgerUsage[]> {
    const fold = new UsageFold()
    for (const { submissions } of this.#runs.values()) {
      for (const { record, entries } of submissions) {
        for (const { at, certainty, model, usage } of entries.values()) {
          fold.add({ ...usage, at, certainty, model, createdAt: record.createdAt, endedAt: record.endedAt })
        }
      }
    }
    return fold.sums()
  }

  async addEvent(event: StoredEvent): Promise<void> {
    this.#known(event.run).events.push({ ...event })
  }

  async events(run: string): Promise<StoredEvent[]> {
    return [...(this.#runs.get(run)?.events ?? [])]
  }

  async close(): Promise<void> {}

  #newestFirst(): RunRecord[] {
    return [...this.#runs.values()]
      .map(({ record }) => record)
      .reverse()
      .sort((a, b) => b.createdAt - a.createdAt)
  }

  #known(run: string): StoredRun {
    const stored = this.#runs.get(run)
    if (stored === undefined) {
      throw new TitheError('unknown_run', `there is no run ${run} in this store`, {
        hint: 'See `tithe status` for the runs of this home.',
      })
    }
    return stored
  }

  /** Null when a newer driver holds the run, or has discarded it. */
  #held(run: string, fence: number): StoredRun | null {
    const stored = this.#runs.get(run)
    return stored?.fence === fence ? stored : null
  }

  #page(run: string, afterOrdinal: number, limit: number): readonly StoredRow[] {
    const stored = this.#runs.get(run)
    if (stored === undefined) return []
    stored.byOrdinal ??= [...stored.rows.values()].sort((a, b) => a.input.ordinal - b.input.ordinal)
    const start = firstIndex(stored.byOrdinal, (row) => row.input.ordinal > afterOrdinal)
    return stored.byOrdinal.slice(start, start + limit)
  }

  #submissions(run: string): readonly StoredSubmission[] {
    return this.#runs.get(run)?.submissions ?? []
  }

  #submission(run: string, number: number): StoredSubmission | undefined {
    return this.#submissions(run)[number - 1]
  }

  #decidingAttempt(run: string, row: StoredRow): AttemptRecord | null {
    if (row.state !== 'done' || row.submission === null) return null
    return this.#submission(run, row.submission)?.attempts.get(row.input.ordinal) ?? null
  }
}

class MemoryBodies implements BodyStore {
  readonly #bodies = new Map<number, Uint8Array>()
  #offset = 0

  async append(bytes: Uint8Array): Promise<BodyRef> {
    const ref = { file: 1, offset: this.#offset, length: bytes.length }
    if (bytes.length > 0) this.#bodies.set(ref.offset, bytes.slice())
    this.#offset += bytes.length
    return ref
  }

  async read(ref: BodyRef): Promise<Uint8Array> {
    const bytes = ref.length === 0 ? new Uint8Array() : this.#bodies.get(ref.offset)
    if (ref.file !== 1 || bytes?.length !== ref.length) {
      throw new TitheError(
        'store_corrupt',
        `no body of ${ref.length} bytes at offset ${ref.offset} of file ${ref.file}`,
        {
          exitCode: 3,
        },
      )
    }
    return bytes.slice()
  }

  async extents(): Promise<BodyRef[]> {
    return this.#offset === 0 ? [] : [{ file: 1, offset: 0, length: this.#offset }]
  }

  async keepOnly(_extents: readonly BodyRef[], kept: readonly BodyRef[]): Promise<void> {
    const isKept = (offset: number) =>
      kept.some((range) => offset >= range.offset && offset < range.offset + range.length)
    for (const offset of this.#bodies.keys()) if (!isKept(offset)) this.#bodies.delete(offset)
  }

  async readAll(refs: readonly BodyRef[]): Promise<{ bodies: Uint8Array[]; release(): void }> {
    return { bodies: await Promise.all(refs.map((ref) => this.read(ref))), release: () => {} }
  }

  async sync(): Promise<void> {}

  async close(): Promise<void> {}
}

const FORGOTTEN_REF: BodyRef = { file: 0, offset: 0, length: 0 }

function rowRecord(row: StoredRow): RowRecord {
  const { input, state, group, attempts, attemptsBefore, notBefore, revision, outcome, submission } = row
  return {
    ...input,
    state,
    group,
    attempts,
    attemptsBefore,
    notBefore,
    revision,
    outcome,
    decidedBy: state === 'done' ? submission : null,
  }
}

function pendingRow({ input, group, attempts, revision }: StoredRow): PendingRow {
  return {
    ordinal: input.ordinal,
    variant: input.variant,
    model: input.model,
    group,
    paramsBytes: input.paramsBytes,
    promptTokens: input.promptTokens,
    promptTokensHigh: input.promptTokensHigh,
    maxTokens: input.maxTokens,
    webSearchesMax: input.webSearchesMax,
    inferenceGeo: input.inferenceGeo,
    speed: input.speed,
    ownMarkTtl: input.ownMarkTtl,
    userId: input.userId,
    attempts,
    revision,
  }
}

type Lane = Pick<PendingRow, 'variant' | 'model' | 'group' | 'ordinal'>

function laneOf({ input, group }: StoredRow): Lane {
  return { variant: input.variant, model: input.model, group, ordinal: input.ordinal }
}

/** Rows without a group first. */
function compareLanes(a: Lane, b: Lane): number {
  return (
    compareText(a.variant, b.variant) ||
    compareText(a.model, b.model) ||
    compareText(a.group ?? '', b.group ?? '') ||
    a.ordinal - b.ordinal
  )
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Of the first element for which `holds`, in a list where it holds for a tail. */
function firstIndex<T>(list: readonly T[], holds: (element: T) => boolean): number {
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (holds(list[middle]!)) high = middle
    else low = middle + 1
  }
  return low
}

function changed(record: SubmissionRecord, change: SubmissionChange): SubmissionRecord {
  const given = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined))
  return { ...record, ...given }
}

function countAttempts(attempts: readonly AttemptRecord[]): AttemptCounts {
  const count = (holds: (attempt: AttemptRecord) => boolean) => attempts.filter(holds).length
  const succeeded = attempts.filter((attempt) => attempt.outcome === 'succeeded')
  return {
    succeeded: succeeded.length,
    errored: count((attempt) => attempt.outcome === 'errored'),
    canceled: count((attempt) => attempt.outcome === 'canceled'),
    expired: count((attempt) => attempt.outcome === 'expired'),
    invalid: count((attempt) => attempt.outcome === 'invalid'),
    refused: succeeded.filter((attempt) => attempt.stopReason === 'refusal').length,
    truncated: succeeded.filter(
      ({ stopReason }) => stopReason === 'max_tokens' || stopReason === 'model_context_window_exceeded',
    ).length,
    schemaInvalid: succeeded.filter((attempt) => attempt.schemaValid === false).length,
    unfinished: succeeded.filter((attempt) => attempt.stopReason === 'pause_turn').length,
  }
}
