import { test } from 'node:test'
import { tryKillPoints, WORLDS } from './kill-points.ts'

// `npm run test:kill`: too long for every test run.

test(
  'killed at 40 of its writes, each in turn, a run with retries resumes to the same rows and one bill',
  { concurrency: 2 },
  (t) => tryKillPoints(t, WORLDS.retries, 40),
)

test(
  'killed at 22 of its writes, each in turn, a run that is finished in realtime for its deadline loses no row',
  { concurrency: 2 },
  (t) => tryKillPoints(t, WORLDS.deadline, 22),
)
