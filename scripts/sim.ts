// Worlds drawn from seeds, each played to its end: `npm run sim -- [--seeds 300] [--from 1] [--seed N]`. Exit code 1 when
// a seed violates what a run promises; the same seed is the same world.

import { parseArgs } from 'node:util'
import { runSeed, type SeededRun, summaryOf } from '../tests/sim/seeded.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '300' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
  },
})
const from = Number(values.seed ?? values.from)
const count = values.seed === undefined ? Number(values.seeds) : 1
if (!Number.isSafeInteger(from) || !Number.isSafeInteger(count)) {
  console.error('sim: --seeds, --from and --seed take a whole number')
  process.exit(2)
}

const runs: SeededRun[] = []
for (let seed = from; seed < from + count; seed++) {
  const run = await runSeed(seed)
  runs.push(run)
  const fired = [...run.faults].map(([name, times]) => (times > 1 ? `${name} ×${times}` : name))
  console.log(
    `seed ${seed}: ${run.setting}\n  ${run.drives} drives, ${run.crashes} crashes, ${run.takeovers} takeovers, ${run.waves} waves: ${run.outcome}`,
  )
  if (fired.length > 0) console.log(`  faults: ${fired.join('; ')}`)
  for (const violation of run.violations) console.log(`  VIOLATION ${violation}`)
  if (run.violations.length > 0) {
    console.log(`  again: npm run sim -- --seed ${seed}`)
    process.exitCode = 1
  }
}
console.log(`\n${summaryOf(runs).join('\n')}`)
