// Worlds drawn from seeds, each played to its end. Exit code 1 when a seed violates what a run promises; the same seed is
// the same world.
//
//   npm run sim -- [--seeds 300] [--from 1]   that many seeds, on every core
//   npm run sim -- --seed N                   one
//   npm run sim -- --break NAME               with a bug on purpose, until it is found; exit code 0 when it is
//   --json                                    the summary as data

import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { BREAKS } from '../tests/sim/breaks.ts'
import type { SeededRun } from '../tests/sim/play-seed.ts'
import { seedLines, summaryLines, summaryOf } from '../tests/sim/summary.ts'

/** A bug must be found in so many seeds. */
const BREAK_SEEDS = 200
/** A seed takes a tenth of a second: one that takes so long waits for what never comes. */
const SEED_MS_MAX = 120_000
/** Seeds that a worker has before it, so that it never waits for the next. */
const AHEAD = 2

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    break: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})
const breakName = values.break ?? null
if (breakName !== null && !(breakName in BREAKS)) {
  refuse(
    `no bug is called ${breakName}; there are:\n${Object.entries(BREAKS)
      .map(([name, { what }]) => `  ${name.padEnd(26)} ${what}`)
      .join('\n')}`,
  )
}
const from = wholeNumber('--seed or --from', values.seed ?? values.from)
const count =
  values.seed === undefined
    ? wholeNumber('--seeds', values.seeds ?? (breakName === null ? '300' : String(BREAK_SEEDS)))
    : 1

const startedAt = performance.now()
const runs = await playAll()
const seconds = (performance.now() - startedAt) / 1_000
const summary = summaryOf(runs)
if (values.json) {
  const { violations, ...figures } = summary
  console.log(JSON.stringify({ schema: 'tithe.sim/1', from, ...figures, seconds, violations }, null, 2))
} else
  console.log(
    `\n${summaryLines(summary).join('\n')}\n${'seconds'.padEnd(48)} ${seconds.toFixed(1).padStart(8)}`,
  )
const isRed = summary.violations.length > 0
if (breakName !== null) {
  const found = summary.violations[0]
  console.error(
    isRed
      ? `\n${breakName} was found in seed ${found!.seed}`
      : `\n${breakName} was NOT found in ${count} seeds`,
  )
}
process.exitCode = isRed === (breakName !== null) ? 0 : 1

/** Results in the order of seeds, whichever worker had them. With a bug, up to the first that shows it. */
async function playAll(): Promise<SeededRun[]> {
  const workers = Array.from(
    { length: Math.min(availableParallelism(), count) },
    () => new Worker(new URL('../tests/sim/seeds-worker.ts', import.meta.url), { workerData: { breakName } }),
  )
  const done = new Map<number, SeededRun>()
  const runs: SeededRun[] = []
  let next = from
  await new Promise<void>((resolve, reject) => {
    for (const worker of workers) {
      const before: number[] = []
      let patience: NodeJS.Timeout | undefined
      const give = () => {
        clearTimeout(patience)
        if (next < from + count) {
          before.push(next)
          worker.postMessage(next++)
        }
        const [seed] = before
        const hangs = () => reject(new Error(`seed ${seed} does not end: npm run sim -- --seed ${seed}`))
        if (seed !== undefined) patience = setTimeout(hangs, SEED_MS_MAX).unref()
      }
      worker.on('error', reject)
      worker.on('message', (run: SeededRun) => {
        done.set(run.seed, run)
        before.shift()
        give()
        for (let run = done.get(from + runs.length); run !== undefined; run = done.get(from + runs.length)) {
          runs.push(run)
          show(run)
          if (runs.length === count || (breakName !== null && run.violations.length > 0)) return resolve()
        }
      })
      for (let ahead = 0; ahead < AHEAD; ahead++) give()
    }
  })
  await Promise.all(workers.map((worker) => worker.terminate()))
  return runs
}

function show(run: SeededRun): void {
  const isBad = run.violations.length > 0
  const print = values.json ? console.error : console.log
  if (values.json && !isBad) return
  print(seedLines(run).join('\n'))
  if (isBad)
    print(`  again: npm run sim -- --seed ${run.seed}${breakName === null ? '' : ` --break ${breakName}`}`)
}

function wholeNumber(flag: string, text: string): number {
  const number = Number(text)
  if (!Number.isSafeInteger(number) || number < 1) refuse(`${flag} takes a whole number from 1`)
  return number
}

function refuse(why: string): never {
  console.error(`sim: ${why}`)
  process.exit(2)
}
