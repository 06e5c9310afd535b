import { mkdirSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { serveBatches } from './batches/serve-batches.ts'
import type { BudgetLimit } from './core/budget.ts'
import { checkRequest } from './core/check-request.ts'
import { checkOutputSchema } from './core/check-schema.ts'
import { withContractPrices } from './core/contract-prices.ts'
import { RowDescriber } from './core/describe-row.ts'
import { type Problem, problem, TitheError } from './core/errors.ts'
import type { JobSettings } from './core/job.ts'
import type { JsonObject } from './core/json.ts'
import { expectationsFrom, type Place, type Visit, visitsTo, withVisit } from './core/measured.ts'
import { type Catalogue, findModel } from './core/models.ts'
import { promptBlocks } from './core/prompt.ts'
import { sampledCounter } from './core/sample-count.ts'
import { estimateBlocks, type SizeOfPdf, tokenMeasurer } from './core/token-estimate.ts'
import { loadCatalogue } from './facts/load.ts'
import { loadPriors } from './facts/priors.ts'
import { loadTokenFacts } from './facts/tokenizers.ts'
import { readAttachment } from './jobs/attachments.ts'
import type { JobDeps } from './jobs/load-job.ts'
import type { PlanningDeps } from './runs/plan-run.ts'
import type { RunDeps, RunEvent } from './runs/run-deps.ts'
import { holdAll } from './runtime/hold-all.ts'
import type { Clock, Ids } from './runtime/runtime.ts'
import { systemClock, systemEnvironment, systemIds } from './runtime/system.ts'
import { virtualClock } from './runtime/virtual.ts'
import { compileSchema } from './schemas/json-schema.ts'
import { readMeasured, writeMeasured } from './stores/measured-file.ts'
import type { Store } from './stores/store.ts'
import { sizeOfImage } from './tokens/image-size.ts'
import { pdfSizes } from './tokens/pdf-sizes.ts'
import { textCounter } from './tokens/text-counter.ts'
import type { FaultName, ScheduledFault } from './upstreams/faults.ts'
import type { InvoiceLine } from './upstreams/local/invoice.ts'
import { LocalStore, serviceStartOf } from './upstreams/local/local-store.ts'
import { type LocalOptions, type LocalUpstream, openLocalUpstream } from './upstreams/local/local-upstream.ts'
import { seededRandom } from './upstreams/local/seeded.ts'
import type { Upstream } from './upstreams/upstream.ts'

// The only file that names concrete classes. What is heavy and not always needed is imported when it is.

export const ANTHROPIC_BASE_URL = 'https://api.anthropic.com'

/** A folder in which runs live. */
export interface Home {
  readonly dir: string
  readonly store: Store
  readonly clock: Clock
  readonly ids: Ids
  close(): Promise<void>
}

/** Opens a home, made if need be: readable by its owner only, ignored by git. */
export async function openHome(dir: string): Promise<Home> {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    writeFileSync(join(dir, '.gitignore'), '*\n', { flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw new TitheError('home_unavailable', `cannot use the home ${dir}: ${(error as Error).message}`, {
        hint: 'choose another with --home or $TITHE_HOME',
        where: { file: dir },
        exitCode: 3,
      })
    }
  }
  const { openSqliteStoreInWorker } = await import('./stores/worker.ts')
  const store = await openSqliteStoreInWorker({ dir })
  return {
    dir,
    store,
    clock: systemClock(),
    ids: systemIds(),
    async close() {
      await store.runs.close()
      await store.bodies.close()
    },
  }
}

export type UpstreamChoice =
  | {
      readonly kind: 'local'
      readonly realTime: boolean
      readonly speed: number
      readonly concurrency: number | null
    }
  | {
      readonly kind: 'anthropic'
      readonly baseUrl: string
      readonly apiKey: string
      readonly workspace: string | null
    }

/** A choice as people and the run's record know it: tells real from simulated, never holds a key. */
export function placeOf(
  choice:
    | Pick<Extract<UpstreamChoice, { kind: 'local' }>, 'kind'>
    | Pick<Extract<UpstreamChoice, { kind: 'anthropic' }>, 'kind' | 'baseUrl' | 'workspace'>,
): Place {
  return choice.kind === 'local'
    ? { upstream: 'local (simulated)', workspaceId: null }
    : { upstream: choice.baseUrl, workspaceId: choice.workspace }
}

/** An upstream with the clock that it lives by. */
export interface OpenUpstream {
  readonly place: Place
  readonly upstream: Upstream
  readonly clock: Clock
  /** The embedded one's own bill; null for a real API. */
  readonly local: LocalUpstream | null
  close(): Promise<void>
}

export async function openUpstream(
  home: Pick<Home, 'dir' | 'ids'>,
  choice: UpstreamChoice,
  catalogue: Catalogue,
): Promise<OpenUpstream> {
  const wall = systemClock()
  if (choice.kind === 'anthropic') {
    const { baseUrl, apiKey, workspace } = choice
    const { anthropicUpstream } = await import('./upstreams/anthropic.ts')
    const upstream = anthropicUpstream({
      baseUrl,
      apiKey,
      clock: wall,
      ...(workspace === null ? {} : { workspace }),
    })
    return { place: placeOf(choice), upstream, clock: wall, local: null, close: () => upstream.close() }
  }
  const file = join(home.dir, 'local.sqlite')
  const clock = choice.realTime ? wall : virtualClock(serviceStartOf(file, wall.now()))
  const settings = {
    speed: choice.realTime ? choice.speed : 1,
    ...(choice.concurrency === null ? {} : { concurrency: choice.concurrency }),
  }
  const local = await openLocal({ file, clock, ids: home.ids, catalogue, settings })
  return { place: placeOf(choice), upstream: local, clock, local, close: () => local.close() }
}

/** The embedded service of a home, misbehaving as scheduled. */
export interface FaultyUpstream extends OpenUpstream {
  /** How often each fault has fired so far. */
  readonly fired: ReadonlyMap<FaultName, number>
}

/** For demonstrations; on virtual time. */
export async function openFaultyUpstream(
  home: Pick<Home, 'dir' | 'ids'>,
  catalogue: Catalogue,
  schedule: readonly ScheduledFault[],
  settings: LocalOptions['settings'],
): Promise<FaultyUpstream> {
  const { Faults, withFaults } = await import('./upstreams/faults.ts')
  const file = join(home.dir, 'local.sqlite')
  const clock = virtualClock(serviceStartOf(file, systemClock().now()))
  const local = await openLocal({ file, clock, ids: home.ids, catalogue, settings })
  const faults = Faults.scheduled(seededRandom('faults'), schedule)
  const upstream = withFaults(local, faults, clock)
  const place = placeOf({ kind: 'local' })
  return { place, upstream, clock, local, fired: faults.fired, close: () => upstream.close() }
}

/**
 * The local service's invoice, when nothing else of it is wanted.
 * @throws `local_file_in_use` while a run drives it.
 */
export async function* localInvoice(dir: string): AsyncGenerator<InvoiceLine> {
  const store = new LocalStore(join(dir, 'local.sqlite'), { groupRows: 1 })
  try {
    yield* store.invoice()
  } finally {
    store.close()
  }
}

/** Names this process in leases. */
export const THIS_PROCESS = `${process.pid}@${hostname()}`

/** What doctor found from this home, everywhere. @throws `measured_damaged`, `measured_newer` */
export function readVisits(dir: string): Visit[] {
  return readMeasured(dir)
}

/** Keeps what doctor found in a home. Answers the file that it stands in. */
export function rememberVisit(dir: string, visit: Visit): string {
  return writeMeasured(dir, withVisit(readVisits(dir), visit))
}

/** The embedded service. `file` may be `:memory:`. */
export function openLocal(
  options: Pick<LocalOptions, 'file' | 'clock' | 'ids' | 'catalogue' | 'settings'>,
): Promise<LocalUpstream> {
  const { rules } = options.catalogue
  const pdfs = pdfSizes(sharedCounter())
  return openLocalUpstream({
    ...options,
    countTokens: requestCounter(pdfs.sizeOf),
    lookInto: pdfs.lookInto,
    checkRequest: (request, call) => checkRequest(request, { ...call, rules }),
    serveBatches,
  })
}

/** What the driver needs, over a home and an upstream. */
export function runDeps(
  home: Home,
  opened: OpenUpstream,
  catalogue: Catalogue,
  listen: { emit(event: RunEvent): void; signal: AbortSignal },
): RunDeps {
  const visits = visitsTo(opened.place, readVisits(home.dir))
  return {
    store: holdAll(home.store, opened.clock),
    upstream: opened.upstream,
    runtime: { clock: opened.clock, ids: home.ids },
    wallClock: home.clock,
    catalogue,
    cancelLatencyMs: expectationsFrom(catalogue.rules, loadPriors(), visits).cancelLatencyMs,
    readAttachment: (source) => opened.clock.hold(readAttachment(source)),
    compileSchema,
    holder: THIS_PROCESS,
    isHolderGone,
    ...listen,
  }
}

/** A holder on this machine whose process does not exist. One on another machine may live: it is not judged. */
export function isHolderGone(holder: string): boolean {
  const [pid, host] = holder.split('@')
  if (host !== hostname() || !pid) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

/** The facts, with a job's contract rates in place of the published ones. */
export function catalogueFor(settings: Pick<JobSettings, 'contractPrices'> | null): Catalogue {
  const catalogue = loadCatalogue()
  if (settings === null) return catalogue
  const { contractPrices } = settings
  // Which of these may be models of another server was decided when the job was read.
  return withContractPrices(catalogue, contractPrices, new Set(Object.keys(contractPrices)))
}

/** What `loadJob` needs of the world, and what is decided outside the job. */
export function jobDeps(options: Pick<JobDeps, 'anyModel'> & { budget?: BudgetLimit | null } = {}): JobDeps {
  const { budget = null, ...rest } = options
  const catalogue = loadCatalogue()
  const now = systemClock().now()
  return {
    catalogue,
    now,
    countText: sharedCounter(),
    checkRequest: (request, settings, job) => {
      const model = findModel(catalogue, String(request['model'] ?? ''))
      return model === null
        ? []
        : checkRequest(request, {
            model,
            settings,
            at: now,
            route: job.batch === 'off' ? 'realtime' : 'batch',
            rules: catalogue.rules,
            hasBudget: (budget?.mode ?? (job.budgetPicoUsd === null ? null : job.budgetMode)) === 'hard',
          })
    },
    environment: systemEnvironment(),
    checkOutputSchema: (schema) => {
      const refused = checkOutputSchema(schema, catalogue.rules)
      return refused.length > 0 ? refused : schemaFaults(schema)
    },
    hasBudget: budget !== null,
    ...rest,
  }
}

/** A schema that is none would be refused by the API, and no answer could be checked against it. */
function schemaFaults(schema: JsonObject): Problem[] {
  try {
    compileSchema(schema)
    return []
  } catch (error) {
    if (!(error instanceof TitheError)) throw error
    return [problem(error.code, error.message, error.hint === null ? {} : { hint: error.hint })]
  }
}

/**
 * What planning needs, for one pass over one job.
 * @param exact counts all text, however much there is.
 * @param measured where the job is to run and the home that may know something about it; null without a home.
 * @throws `measured_damaged`, `measured_newer`
 */
export function planningDeps(
  catalogue: Catalogue,
  exact: boolean,
  measured: { readonly dir: string; readonly place: Place } | null,
): PlanningDeps {
  const facts = loadTokenFacts()
  const at = systemClock().now()
  const counter = sampledCounter(sharedCounter(), { exact })
  const measurer = tokenMeasurer(counter.count, sizeOfImage, facts.media)
  // Of the tokenizer that makes more of a text: a band may be too wide, never too narrow.
  const tokensPerCounted = Math.max(...Object.values(facts.tokenizers).map((one) => one.perTextToken))
  return {
    catalogue,
    priors: loadPriors(),
    visits: measured === null ? [] : visitsTo(measured.place, readVisits(measured.dir)),
    at,
    describer: new RowDescriber({ catalogue, measurer, facts, at }),
    counting: () => counter.counting(),
    halfBandTokens: () => counter.halfBandTokens() * tokensPerCounted,
  }
}

let counter: ((text: string) => number) | null = null

/** One vocabulary a process: it takes a moment to read. */
function sharedCounter(): (text: string) => number {
  counter ??= textCounter()
  return counter
}

function requestCounter(sizeOfPdf: SizeOfPdf) {
  const facts = loadTokenFacts()
  const measurer = tokenMeasurer(sharedCounter(), sizeOfImage, facts.media, sizeOfPdf)
  return (request: JsonObject, model: Parameters<typeof estimateBlocks>[2]) =>
    estimateBlocks(request, promptBlocks(request), model, measurer, facts)
}
