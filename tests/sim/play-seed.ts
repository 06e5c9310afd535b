import { answerText, parseResultLine } from '../../src/core/answer.ts'
import { DAY_MS, HOUR_MS, type Instant, MINUTE_MS, plusMs } from '../../src/core/instant.ts'
import { PICO_PER_USD, picoUsd } from '../../src/core/money.ts'
import type { DriveEnd, DriveOptions } from '../../src/runs/driver.ts'
import { REALTIME_CONCURRENCY } from '../../src/runs/realtime.ts'
import { ledgerOf } from '../../src/runs/report-run.ts'
import type { RunDeps } from '../../src/runs/run-deps.ts'
import type { RowCounts } from '../../src/stores/store.ts'
import { Faults, withFaults } from '../../src/upstreams/faults.ts'
import { seededRandom } from '../../src/upstreams/local/seeded.ts'
import type { Upstream } from '../../src/upstreams/upstream.ts'
import type { Break } from './breaks.ts'
import {
  type DrawnRun,
  type DrawnWorld,
  drawer,
  drawWorld,
  isUpstreamFault,
  type SeedKind,
  type SimFault,
  simulatedSchema,
} from './draw-world.ts'
import {
  addRun,
  type DriveWorldOptions,
  driveWorld,
  openEmptyWorld,
  SETTINGS,
  type World,
} from './harness.ts'
import { MachineFaults } from './machine-faults.ts'
import { Stranger } from './stranger.ts'
import { judge, type Verdict } from './verdict.ts'
import { newWatch, type Watch, watchRun, watchService, watchStore } from './watch.ts'

// One seed, one world: three runs with their drivers and a stranger in one workspace, faults of the upstream and of the
// machine, drivers that die, come one look at a time, are two at once or are told to cancel. In the end every row has one
// outcome, the ledger is the invoice, and nothing is paid twice.

export interface SeededRun {
  readonly seed: number
  readonly kind: SeedKind
  /** Faults that the world was drawn with, and those that fired, with how often. */
  readonly faults: readonly SimFault[]
  readonly fired: Readonly<Record<string, number>>
  /** Worlds that were drawn and thrown away, because too little happened in them. */
  readonly redrawn: number
  readonly rows: number
  readonly batches: number
  readonly prefixes: number
  readonly strangerBatches: number
  readonly drives: number
  readonly crashes: number
  /** A second driver took a run from a live one. */
  readonly takeovers: number
  readonly stops: number
  readonly counts: Partial<RowCounts>
  readonly duplicates: number
  readonly furtherAnswers: number
  readonly tooLate: number
  /** Whether the answers were held against those of the same world without a fault. */
  readonly isCompared: boolean
  readonly violations: readonly string[]
}

/** Errors that a driver may end with: the upstream was away, or another driver has the run. Everything is kept. */
const ENDS_OF_A_DRIVER = [
  'upstream_unreachable',
  'run_taken',
  'run_held',
  'not_found_error',
  'store_unavailable',
]
/** Without faults a run ends in few drives; a human resumes after each stop. */
const CALM_DRIVES_MAX = 8
const NO_LIMIT = { picoUsd: picoUsd(PICO_PER_USD * 1_000_000n), mode: 'hard' } as const
const UNKNOWABLE = /archived or deleted before it was read/
const REDRAWS_MAX = 12
const ROWS_MIN = 30
const BATCHES_MIN = 3
const PREFIXES_MIN = 2

/** Plays the world of a seed to its end. The same seed, the same world, call by call. */
export async function runSeed(seed: number, broken: Break | null = null): Promise<SeededRun> {
  for (let redrawn = 0; ; redrawn++) {
    const drawn = drawWorld(seed, redrawn)
    const played = await play(drawn, redrawn, broken)
    const wanted = drawn.kind === 'random' ? 1 : drawn.faults.length
    const isEnough =
      played.rows >= ROWS_MIN &&
      played.batches >= BATCHES_MIN &&
      played.prefixes >= PREFIXES_MIN &&
      Object.keys(played.fired).length >= wanted
    if (isEnough || played.violations.length > 0) return played
    if (redrawn === REDRAWS_MAX) {
      const fired = Object.keys(played.fired).join(', ')
      return {
        ...played,
        violations: [`too little happens in ${redrawn} worlds: of ${drawn.faults}, ${fired} fired`],
      }
    }
  }
}

/** What happens to drivers, counted. */
class Log {
  drives = 0
  crashes = 0
  takeovers = 0
  /** Realtime calls that were under way when their driver died or lost its run: they may be paid for and unknown. */
  lostCalls = 0
  readonly stops: string[] = []
  readonly violations: string[] = []
}

