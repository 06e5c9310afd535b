import {
  answerJson,
  answerText,
  contentOf,
  joinParts,
  parseResultLine,
  type ResultLine,
} from '../core/answer.ts'
import { assert } from '../core/assert.ts'
import { ELEMENT_BYTES_MAX, rowTooLarge } from '../core/batch-plan.ts'
import { byteDigest, contentHash } from '../core/content-hash.ts'
import { parseCustomId } from '../core/custom-id.ts'
import { TitheError } from '../core/errors.ts'
import { scoreAnswer } from '../core/expect.ts'
import type { Instant } from '../core/instant.ts'
import { MINUTE_MS, plusMs } from '../core/instant.ts'
import { settingsOfVariant } from '../core/job.ts'
import type { JsonObject } from '../core/json.ts'
import { entryFor, type LedgerEntry, sumOf } from '../core/ledger.ts'
import { findModel } from '../core/models.ts'
import { type NextAttempt, nextAttempt } from '../core/retry.ts'
import { sentBytesMax } from '../core/row-revision.ts'
import { parseUsage } from '../core/usage.ts'
import type { AttemptRecord, BodyRef, ResultToRecord, RowRecord, SubmissionRecord } from '../stores/store.ts'
import type { RequestCounts } from '../upstreams/upstream.ts'
import { giveUpKnown } from './give-up.ts'
import { pausedBytes, pausedParts } from './paused-parts.ts'
import { archived, missing } from './poll.ts'
import { type RunContext, unfenced } from './run-context.ts'
import { record, type StopReason, workspaceProblem } from './submit.ts'

/** Rows recorded in one transaction: a crash loses at most so many readings, never a result. */
const CHUNK_ROWS = 500
const MEMBERS_PAGE = 10_000
const READ_TRIES = 3
const READ_AGAIN_MS = MINUTE_MS / 2

/** A result line of ours with the row that it answers. */
export interface ReceivedResult {
  readonly ordinal: number
  readonly line: ResultLine
  readonly bytes: Uint8Array
}

/**
 * Reads a batch's results, streaming, and records every row once. A file that is cut, ends early or is not there yet is
 * read again: what is recorded already changes nothing. Ends in `ingested` only when every row that was sent has its
 * result.
 */
export async function ingest(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  const { deps, run } = context
  const results = `the results of batch ${submission.upstreamBatchId}`
  const note = (message: string) => deps.emit({ kind: 'note', message })
  let read: Reading
  for (let tries = 1; ; tries++) {
    read = await readResults(context, submission)
    const conflict = conflictIn(submission, read)
    if (conflict !== null) {
      // Said as well: the account may give another reason to stop.
      note(conflict)
      // A run that was stopped for this very reason and goes on was looked at.
      if (conflict !== run.stopReason) return conflict
    }
    const [first] = await deps.store.runs.missingResults(run.id, submission.number, 1)
    if (first === undefined) break
    if (tries === READ_TRIES) {
      return read.found
        ? `${results} lack rows that were sent (the first: row ${first}), read ${tries} times`
        : await resultsGone(context, submission)
    }
    note(`${results} came short; reading them again`)
    await deps.runtime.clock.sleepUntil(plusMs(context.now(), READ_AGAIN_MS), deps.signal)
  }
  const tally = await tallyOf(context, submission, read)
  if (tally !== null) note(`${results}: ${tally}`)
  const detail = tally === null ? `${submission.rows} rows` : `${submission.rows} rows; ${tally}`
  await record(context, submission, 'ingested', detail, {
    because: 'every row has its result',
  })
  deps.emit({ kind: 'ingested', submission: { ...submission, state: 'ingested' } })
  return null
}

/** Told at once, also of a file that is short: the next reading need not show it again. */
function conflictIn(submission: SubmissionRecord, { conflicts }: Reading): string | null {
  const [first] = conflicts
  if (first === undefined) return null
  return `${conflicts.length} rows of batch ${submission.upstreamBatchId} came with two different results; the first is kept (row ${first} is one)`
}

/** There is no results file: because the batch is gone, or its results are, or for no reason that can be seen. */
async function resultsGone(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  const id = submission.upstreamBatchId!
  const answer = await context.deps.upstream.retrieveBatch(id)
  if (answer === null) return await missing(context, submission)
  context.learn(answer.headers)
  const problem = await workspaceProblem(context)
  if (problem !== null) return problem
  const { archived_at: archivedAt } = answer.batch
  if (archivedAt !== null) return await giveUpKnown(context, submission, archived(id, archivedAt))
  return `the results of batch ${id} are not there (404), asked ${READ_TRIES} times, although the batch has ended: they may come late`
}

