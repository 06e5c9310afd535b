import type { Instant } from '../core/instant.ts'
import { parseTimestamp } from '../core/instant.ts'
import { recoveryOf } from '../core/recovery.ts'
import type { SubmissionRecord } from '../stores/store.ts'
import type { MessageBatch } from '../upstreams/upstream.ts'
import { batchesSince, couldBe, ownerOf, rowsOf } from './batch-owner.ts'
import { type RunContext, unfenced } from './run-context.ts'
import { record } from './submit.ts'

/** What the list shows beside the batches that the run knows. */
export interface Latecomers {
  /** Batches of ours that were found and are now read and paid for as duplicates. */
  readonly accounted: number
  /** Why the run cannot say yet that it has accounted for everything; null when it has. */
  readonly awaited: string | null
}

/**
 * Looks for batches of this run that it does not know: a create that was presumed lost and took place after all, or a
 * second batch that something between us and the upstream made of one call. They are ours when their results say so, and
 * what they answered is paid for: it becomes `duplicate` entries and decides no row. Asked after each batch and at the
 * end. A batch that could be a presumed lost one and has not ended is waited for; any other is not.
 */
export async function accountLatecomers(context: RunContext): Promise<Latecomers> {
  const all = await context.submissions()
  const sent = all.filter((one) => one.kind !== 'realtime' && one.intentAt !== null)
  const [first] = sent
  if (first === undefined) return { accounted: 0, awaited: null }
  const known = new Set(all.map((one) => one.upstreamBatchId))
  const sizes = new Set(sent.map((one) => one.rows))
  let accounted = 0
  let open = 0
  for await (const batch of batchesSince(context, first)) {
    if (known.has(batch.id) || !sizes.has(rowsOf(batch))) continue
    const owner = await ownerOf(context, batch)
    if (owner === 'foreign' || owner === 'gone') continue
    if (owner === 'unknown') {
      if (sent.some((one) => isPresumedLost(one) && couldBe(one, batch))) open += 1
      continue
    }
    const submission = all.find((one) => one.number === owner.submission)
    if (submission === undefined || submission.state === 'submitting') continue
    if (await account(context, submission, batch)) accounted += 1
  }
  const awaits =
    open === 0 ? null : recoveryOf({ ...PRESUMED_LOST, found: open === 1 ? 'one' : 'many' }).because
  return { accounted, awaited: awaits }
}

const PRESUMED_LOST = {
  local: 'presumed_lost',
  workspace: 'same',
  revealed: 'nothing',
  age: 'settled',
  human: 'not_asked',
} as const

/** Given up without ever having had a batch. */
export function isPresumedLost(
  submission: Pick<SubmissionRecord, 'state' | 'upstreamBatchId' | 'kind'>,
): boolean {
  return submission.state === 'lost' && submission.upstreamBatchId === null && submission.kind !== 'realtime'
}

async function account(
  context: RunContext,
  submission: SubmissionRecord,
  batch: MessageBatch,
): Promise<boolean> {
  const { deps, run, fence } = context
  const times = {
    upstreamBatchId: batch.id,
    createdAt: parseTimestamp(batch.created_at),
    expiresAt: parseTimestamp(batch.expires_at),
    endedAt: parseTimestamp(batch.ended_at ?? '') as Instant | null,
  }
  if (isPresumedLost(submission)) {
    const { because } = recoveryOf({ ...PRESUMED_LOST, found: 'none', revealed: 'ours' })
    const change = { ...times, because, isDuplicate: true, countsJson: JSON.stringify(batch.request_counts) }
    await record(context, submission, 'turned_up', batch.id, change)
  } else {
    const because = `a second batch of submission ${submission.number}: what it answered is paid for twice`
    const added = unfenced(
      await deps.store.runs.addDuplicate(run.id, fence, submission.number, { ...times, because }),
      run.id,
    )
    if (added === null) return false
  }
  const message = `batch ${batch.id} is one more of submission ${submission.number}: its answers are entered as duplicates`
  deps.emit({ kind: 'note', message })
  return true
}