async function play(drawn: DrawnWorld, attempt: number, broken: Break | null): Promise<SeededRun> {
  const draw = drawer(`play ${drawn.seed} ${attempt}`)
  const bare = await openEmptyWorld(drawn.local)
  const watch = newWatch()
  const store = watchStore(bare.store, watch)
  const world: World = { ...bare, store: broken?.store?.(store) ?? store }
  for (const run of drawn.runs) await addRun(world, run.id, { ...run.options, settings: run.settings })

  const stranger = new Stranger(world.local, world.clock, drawer(`stranger ${drawn.seed} ${attempt}`))
  const faults = faultsOf(drawn, attempt)
  const service = watchService(world, watch, stranger)
  const machine = new MachineFaults(
    drawer(`machine ${drawn.seed} ${attempt}`),
    drawn.faults.filter((name) => !isUpstreamFault(name)),
  )
  const log = new Log()
  const lives = drawn.runs.map((run) => {
    const upstream = withFaults(service, faults, world.clock)
    const seen = watchRun(world, run.id, upstream, watch, stranger, drawn.pollAfterMs)
    return new Life(
      world,
      run,
      seen,
      machine,
      log,
      watch,
      broken,
      drawer(`life ${run.id} ${drawn.seed} ${attempt}`),
    )
  })
  await Promise.all(
    lives.map((life) =>
      life.suffer(
        life.run === drawn.runs[0] ? 2 + draw.below(7) : (life.run.isCanceled ? 3 : 2) + draw.below(2),
      ),
    ),
  )
  faults.calm()
  machine.calm()
  await Promise.all(lives.map((life) => life.end()))
  // A batch that nobody knows is invoiced when it ends.
  if (await isOneOpen(world, watch)) await world.clock.sleepUntil(plusMs(world.clock.now(), 2 * DAY_MS))

  const verdict = await judge(
    world,
    lives.map(({ run: { id, options, settings, isCanceled }, isStuck, overAt }) => {
      return { id, rows: options.rows, settings: { ...SETTINGS, ...settings }, isCanceled, isStuck, overAt }
    }),
    watch,
    {
      lostMax: (faults.fired.get('message: answer lost') ?? 0) + log.lostCalls,
      gone: faults.gone,
      isBlind:
        faults.fired.has('list: no workspace headers') &&
        faults.fired.has('retrieve: another workspace for ten minutes'),
      landedTooLate: faults.fired.has('create: lands very late'),
    },
  )
  const violations = [...log.violations, ...watch.violations, ...verdict.violations]
  violations.push(...(await stranger.complaints(faults.gone)))
  const isCompared = isUndisturbedTheSame(drawn, faults.gone)
  if (isCompared) violations.push(...(await differences(drawn, world, watch)))
  const result = await resultOf(
    world,
    drawn,
    attempt,
    log,
    verdict,
    { ...Object.fromEntries(faults.fired), ...Object.fromEntries(machine.fired) },
    stranger,
  )
  for (const life of lives) await life.upstream.close()
  await world.local.close()
  return { ...result, isCompared, violations }
}

async function isOneOpen(world: World, watch: Watch): Promise<boolean> {
  for (const id of watch.owners.keys()) {
    const answer = await world.local.retrieveBatch(id)
    if (answer !== null && answer.batch.processing_status !== 'ended') return true
  }
  return false
}

function faultsOf(drawn: DrawnWorld, attempt: number): Faults {
  const random = seededRandom(`faults ${drawn.seed} ${attempt}`)
  const names = drawn.faults.filter(isUpstreamFault)
  if (drawn.kind === 'random') return Faults.atRandom(random, names)
  // Where a call comes late or never, or the faults keep one another from it, another world has them earlier and once.
  const latest = Math.max(1, 5 - attempt)
  const schedule = names.map((name) => {
    const call = 1 + Math.floor(random() * latest)
    return { name, call, times: attempt === 0 ? 1 + Math.floor(random() * 3) : 1 }
  })
  return Faults.scheduled(random, schedule)
}

/** One run and the drivers that come to it, one after the other or at once. */
class Life {
  readonly run: DrawnRun
  readonly #world: World
  readonly upstream: Upstream
  readonly #machine: MachineFaults
  readonly #log: Log
  readonly #watch: Watch
  readonly #broken: Break | null
  readonly #draw: ReturnType<typeof drawer>
  isStuck = false
  /** When its last driver said that it is over, by the clock of the world; null before. */
  overAt: Instant | null = null
  #isCanceled = false
  #metConflict = false
  #toldConflict = false

  constructor(
    world: World,
    run: DrawnRun,
    upstream: Upstream,
    machine: MachineFaults,
    log: Log,
    watch: Watch,
    broken: Break | null,
    draw: ReturnType<typeof drawer>,
  ) {
    this.run = run
    this.#world = world
    this.upstream = upstream
    this.#machine = machine
    this.#log = log
    this.#watch = watch
    this.#broken = broken
    this.#draw = draw
  }

