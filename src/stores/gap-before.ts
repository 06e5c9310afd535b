import type { SubmissionRecord } from './store.ts'

/** Stands for a number of which a rebuilt run knows nothing: never sent, realtime, or a batch that is gone. */
export function gapBefore(submission: SubmissionRecord, number: number): SubmissionRecord {
  return {
    ...submission,
    number,
    state: 'refused',
    rows: 0,
    sizeBytes: 0,
    upstreamBatchId: null,
    createdAt: null,
    expiresAt: null,
    endedAt: null,
    countsJson: null,
    because: 'no batch of it was found when the run was rebuilt',
  }
}
