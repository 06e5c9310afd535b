import { answerJson, answerText, parseResultLine, type ResultLine } from '../core/answer.ts'
import { contentHash } from '../core/content-hash.ts'
import { parseCustomId } from '../core/custom-id.ts'
import { scoreAnswer } from '../core/expect.ts'
import type { Instant } from '../core/instant.ts'
import { MINUTE_MS, plusMs } from '../core/instant.ts'
import type { JsonObject } from '../core/json.ts'
import { entryFor, type LedgerEntry } from '../core/ledger.ts'
import { retryDecision } from '../core/retry.ts'
import { parseUsage } from '../core/usage.ts'
import type { BodyRef, ResultToRecord, RowRecord, SubmissionRecord } from '../stores/store.ts'
import { type RunContext, unfenced } from './run-context.ts'
import { record, type StopReason } from './submit.ts'

/** Rows recorded in one transaction: a crash loses at most so many readings, never a result. */
const CHUNK_ROWS = 500
const READ_TRIES = 3
const READ_AGAIN_MS = MINUTE_MS / 2

/** A result line of ours with the row that it answers. */
export interface ReceivedResult {
  readonly ordinal: number
  readonly line: ResultLine
  readonly bytes: Uint8Array
}

/**
 * Reads a batch's results, streaming, and records every row once. A file that is cut or ends early is read again: what
 * is recorded already changes nothing. Ends in `ingested` only when every row that was sent has its result.
 */
export async function ingest(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  const { deps, run } = context
  let foreign = 0
  for (let tries = 1; ; tries++) {
    foreign = 0
    let chunk: ReceivedResult[] = []
    for await (const bytes of deps.upstream.batchResults(submission.upstreamBatchId!)) {
      const line = parseResultLine(Buffer.from(bytes).toString('utf8'))
      const id = line === null ? null : parseCustomId(line.customId)
      if (line === null || id === null || id.run !== run.id || id.submission !== submission.number) {
        foreign += 1
        continue
      }
      chunk.push({ ordinal: id.ordinal, line, bytes })
      if (chunk.length === CHUNK_ROWS) {
        const conflict = await recordChunk(context, submission, chunk)
        if (conflict !== null) return conflict
        chunk = []
      }
    }
    const conflict = await recordChunk(context, submission, chunk)
    if (conflict !== null) return conflict
    const missing = await deps.store.runs.missingResults(run.id, submission.number, 5)
    if (missing.length === 0) break
    if (tries === READ_TRIES) {
      return `the results of batch ${submission.upstreamBatchId} lack rows that were sent (the first: row ${missing[0]}), read ${tries} times`
    }
    deps.emit({
      kind: 'note',
      message: `the results of batch ${submission.upstreamBatchId} came short; reading them again`,
    })
    await deps.runtime.clock.sleepUntil(plusMs(context.now(), READ_AGAIN_MS), deps.signal)
  }
  if (foreign > 0) {
    deps.emit({
      kind: 'note',
      message: `${foreign} result lines of batch ${submission.upstreamBatchId} are not of this submission; left alone`,
    })
  }
  await record(context, submission, 'ingested', `${submission.rows} rows`, {
    because: 'every row has its result',
  })
  deps.emit({ kind: 'ingested', submission: { ...submission, state: 'ingested' } })
  return null
}

/** Records results of one submission with their ledger entries; returns why a human must look, or null. */
export async function recordChunk(
  context: RunContext,
  submission: SubmissionRecord,
  received: readonly ReceivedResult[],
): Promise<StopReason> {
  if (received.length === 0) return null
  const { deps, run, fence } = context
  const ordinals = [...new Set(received.map((result) => result.ordinal))].sort((a, b) => a - b)
  const rows = new Map(
    (await deps.store.runs.rowsByOrdinal(run.id, ordinals)).map((row) => [row.ordinal, row]),
  )
  const results: ResultToRecord[] = []
  for (const { ordinal, line, bytes } of received) {
    const row = rows.get(ordinal)
    if (row === undefined)
      return `batch ${submission.upstreamBatchId} has a result for row ${ordinal}, which the run does not have`
    results.push(resultToRecord(context, submission, row, line, await deps.store.bodies.append(bytes)))
  }
  // The bytes first, then the transaction that refers to them.
  await deps.store.bodies.sync()
  const answers = unfenced(
    await deps.store.runs.recordResults(run.id, fence, submission.number, results),
    run.id,
  )
  let recorded = 0
  for (const [index, answer] of answers.entries()) {
    const result = results[index]!
    if (answer === 'conflict') {
      return `row ${result.attempt.ordinal} of batch ${submission.upstreamBatchId} came with two different results; the first is kept`
    }
    if (answer !== 'recorded') continue
    recorded += 1
    if (result.entry)
      context.count(result.entry, rows.get(result.attempt.ordinal)!.group, submission.createdAt)
  }
  deps.emit({ kind: 'results_recorded', submission, recorded })
  return null
}

function resultToRecord(
  context: RunContext,
  submission: SubmissionRecord,
  row: RowRecord,
  line: ResultLine,
  result: BodyRef,
): ResultToRecord {
  const at = context.now()
  const checks = line.message === null ? NOT_CHECKED : checkAnswer(context, row, line.message)
  const decision = retryDecision(line, row.attempts, context.settings.maxAttempts, at)
  return {
    attempt: {
      run: context.run.id,
      submission: submission.number,
      ordinal: row.ordinal,
      customId: line.customId,
      at,
      outcome: line.outcome,
      stopReason: line.stopReason,
      errorType: line.errorType,
      errorMessage: line.errorMessage,
      result,
      resultDigest: contentHash(line.result),
      ...checks,
    },
    entry: line.message === null ? null : entryOf(context, submission, row, line, at),
    next: decision.kind === 'retry' ? { kind: 'pending', notBefore: decision.notBefore } : { kind: 'done' },
  }
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
    kind: 'paid',
    catalogue: context.deps.catalogue,
  })
}