/** What does not add up in results that lack no row: shown and kept with the run, for it is money. Null when all does. */
async function tallyOf(
  context: RunContext,
  submission: SubmissionRecord,
  read: Reading,
): Promise<string | null> {
  const odd: string[] = []
  if (read.unknown > 0) odd.push(`${read.unknown} lines are of no row that was sent, and left alone`)
  if (read.repeated > 0) odd.push(`${read.repeated} lines came more than once, and count once`)
  if (submission.countsJson !== null) {
    const said = JSON.parse(submission.countsJson) as RequestCounts
    const found = await context.deps.store.runs.attemptCounts(context.run.id, submission.number)
    const differing = COUNTED.filter((outcome) => said[outcome] !== found[outcome])
    if (differing.length > 0) {
      const parts = differing.map((outcome) => `${found[outcome]} ${outcome}, not ${said[outcome]}`)
      odd.push(`they differ from the batch's own request_counts: ${parts.join('; ')}`)
    }
  }
  return odd.length === 0 ? null : odd.join('; ')
}

const COUNTED = ['succeeded', 'errored', 'canceled', 'expired'] as const

interface Reading {
  /** Whether there was a file. */
  readonly found: boolean
  /** Lines that are none, or of no row of this submission. */
  readonly unknown: number
  /** Lines with a custom_id that had come before in the same file. */
  readonly repeated: number
  /** Ordinals of rows that had another result already. */
  readonly conflicts: readonly number[]
}

async function readResults(context: RunContext, submission: SubmissionRecord): Promise<Reading> {
  const { deps, run } = context
  const conflicts: number[] = []
  const seen = new Set<number>()
  let unknown = 0
  let repeated = 0
  let chunk: ReceivedResult[] = []
  // While one chunk is written, the next is read.
  let recording: Promise<number[]> = Promise.resolve([])
  const hand = async () => {
    conflicts.push(...(await recording))
    recording = recordChunk(context, submission, chunk)
    // Told when it is waited for.
    recording.catch(() => {})
    chunk = []
  }
  const members = await membersOf(context, submission)
  try {
    for await (const bytes of deps.upstream.batchResults(submission.upstreamBatchId!)) {
      const line = parseResultLine(Buffer.from(bytes).toString('utf8'))
      const id = line === null ? null : parseCustomId(line.customId)
      const isOurs = id?.run === run.id && id.submission === (submission.answersFor ?? submission.number)
      if (line === null || !isOurs || !members.has(id.ordinal)) {
        unknown += 1
        continue
      }
      if (seen.has(id.ordinal)) repeated += 1
      seen.add(id.ordinal)
      chunk.push({ ordinal: id.ordinal, line, bytes })
      if (chunk.length === CHUNK_ROWS) await hand()
    }
  } catch (error) {
    await recording
    // For some seconds after a batch has ended its results may be 404 (claude-api.md 2.5).
    if (!(error instanceof TitheError) || error.code !== 'not_found_error') throw error
    return { found: false, unknown, repeated, conflicts }
  }
  await hand()
  conflicts.push(...(await recording))
  return { found: true, unknown, repeated, conflicts }
}

/** The rows that a submission was sent with. A few megabytes at most: a batch has 100,000 rows. */
async function membersOf(context: RunContext, submission: SubmissionRecord): Promise<ReadonlySet<number>> {
  const members = new Set<number>()
  let after = -1
  for (;;) {
    const page = await context.deps.store.runs.submissionRows(
      context.run.id,
      submission.number,
      after,
      MEMBERS_PAGE,
    )
    if (page.length === 0) return members
    for (const ordinal of page) members.add(ordinal)
    after = page.at(-1)!
  }
}

