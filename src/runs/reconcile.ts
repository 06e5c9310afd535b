import { parseResultLine } from '../core/answer.ts'
import { parseCustomId } from '../core/custom-id.ts'
import { TitheError } from '../core/errors.ts'
import { formatDuration, MINUTE_MS, plusMs } from '../core/instant.ts'
import type { SubmissionRecord } from '../stores/store.ts'
import type { MessageBatch } from '../upstreams/upstream.ts'
import { type RunContext, unfenced } from './run-context.ts'
import { acceptAs, record, returnRows, type StopReason } from './submit.ts'

/** A create that the list has not shown for so long is presumed lost: an assumption, since nothing proves it. */
const PRESUME_LOST_AFTER_MS = 30 * MINUTE_MS
const LOOK_AGAIN_MS = MINUTE_MS
const LIST_PAGE = 100
/** A line that is not of our submission proves nothing alone; so many in a row do. Reading all of a large file would be dear. */
const FOREIGN_LINES_MAX = 100

/**
 * Finds out what became of a create whose answer we never recorded. Row count and place in the list make a candidate,
 * never proof: a batch is ours only when its results carry our custom_ids, so a candidate is waited for until it has
 * ended and can be read. Only when no candidate has shown up for `PRESUME_LOST_AFTER_MS` may the rows be sent again.
 */
export async function reconcile(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  const { deps, run, fence } = context
  const candidates = await candidatesFor(context, submission)
  let open = 0
  for (const batch of candidates) {
    const ours = batch.processing_status === 'ended' ? await isOurs(context, submission, batch) : 'unknown'
    if (ours === 'yes') {
      await acceptAs(context, submission, 'adopted', batch, 0)
      return null
    }
    if (ours === 'unknown') open += 1
  }
  const now = context.now()
  const ageMs = now - (submission.intentAt ?? now)
  if (open === 0 && ageMs >= PRESUME_LOST_AFTER_MS) {
    const why = `the upstream's list has not shown it for ${formatDuration(ageMs)}; its rows are sent again`
    await record(context, submission, 'presumed_lost', why, { because: why })
    await returnRows(context, submission.number)
    deps.emit({ kind: 'note', message: `submission ${submission.number}: ${why}` })
    return null
  }
  const because =
    open > 0
      ? `${open} batch${open === 1 ? '' : 'es'} in the list could be this one; the custom_ids in the results will tell`
      : `no batch in the list yet; presumed lost ${formatDuration(PRESUME_LOST_AFTER_MS)} after the call`
  unfenced(
    await deps.store.runs.touchSubmission(run.id, fence, submission.number, {
      nextPollAt: plusMs(now, LOOK_AGAIN_MS),
      because,
    }),
    run.id,
  )
  return null
}

/**
 * Batches newer than the newest before our call, of our size, that no submission of the run is. Their `created_at` is not
 * asked: the server's clock may be far from ours, and a batch that is overlooked is paid for twice.
 */
async function candidatesFor(context: RunContext, submission: SubmissionRecord): Promise<MessageBatch[]> {
  const { deps, run } = context
  const known = new Set((await deps.store.runs.submissions(run.id)).map((other) => other.upstreamBatchId))
  const found: MessageBatch[] = []
  let after: string | undefined
  for (;;) {
    const page = await deps.upstream.listBatches({ limit: LIST_PAGE, after_id: after })
    for (const batch of page.data) {
      if (batch.id === submission.newestIdBefore) return found
      const counts = batch.request_counts
      const rows = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
      // What is archived was created weeks ago.
      if (rows === submission.rows && batch.archived_at === null && !known.has(batch.id)) found.push(batch)
    }
    if (!page.has_more || page.last_id === null) return found
    after = page.last_id
  }
}

/** One line of ours is proof. Unknown while no result can be read: they may come late (claude-api.md 2.5). */
async function isOurs(
  context: RunContext,
  submission: SubmissionRecord,
  batch: MessageBatch,
): Promise<'yes' | 'no' | 'unknown'> {
  let foreign = 0
  try {
    for await (const line of context.deps.upstream.batchResults(batch.id)) {
      const result = parseResultLine(Buffer.from(line).toString('utf8'))
      if (result === null) return 'unknown'
      const id = parseCustomId(result.customId)
      if (id?.run === context.run.id && id.submission === submission.number) return 'yes'
      foreign += 1
      if (foreign === FOREIGN_LINES_MAX) break
    }
  } catch (error) {
    if (!(error instanceof TitheError) || error.code !== 'not_found_error') throw error
  }
  return foreign > 0 ? 'no' : 'unknown'
}
