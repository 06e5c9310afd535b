import type { RowDescriber } from '../core/describe-row.ts'
import { type Problem, TitheError } from '../core/errors.ts'
import type { Instant } from '../core/instant.ts'
import type { JobSettings, StatedSizes, TemplateOutline } from '../core/job.ts'
import { profileJob, widenBand } from '../core/job-profile.ts'
import type { Visit } from '../core/measured.ts'
import type { Catalogue } from '../core/models.ts'
import { NO_OUTPUT, type OutputSample, withAnswer } from '../core/output-estimate.ts'
import { planJob, planStated, profileCuts } from '../core/plan-job.ts'
import type { Priors } from '../core/priors.ts'
import type { InputRow, InvalidRow } from '../core/rows.ts'
import type { RunPlan } from '../core/run-plan.ts'
import type { RunStore } from '../stores/store.ts'
import { type Prepared, prepareRows, type RowSink } from './prepare.ts'
import { ledgerOf } from './report-run.ts'

/** Answers of an earlier run that are enough to know how long answers are. */
const HISTORY_ROWS_MAX = 5_000

/** A loaded job, as far as planning looks at it. */
export interface PlannableJob {
  readonly settings: JobSettings
  readonly outline: TemplateOutline | null
  readonly stated: StatedSizes | null
  /** Warnings about the job as a whole. */
  readonly problems: readonly Problem[]
  rows(): AsyncIterable<InputRow | InvalidRow>
}

/** What planning needs of the world. A describer serves one pass over one job. */
export interface PlanningDeps {
  readonly catalogue: Catalogue
  readonly priors: Priors
  /** What doctor measured at the upstream that will answer; empty where it never was. */
  readonly visits: readonly Visit[]
  readonly at: Instant
  readonly describer: RowDescriber
  counting(): 'exact' | 'sampled'
  /** Tokens by which counts that were guessed from a sample may be off in all, either way. */
  halfBandTokens(): number
}

export interface PlanningOptions {
  /** Prices the job on every current model too. */
  readonly allModels: boolean
  /** Leaves out rows that cannot be sent; otherwise one of them refuses the job. */
  readonly skipInvalid: boolean
}

/**
 * One pass over the job's rows, then the plan. Rows go into the sink on the way.
 * @param runs where earlier runs of the job may tell how long its answers are; null without a home.
 * @throws `invalid_rows`, `empty_input`: nothing can be sent.
 */
export async function planRun(
  job: PlannableJob,
  deps: PlanningDeps,
  options: PlanningOptions,
  sink: RowSink | null,
  runs: RunStore | null,
): Promise<RunPlan> {
  const { catalogue, priors, visits, at } = deps
  const common = {
    settings: job.settings,
    catalogue,
    at,
    priors,
    visits,
    allModels: options.allModels,
    ...(job.outline === null ? {} : { template: job.outline }),
  }
  if (job.stated !== null) return withProblems(planStated(job.stated, common), job.problems)
  const profiler = profileJob(profileCuts(catalogue, at, priors))
  const prepared = await prepareRows(job.rows(), deps.describer, profiler, deps.counting, sink)
  refuseInvalid(prepared, options.skipInvalid)
  const history = runs === null ? null : await historyOf(job.settings, runs)
  const plan = planJob({
    ...common,
    profile: widenBand(prepared.profile, deps.halfBandTokens()),
    ...(history === null ? {} : { history }),
    ...(prepared.sample === null ? {} : { sampleRequest: prepared.sample.request }),
  })
  return withProblems(plan, job.problems)
}

/** Errors of a plan stop the job; its warnings stand in the plan that is shown. */
export function checkPlan(plan: RunPlan): void {
  const errors = plan.problems.filter((one) => one.severity === 'error')
  if (errors.length === 0) return
  throw new TitheError('plan_refused', 'the job cannot be run as planned', {
    hint: 'mend what is said above; nothing was sent',
    problems: errors,
  })
}

function withProblems(plan: RunPlan, problems: readonly Problem[]): RunPlan {
  return { ...plan, problems: [...problems, ...plan.problems] }
}

function refuseInvalid({ rows, invalidRows, problems }: Prepared, skipInvalid: boolean): void {
  if (rows === 0) {
    throw new TitheError('empty_input', 'the input has no rows', { hint: 'check the path under `input`' })
  }
  if (invalidRows === 0 || (skipInvalid && invalidRows < rows)) return
  const shown = problems.length < invalidRows ? ', the first of them above' : ''
  throw new TitheError('invalid_rows', `${invalidRows} of ${rows} rows cannot be sent${shown}`, {
    hint:
      invalidRows === rows
        ? 'mend the job: nothing was sent'
        : 'mend them, or leave them out with --skip-invalid; nothing was sent',
    problems,
  })
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
