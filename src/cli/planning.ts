import { type Problem, TitheError } from '../core/errors.ts'
import { parseDuration } from '../core/instant.ts'
import type { JobSettings } from '../core/job.ts'
import { profileJob } from '../core/job-profile.ts'
import type { Catalogue } from '../core/models.ts'
import { parseUsd } from '../core/money.ts'
import { NO_OUTPUT, type OutputSample, withAnswer } from '../core/output-estimate.ts'
import type { RunPlan } from '../core/run-plan.ts'
import { planJob, planStated, profileCuts } from '../core/run-plan-of.ts'
import { type Job, loadJob } from '../jobs/load-job.ts'
import { type Prepared, prepareRows, type RowSink } from '../runs/prepare.ts'
import { ledgerOf } from '../runs/report-run.ts'
import type { RunStore } from '../stores/store.ts'
import { catalogueFor, jobDeps, loadPriors, rowDescriber } from '../wiring.ts'
import type { Flags } from './main.ts'
import type { Session } from './session.ts'

/** Answers of an earlier run that are enough to know how long answers are. */
const HISTORY_ROWS_MAX = 5_000

/** A job as the command line has it: its file, and what flags say over it. */
export interface OpenJob {
  readonly job: Job
  readonly settings: JobSettings
  readonly catalogue: Catalogue
}

export async function openJob(session: Session, path: string, flags: Flags): Promise<OpenJob> {
  const job = await loadJob(path, { ...jobDeps(), anyModel: session.config.baseUrl !== null })
  const settings = overridden(job.settings, flags, session)
  return { job, settings, catalogue: catalogueFor(settings) }
}

function overridden(settings: JobSettings, flags: Flags, session: Session): JobSettings {
  const withinMs = textOf(flags, 'within', parseDuration, 'a duration such as 90m or 6h')
  return {
    ...settings,
    withinMs: withinMs ?? settings.withinMs,
    budgetPicoUsd: budgetFlag(flags) ?? settings.budgetPicoUsd,
    tier: session.config.tier ?? settings.tier,
  }
}

export function budgetFlag(flags: Flags): JobSettings['budgetPicoUsd'] {
  return textOf(flags, 'budget', parseUsd, 'dollars such as 12.50')
}

function textOf<T>(flags: Flags, name: string, parse: (text: string) => T | null, what: string): T | null {
  const text = flags[name]
  if (typeof text !== 'string') return null
  const value = parse(text)
  if (value === null) throw new TitheError('bad_flag', `--${name} takes ${what}, not ${text}`)
  return value
}

export interface PlannedJob {
  readonly plan: RunPlan
  readonly prepared: Prepared | null
}

/**
 * One pass over the job's rows, then the plan. Rows go into the sink on the way.
 * @throws `invalid_rows` when rows cannot be sent and `--skip-invalid` was not given.
 */
export async function planOpenJob(
  { job, settings, catalogue }: OpenJob,
  flags: Flags,
  sink: RowSink | null,
  runs: RunStore | null,
): Promise<PlannedJob> {
  const priors = loadPriors()
  const at = jobDeps().now
  const common = {
    settings,
    catalogue,
    at,
    priors,
    allModels: flags['models'] === true,
    ...(job.outline === null ? {} : { template: job.outline }),
  }
  if (job.stated !== null) {
    return { plan: withProblems(planStated(job.stated, common), job.problems), prepared: null }
  }
  const { describer, counting } = rowDescriber(catalogue, flags['exact'] === true)
  const profiler = profileJob(profileCuts(catalogue, at, priors))
  const prepared = await prepareRows(job.rows(), describer, profiler, counting, sink)
  refuseInvalid(prepared, flags)
  const history = runs === null ? null : await historyOf(settings, runs)
  const plan = planJob({
    ...common,
    profile: prepared.profile,
    ...(history === null ? {} : { history }),
    ...(prepared.sample === null ? {} : { sampleRequest: prepared.sample.request }),
  })
  return { plan: withProblems(plan, job.problems), prepared }
}

function withProblems(plan: RunPlan, problems: readonly Problem[]): RunPlan {
  return { ...plan, problems: [...problems, ...plan.problems] }
}

function refuseInvalid(prepared: Prepared, flags: Flags): void {
  if (prepared.rows === 0)
    throw new TitheError('empty_input', 'the input has no rows', { hint: 'check the path under `input`' })
  if (prepared.invalidRows === 0) return
  if (prepared.invalidRows === prepared.rows || flags['skipInvalid'] !== true) {
    const shown = prepared.problems.length < prepared.invalidRows ? ', the first of them above' : ''
    throw new TitheError(
      'invalid_rows',
      `${prepared.invalidRows} of ${prepared.rows} rows cannot be sent${shown}`,
      {
        hint:
          prepared.invalidRows === prepared.rows
            ? 'mend the job: nothing was sent'
            : 'mend them, or leave them out with --skip-invalid; nothing was sent',
        problems: prepared.problems,
      },
    )
  }
}

/** How long the answers of the job's latest finished run were. */
async function historyOf(settings: JobSettings, runs: RunStore): Promise<OutputSample | null> {
  const earlier = (await runs.findRuns('')).find(
    (run) => run.state === 'finished' && run.name === settings.name && run.jobPath === settings.path,
  )
  if (earlier === undefined) return null
  let sample = NO_OUTPUT
  for await (const entry of ledgerOf(earlier.id, runs)) {
    sample = withAnswer(sample, entry.usage.outputTokens)
    if (sample.rows >= HISTORY_ROWS_MAX) break
  }
  return sample
}

/** Errors of a plan stop the job; its warnings stand in the plan that was printed. */
export function checkPlan(plan: RunPlan): void {
  const errors = plan.problems.filter((one) => one.severity === 'error')
  if (errors.length === 0) return
  throw new TitheError('plan_refused', 'the job cannot be run as planned', {
    hint: 'mend what is said above; nothing was sent',
    problems: errors,
  })
}
