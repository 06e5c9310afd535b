import { accountTrouble } from '../core/account-error.ts'
import { parseResultLine } from '../core/answer.ts'
import { customIdFor } from '../core/custom-id.ts'
import { TitheError } from '../core/errors.ts'
import { type Instant, MINUTE_MS } from '../core/instant.ts'
import type { ResultToRecord, RowRecord, SubmissionRecord } from '../stores/store.ts'
import { type ReceivedResult, recordChunk } from './ingest.ts'
import { RowRenderer } from './render-rows.ts'
import { type MarksByGroup, type RunContext, unfenced } from './run-context.ts'
import { askAgainAt, invalidResult, record, type StopReason } from './submit.ts'

/** Calls under way at a time: so many answers a driver that is killed may lose. */
export const REALTIME_CONCURRENCY = 8
const PAGE_ROWS = 64
const BACK_OFF_MS = MINUTE_MS / 2
/** Refusals of the key or the account: the next row would be refused as well. */
const NOT_OF_THE_ROW = [401, 402, 403]

/** What became of one call. `later` and `stop` leave the row as it was. */
type Reply =
  | { readonly kind: 'result'; readonly result: ReceivedResult }
  | { readonly kind: 'invalid'; readonly result: ResultToRecord }
  | { readonly kind: 'later'; readonly at: Instant }
  | { readonly kind: 'stop'; readonly reason: string }

/**
 * Answers a submission's rows one by one over Messages. Each answer is stored as a result line, so that everything after
 * it is the same as for a batch. A call that was under way in a crash has no record: its row is asked again, and may then
 * have been paid twice; the next driver says so.
 * @throws what `createMessage` throws, after the answers beside it were recorded.
 */
export async function answerInRealtime(
  context: RunContext,
  submission: SubmissionRecord,
): Promise<StopReason> {
  const { deps, run, fence } = context
  const renderer = new RowRenderer(run.id, deps)
  const marks = JSON.parse(submission.marksJson) as MarksByGroup
  const marksOf = (row: RowRecord) => (row.group === null ? [] : (marks[row.group] ?? []))
  // The first row of each marked group goes alone: its entry can be read once its answer has begun.
  const warm = new Set<string>(context.touchedInRealtime)

  const answer = async (row: RowRecord): Promise<Reply> => {
    const { ordinal, userId } = row
    const rendered = await renderer.render(row, marksOf(row))
    if (rendered.kind === 'unrenderable') {
      return { kind: 'invalid', result: invalidResult(context, submission.number, row, rendered.problem) }
    }
    const body = Buffer.from(JSON.stringify(rendered.request))
    const reply = await deps.upstream.createMessage(body, context.callContext(row.variant, 'standard'))
    if (reply.kind === 'refused') {
      const { status, type, message } = reply.error
      const trouble = accountTrouble({ type, message, code: reply.error.code ?? null }, context.accountErrors)
      if (status === 429 && trouble === null) {
        return { kind: 'later', at: askAgainAt(context.now(), reply.headers.retryAfterMs, BACK_OFF_MS) }
      }
      if (trouble !== null || NOT_OF_THE_ROW.includes(status)) {
        const mend = `${trouble?.mend ?? 'mend what refuses them'}, then 'tithe resume ${run.id}': the rows wait`
        return { kind: 'stop', reason: `the upstream refuses calls: ${status} ${type}: ${message}; ${mend}` }
      }
    }
    const result =
      reply.kind === 'answered'
        ? { type: 'succeeded', message: reply.message }
        : { type: 'errored', error: envelope(reply.error.type, reply.error.message) }
    const custom_id = customIdFor({ run: run.id, submission: submission.number, ordinal, userId })
    const bytes = Buffer.from(JSON.stringify({ custom_id, result }))
    return { kind: 'result', result: { ordinal, line: parseResultLine(bytes.toString('utf8'))!, bytes } }
  }

  for (;;) {
    const missing = await deps.store.runs.missingResults(run.id, submission.number, PAGE_ROWS)
    if (missing.length === 0) break
    const rows = await deps.store.runs.rowsByOrdinal(run.id, missing)
    const cold = rows.filter((row) => marksOf(row).length > 0 && !warm.has(row.group!))
    const first = cold.filter((row, index) => cold.findIndex((other) => other.group === row.group) === index)
    const turn = first.length > 0 ? first : rows
    for (const row of first) warm.add(row.group!)
    for (let start = 0; start < turn.length; start += REALTIME_CONCURRENCY) {
      const settled = await Promise.allSettled(turn.slice(start, start + REALTIME_CONCURRENCY).map(answer))
      const replies = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
      const invalid = replies.flatMap((reply) => (reply.kind === 'invalid' ? [reply.result] : []))
      if (invalid.length > 0) {
        unfenced(await deps.store.runs.recordResults(run.id, fence, submission.number, invalid), run.id)
      }
      const received = replies.flatMap((reply) => (reply.kind === 'result' ? [reply.result] : []))
      await recordChunk(context, { ...submission, createdAt: context.serverNow() }, received)
      const failed = settled.find((one) => one.status === 'rejected')
      if (failed) throw unanswered(failed.reason, run.id)
      const stop = replies.find((reply) => reply.kind === 'stop')
      if (stop) return stop.reason
      const later = replies.flatMap((reply) => (reply.kind === 'later' ? [reply.at] : []))
      if (later.length > 0) {
        const change = { nextPollAt: Math.max(...later) as Instant, because: 'the upstream asks to wait' }
        unfenced(await deps.store.runs.touchSubmission(run.id, fence, submission.number, change), run.id)
        return null
      }
      deps.signal.throwIfAborted()
    }
  }
  const ended = { endedAt: context.serverNow(), because: 'every row was answered' }
  await record(context, submission, 'ended', `${submission.rows} rows`, ended)
  return null
}

function envelope(type: string, message: string) {
  return { type: 'error', error: { type, message }, request_id: null }
}

function unanswered(reason: unknown, run: string): unknown {
  if (!(reason instanceof TitheError)) return reason
  return new TitheError(reason.code, reason.message, {
    hint: `go on with 'tithe resume ${run}'; a realtime call that went unanswered may have been paid`,
    retry: reason.retry,
    ...(reason.retryAfterMs === null ? {} : { retryAfterMs: reason.retryAfterMs }),
    exitCode: 3,
    cause: reason,
  })
}
