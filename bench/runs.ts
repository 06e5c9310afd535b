import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { runChild } from './child.ts'
import { makePlainJob } from './made-job.ts'

type Measurement = Readonly<Record<string, string | number | null>>

const FULL_ROWS = 100_000
/** So that the batch of 100,000 is 233 MB. */
const FULL_ROW_BYTES = 2_170
const SMALL_ROW_BYTES = 120
/** The driver and the SDK in turn, so that both meet the machine in the same mood; medians are compared. */
const ROUNDS = 3

/**
 * A full batch through the real driver and store, beside the official SDK against the same server; then whole runs of
 * 10,000 to 1,000,000 small rows, and a resume after a kill.
 */
export async function* runs(dir: string): AsyncGenerator<Measurement> {
  yield* fullBatch(dir)
  yield* wholeRuns(dir)
}

export async function* fullBatch(dir: string): AsyncGenerator<Measurement> {
  const { job, input } = await makePlainJob(dir, FULL_ROWS, FULL_ROW_BYTES)
  const steps: Record<string, Step[]> = {}
  for (let round = 0; round < ROUNDS; round++) {
    await withServer('3600', async (baseUrl) => {
      const home = join(dir, `full-${round}`)
      await runChild('bench/runs-step.js', 'prepare', baseUrl, home, job)
      for (const step of ['submit', 'ingest']) {
        keep(steps, `tithe ${step}`, await runChild('bench/runs-step.js', step, baseUrl, home))
      }
      rmSync(home, { recursive: true })
    })
    await withServer('3600', async (baseUrl) => {
      for (const step of ['submit', 'ingest']) {
        keep(steps, `sdk ${step}`, await runChild('bench/runs-sdk.ts', step, baseUrl, input))
      }
    })
  }
  for (const step of ['submit', 'ingest']) {
    const [tithe, sdk] = [median(steps[`tithe ${step}`]!), median(steps[`sdk ${step}`]!)]
    yield { what: `${step}: Tithe, with its store`, ...tithe }
    yield { what: `${step}: the SDK, in memory`, ...sdk }
    yield {
      what: `${step}: Tithe / SDK`,
      step_time: ratio(tithe.step_ms, sdk.step_ms),
      step_cpu: ratio(tithe.step_cpu_ms, sdk.step_cpu_ms),
      process_cpu: ratio(tithe.cpu_ms, sdk.cpu_ms),
      peak_rss: ratio(tithe.peak_rss_mb, sdk.peak_rss_mb),
    }
  }
}

interface Step {
  readonly rows: number
  /** The step alone: what a program waits for. */
  readonly step_ms: number
  readonly step_cpu_ms: number
  readonly rows_per_second: number
  /** Of the whole process, its start included. */
  readonly cpu_ms: number
  readonly peak_rss_mb: number
  /** Calls of fdatasync. */
  readonly syncs: number | null
}

function keep(
  steps: Record<string, Step[]>,
  name: string,
  child: Awaited<ReturnType<typeof runChild>>,
): void {
  const { rows, step_ms, step_cpu_ms, syncs = null } = JSON.parse(child.stdout)
  if (rows !== FULL_ROWS) throw new Error(`${name}: ${rows} rows of ${FULL_ROWS}: ${child.stdout}`)
  const rows_per_second = Math.round((rows / step_ms) * 1_000)
  const { cpu_ms, peak_rss_mb } = child
  const step = { rows, step_ms, step_cpu_ms, rows_per_second, cpu_ms, peak_rss_mb, syncs }
  steps[name] = [...(steps[name] ?? []), step]
}

function median(steps: readonly Step[]): Step {
  return steps.toSorted((a, b) => a.step_ms - b.step_ms)[Math.floor(steps.length / 2)]!
}

function ratio(one: number, other: number): number {
  return Math.round((one / other) * 100) / 100
}

export async function* wholeRuns(dir: string): AsyncGenerator<Measurement> {
  for (const rows of [10_000, 100_000, 1_000_000]) {
    const { job, input } = await makePlainJob(dir, rows, SMALL_ROW_BYTES)
    const home = join(dir, `home-${rows}`)
    yield await withServer('0', async (baseUrl) => {
      const run = await runChild('bin/tithe.js', ...titheRun(job, home, baseUrl))
      const report = JSON.parse(run.stdout)
      return {
        what: `tithe run, ${rows} small rows`,
        succeeded: report.rows.succeeded,
        batches: (await asked(baseUrl)).batches,
        wall_ms: run.wall_ms,
        ms_per_1000_rows: Math.round(run.wall_ms / (rows / 1_000)),
        cpu_ms_per_1000_rows: Math.round(run.cpu_ms / (rows / 1_000)),
        peak_rss_mb: run.peak_rss_mb,
        sqlite_bytes_per_row: Math.round(sizeOf(home, /^tithe\.sqlite/) / rows),
        body_bytes_per_row: Math.round(sizeOf(join(home, 'bodies'), /./) / rows),
      }
    })
    if (rows === 1_000_000) yield await resumeAfterKill(dir, job)
    rmSync(home, { recursive: true })
    rmSync(input)
  }
}

function titheRun(job: string, home: string, baseUrl: string): string[] {
  return ['run', job, '--yes', '--json', '--home', home, '--upstream', 'anthropic', '--base-url', baseUrl]
}

/** Killed once seven batches are made, then resumed: how long until it asks the upstream again, and to its end. */
async function resumeAfterKill(dir: string, job: string): Promise<Measurement> {
  const home = join(dir, 'home-killed')
  return await withServer('0', async (baseUrl) => {
    const killed = spawn(process.execPath, ['bin/tithe.js', ...titheRun(job, home, baseUrl)], {
      cwd: join(import.meta.dirname, '..'),
      env: { ...process.env, ANTHROPIC_API_KEY: 'bench' },
      stdio: 'ignore',
    })
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, 500))
      if ((await asked(baseUrl)).batches >= 7) break
    }
    killed.kill('SIGKILL')
    await once(killed, 'exit')
    await asked(baseUrl)
    const begun = Date.now()
    const resumed = await runChild('bin/tithe.js', 'resume', '--json', '--home', home)
    const report = JSON.parse(resumed.stdout)
    const { firstRequestAt } = await asked(baseUrl)
    rmSync(home, { recursive: true })
    return {
      what: 'tithe resume, killed in the middle of 1,000,000 rows',
      succeeded: report.rows.succeeded,
      first_look_ms: (firstRequestAt ?? Number.NaN) - begun,
      wall_ms: resumed.wall_ms,
      peak_rss_mb: resumed.peak_rss_mb,
    }
  })
}

interface Asked {
  readonly requests: number
  readonly firstRequestAt: number | null
  readonly batches: number
}

/** What the server was asked since the last time. */
async function asked(baseUrl: string): Promise<Asked> {
  return (await (await fetch(`${baseUrl}/bench`)).json()) as Asked
}

async function withServer<T>(retryAfter: string, work: (baseUrl: string) => Promise<T>): Promise<T> {
  const server = spawn(process.execPath, [join(import.meta.dirname, 'batch-server.ts'), retryAfter], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const [port] = await once(server, 'message')
  try {
    return await work(`http://127.0.0.1:${port}`)
  } finally {
    // One that has ended already must not hide why.
    if (server.connected) {
      server.disconnect()
      await once(server, 'exit')
    }
  }
}

function sizeOf(dir: string, name: RegExp): number {
  return readdirSync(dir)
    .filter((file) => name.test(file))
    .reduce((sum, file) => sum + statSync(join(dir, file)).size, 0)
}
