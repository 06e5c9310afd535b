import { basename, extname } from 'node:path'
import { parseBudget } from '../core/budget.ts'
import { checkModel } from '../core/check-model.ts'
import { type Problem, problem, type Where } from '../core/errors.ts'
import { type Instant, MINUTE_MS, parseDuration } from '../core/instant.ts'
import { type JobSettings, POLICY_DEFAULTS, type StatedSizes } from '../core/job.ts'
import type { JsonObject } from '../core/json.ts'
import { type Catalogue, findModel, type Model } from '../core/models.ts'
import { DEFAULT_API_VERSION } from './api-versions.ts'
import type { JobFile } from './job-schema.ts'
import type { JobPath } from './job-text.ts'

const DEFAULT_MAX_ATTEMPTS = 3
/** The call itself may take ten minutes before it counts as unanswered (`upstreams/anthropic.ts`). */
const PRESUME_LOST_AFTER_MIN_MS = 10 * MINUTE_MS
/** The lowest limits: a plan made for them is kept by every account. */
const DEFAULT_TIER = 'start'

/** Where a job is being read, and what has been found wrong with it so far. */
export interface JobReading {
  /** Absolute path of the job file; null for an object. */
  readonly file: string | null
  readonly directory: string
  readonly problems: Problem[]
  where(path: JobPath, part?: 'key' | 'value'): Where
}

export interface ModelRules {
  readonly catalogue: Catalogue
  readonly now: Instant
  /** Another Messages server answers: names that we do not know are its own. */
  readonly anyModel: boolean
  /** A budget cannot be kept without a price. */
  readonly hasBudget: boolean
}

/** The settings of a job whose keys have their right types; what does not parse is reported and left at its default. */
export function settingsOf(
  job: JobFile,
  broken: ReadonlySet<string>,
  outputSchema: JsonObject | null,
  rules: ModelRules,
  reading: JobReading,
): JobSettings {
  const report = (code: string, message: string, hint: string, path: JobPath): void => {
    reading.problems.push(problem(code, message, { hint, where: reading.where(path) }))
  }

  let withinMs: number | null = null
  if (job.within != null) {
    withinMs = parseDuration(job.within.trim())
    if (withinMs === null || withinMs <= 0) {
      const hint = 'write a number with its unit: 90m, 6h, 2d, or 1h30m'
      report('bad_duration', `\`within\` is not a duration: "${job.within}"`, hint, ['within'])
    }
  }
  const budget = job.budget == null ? null : parseBudget(job.budget)
  if (job.budget != null && budget === null) {
    const hint = 'write dollars: 25, 0.50 or "$25"; or "25 soft", which reserves what is expected'
    report('bad_budget', `\`budget\` is not an amount of dollars: "${job.budget}"`, hint, ['budget'])
  }
  const presumeLostAfterMs =
    job.presume_lost_after == null
      ? POLICY_DEFAULTS.presumeLostAfterMs
      : parseDuration(job.presume_lost_after.trim())
  if (presumeLostAfterMs === null || presumeLostAfterMs < PRESUME_LOST_AFTER_MIN_MS) {
    const hint = 'write a number with its unit, 10m or more: a create may take that long to be listed'
    const message = `\`presume_lost_after\` is no such duration: "${job.presume_lost_after}"`
    report('bad_duration', message, hint, ['presume_lost_after'])
  }
  const upstream = job.upstream ?? null
  if (upstream !== null && !['local', 'anthropic'].includes(upstream) && !/^https?:\/\//.test(upstream)) {
    const hint = 'write local (embedded, free), anthropic (the real API), or the URL of a Messages server'
    report('bad_upstream', `there is no upstream "${upstream}"`, hint, ['upstream'])
  }
  return {
    name: job.name ?? (reading.file === null ? 'job' : basename(reading.file, extname(reading.file))),
    path: reading.file,
    models: modelsOf(job, broken, rules, reading),
    apiVersion: job.api_version ?? DEFAULT_API_VERSION,
    betas: [...new Set(job.betas ?? [])].sort(),
    withinMs,
    budgetPicoUsd: budget?.picoUsd ?? null,
    budgetMode: budget?.mode ?? POLICY_DEFAULTS.budgetMode,
    cache: job.cache ?? 'auto',
    batch: job.batch ?? 'auto',
    tier: job.tier ?? DEFAULT_TIER,
    expect:
      job.expect == null
        ? null
        : {
            column: job.expect.column,
            match: job.expect.match ?? 'exact',
            ...(job.expect.field == null ? {} : { field: job.expect.field }),
          },
    outputSchema,
    expectedOutputTokens: job.expected_output ?? null,
    contractPrices: job.prices ?? {},
    maxAttempts: job.max_attempts ?? DEFAULT_MAX_ATTEMPTS,
    onTruncated: job.on_truncated ?? POLICY_DEFAULTS.onTruncated,
    onRefused: job.on_refused ?? POLICY_DEFAULTS.onRefused,
    onSchemaInvalid: job.on_schema_invalid ?? POLICY_DEFAULTS.onSchemaInvalid,
    onDeadline: job.on_deadline ?? POLICY_DEFAULTS.onDeadline,
    deleteRemote: job.delete_remote ?? POLICY_DEFAULTS.deleteRemote,
    presumeLostAfterMs: presumeLostAfterMs ?? POLICY_DEFAULTS.presumeLostAfterMs,
    upstream,
  }
}