/** Records results of one submission with their ledger entries; answers the rows that had a different one already. */
export async function recordChunk(
  context: RunContext,
  submission: SubmissionRecord,
  received: readonly ReceivedResult[],
): Promise<number[]> {
  if (received.length === 0) return []
  const { deps, run, fence } = context
  const ordinals = [...new Set(received.map((result) => result.ordinal))].sort((a, b) => a - b)
  const rows = new Map(
    (await deps.store.runs.rowsByOrdinal(run.id, ordinals)).map((row) => [row.ordinal, row]),
  )
  const results: ResultToRecord[] = []
  const stops = new Map<ResultToRecord, string>()
  // In the order of the rows, which is that of the tables: results come scrambled, and each would touch pages of its own.
  for (const { ordinal, line, bytes } of received.toSorted((a, b) => a.ordinal - b.ordinal)) {
    const row = rows.get(ordinal)
    assert(
      row !== undefined,
      `row ${ordinal}, of which submission ${submission.number} has a result, is there`,
    )
    const ref = await deps.store.bodies.append(bytes)
    const pause = isOfPause(row, line) ? await pauseOf(context, submission, row, line, ref) : NO_PAUSE
    const { result, mend } = resultToRecord(context, submission, row, line, ref, pause, byteDigest(bytes))
    results.push(result)
    if (mend !== null) stops.set(result, mend)
  }
  // The bytes first, then the transaction that refers to them.
  await deps.store.bodies.sync()
  const answers = unfenced(
    await deps.store.runs.recordResults(run.id, fence, submission.number, results),
    run.id,
  )
  const conflicts: number[] = []
  let recorded = 0
  for (const [index, answer] of answers.entries()) {
    const { attempt, entry } = results[index]!
    if (answer === 'conflict' && !(await saysTheSame(context, attempt))) conflicts.push(attempt.ordinal)
    if (answer !== 'recorded') continue
    recorded += 1
    const mend = stops.get(results[index]!)
    // Only of what is new and wanted: a batch that is read again after a person has mended it stops nothing.
    if (mend !== undefined && !submission.isDuplicate) context.mustStop ??= accountStop(run.id, attempt, mend)
    if (entry) context.count(sumOf(entry, rows.get(attempt.ordinal)!.group), submission.createdAt)
  }
  deps.emit({ kind: 'results_recorded', submission, recorded })
  return conflicts
}

/** What a row said before this result, and what stands against going on from it. */
interface Pause {
  readonly parts: readonly JsonObject[]
  readonly cannotContinue: string | null
}

const NO_PAUSE: Pause = { parts: [], cannotContinue: null }

function isOfPause({ revision }: RowRecord, { stopReason }: ResultLine): boolean {
  return revision !== null || stopReason === 'pause_turn'
}

async function pauseOf(
  context: RunContext,
  submission: SubmissionRecord,
  row: RowRecord,
  line: ResultLine,
  ref: BodyRef,
): Promise<Pause> {
  const { store } = context.deps
  return {
    parts: await pausedParts(store, context.run.id, row, submission.number),
    cannotContinue:
      line.stopReason === 'pause_turn' ? await whyNotContinued(context, row, line.message!, ref) : null,
  }
}

/** Other bytes may still be the same result, with its keys in another order: then nothing has changed. */
async function saysTheSame(context: RunContext, again: AttemptRecord): Promise<boolean> {
  const { store } = context.deps
  const known = (await store.runs.attemptsOf(context.run.id, [again.ordinal])).find(
    (one) => one.submission === again.submission,
  )
  const hashOf = async (ref: BodyRef | null) => {
    const line =
      ref === null ? null : parseResultLine(Buffer.from(await store.bodies.read(ref)).toString('utf8'))
    return line === null ? null : contentHash(line.result)
  }
  const before = await hashOf(known?.result ?? null)
  return before !== null && before === (await hashOf(again.result))
}

/** `mend` is set when the run must stop until a person has done that. */
function resultToRecord(
  context: RunContext,
  submission: SubmissionRecord,
  row: RowRecord,
  line: ResultLine,
  ref: BodyRef,
  { parts, cannotContinue }: Pause,
  resultDigest: string,
): { readonly result: ResultToRecord; readonly mend: string | null } {
  const at = context.now()
  const isPaused = line.stopReason === 'pause_turn'
  const checks =
    line.message === null || isPaused
      ? NOT_CHECKED
      : checkAnswer(context, row, joinParts(parts, line.message))
  const decision = nextAttempt(
    { ...line, schemaValid: checks.schemaValid },
    {
      submission: submission.number,
      attempts: row.attempts - row.attemptsBefore,
      maxTokens: row.maxTokens,
      revision: row.revision,
      outputTokensMax: line.stopReason === 'max_tokens' ? outputTokensMax(context, submission, row) : null,
      cannotContinue,
    },
    context.retryTerms(),
    at,
  )
  const isUnfinished = decision.kind === 'done' && decision.unfinished
  const result: ResultToRecord = {
    attempt: {
      run: context.run.id,
      submission: submission.number,
      ordinal: row.ordinal,
      customId: line.customId,
      at,
      outcome: line.outcome,
      stopReason: line.stopReason,
      errorType: line.errorType,
      errorMessage: isUnfinished ? decision.because : line.errorMessage,
      result: ref,
      resultDigest,
      ...checks,
    },
    entry: line.message === null ? null : entryOf(context, submission, row, line, at),
    next: nextOf(decision),
  }
  return { result, mend: decision.kind === 'stop' ? decision.mend : null }
}

