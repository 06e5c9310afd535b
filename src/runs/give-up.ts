import type { SubmissionRecord } from '../stores/store.ts'
import { type RunContext, unfenced } from './run-context.ts'
import { record, returnRows, type StopReason } from './submit.ts'

/**
 * A batch whose results will never be read. Its rows may have been paid for: they end as `unretrievable`, and nothing
 * sends them again unasked. Answers why the run stops.
 */
export async function giveUpKnown(
  context: RunContext,
  submission: SubmissionRecord,
  because: string,
): Promise<StopReason> {
  await record(context, submission, 'gone', because, { because })
  const ended = await endGivenUp(context, { ...submission, state: 'lost' })
  const rows = `${ended} ${ended === 1 ? 'row is' : 'rows are'} unretrievable, and not sent again`
  context.deps.emit({ kind: 'note', message: `${because}; ${rows}` })
  return `${because}; ${rows}`
}

/**
 * What becomes of the rows of a submission that was refused or is lost: they go back, unless a batch of it is known.
 * Asked again after a crash in between; doing it twice changes nothing.
 */
export async function endGivenUp(
  context: RunContext,
  submission: Pick<SubmissionRecord, 'number' | 'state' | 'upstreamBatchId'>,
): Promise<number> {
  const { deps, run, fence } = context
  if (submission.state === 'lost' && submission.upstreamBatchId !== null) {
    return unfenced(await deps.store.runs.endUnretrievable(run.id, fence, submission.number), run.id)
  }
  return returnRows(context, submission.number)
}
