import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BREAKS } from './breaks.ts'
import { runSeed, type SeededRun } from './play-seed.ts'
import { summaryOf } from './summary.ts'

// A taste of what `npm run sim` does with thousands: enough that a change which breaks a promise is seen at once. All pairs of
// faults take some 2,800 seeds, which are for there.

const SEEDS = 40
/** Within so many seeds each bug must be found; `npm run sim -- --break NAME` plays them one by one. */
const BREAK_SEEDS = 200

test('in worlds drawn from seeds, with faults, crashes and second drivers, every row ends once and is paid once', async () => {
  const runs: SeededRun[] = []
  for (let seed = 1; seed <= SEEDS; seed++) {
    const run = await runSeed(seed)
    assert.deepEqual(run.violations, [], `npm run sim -- --seed ${seed}`)
    runs.push(run)
  }
  const { least, kinds, crashes, takeovers, stranger_batches: strangers, compared } = summaryOf(runs)
  assert.ok(least.rows >= 30 && least.batches >= 3 && least.prefixes >= 2 && least.faults >= 1)
  assert.ok(Math.min(...Object.values(kinds)) >= 3, JSON.stringify(kinds))
  assert.ok(Math.min(crashes, takeovers, strangers) > SEEDS / 4, 'drivers die, and are not alone')
  assert.ok(compared > 0)
})

test('a seed is one world', async () => {
  assert.deepEqual(await runSeed(7), await runSeed(7))
})

test('seeds do not know of one another', async () => {
  const alone = await runSeed(12)
  await runSeed(11)
  assert.deepEqual(await runSeed(12), alone)
})

for (const [name, broken] of Object.entries(BREAKS)) {
  test(`a bug on purpose is found: ${broken.what}`, async () => {
    for (let seed = 1; seed <= BREAK_SEEDS; seed++) {
      const { violations } = await runSeed(seed, broken)
      if (violations.length > 0) return
    }
    assert.fail(`${name} was not found in ${BREAK_SEEDS} seeds`)
  })
}
