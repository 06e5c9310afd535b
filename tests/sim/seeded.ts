import { HOUR_MS, type Instant, MINUTE_MS, SECOND_MS } from '../../src/core/instant.ts'
import type { JobSettings } from '../../src/core/job.ts'
import { PICO_PER_USD, picoUsd } from '../../src/core/money.ts'
import type { DriveOptions } from '../../src/runs/driver.ts'
import { REALTIME_CONCURRENCY } from '../../src/runs/realtime.ts'
import { ledgerOf } from '../../src/runs/report-run.ts'
import type { LocalSettings } from '../../src/upstreams/local/local-upstream.ts'
import { seededRandom } from '../../src/upstreams/local/seeded.ts'
import { FAULTS, type Fault, Faults, faultyUpstream, SLOW_POLL_MS } from './faults.ts'
import { driveWorld, openWorld, RUN, type World } from './harness.ts'

// One seed, one world: rows, settings, faults of the upstream, and drivers that die, come one look at a time, are two at
// once or are told to cancel. In the end every row has one outcome, the ledger is the invoice, and nothing is paid twice.

export interface SeededRun {
  readonly seed: number
  /** What was drawn, in short. */
  readonly setting: string
  readonly faults: ReadonlyMap<Fault, number>
  readonly drives: number
  readonly crashes: number
  /** A second driver took the run from a live one. */
  readonly takeovers: number
  readonly waves: number
  readonly outcome: string
  readonly violations: readonly string[]
}

/** Errors that a driver may end with: the upstream was away, or another driver has the run. Everything is kept. */
const ENDS_OF_A_DRIVER = ['upstream_unreachable', 'run_taken', 'run_held', 'not_found_error']
/** Without faults a run ends in few drives; a human resumes after each stop. */
const CALM_DRIVES_MAX = 8
const NO_LIMIT = { picoUsd: picoUsd(PICO_PER_USD * 1_000_000n), mode: 'hard' } as const