  async suffer(drives: number): Promise<void> {
    const { below, chance, one } = this.#draw
    for (let left = drives; left > 0; left--) {
      const when = one<'before' | 'after'>('before', 'after')
      const call = 1 + below(one(8, 30, 90))
      // What is to be canceled must not be over by then.
      this.#isCanceled = this.run.isCanceled && left === 1
      // Its batches have begun by then, so that some of their rows are done and some are not.
      if (this.#isCanceled) await this.#sleep(below(one(10 * MINUTE_MS, 2 * HOUR_MS, 2 * HOUR_MS)))
      const once = chance(0.2) || (this.run.isCanceled && !this.#isCanceled)
      const drive: Partial<DriveOptions> = { once, acceptProbe: chance(0.3) }
      const how = one('alone', 'crash', 'crash', 'taken over')
      if (how === 'taken over') {
        const meanwhile = async () => {
          await this.#countLostCalls()
          this.#log.takeovers += 1
          const crash = chance(0.3) ? { crash: { call: 1 + below(30), when } } : {}
          return this.#drive({ drive: { once: chance(0.3) }, ...crash })
        }
        await this.#drive({ drive, pause: { call, when, meanwhile } })
      } else {
        await this.#drive({ drive, ...(how === 'crash' ? { crash: { call, when } } : {}) })
      }
      await this.#checkBudget()
      if (chance(0.3)) await this.#sleep(below(one(MINUTE_MS, 40 * MINUTE_MS, 6 * HOUR_MS, 30 * HOUR_MS)))
    }
  }

  async end(): Promise<void> {
    await this.#endCalmly()
    if (this.#metConflict && !this.#toldConflict) {
      this.#log.violations.push(`${this.run.id}: a row came with two different results, and nobody was told`)
    }
  }

  /** No fault any more, and a human who resumes after each stop. */
  async #endCalmly(): Promise<void> {
    let end: DriveEnd | 'crashed' | null = null
    for (let calm = 0; calm < CALM_DRIVES_MAX; calm++) {
      end = await this.#drive({ drive: { acceptProbe: true, budget: NO_LIMIT } })
      if (end !== null && end !== 'crashed' && end.kind === 'finished') return
      await this.#sleep(15 * MINUTE_MS)
    }
    const reason = this.#log.stops.at(-1) ?? ''
    // What stands in a batch that nobody can read any more is for a human to find out.
    if (UNKNOWABLE.test(reason)) {
      this.isStuck = true
      return
    }
    this.#log.violations.push(
      `${this.run.id} is not finished after ${CALM_DRIVES_MAX} drives without a fault: ${reason}`,
    )
  }

  async #drive(options: DriveWorldOptions): Promise<DriveEnd | 'crashed' | null> {
    const { id } = this.run
    this.#log.drives += 1
    const through = (deps: RunDeps): RunDeps => {
      const onMachine = this.#machine.befall({ ...deps, compileSchema: () => simulatedSchema }, async () => {
        await this.#countLostCalls()
        this.#log.takeovers += 1
        return this.#drive({ drive: { once: true } })
      })
      return this.#broken?.deps?.(onMachine, this.#world) ?? onMachine
    }
    const drive = { ...options.drive, cancel: this.#isCanceled }
    const conflicts = this.#watch.conflicts.length
    try {
      const { end, events } = await driveWorld(this.#world, {
        run: id,
        upstream: this.upstream,
        through,
        ...options,
        drive,
      })
      if (end === 'crashed') {
        this.#log.crashes += 1
        await this.#countLostCalls()
      } else if (end.kind === 'finished') this.overAt ??= this.#world.clock.now()
      else if (end.kind === 'stopped') {
        this.#log.stops.push(`${id}: ${end.reason}`)
        if (end.reason.length < 10) this.#log.violations.push(`${id} stopped without a reason: ${end.reason}`)
      }
      const said = [
        ...this.#log.stops,
        ...events.map((event) => (event.kind === 'note' ? event.message : '')),
      ]
      this.#toldConflict ||= said.some((text) => text.includes('two different results'))
      // One that dies in that moment has nobody to tell, and the next need not see it.
      this.#metConflict ||= end !== 'crashed' && this.#watch.conflicts.slice(conflicts).includes(id)
      return end
    } catch (error) {
      await this.#countLostCalls()
      const code = (error as { code?: string }).code ?? ''
      if (!ENDS_OF_A_DRIVER.includes(code)) {
        this.#log.violations.push(`${id}: a driver ended with ${(error as Error).stack}`)
      }
      return null
    }
  }

  async #countLostCalls(): Promise<void> {
    const all = await this.#world.store.runs.submissions(this.run.id)
    const isAnswering = all.some((one) => one.kind === 'realtime' && one.state === 'in_progress')
    if (isAnswering) this.#log.lostCalls += REALTIME_CONCURRENCY
  }

  async #checkBudget(): Promise<void> {
    const budget = this.run.settings.budgetPicoUsd ?? null
    if (budget === null) return
    let spent = 0n
    for await (const entry of ledgerOf(this.run.id, this.#world.store.runs)) {
      if (entry.kind === 'paid') spent += entry.costPicoUsd ?? 0n
    }
    if (spent > budget)
      this.#log.violations.push(`${this.run.id}: ${spent} pUSD spent of a budget of ${budget}`)
  }

  #sleep(ms: number): Promise<void> {
    const { clock } = this.#world
    return clock.sleepUntil((clock.now() + ms) as Instant)
  }
}