function modelsOf(
  job: JobFile,
  broken: ReadonlySet<string>,
  rules: ModelRules,
  reading: JobReading,
): string[] {
  const { problems } = reading
  if (job.model != null && job.models != null) {
    const hint = 'keep one: `models` runs every row on each of its models'
    problems.push(
      problem('two_keys', 'the job has both `model` and `models`', {
        hint,
        where: reading.where(['models'], 'key'),
      }),
    )
  }
  const named: { name: string; path: JobPath }[] = job.models
    ? job.models.map((name, index) => ({ name, path: ['models', index] }))
    : job.model != null
      ? [{ name: job.model, path: ['model'] }]
      : []
  if (named.length === 0 && !broken.has('model') && !broken.has('models') && job.overrides?.model == null) {
    const hint = 'for example model: claude-haiku-4-5; `tithe models` lists them'
    problems.push(problem('missing_key', '`model` is missing', { hint, where: reading.where([]) }))
  }
  const ids: string[] = []
  for (const { name, path } of named) {
    const resolved = resolveModel(name, rules)
    problems.push(...resolved.problems.map((found) => ({ ...found, where: reading.where(path) })))
    if (ids.includes(resolved.id)) {
      const hint = 'each row would be sent to it twice'
      problems.push(
        problem('two_models', `\`models\` names ${resolved.id} twice`, { hint, where: reading.where(path) }),
      )
    }
    ids.push(resolved.id)
  }
  return ids
}

/** A model by id or alias, with what is wrong with it today; `where` is the caller's to replace. */
function resolveModel(name: string, rules: ModelRules): { id: string; problems: readonly Problem[] } {
  const { catalogue, now, anyModel, hasBudget } = rules
  const model = findModel(catalogue, name)
  if (model === null && anyModel) {
    if (!hasBudget) return { id: name, problems: [] }
    const hint = 'state its rates under `prices`, or leave the budget out'
    return { id: name, problems: [problem('unpriced_model', `${name} has no price in the book`, { hint })] }
  }
  const problems = checkModel(catalogue, name, { at: now, hasBudget })
  if (model === null) return { id: name, problems }
  const instead = successor(model, rules)
  if (instead === null) return { id: model.id, problems }
  const hint = `use ${instead.id} instead`
  return {
    id: model.id,
    problems: problems.map((one) => (one.code === 'retired_model' ? { ...one, hint } : one)),
  }
}

/** `resolveModel` for rows: a hundred thousand of them name few models. */
export function modelResolver(rules: ModelRules): (name: string) => ReturnType<typeof resolveModel> {
  const known = new Map<string, ReturnType<typeof resolveModel>>()
  return (name) => {
    const resolved = known.get(name) ?? resolveModel(name, rules)
    known.set(name, resolved)
    return resolved
  }
}

/** The newest model of the same family that everybody may use. */
function successor(model: Model, rules: ModelRules): Model | null {
  const family = (one: Model): string | undefined => /opus|sonnet|haiku|fable|mythos/.exec(one.id)?.[0]
  const candidates = rules.catalogue.models.filter(
    (one) => one.status === 'active' && one.id !== model.id && family(one) === family(model),
  )
  return candidates.toSorted((a, b) => (b.released ?? '').localeCompare(a.released ?? ''))[0] ?? null
}

/** `rows` and `tokens` of a plan without data; null when the job has an input. */
export function statedSizesOf(job: JobFile, reading: JobReading): StatedSizes | null {
  if (job.rows == null && job.tokens == null) return null
  const complain = (message: string, hint: string, path: JobPath): null => {
    reading.problems.push(problem('stated_sizes', message, { hint, where: reading.where(path, 'key') }))
    return null
  }
  if (job.rows == null)
    return complain('`tokens` without `rows`', 'say how many rows: rows: 1000', ['tokens'])
  if (job.tokens == null) {
    return complain('`rows` without `tokens`', 'say their sizes: tokens: {shared: …, own: …, output: …}', [
      'rows',
    ])
  }
  if (job.input != null) {
    return complain('the job has both `input` and `rows`', '`rows` is for plans without data: keep one', [
      'rows',
    ])
  }
  const geo = job.params?.['inference_geo']
  return {
    rows: job.rows,
    ...job.tokens,
    ...(job.max_tokens == null ? {} : { maxTokens: job.max_tokens }),
    ...(typeof geo === 'string' ? { inferenceGeo: geo } : {}),
    ...(job.params?.['speed'] === 'fast' ? { speed: 'fast' as const } : {}),
  }
}
