import { type Instant, MINUTE_MS, parseTimestamp, plusMs } from '../core/instant.ts'
import { recoveryOf } from '../core/recovery.ts'
import type { SubmissionRecord } from '../stores/store.ts'
import { giveUpKnown } from './give-up.ts'
import { type RunContext, unfenced } from './run-context.ts'
import { askAgainAt, record, type StopReason, workspaceProblem } from './submit.ts'

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
  if (answer === null) return await missing(context, submission)
  context.learn(answer.headers)
  const problem = await workspaceProblem(context)
  if (problem !== null) return problem
  const { batch } = answer
  if (batch.archived_at !== null)
    return await giveUpKnown(context, submission, archived(id, batch.archived_at))
  const cancelInitiatedAt = instantOf(batch.cancel_initiated_at)
  if (batch.processing_status === 'ended') {
    const countsJson = JSON.stringify(batch.request_counts)
    await record(context, submission, 'ended', countsJson, {
      endedAt: instantOf(batch.ended_at),
      cancelInitiatedAt,
      countsJson,
      because: 'the upstream has ended it; its results wait to be read',
    })
    return null
  }
  const nextPollAt = askAgainAt(context.now(), answer.headers.retryAfterMs, POLL_INTERVAL_MS)
  const change = { nextPollAt, cancelInitiatedAt }
  unfenced(await deps.store.runs.touchSubmission(run.id, fence, submission.number, change), run.id)
  deps.emit({ kind: 'polled', submission: { ...submission, ...change } })
  return null
}

/** 404 for a batch that is known to exist. Another key could see as little, so the workspace is asked for first. */
export async function missing(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  const id = submission.upstreamBatchId!
  context.learn((await context.deps.upstream.listBatches({ limit: 1 })).headers)
  const evidence = { local: 'accepted', found: 'none', revealed: 'nothing', age: 'settled' } as const
  const workspace = context.workspaceSeen(context.workspace)
  const stop = recoveryOf({ ...evidence, workspace, human: 'not_asked' })
  if (workspace !== 'same') return (await workspaceProblem(context)) ?? stop.because
  const reason = `batch ${id}: ${stop.because}. If it was deleted, 'tithe resume' goes on, with its rows as unretrievable`
  // A run that was stopped for this very reason and goes on was looked at.
  if (reason !== context.run.stopReason) return reason
  const { because } = recoveryOf({ ...evidence, workspace, human: 'went_on' })
  await giveUpKnown(context, submission, `batch ${id}: ${because}`)
  return null
}

export function archived(id: string, at: string): string {
  const evidence = {
    local: 'accepted',
    workspace: 'same',
    found: 'one',
    age: 'settled',
    human: 'not_asked',
  } as const
  return `batch ${id} (archived ${at}): ${recoveryOf({ ...evidence, revealed: 'gone' }).because}`
}

function instantOf(timestamp: string | null): Instant | null {
  return timestamp === null ? null : parseTimestamp(timestamp)
}
