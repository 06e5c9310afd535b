import { formatDuration, MINUTE_MS, parseTimestamp, plusMs } from '../core/instant.ts'
import { type Evidence, recoveryOf } from '../core/recovery.ts'
import type { SubmissionRecord } from '../stores/store.ts'
import type { MessageBatch } from '../upstreams/upstream.ts'
import { batchesSince, ownerOf, rowsOf } from './batch-owner.ts'
import { type RunContext, unfenced } from './run-context.ts'
import { acceptAs, record, returnRows, type StopReason } from './submit.ts'

export const LOOK_AGAIN_MS = MINUTE_MS
const WAY_OUT =
  ". 'tithe recover JOB --accept-unknown' in another home (--home) rebuilds the run from its batches and sends these rows again, at the risk of paying for them twice"

/**
 * Finds out what became of a create whose answer we never recorded: gathers what the list and the results of candidates
 * show, and does what RECOVERY says of it.
 */
export async function reconcile(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  const { deps, run, fence } = context
  const look = await lookFor(context, submission)
  const { act, because } = recoveryOf(look.evidence)
  switch (act) {
    case 'adopt':
      // What the others answered is found and accounted for with every latecomer.
      await acceptAs(context, submission, 'adopted', look.ours, 0)
      return null
    case 'resubmit': {
      const why = `${because} (${formatDuration(look.ageMs)} after the call)`
      await record(context, submission, 'presumed_lost', why, { because: why })
      await returnRows(context, submission.number)
      deps.emit({ kind: 'note', message: `submission ${submission.number}: ${why}` })
      return null
    }
    case 'stop':
      return `submission ${submission.number}: ${because}${look.evidence.revealed === 'gone' ? WAY_OUT : ''}`
    default:
      unfenced(
        await deps.store.runs.touchSubmission(run.id, fence, submission.number, {
          nextPollAt: plusMs(context.now(), LOOK_AGAIN_MS),
          because,
        }),
        run.id,
      )
      return null
  }
}

interface Look {
  readonly evidence: Evidence
  /** The oldest batch whose results are of this submission; meaningless when `evidence` reveals none. */
  readonly ours: MessageBatch
  readonly ageMs: number
}

async function lookFor(context: RunContext, submission: SubmissionRecord): Promise<Look> {
  const known = new Set((await context.submissions()).map((other) => other.upstreamBatchId))
  const ours: MessageBatch[] = []
  let undecided = 0
  let isGone = false
  for await (const batch of batchesSince(context, submission)) {
    if (known.has(batch.id) || rowsOf(batch) !== submission.rows) continue
    const owner = await ownerOf(context, batch)
    if (owner === 'unknown') undecided += 1
    else if (owner === 'gone') isGone = true
    else if (owner !== 'foreign' && owner.submission === submission.number) ours.push(batch)
  }
  const ageMs = ageOf(context, submission)
  const revealed = ours.length > 1 ? 'ours_twice' : ours.length === 1 ? 'ours' : isGone ? 'gone' : 'nothing'
  return {
    evidence: {
      local: 'unanswered',
      workspace: context.workspaceSeen(submission),
      found: undecided === 0 ? 'none' : undecided === 1 ? 'one' : 'many',
      revealed,
      age: ageMs >= context.settings.presumeLostAfterMs ? 'settled' : 'fresh',
      human: 'not_asked',
    },
    ours: ours.sort((a, b) => parseTimestamp(a.created_at)! - parseTimestamp(b.created_at)!)[0]!,
    ageMs,
  }
}

/** By the server's clock where it tells one: ours may have been set back, or have slept, since the call. */
function ageOf(context: RunContext, { intentAt, serverIntentAt }: SubmissionRecord): number {
  const serverNow = context.serverDate()
  if (serverNow !== null && serverIntentAt !== null) return serverNow - serverIntentAt
  return intentAt === null ? 0 : context.now() - intentAt
}
