import { parseResultLine } from '../core/answer.ts'
import { customIdFor } from '../core/custom-id.ts'
import { TitheError } from '../core/errors.ts'
import type { SubmissionRecord } from '../stores/store.ts'
import { type ReceivedResult, recordChunk } from './ingest.ts'
import { RowRenderer } from './render-rows.ts'
import type { MarksByGroup, RunContext } from './run-context.ts'
import { record, type StopReason } from './submit.ts'

const CONCURRENCY = 8
const PAGE_ROWS = 64

/**
 * Answers a submission's rows one by one over Messages. Each answer is stored as a result line, so that everything after
 * it is the same as for a batch. A call that was under way in a crash has no record: its row is asked again, and may then
 * have been paid twice; that is said.
 */
export async function answerInRealtime(
  context: RunContext,
  submission: SubmissionRecord,
): Promise<StopReason> {
  const { deps, run } = context
  const renderer = new RowRenderer(run.id, deps)
  const marks = JSON.parse(submission.marksJson) as MarksByGroup
  // The first row of each marked group goes alone: its entry can be read once its answer has begun.
  const warm = new Set<string>(context.touchedAt.keys())

  const answer = async (ordinal: number): Promise<ReceivedResult> => {
    const [row] = await deps.store.runs.rowsByOrdinal(run.id, [ordinal])
    const rendered = await renderer.render(row!, (row!.group === null ? null : marks[row!.group]) ?? [])
    const customId = customIdFor({ run: run.id, submission: submission.number, ordinal, userId: row!.userId })
    let result: object
    if (rendered.kind === 'unrenderable') {
      result = { type: 'errored', error: envelope('invalid_request_error', rendered.problem) }
    } else {
      const body = Buffer.from(JSON.stringify(rendered.request))
      const reply = await deps.upstream.createMessage(body, context.callContext(row!.variant, 'standard'))
      result =
        reply.kind === 'answered'
          ? { type: 'succeeded', message: reply.message }
          : { type: 'errored', error: envelope(reply.error.type, reply.error.message) }
    }
    const bytes = Buffer.from(JSON.stringify({ custom_id: customId, result }))
    return { ordinal, line: parseResultLine(bytes.toString('utf8'))!, bytes }
  }

  for (;;) {
    const missing = await deps.store.runs.missingResults(run.id, submission.number, PAGE_ROWS)
    if (missing.length === 0) break
    const rows = await deps.store.runs.rowsByOrdinal(run.id, missing)
    const cold = rows.filter(
      (row) => row.group !== null && marks[row.group] !== undefined && !warm.has(row.group),
    )
    const first = cold.filter((row, index) => cold.findIndex((other) => other.group === row.group) === index)
    const turn = first.length > 0 ? first.map((row) => row.ordinal) : missing
    for (const row of first) warm.add(row.group!)
    for (let start = 0; start < turn.length; start += CONCURRENCY) {
      const settled = await Promise.allSettled(turn.slice(start, start + CONCURRENCY).map(answer))
      const received = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
      const stop = await recordChunk(context, { ...submission, createdAt: context.serverNow() }, received)
      if (stop !== null) return stop
      const failed = settled.find((one) => one.status === 'rejected')
      if (failed) throw unanswered(failed.reason, run.id)
      deps.signal.throwIfAborted()
    }
  }
  const ended = { endedAt: context.serverNow(), because: 'every row was answered' }
  await record(context, submission, 'ended', `${submission.rows} rows`, ended)
  await record(context, { ...submission, state: 'ended' }, 'ingested', `${submission.rows} rows`, {})
  deps.emit({ kind: 'ingested', submission: { ...submission, state: 'ingested' } })
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
    exitCode: 3,
    cause: reason,
  })
}
