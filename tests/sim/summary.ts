import { type SeedKind, SIM_FAULTS } from './draw-world.ts'
import type { SeededRun } from './play-seed.ts'

/** What many seeds came to, as plain figures. */
export interface SimSummary {
  readonly seeds: number
  readonly kinds: Readonly<Record<SeedKind, number>>
  /** Of all pairs of faults, those of which both fired in one seed that was drawn for them. */
  readonly pairs: { readonly met: number; readonly of: number }
  /** The smallest of any seed. */
  readonly least: { rows: number; batches: number; prefixes: number; faults: number }
  readonly redrawn: number
  readonly faults: Readonly<Record<string, number>>
  readonly drives: number
  readonly crashes: number
  readonly takeovers: number
  readonly stops: number
  readonly rows: number
  readonly outcomes: Readonly<Record<string, number>>
  readonly batches: number
  readonly stranger_batches: number
  readonly duplicate_entries: number
  readonly further_answers: number
  readonly batches_too_late: number
  readonly compared: number
  readonly violations: readonly { readonly seed: number; readonly violation: string }[]
}

export function summaryOf(runs: readonly SeededRun[]): SimSummary {
  const total = (value: (run: SeededRun) => number) => runs.reduce((sum, run) => sum + value(run), 0)
  const least = (value: (run: SeededRun) => number) =>
    runs.reduce((low, run) => Math.min(low, value(run)), Infinity)
  const kinds = { alone: 0, pair: 0, random: 0 }
  const pairs = new Set<string>()
  const outcomes: Record<string, number> = {}
  for (const run of runs) {
    kinds[run.kind] += 1
    if (run.kind === 'pair') pairs.add(run.faults.join('; '))
    for (const [name, count] of Object.entries(run.counts)) {
      if (count > 0) outcomes[name] = (outcomes[name] ?? 0) + count
    }
  }
  return {
    seeds: runs.length,
    kinds,
    pairs: { met: pairs.size, of: (SIM_FAULTS.length * (SIM_FAULTS.length - 1)) / 2 },
    least: {
      rows: least((run) => run.rows),
      batches: least((run) => run.batches),
      prefixes: least((run) => run.prefixes),
      faults: least((run) => Object.keys(run.fired).length),
    },
    redrawn: total((run) => run.redrawn),
    faults: Object.fromEntries(SIM_FAULTS.map((name) => [name, total((run) => run.fired[name] ?? 0)])),
    drives: total((run) => run.drives),
    crashes: total((run) => run.crashes),
    takeovers: total((run) => run.takeovers),
    stops: total((run) => run.stops),
    rows: total((run) => run.rows),
    outcomes,
    batches: total((run) => run.batches),
    stranger_batches: total((run) => run.strangerBatches),
    duplicate_entries: total((run) => run.duplicates),
    further_answers: total((run) => run.furtherAnswers),
    batches_too_late: total((run) => run.tooLate),
    compared: total((run) => (run.isCompared ? 1 : 0)),
    violations: runs.flatMap(({ seed, violations }) => violations.map((violation) => ({ seed, violation }))),
  }
}

export function summaryLines(summary: SimSummary): string[] {
  const { least, pairs, kinds } = summary
  const figures: [string, number | string][] = [
    ...Object.entries(summary.faults),
    ['seeds', summary.seeds],
    ['with one fault, a pair, many', `${kinds.alone}, ${kinds.pair}, ${kinds.random}`],
    ['pairs of faults that met', `${pairs.met} of ${pairs.of}`],
    [
      'least of any seed',
      `${least.rows} rows, ${least.batches} batches, ${least.prefixes} prefixes, ${least.faults} faults`,
    ],
    ['worlds redrawn: too little happened', summary.redrawn],
    ['drives', summary.drives],
    ['crashes', summary.crashes],
    ['takeovers', summary.takeovers],
    ['stops for a human', summary.stops],
    ['batches', summary.batches],
    ["a stranger's batches beside them", summary.stranger_batches],
    ['rows', summary.rows],
    ...Object.entries(summary.outcomes).map(([name, count]): [string, number] => [`rows ${name}`, count]),
    ['further answers that a policy asked for', summary.further_answers],
    ['duplicate entries', summary.duplicate_entries],
    ['batches that landed after their run was over', summary.batches_too_late],
    ['seeds held against their undisturbed world', summary.compared],
    ['violations', summary.violations.length],
  ]
  return figures.map(([name, figure]) => `${name.padEnd(48)} ${String(figure).padStart(8)}`)
}

/** One seed in one line, and what is wrong with it in further ones. */
export function seedLines(run: SeededRun): string[] {
  const fired = Object.entries(run.fired).map(([name, times]) => (times > 1 ? `${name} ×${times}` : name))
  const outcomes = Object.entries(run.counts).flatMap(([name, count]) =>
    count > 0 ? [`${count} ${name}`] : [],
  )
  return [
    `seed ${run.seed} (${run.kind}): ${run.rows} rows, ${run.batches} batches, ${run.prefixes} prefixes, ${run.drives} drives, ${run.crashes} crashes, ${run.takeovers} takeovers: ${outcomes.join(', ')}; faults: ${fired.join('; ')}`,
    ...run.violations.map((violation) => `  VIOLATION ${violation}`),
  ]
}
