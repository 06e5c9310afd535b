import assert from 'node:assert/strict'
import { serveBatches } from '../../src/batches/serve-batches.ts'
import { InvoiceCheck, type InvoiceComparison } from '../../src/core/compare-invoice.ts'
import { RowDescriber } from '../../src/core/describe-row.ts'
import { HOUR_MS, type Instant, instant, plusMs } from '../../src/core/instant.ts'
import { type JobSettings, POLICY_DEFAULTS, settingsToJson } from '../../src/core/job.ts'
import { profileJob } from '../../src/core/job-profile.ts'
import { planJob, profileCuts } from '../../src/core/plan-job.ts'
import { planJson } from '../../src/core/plan-json.ts'
import { promptBlocks } from '../../src/core/prompt.ts'
import type { InputRow } from '../../src/core/rows.ts'
import type { RunPlan } from '../../src/core/run-plan.ts'
import { estimateBlocks, tokenMeasurer } from '../../src/core/token-estimate.ts'
import { loadCatalogue } from '../../src/facts/load.ts'
import { loadPriors } from '../../src/facts/priors.ts'
import { loadTokenFacts } from '../../src/facts/tokenizers.ts'
import { type DriveEnd, type DriveOptions, drive } from '../../src/runs/driver.ts'
import { assignGroups, prepareRows, StoreSink } from '../../src/runs/prepare.ts'
import { READING_CALLS } from '../../src/runs/reading-calls.ts'
import { ledgerOf } from '../../src/runs/report-run.ts'
import type { RunDeps, RunEvent } from '../../src/runs/run-deps.ts'
import { holdAll } from '../../src/runtime/hold-all.ts'
import { seededIds } from '../../src/runtime/ids.ts'
import type { Clock } from '../../src/runtime/runtime.ts'
import { type VirtualClock, virtualClock } from '../../src/runtime/virtual.ts'
import { openMemoryStore } from '../../src/stores/memory.ts'
import type { RowCounts, Store } from '../../src/stores/store.ts'
import {
  type LocalSettings,
  type LocalUpstream,
  openLocalUpstream,
} from '../../src/upstreams/local/local-upstream.ts'
import type { Upstream } from '../../src/upstreams/upstream.ts'

// The real driver, planner and batch server over virtual time, with a store in memory: a run of hours takes
// milliseconds, and a crash is a wrapper that stops answering.

export const START: Instant = instant(Date.parse('2026-11-22T12:00:00Z'))
export const RUN = 'r0000000sim'.slice(0, 10)

export const catalogue = loadCatalogue()
const facts = loadTokenFacts()
/** A crude count: what is simulated is the run, not the vocabulary. */
const countText = (text: string) => Math.ceil(text.length / 4)

export interface World {
  readonly clock: VirtualClock
  readonly store: Store
  readonly local: LocalUpstream
}

export interface WorldOptions {
  readonly rows?: number
  readonly handbooks?: number
  readonly settings?: Partial<JobSettings>
  readonly local?: Partial<LocalSettings>
  readonly request?: (ordinal: number) => Partial<InputRow['request']>
  /** Rows whose betas differ go into separate batches. */
  readonly betas?: (ordinal: number) => readonly string[]
  /** Runs that say the same have the same plan. */
  readonly shape?: string
}

export const SETTINGS: JobSettings = {
  name: 'sim',
  path: null,
  models: ['claude-sonnet-4-6'],
  apiVersion: '2023-06-01',
  betas: [],
  withinMs: null,
  budgetPicoUsd: null,
  cache: 'auto',
  batch: 'auto',
  tier: 'start',
  expect: null,
  outputSchema: null,
  expectedOutputTokens: 100,
  contractPrices: {},
  ...POLICY_DEFAULTS,
  maxAttempts: 3,
  upstream: null,
}