function nextOf(decision: NextAttempt): ResultToRecord['next'] {
  switch (decision.kind) {
    case 'done':
      return { kind: 'done' }
    case 'again':
      return { kind: 'pending', notBefore: decision.notBefore, revision: decision.revision }
    case 'stop':
      return { kind: 'pending', notBefore: null, revision: decision.revision }
  }
}

/** The most that the row's model answers on the route of the submission; null for a model that we do not know. */
function outputTokensMax(
  { deps }: RunContext,
  { kind }: SubmissionRecord,
  { model: name, variant }: RowRecord,
): number | null {
  const model = findModel(deps.catalogue, name)
  const { betas } = settingsOfVariant(variant)
  const isRaised = kind !== 'realtime' && betas.includes(deps.catalogue.rules.batchOutputBeta)
  return model && ((isRaised ? model.outputTokensMaxBatchBeta : null) ?? model.outputTokensMax)
}

/** Why a paused answer cannot be sent back to be continued; null when it can. */
async function whyNotContinued(
  { deps, run }: RunContext,
  row: RowRecord,
  message: JsonObject,
  ref: BodyRef,
): Promise<string | null> {
  if (contentOf(message).length === 0) return 'it said nothing that could be continued'
  const earlier = await pausedBytes(deps.store, run.id, row)
  const revision = row.revision ?? { maxTokens: null, continues: [] }
  const bytes = ELEMENT_BYTES_MAX + sentBytesMax({ ...row, revision }, earlier + ref.length)
  return rowTooLarge({ ordinal: row.ordinal, bytes }, deps.catalogue.rules.batchBytesMax) === null
    ? null
    : 'with what it has said so far it is larger than a batch'
}

function accountStop(run: string, { errorType, errorMessage }: AttemptRecord, mend: string): string {
  return `the upstream answers rows with ${errorType}: ${errorMessage}. Such rows cost nothing and wait: ${mend}, then 'tithe resume ${run}'`
}

const NOT_CHECKED = { schemaValid: null, schemaProblem: null, score: null }

/** Schema and expectation. A refusal or a truncated answer may break the schema (claude-api.md 7): it is not valid. */
function checkAnswer(context: RunContext, row: RowRecord, message: JsonObject) {
  const { settings, deps } = context
  let schemaValid: boolean | null = null
  let schemaProblem: string | null = null
  if (settings.outputSchema !== null) {
    const value = answerJson(message)
    schemaProblem =
      value === undefined ? 'the answer is not JSON' : deps.compileSchema(settings.outputSchema)(value)
    schemaValid = schemaProblem === null
  }
  const score =
    settings.expect === null || row.expectedJson === null
      ? null
      : scoreAnswer(JSON.parse(row.expectedJson), settings.expect, {
          text: answerText(message),
          json: answerJson(message),
        })
  return { schemaValid, schemaProblem, score }
}

function entryOf(
  context: RunContext,
  submission: SubmissionRecord,
  row: RowRecord,
  line: ResultLine,
  at: Instant,
): LedgerEntry | null {
  const usage = parseUsage(line.message?.['usage'])
  if (usage === null) return null
  return entryFor({
    run: context.run.id,
    submission: submission.number,
    ordinal: row.ordinal,
    upstreamBatchId: submission.upstreamBatchId,
    customId: line.customId,
    at,
    model: typeof line.message?.['model'] === 'string' ? line.message['model'] : row.model,
    usage,
    certainty: context.deps.upstream.kind === 'local' ? 'simulated' : 'measured',
    kind: submission.isDuplicate ? 'duplicate' : 'paid',
    catalogue: context.deps.catalogue,
  })
}
