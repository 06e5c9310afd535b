import { isOpen } from '../core/batch-state.ts'
import type { SubmissionRecord } from './store.ts'

/**
 * Whether a batch of it may exist whose rows will be, or were, paid for. Of one that is a duplicate the rows are sent
 * again all the same: that was decided when it became one.
 */
export function mayBeBatch(submission: Pick<SubmissionRecord, 'kind' | 'state' | 'isDuplicate'>): boolean {
  const { kind, state, isDuplicate } = submission
  return kind !== 'realtime' && state !== 'planned' && isOpen(state) && !isDuplicate
}