/** Rows that ask about one of a few handbooks, each well over every cache minimum. */
export function* simRows({ rows = 70, handbooks = 2, request, betas }: WorldOptions): Generator<InputRow> {
  const shared = Array.from({ length: handbooks }, (_, book) => ({
    type: 'text',
    text: `handbook ${book}. `.repeat(2_000),
  }))
  for (let ordinal = 0; ordinal < rows; ordinal++) {
    yield {
      kind: 'row',
      ordinal,
      userId: `ticket ${ordinal}`,
      line: ordinal + 1,
      request: {
        model: 'claude-sonnet-4-6',
        max_tokens: 400,
        system: [shared[ordinal % handbooks]!],
        messages: [{ role: 'user', content: [{ type: 'text', text: `What about case ${ordinal}?` }] }],
        ...request?.(ordinal),
      },
      apiVersion: '2023-06-01',
      betas: betas?.(ordinal) ?? [],
      columns: { case: ordinal },
      expected: undefined,
      sharedBlocks: 1,
      warnings: [],
    }
  }
}

/** A world in which a run is planned, stored and ready to be driven. */
export async function openWorld(options: WorldOptions = {}): Promise<World> {
  const world = await openEmptyWorld(options.local)
  await addRun(world, RUN, options)
  return world
}

const measurer = tokenMeasurer(countText, () => null, facts.media)
const priors = loadPriors()
/** By shape: planning is a good part of what a small world costs. */
const plans = new Map<string, RunPlan>()

/** A service without batches, and a home without runs. */
export async function openEmptyWorld(settings: Partial<LocalSettings> = {}): Promise<World> {
  const clock = virtualClock(START)
  const local = await openLocalUpstream({
    file: ':memory:',
    clock,
    ids: seededIds(11),
    catalogue,
    countTokens: (request, model) => estimateBlocks(request, promptBlocks(request), model, measurer, facts),
    checkRequest: () => [],
    serveBatches,
    settings: { batchLatencyMs: [45_000], ...settings },
  })
  return { clock, store: openMemoryStore(), local }
}

/** Serves one pass over rows. */
export function describer(): RowDescriber {
  return new RowDescriber({ catalogue, measurer, facts, at: START })
}

/** Plans a run and stores it, ready to be driven. */
export async function addRun(
  { store }: Pick<World, 'store'>,
  id: string,
  options: WorldOptions,
): Promise<void> {
  const settings = { ...SETTINGS, ...options.settings }
  await store.runs.createRun({
    id,
    fingerprint: `sim ${id}`,
    name: 'sim',
    jobPath: null,
    createdAt: START,
    finishedAt: null,
    forgottenAt: null,
    state: 'preparing',
    stopReason: null,
    upstream: 'local (simulated)',
    upstreamKind: 'local',
    organizationId: null,
    workspaceId: null,
    settingsJson: settingsToJson(settings),
    planJson: '{}',
    rows: 0,
  })
  const lease = await store.runs.acquireLease(id, 'preparing', START, plusMs(START, HOUR_MS))
  assert.ok(lease.kind === 'held')
  async function* rows() {
    yield* simRows(options)
  }
  const prepared = await prepareRows(
    rows(),
    describer(),
    profileJob(profileCuts(catalogue, START, priors)),
    'exact',
    new StoreSink(store, id, lease.fence),
  )
  const { shape } = options
  const plan =
    (shape === undefined ? undefined : plans.get(shape)) ??
    planJob({ profile: prepared.profile, settings, catalogue, at: START, priors })
  if (shape !== undefined) plans.set(shape, plan)
  await assignGroups(store, id, lease.fence, plan)
  await store.runs.startRun(id, lease.fence, JSON.stringify(planJson(plan)), prepared.rows)
  await store.runs.releaseLease(id, lease.fence)
}