/** Plays the world of a seed to its end. The same seed, the same world, call by call. */
export async function runSeed(seed: number): Promise<SeededRun> {
  const random = seededRandom(`sim ${seed}`)
  const below = (limit: number) => Math.floor(random() * limit)
  const chance = (share: number) => random() < share
  const one = <T>(...values: readonly T[]): T => values[below(values.length)]!

  const rows = 30 + below(91)
  const handbooks = 2 + below(2)
  const variants = rows < 70 ? 3 : 1 + below(3)
  const settings = {
    maxAttempts: 1 + below(4),
    cache: one<JobSettings['cache']>('auto', 'auto', 'off'),
    batch: chance(0.15) ? 'off' : 'auto',
    budgetPicoUsd: chance(0.35) ? picoUsd((PICO_PER_USD * BigInt(1 + below(20))) / 50n) : null,
  } as const
  const pace = one('quick', 'quick', 'hours', 'expires', 'expires in part')
  const local: Partial<LocalSettings> = {
    seed,
    batchLatencyMs: {
      quick: [45 * SECOND_MS, 20 * MINUTE_MS],
      hours: [HOUR_MS, 7 * HOUR_MS],
      expires: [HOUR_MS, 40 * HOUR_MS],
      'expires in part': [HOUR_MS],
    }[pace],
    ...(pace === 'expires in part' && settings.batch === 'auto'
      ? { concurrency: 4, firstTokenMs: 4 * HOUR_MS }
      : {}),
    erroredShare: one(0, 0.05, 0.3),
    refusedShare: one(0, 0.1),
    truncatedShare: one(0, 0.1),
  }
  const names = FAULTS.filter(() => chance(0.3))
  const betas = (ordinal: number) => (ordinal % variants === 0 ? [] : [`simulated-${ordinal % variants}`])
  const request = (ordinal: number) => ({
    system: [{ type: 'text', text: `handbook ${ordinal % handbooks}. `.repeat(500) }],
  })
  const world = await openWorld({ rows, handbooks, request, betas, settings, local })
  const faults = new Faults(seededRandom(`faults ${seed}`), names)
  const pollAfterMs = pace === 'quick' ? 10 * SECOND_MS : SLOW_POLL_MS
  const { upstream, watched } = faultyUpstream(world, faults, seededRandom(`upstream ${seed}`), pollAfterMs)

  const violations: string[] = []
  const stops: string[] = []
  let drives = 0
  let crashes = 0
  let takeovers = 0
  let cancels = false

  const driveOnce = async (options: Parameters<typeof driveWorld>[1] = {}) => {
    drives += 1
    try {
      const { end } = await driveWorld(world, { upstream, ...options })
      if (end === 'crashed') crashes += 1
      else if (end.kind === 'stopped') {
        stops.push(end.reason)
        if (end.reason.length < 10) violations.push(`stopped without a reason: ${end.reason}`)
      }
      return end
    } catch (error) {
      const code = (error as { code?: string }).code ?? ''
      if (!ENDS_OF_A_DRIVER.includes(code)) violations.push(`a driver ended with ${(error as Error).stack}`)
      return null
    }
  }

  for (let left = 1 + below(8); left > 0; left--) {
    const when = one<'before' | 'after'>('before', 'after')
    const call = 1 + below(one(8, 30, 90))
    const cancel = chance(0.05)
    cancels ||= cancel
    const drive: Partial<DriveOptions> = { cancel, once: chance(0.2), acceptProbe: chance(0.3) }
    const how = one('alone', 'crash', 'crash', 'taken over')
    if (how === 'taken over') {
      const meanwhile = (name: string) => {
        takeovers += 1
        // Between its intent and its create a driver may be slow, but not for the half hour after which the next one
        // presumes the create lost.
        const isSending =
          (name === 'createBatch' && when === 'before') || (name === 'recordEvent' && when === 'after')
        const crash = chance(0.3) ? { crash: { call: 1 + below(30), when } } : {}
        return driveOnce({ drive: { once: isSending || chance(0.3) }, ...crash })
      }
      await driveOnce({ drive, pause: { call, when, meanwhile } })
    } else {
      await driveOnce({ drive, ...(how === 'crash' ? { crash: { call, when } } : {}) })
    }
    if (chance(0.3)) {
      const gapMs = one(MINUTE_MS, 40 * MINUTE_MS, 6 * HOUR_MS, 30 * HOUR_MS)
      await world.clock.sleepUntil((world.clock.now() + below(gapMs)) as Instant)
    }
  }
  const budget = settings.budgetPicoUsd
  const spent = await spentPicoUsd(world)
  if (budget !== null && spent > budget) violations.push(`${spent} pUSD spent of a budget of ${budget}`)

  faults.calm()
  let end: Awaited<ReturnType<typeof driveOnce>> = null
  for (let calm = 0; calm < CALM_DRIVES_MAX && !(end !== 'crashed' && end?.kind === 'finished'); calm++) {
    end = await driveOnce({ drive: { acceptProbe: true, budget: NO_LIMIT } })
  }
  if (end === null || end === 'crashed' || end.kind !== 'finished') {
    violations.push(`not finished after ${CALM_DRIVES_MAX} drives without a fault: ${stops.at(-1)}`)
  }

  const lostMax = watched.lostMessages + REALTIME_CONCURRENCY * (crashes + takeovers)
  const maxAttempts = cancels ? null : settings.maxAttempts
  violations.push(...watched.violations, ...(await wrongs(world, rows, maxAttempts, lostMax)))
  const submissions = await world.store.runs.submissions(RUN)
  const counts = await world.store.runs.counts(RUN)
  const outcome = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${count} ${name}`)
  await world.local.close()
  return {
    seed,
    setting: `${rows} rows, ${pace}, cache ${settings.cache}, batch ${settings.batch}, ${settings.maxAttempts} attempts, ${budget === null ? 'no budget' : `budget $${Number(budget) / 1e12}`}`,
    faults: faults.fired,
    drives,
    crashes,
    takeovers,
    waves: Math.max(0, ...submissions.map((submission) => submission.wave)),
    outcome: `${outcome.join(', ')}${stops.length > 0 ? `; stopped ${stops.length} times` : ''}`,
    violations,
  }
}

async function spentPicoUsd(world: World): Promise<bigint> {
  let spent = 0n
  for await (const entry of ledgerOf(RUN, world.store.runs)) spent += entry.costPicoUsd ?? 0n
  return spent
}

/** What is wrong with how the run has ended. `lostMax`: realtime answers that may be invoiced and not in the ledger. */
async function wrongs(
  world: World,
  rows: number,
  maxAttempts: number | null,
  lostMax: number,
): Promise<string[]> {
  const found: string[] = []
  const { runs } = world.store
  const records = await runs.rowsPage(RUN, -1, rows + 1)
  if (records.length !== rows) found.push(`${records.length} rows of ${rows}`)
  for (const { ordinal, state, outcome, attempts } of records) {
    if (state !== 'done' || outcome === null) found.push(`row ${ordinal} is ${state}, ${outcome}`)
    if (attempts > (maxAttempts ?? attempts)) found.push(`row ${ordinal}: ${attempts} attempts`)
    // The simulated errors may all pass.
    if ((outcome === 'errored' || outcome === 'expired') && attempts < (maxAttempts ?? 0)) {
      found.push(`row ${ordinal} is ${outcome} after ${attempts} attempts of ${maxAttempts}`)
    }
  }
  for (const { number, state } of await runs.submissions(RUN)) {
    if (!['ingested', 'refused', 'lost'].includes(state)) found.push(`submission ${number} is ${state}`)
  }

  // Realtime calls are invoiced by the id of their message: the figures alone are what can be matched.
  const lines = new Map<string, number>()
  const rowsPaid = new Map<string, number>()
  for await (const line of world.local.invoice()) {
    if (line.customId.startsWith('stranger-')) continue
    const isBatch = line.batchId !== null
    const key = JSON.stringify([isBatch ? `${line.batchId} ${line.customId}` : null, figuresOf(line)])
    lines.set(key, (lines.get(key) ?? 0) + 1)
    if (!isBatch) continue
    const ordinal = line.customId.split('-')[2]!
    rowsPaid.set(ordinal, (rowsPaid.get(ordinal) ?? 0) + 1)
  }
  for (const [ordinal, times] of rowsPaid) {
    if (times > 1) found.push(`row ${Number.parseInt(ordinal, 36)} was answered and invoiced ${times} times`)
  }
  let entries = 0
  for await (const entry of ledgerOf(RUN, runs)) {
    entries += 1
    const isBatch = entry.upstreamBatchId !== null
    const id = isBatch ? `${entry.upstreamBatchId} ${entry.customId}` : null
    const key = JSON.stringify([id, figuresOf({ ...entry.usage, model: entry.model })])
    const left = lines.get(key) ?? 0
    if (left === 0) found.push(`${entry.customId} is in the ledger without its invoice line: ${key}`)
    else lines.set(key, left - 1)
  }
  let lost = 0
  for (const [key, left] of lines) {
    if (left > 0 && !key.startsWith('[null')) found.push(`invoiced without a ledger entry: ${key}`)
    lost += left
  }
  if (lost > lostMax) found.push(`${lost} realtime answers were lost; at most ${lostMax} could be`)
  const { succeeded } = await runs.counts(RUN)
  if (entries !== succeeded) found.push(`${entries} entries for ${succeeded} answers`)
  return found
}

function figuresOf(of: {
  readonly model: string
  readonly inputTokens: number
  readonly cacheWrite5mTokens: number
  readonly cacheWrite1hTokens: number
  readonly cacheReadTokens: number
  readonly outputTokens: number
}): readonly (string | number)[] {
  const { model, inputTokens, cacheWrite5mTokens, cacheWrite1hTokens, cacheReadTokens, outputTokens } = of
  return [model, inputTokens, cacheWrite5mTokens, cacheWrite1hTokens, cacheReadTokens, outputTokens]
}

/** The summary of many seeds: faults that fired, crashes, violations. */
export function summaryOf(runs: readonly SeededRun[]): string[] {
  const total = (value: (run: SeededRun) => number) => runs.reduce((sum, run) => sum + value(run), 0)
  const figures: [string, number][] = [
    ...FAULTS.map((name): [string, number] => [name, total((run) => run.faults.get(name) ?? 0)]),
    ['seeds', runs.length],
    ['drives', total((run) => run.drives)],
    ['crashes', total((run) => run.crashes)],
    ['takeovers', total((run) => run.takeovers)],
    ['waves', total((run) => run.waves)],
    ['violations', total((run) => run.violations.length)],
  ]
  return figures.map(([name, count]) => `${name.padEnd(46)} ${String(count).padStart(6)}`)
}