async function resultOf(
  world: World,
  drawn: DrawnWorld,
  redrawn: number,
  log: Log,
  verdict: Verdict,
  fired: Readonly<Record<string, number>>,
  stranger: Stranger,
): Promise<Omit<SeededRun, 'violations' | 'isCompared'>> {
  const counts: Partial<Record<keyof RowCounts, number>> = {}
  let batches = 0
  for (const { id } of drawn.runs) {
    for (const [name, count] of Object.entries(await world.store.runs.counts(id)) as [
      keyof RowCounts,
      number,
    ][]) {
      counts[name] = (counts[name] ?? 0) + count
    }
    batches += (await world.store.runs.submissions(id)).filter((one) => one.upstreamBatchId !== null).length
  }
  return {
    seed: drawn.seed,
    kind: drawn.kind,
    faults: drawn.faults,
    fired,
    redrawn,
    rows: drawn.runs.reduce((sum, run) => sum + run.options.rows, 0),
    batches,
    prefixes: Math.max(...drawn.runs.map((run) => run.options.handbooks)),
    strangerBatches: stranger.batches.size,
    drives: log.drives,
    crashes: log.crashes,
    takeovers: log.takeovers,
    stops: log.stops.length,
    counts,
    duplicates: verdict.duplicates,
    furtherAnswers: verdict.furtherAnswers,
    tooLate: verdict.tooLate,
  }
}

/** Whether nothing that befell the first run may have changed what becomes of its rows. */
function isUndisturbedTheSame({ runs, local, pace }: DrawnWorld, gone: ReadonlySet<string>): boolean {
  const { erroredShare, refusedShare, truncatedShare, pausedShare } = local
  const shares = [erroredShare, refusedShare, truncatedShare, pausedShare]
  const isSteady = shares.every((share) => share === 0) && runs[0]!.settings.outputSchema === undefined
  const inTime = (pace === 'quick' || pace === 'hours') && runs[0]!.settings.withinMs === undefined
  return isSteady && inTime && !runs[0]!.isCanceled && gone.size === 0
}

/** Where the first run ended otherwise than in the same world without faults, crashes and others. */
async function differences(drawn: DrawnWorld, world: World, watch: Watch): Promise<string[]> {
  const run = drawn.runs[0]!
  const bare = await openEmptyWorld(drawn.local)
  const calm = newWatch()
  const undisturbed: World = { ...bare, store: watchStore(bare.store, calm) }
  await addRun(undisturbed, run.id, { ...run.options, settings: { ...run.settings, budgetPicoUsd: null } })
  const { end } = await driveWorld(undisturbed, { run: run.id, drive: { acceptProbe: true } })
  const expected = await answersOf(undisturbed, run.id, calm)
  const found = await answersOf(world, run.id, watch)
  await undisturbed.local.close()
  const differing = expected.filter((answer, row) => answer !== found[row])
  if (end === 'crashed' || end.kind !== 'finished')
    return [`the undisturbed world ends with ${JSON.stringify(end)}`]
  return differing.map((answer) => `undisturbed, a row ends otherwise: ${answer}`)
}

/** How each row ended and with what words. */
async function answersOf(world: World, run: string, watch: Watch): Promise<string[]> {
  const answers: string[] = []
  for (const { ordinal, outcome, decidedBy } of await world.store.runs.rowsPage(run, -1, 1_000)) {
    const attempt = watch.attempts.find(
      (one) => one.run === run && one.ordinal === ordinal && one.submission === decidedBy,
    )
    const line = attempt?.result ? await world.store.bodies.read(attempt.result) : Buffer.from('null')
    const text = answerText(parseResultLine(Buffer.from(line).toString('utf8'))?.message ?? {})
    answers.push(`${ordinal} ${outcome} ${attempt?.stopReason} ${text}`)
  }
  return answers
}