/** The local upstream with some methods of its own replaced. */
export function withUpstream(
  world: Pick<World, 'local'>,
  replaced: (upstream: Upstream) => Partial<Upstream>,
): Upstream {
  const methods = replaced(world.local)
  return new Proxy(world.local as Upstream, {
    get(target, name) {
      const value: unknown = Reflect.get(name in methods ? methods : target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** Leases are not what is simulated here: their time stands still. */
const leaseClock: Clock = {
  kind: 'virtual',
  now: () => START,
  sleepUntil: (_at, signal) =>
    new Promise((_resolve, reject) =>
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true }),
    ),
  hold: (operation) => operation,
}

/** Such calls are not crash points. */
export const READS: ReadonlySet<PropertyKey> = new Set([
  ...READING_CALLS,
  // Asked in the middle of a create, which holds the clock: nobody else could do anything meanwhile.
  'renewLease',
])

/** Thrown in a driver that dies; nothing that it does afterwards reaches the world. */
export class Crash extends Error {}

export interface CrashPoint {
  /** Which writing call of store and upstream together, from 1. */
  readonly call: number
  readonly when: 'before' | 'after'
}

/** Stops a driver at one of its writing calls while something else takes place: another driver, for one. */
export interface Pause extends CrashPoint {
  readonly meanwhile: (call: string) => Promise<unknown>
}

export interface Driven {
  readonly end: DriveEnd | 'crashed'
  /** Writing calls of store and upstream that this driver made. */
  readonly calls: number
  readonly events: readonly RunEvent[]
}

export interface DriveWorldOptions {
  /** `RUN` when left out. */
  readonly run?: string
  readonly crash?: CrashPoint
  readonly pause?: Pause
  readonly upstream?: Upstream
  readonly drive?: Partial<DriveOptions>
  /** What else is different for this driver; `through` is given what it would have, crashes included. */
  readonly deps?: Partial<RunDeps>
  readonly through?: (deps: RunDeps) => RunDeps
  /** What the same process does before it drives. */
  readonly before?: (deps: RunDeps) => Promise<void>
}

/** Drives a run in a process of its own, which may die. */
export async function driveWorld(world: World, options: DriveWorldOptions = {}): Promise<Driven> {
  let calls = 0
  let dead = false
  const mortal = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(object, name) {
        const value: unknown = Reflect.get(object, name, object)
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => {
          if (dead) throw new Crash()
          if (READS.has(name)) return Reflect.apply(value, object, args)
          calls += 1
          const isCrash = options.crash?.call === calls
          if (isCrash && options.crash?.when === 'before') {
            dead = true
            throw new Crash()
          }
          const { pause } = options
          const isPause = pause?.call === calls
          if (isPause && pause.when === 'before') {
            return pause.meanwhile(String(name)).then(() => Reflect.apply(value, object, args))
          }
          const answer: unknown = Reflect.apply(value, object, args)
          if (isPause) return Promise.resolve(answer).finally(() => pause.meanwhile(String(name)))
          if (!isCrash) return answer
          dead = true
          if (answer instanceof Promise) {
            return answer.then(() => {
              throw new Crash()
            })
          }
          throw new Crash()
        }
      },
    })
  const events: RunEvent[] = []
  const held = holdAll(world.store, world.clock)
  const deps: RunDeps = {
    store: { runs: mortal(held.runs), bodies: mortal(held.bodies) },
    upstream: mortal(options.upstream ?? world.local),
    runtime: { clock: world.clock, ids: seededIds(5) },
    wallClock: leaseClock,
    catalogue,
    cancelLatencyMs: catalogue.rules.cancelLatencyMs,
    readAttachment: () => Promise.reject(new Error('no attachments here')),
    compileSchema: () => () => null,
    holder: 'driver',
    isHolderGone: () => true,
    emit: (event) => events.push(event),
    signal: new AbortController().signal,
    ...options.deps,
  }
  try {
    await options.before?.(deps)
    const end = await drive(options.run ?? RUN, options.through?.(deps) ?? deps, {
      once: false,
      acceptProbe: false,
      ...options.drive,
    })
    return { end, calls, events }
  } catch (error) {
    if (!(error instanceof Crash)) throw error
    return { end: 'crashed', calls, events }
  }
}

export interface FinalState {
  readonly counts: RowCounts
  readonly costPicoUsd: bigint
  readonly invoice: InvoiceComparison
}

/** What the world came to: rows, money, and the ledger against everything that was ever invoiced. */
export async function finalState(world: World): Promise<FinalState> {
  const check = new InvoiceCheck()
  for await (const line of world.local.invoice()) check.addLine(line)
  let costPicoUsd = 0n
  for await (const entry of ledgerOf(RUN, world.store.runs)) {
    check.addEntry(entry)
    costPicoUsd += entry.costPicoUsd ?? 0n
  }
  return { counts: await world.store.runs.counts(RUN), costPicoUsd, invoice: check.comparison() }
}
