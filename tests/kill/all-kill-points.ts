import { test } from 'node:test'
import { tryKillPoints, WORLDS } from './kill-points.ts'

// `npm run test:kill`: too long for every test run.

test(
  'killed at 44 of its writes, each in turn, a run with retries resumes to the same rows and one bill',
  { concurrency: 2 },
  (t) => tryKillPoints(t, WORLDS.retries, 44),
)

test(
  'killed at 24 of its writes, each in turn, a run that is finished in realtime for its deadline loses no row',
  { concurrency: 2 },
  (t) => tryKillPoints(t, WORLDS.deadline, 24),
)
