import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runSeed, type SeededRun } from './seeded.ts'

const SEEDS = 40

test('in worlds drawn from seeds, with faults, crashes and second drivers, every row ends once and is paid once', async () => {
  const runs: SeededRun[] = []
  for (let seed = 1; seed <= SEEDS; seed++) {
    const run = await runSeed(seed)
    assert.deepEqual(run.violations, [], `npm run sim -- --seed ${seed}`)
    runs.push(run)
  }
  assert.ok(runs.filter((run) => run.faults.size > 0).length > SEEDS / 2, 'most worlds have faults')
  assert.ok(runs.filter((run) => run.crashes > 0).length > SEEDS / 4, 'drivers die')
  assert.ok(runs.some((run) => run.takeovers > 0))
})

test('a seed is one world', async () => {
  assert.deepEqual(await runSeed(7), await runSeed(7))
})
