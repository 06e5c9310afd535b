// The public names of the package, listed by hand.

import { sha256Hex } from './core/digest.ts'
import { TitheError } from './core/errors.ts'
import { settingsFromJson } from './core/job.ts'
import { parsePlanJson } from './core/plan-json.ts'
import type { Report } from './core/report.ts'
import type { ResultRow } from './core/result-row.ts'
import type { RunPlan } from './core/run-plan.ts'
import type { JobDefinition } from './jobs/define-job.ts'
import { fingerprintJob } from './jobs/fingerprint.ts'
import { loadJob } from './jobs/load-job.ts'
import { beginRun, earlierRun } from './runs/begin-run.ts'
import { type DriveEnd, drive } from './runs/driver.ts'
import { planRun } from './runs/plan-run.ts'
import { reportRun } from './runs/report-run.ts'
import { resultRows } from './runs/result-rows.ts'
import type { RunEvent } from './runs/run-deps.ts'
import {
  ANTHROPIC_BASE_URL,
  catalogueFor,
  isHolderGone,
  jobDeps,
  openHome,
  openUpstream,
  placeOf,
  planningDeps,
  runDeps,
  THIS_PROCESS,
  type UpstreamChoice,
} from './wiring.ts'

export { type Problem, TitheError, type Where } from './core/errors.ts'
export { formatUsd, type PicoUsd, parseUsd } from './core/money.ts'
export { planJson } from './core/plan-json.ts'
export { type Report, reportJson } from './core/report.ts'
export type { ResultRow } from './core/result-row.ts'
export type { GroupPlan, MarkPlan, RouteName, RoutePlan, RunPlan } from './core/run-plan.ts'
export { parseUsage, type Usage } from './core/usage.ts'
export { defineJob, type JobDefinition } from './jobs/define-job.ts'
export type { DriveEnd } from './runs/driver.ts'
export type { RunEvent, RunProgress } from './runs/run-deps.ts'

export interface PlanOptions {
  /** Prices the job on every current model too. */
  readonly allModels?: boolean
  /** Leaves out rows that cannot be sent; otherwise one of them refuses the job. */
  readonly skipInvalid?: boolean
  /** Counts the tokens of all text, however much there is. */
  readonly exact?: boolean
}

/**
 * Prices a job by every route. Reads its rows, sends nothing, writes nothing.
 *
 * @example
 * const { chosen, routes } = await plan('job.yaml')
 * @param job the path of a job file or raw batch JSONL, or what `defineJob` gives.
 * @throws TitheError `bad_job`, `invalid_rows` with everything that is wrong in `problems`.
 */
export async function plan(job: string | JobDefinition, options: PlanOptions = {}): Promise<RunPlan> {
  const loaded = await loadJob(job, jobDeps())
  const deps = planningDeps(catalogueFor(loaded.settings), options.exact ?? false, null)
  return planRun(loaded, deps, planningOptions(options), null, null)
}

export interface RunOptions extends PlanOptions {
  /** Where the run is kept; default `.tithe` in the working directory. */
  readonly home?: string
  /** Default `local`: embedded, simulated, free. */
  readonly upstream?:
    | 'local'
    | { readonly apiKey: string; readonly baseUrl?: string; readonly workspace?: string }
  /** Buys a finished job a second time; otherwise its earlier run is given back. */
  readonly again?: boolean
  /** Sees the plan before anything is sent; anything but true ends it there. */
  readonly confirm?: (plan: RunPlan) => boolean | Promise<boolean>
  readonly onEvent?: (event: RunEvent) => void
  /** Stops driving; the run stays and the same call goes on with it. */
  readonly signal?: AbortSignal
}

/** A run at rest. Dispose of it (`await using`, or `close`) to let go of its home. */
export interface Run extends AsyncDisposable {
  readonly id: string
  /** How driving ended; `finished` for an earlier run that was given back. */
  readonly end: DriveEnd
  readonly plan: RunPlan
  readonly report: Report
  /** By input order, streamed. */
  results(): AsyncIterable<ResultRow>
  close(): Promise<void>
}

/**
 * Runs a job to its end, or goes on with its unfinished run: primer, probe, waves of batches, results, ledger.
 *
 * @example
 * await using done = await run('job.yaml', { upstream: { apiKey: process.env.ANTHROPIC_API_KEY! } })
 * for await (const row of done.results()) console.log(row.id, row.json ?? row.text)
 * @throws TitheError `not_confirmed`, and as `plan` does.
 */
export async function run(job: string | JobDefinition, options: RunOptions = {}): Promise<Run> {
  const choice = upstreamChoice(options.upstream ?? 'local')
  const anyModel = choice.kind === 'anthropic' && choice.baseUrl !== ANTHROPIC_BASE_URL
  const loaded = await loadJob(job, jobDeps({ anyModel }))
  const home = await openHome(options.home ?? '.tithe')
  try {
    const deps = { ...home, holder: THIS_PROCESS, isHolderGone }
    const { upstream } = placeOf(choice)
    const fingerprint = sha256Hex(`${upstream}\n${await fingerprintJob(loaded)}`)
    const earlier = await earlierRun(deps, fingerprint)
    const reused = earlier?.state === 'finished' && options.again === true ? null : earlier
    const begun =
      reused ??
      (await beginRun(
        deps,
        loaded,
        { fingerprint, upstream, upstreamKind: choice.kind },
        planningDeps(catalogueFor(loaded.settings), options.exact ?? false, {
          dir: home.dir,
          place: placeOf(choice),
        }),
        planningOptions(options),
        async (plan) => options.confirm === undefined || (await options.confirm(plan)) === true,
      ))
    if (begun === null) throw new TitheError('not_confirmed', 'the plan was not confirmed; nothing was sent')
    const catalogue = catalogueFor(settingsFromJson(begun.settingsJson))
    const end = begun.state === 'finished' ? ({ kind: 'finished' } as const) : await driveOn(begun.id, choice)
    const plan = parsePlanJson(begun.planJson)
    return {
      id: begun.id,
      end,
      plan,
      report: await reportRun(begun.id, plan, home.store.runs, catalogue),
      results: () => resultRows(home.store, begun.id),
      close: () => home.close(),
      [Symbol.asyncDispose]: () => home.close(),
    }

    async function driveOn(id: string, chosen: UpstreamChoice): Promise<DriveEnd> {
      const opened = await openUpstream(home, chosen, catalogue)
      try {
        const emit = options.onEvent ?? (() => {})
        const signal = options.signal ?? new AbortController().signal
        return await drive(id, runDeps(home, opened, catalogue, { emit, signal }), {
          once: false,
          acceptProbe: false,
        })
      } finally {
        await opened.close()
      }
    }
  } catch (error) {
    await home.close()
    throw error
  }
}

function planningOptions(options: PlanOptions) {
  return { allModels: options.allModels ?? false, skipInvalid: options.skipInvalid ?? false }
}

function upstreamChoice(upstream: NonNullable<RunOptions['upstream']>): UpstreamChoice {
  if (upstream === 'local') return { kind: 'local', realTime: false, speed: 1, concurrency: null }
  const { apiKey, baseUrl = ANTHROPIC_BASE_URL, workspace = null } = upstream
  return { kind: 'anthropic', apiKey, baseUrl, workspace }
}
