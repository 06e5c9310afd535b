import { test } from 'node:test'
import { tryKillPoints, WORLDS } from './kill-points.ts'

test(
  'killed at any of its writes, a run with retries resumes to the same rows and one bill',
  { concurrency: 2 },
  (t) => tryKillPoints(t, WORLDS.retries, 4),
)

test(
  'killed at any of its writes, a run that is finished in realtime for its deadline loses no row',
  { concurrency: 2 },
  (t) => tryKillPoints(t, WORLDS.deadline, 3),
)
