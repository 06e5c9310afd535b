import { TitheError } from '../core/errors.ts'
import type { SubmissionRecord } from '../stores/store.ts'
import type { Batches } from '../upstreams/upstream.ts'
import type { RunContext } from './run-context.ts'
import { record } from './submit.ts'

/** Batches of the run that are still at the upstream and hold nothing any more that was not read or given up. */
export function deletable(submissions: readonly SubmissionRecord[]): SubmissionRecord[] {
  return submissions.filter(
    ({ state, upstreamBatchId, deletedAt }) =>
      (state === 'ingested' || state === 'lost') && upstreamBatchId !== null && deletedAt === null,
  )
}

/** Deletes a batch; one that is not there any more counts as deleted. Answers why it could not be; null when it is gone. */
export async function deleteBatch(
  upstream: Pick<Batches, 'deleteBatch'>,
  id: string,
): Promise<string | null> {
  try {
    await upstream.deleteBatch(id)
  } catch (error) {
    if (!(error instanceof TitheError)) throw error
    if (error.code !== 'not_found_error') return error.message
  }
  return null
}

/**
 * `delete_remote: after_ingest`: batches whose every row has its result, stored, are deleted at the upstream. What cannot
 * be deleted now is tried again with the next look; a run is not kept from its end by it. Answers whether any was.
 */
export async function deleteIngested(context: RunContext): Promise<boolean> {
  if (context.settings.deleteRemote !== 'after_ingest') return false
  let deleted = false
  for (const submission of deletable(await context.submissions())) {
    // What is lost was never read: to delete it is for a person to say.
    if (submission.state !== 'ingested') continue
    const id = submission.upstreamBatchId!
    const problem = await deleteBatch(context.deps.upstream, id)
    if (problem === null) {
      await record(context, submission, 'deleted', id, { deletedAt: context.now() })
      deleted = true
    } else if (!context.undeleted.has(id)) {
      context.undeleted.add(id)
      const message = `batch ${id} could not be deleted: ${problem}. It is tried again; 'tithe forget ${context.run.id} --remote' does it later`
      context.deps.emit({ kind: 'note', message })
    }
  }
  return deleted
}
