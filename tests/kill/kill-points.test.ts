import { test } from 'node:test'
import { tryKillPoints } from './kill-points.ts'

test(
  'killed at any of its writes, a run with retries resumes to the same rows and one bill',
  {
    concurrency: 2,
  },
  (t) => tryKillPoints(t, 6),
)
