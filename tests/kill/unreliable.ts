import { LOCAL_SETTINGS } from '../../src/upstreams/local/local-upstream.ts'

// Imported before the program (`node --import`): an embedded service in whose batches rows fail, so that there are retries.

Object.assign(LOCAL_SETTINGS, { erroredShare: 0.08, batchLatencyMs: [45_000] })
