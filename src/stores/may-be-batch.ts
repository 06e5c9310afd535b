import { isOpen } from '../core/batch-state.ts'
import type { SubmissionRecord } from './store.ts'

/** Whether a batch of it may exist whose rows will be, or were, paid for. */
export function mayBeBatch({ kind, state }: Pick<SubmissionRecord, 'kind' | 'state'>): boolean {
  return kind !== 'realtime' && state !== 'planned' && isOpen(state)
}
