import { MINUTE_MS, parseTimestamp, plusMs } from '../core/instant.ts'
import type { SubmissionRecord } from '../stores/store.ts'
import { type RunContext, unfenced } from './run-context.ts'
import { askAgainAt, record, type StopReason } from './submit.ts'

/** Without a `retry-after` from the server: the interval of the API's own samples (claude-api.md 2.5). */
const POLL_INTERVAL_MS = MINUTE_MS
/** A batch may be 404 for some seconds after its create (claude-api.md 2.5). */
const NOT_FOUND_PATIENCE_MS = 2 * MINUTE_MS

/** Asks how a batch stands. */
export async function poll(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  const { deps, run, fence } = context
  const id = submission.upstreamBatchId!
  const answer = await deps.upstream.retrieveBatch(id)
  const now = context.now()
  if (answer === null) {
    if (submission.intentAt !== null && now - submission.intentAt < NOT_FOUND_PATIENCE_MS) {
      unfenced(
        await deps.store.runs.touchSubmission(run.id, fence, submission.number, {
          nextPollAt: plusMs(now, POLL_INTERVAL_MS / 4),
        }),
        run.id,
      )
      return null
    }
    return `batch ${id} is known to exist, but the upstream answers 404: another key or workspace, or it was deleted`
  }
  context.learnServerTime(answer.headers)
  const { batch } = answer
  if (batch.processing_status === 'ended') {
    await record(context, submission, 'ended', JSON.stringify(batch.request_counts), {
      endedAt: batch.ended_at === null ? null : parseTimestamp(batch.ended_at),
      because: 'the upstream has ended it; its results wait to be read',
    })
    return null
  }
  const change = { nextPollAt: askAgainAt(now, answer.headers.retryAfterMs, POLL_INTERVAL_MS) }
  unfenced(await deps.store.runs.touchSubmission(run.id, fence, submission.number, change), run.id)
  deps.emit({ kind: 'polled', submission: { ...submission, ...change } })
  return null
}
