import { MINUTE_MS, parseTimestamp, plusMs } from '../core/instant.ts'
import type { SubmissionRecord } from '../stores/store.ts'
import { type RunContext, unfenced } from './run-context.ts'
import { askAgainAt, record, type StopReason } from './submit.ts'

/** Without a `retry-after` from the server: the interval of the API's own samples (claude-api.md 2.5). */
const POLL_INTERVAL_MS = MINUTE_MS
/** A batch may be 404 for a short while (claude-api.md 2.5), and one that is given up too early is paid for nothing. */
const NOT_FOUND_PATIENCE_MS = 2 * MINUTE_MS
const ASK_AGAIN_MS = MINUTE_MS / 4

/** Asks how a batch stands. */
export async function poll(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  const { deps, run, fence } = context
  const id = submission.upstreamBatchId!
  const giveUpAt = plusMs(context.now(), NOT_FOUND_PATIENCE_MS)
  let answer = await deps.upstream.retrieveBatch(id)
  while (answer === null && context.now() < giveUpAt) {
    await deps.runtime.clock.sleepUntil(plusMs(context.now(), ASK_AGAIN_MS), deps.signal)
    answer = await deps.upstream.retrieveBatch(id)
  }
  if (answer === null) {
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
  const change = { nextPollAt: askAgainAt(context.now(), answer.headers.retryAfterMs, POLL_INTERVAL_MS) }
  unfenced(await deps.store.runs.touchSubmission(run.id, fence, submission.number, change), run.id)
  deps.emit({ kind: 'polled', submission: { ...submission, ...change } })
  return null
}
