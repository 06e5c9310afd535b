import { test } from 'node:test'
import { tryKillPoints } from './kill-points.ts'

// `npm run test:kill`: too long for every test run.

test(
  'killed at one of 68 writes, each in turn, a run with retries resumes to the same rows and one bill',
  {
    concurrency: 2,
  },
  (t) => tryKillPoints(t, 68),
)
