import { type BudgetLimit, parseBudget } from '../core/budget.ts'
import { TitheError } from '../core/errors.ts'
import { parseDuration } from '../core/instant.ts'
import type { JobSettings } from '../core/job.ts'
import type { Catalogue } from '../core/models.ts'
import { type PicoUsd, parseUsd } from '../core/money.ts'
import { type Job, loadJob } from '../jobs/load-job.ts'
import { catalogueFor, jobDeps } from '../wiring.ts'
import type { Flags } from './flags.ts'
import type { Session } from './session.ts'

/** A job as the command line has it: its file, with what flags say over it. */
export interface OpenJob {
  readonly job: Job
  readonly catalogue: Catalogue
}

export async function openJob(session: Session, path: string, flags: Flags): Promise<OpenJob> {
  const outside = { anyModel: session.config.baseUrl !== null, budget: budgetFlag(flags) }
  const job = await loadJob(path, jobDeps(outside))
  const settings = overridden(job.settings, flags, session)
  return { job: { ...job, settings }, catalogue: catalogueFor(settings) }
}

function overridden(settings: JobSettings, flags: Flags, session: Session): JobSettings {
  const withinMs = textOf(flags, 'within', positive(parseDuration), 'a duration such as 90m or 6h')
  const budget = budgetFlag(flags)
  return {
    ...settings,
    withinMs: withinMs ?? settings.withinMs,
    ...(budget === null ? {} : { budgetPicoUsd: budget.picoUsd, budgetMode: budget.mode }),
    tier: session.config.tier ?? settings.tier,
  }
}

export function budgetFlag(flags: Flags): BudgetLimit | null {
  return textOf(flags, 'budget', parseBudget, 'dollars such as 12.50, or "12.50 soft"')
}

export function dollarsFlag(flags: Flags, name: string): PicoUsd | null {
  return textOf(flags, name, positive(parseUsd), 'dollars such as 12.50')
}

function positive<T extends number | bigint>(parse: (text: string) => T | null): (text: string) => T | null {
  return (text) => {
    const value = parse(text)
    return value !== null && value > 0 ? value : null
  }
}

function textOf<T>(flags: Flags, name: string, parse: (text: string) => T | null, what: string): T | null {
  const text = flags[name]
  if (typeof text !== 'string') return null
  const value = parse(text)
  if (value === null) throw new TitheError('bad_flag', `--${name} takes ${what}, not ${text}`)
  return value
}

export function planningOptions(flags: Flags): { allModels: boolean; skipInvalid: boolean } {
  return { allModels: flags['models'] === true, skipInvalid: flags['skipInvalid'] === true }
}
