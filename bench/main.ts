import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { arch, cpus, platform, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { runChild } from './child.ts'
import { makeJob } from './made-job.ts'
import { runs } from './runs.ts'

// npm run bench [-- NAME…] [--json]: measures, prints, and keeps the results with a description of the machine in
// bench/results. README.md says what each bench is for.

export type Measurement = Readonly<Record<string, string | number | null>>
type Bench = (dir: string) => AsyncGenerator<Measurement>

const BENCHES: Readonly<Record<string, Bench>> = { planner, stores, local, demo, runs }

const args = process.argv.slice(2)
const asJson = args.includes('--json')
const named = args.filter((arg) => !arg.startsWith('-'))
const unknown = named.filter((name) => !(name in BENCHES))
if (unknown.length > 0) {
  process.stderr.write(`no bench ${unknown.join(', ')}; there are ${Object.keys(BENCHES).join(', ')}\n`)
  process.exit(2)
}
const dir = mkdtempSync(join(tmpdir(), 'tithe-bench-'))
try {
  for (const name of named.length > 0 ? named : Object.keys(BENCHES)) await runBench(name, BENCHES[name]!)
} finally {
  rmSync(dir, { recursive: true })
}

async function runBench(name: string, bench: Bench): Promise<void> {
  if (!asJson) process.stdout.write(`\n${name}\n`)
  const measurements: Measurement[] = []
  for await (const measurement of bench(dir)) {
    measurements.push(measurement)
    if (!asJson) process.stdout.write(`${asLine(measurement)}\n`)
  }
  const date = new Date().toISOString().slice(0, 10)
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8'))
  const result = { schema: 'tithe.bench/1', bench: name, date, version, machine: machine(), measurements }
  const results = join(import.meta.dirname, 'results')
  mkdirSync(results, { recursive: true })
  writeFileSync(join(results, `${date}-${name}.json`), `${JSON.stringify(result, null, 2)}\n`)
  if (asJson) process.stdout.write(`${JSON.stringify(result)}\n`)
}

/** What a figure depends on, and nothing that tells whose machine it is. */
function machine() {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memory_gb: Math.round(totalmem() / 1e9),
    platform: `${platform()} ${arch()}`,
    node: process.version,
  }
}

function asLine(measurement: Measurement): string {
  const [[, what], ...figures] = Object.entries(measurement) as [[string, unknown], ...[string, unknown][]]
  return `  ${String(what).padEnd(58)} ${figures.map(([key, value]) => `${key} ${value}`).join('  ')}`
}

// -- benches --

async function* planner(dir: string): AsyncGenerator<Measurement> {
  for (const ownBytes of [500, 2_300]) {
    for (const rows of [1, 1_000, 10_000, 100_000]) {
      const { job } = await makeJob(dir, rows, ownBytes)
      const what = `${rows} rows of ${ownBytes} bytes`
      const command = await runChild('bin/tithe.js', 'plan', job, '--json')
      const { wall_ms, cpu_ms } = command
      yield { what: `tithe plan, ${what}`, wall_ms, cpu_ms, peak_rss_mb: command.peak_rss_mb }
      // One row shows what it costs to begin; there is no rate in it.
      if (rows === 1) continue
      const { stdout, peak_rss_mb } = await runChild('bench/planner.ts', job)
      yield { what: `planning alone, ${what}`, ...JSON.parse(stdout), peak_rss_mb }
      const naive = await runChild('bench/planner-naive.ts', job, 'serialise')
      yield naiveResult(`naive: serialise every request, ${what}`, naive)
      if (rows > 1_000) continue
      const counted = await runChild('bench/planner-naive.ts', job, 'count')
      yield naiveResult(`naive: count every prompt, ${what}`, counted)
    }
  }
}

function naiveResult(
  what: string,
  { stdout, peak_rss_mb }: Awaited<ReturnType<typeof runChild>>,
): Measurement {
  const { rows, ms_per_1000_rows } = JSON.parse(stdout)
  return { what, rows, ms_per_1000_rows, peak_rss_mb }
}

async function* stores(): AsyncGenerator<Measurement> {
  for (const flags of [[], ['--worker']]) {
    const { stdout, peak_rss_mb } = await runChild('bench/stores.ts', '100000', ...flags)
    for (const line of stdout.trimEnd().split('\n')) yield JSON.parse(line)
    yield { what: `all of it${flags.length === 0 ? '' : ', in a worker'}`, peak_rss_mb }
  }
}

async function* local(dir: string): AsyncGenerator<Measurement> {
  for (const rows of [1_000, 10_000, 100_000]) {
    const { job } = await makeJob(dir, rows, 500)
    const home = join(dir, `home-${rows}`)
    const run = await runChild('bin/tithe.js', 'run', job, '--yes', '--json', '--home', home)
    const report = JSON.parse(run.stdout)
    yield {
      what: `tithe run, ${rows} rows over 10,000 shared tokens`,
      succeeded: report.rows.succeeded,
      ledger_equals_invoice: String(report.ledger_equals_invoice),
      wall_ms: run.wall_ms,
      cpu_ms: run.cpu_ms,
      rows_per_second: Math.round((rows / run.wall_ms) * 1_000),
      peak_rss_mb: run.peak_rss_mb,
    }
    rmSync(home, { recursive: true })
  }
}

async function* demo(dir: string): AsyncGenerator<Measurement> {
  const home = ['--home', join(dir, 'demo')]
  const commands: Readonly<Record<string, readonly string[]>> = {
    'node, nothing else': ['bench/nothing.ts'],
    'tithe --help': ['bin/tithe.js', '--help'],
    'tithe models': ['bin/tithe.js', 'models', ...home],
    'tithe plan, 240 tickets': ['bin/tithe.js', 'plan', 'examples/tickets/job.yaml', ...home],
    'tithe demo': ['bin/tithe.js', 'demo', ...home],
  }
  for (const [what, [script, ...args]] of Object.entries(commands)) {
    const runs = []
    for (let i = 0; i < 5; i++) runs.push(await runChild(script!, ...args))
    const wall = runs.map((run) => run.wall_ms).sort((a, b) => a - b)
    yield {
      what,
      wall_ms_median: wall[2]!,
      wall_ms_slowest: wall[4]!,
      peak_rss_mb: Math.max(...runs.map((run) => run.peak_rss_mb)),
    }
  }
}
