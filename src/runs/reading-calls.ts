import type { BodyStore, RunStore } from '../stores/store.ts'
import type { Upstream } from '../upstreams/upstream.ts'

type Call = keyof RunStore | keyof BodyStore | keyof Upstream

/** Calls of store and upstream that change nothing: dying around one of them is dying before the next that does. */
export const READING_CALLS = [
  'attemptCounts',
  'attemptsOf',
  'batchResults',
  'blocks',
  'bodyRanges',
  'counts',
  'events',
  'extents',
  'findRuns',
  'leaseHolder',
  'ledgerPage',
  'ledgerSums',
  'ledgerUsage',
  'listBatches',
  'missingResults',
  'nextRowAt',
  'openSizes',
  'pendingRows',
  'read',
  'readAll',
  'resultsPage',
  'retrieveBatch',
  'rowsByOrdinal',
  'rowsPage',
  'rowsToSend',
  'runByFingerprint',
  'submissionRows',
  'submissions',
] as const satisfies readonly Call[]
