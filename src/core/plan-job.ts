import { BATCH_FILL } from './batch-plan.ts'
import { budgetText } from './budget.ts'
import { groupPlansOf, unmarkedGroup } from './cache-plan.ts'
import { checkRequest } from './check-request.ts'
import { type Problem, problem } from './errors.ts'
import { formatCount } from './figures.ts'
import type { Instant } from './instant.ts'
import {
  type JobSettings,
  type StatedSizes,
  settingsOfVariant,
  type TemplateOutline,
  variantOf,
} from './job.ts'
import { ESTIMATES, type JobProfile, profileStated, promptCuts } from './job-profile.ts'
import { certaintyText, type Expectations, expectationsFrom, type Visit } from './measured.ts'
import {
  type Catalogue,
  findModel,
  isRetired,
  type Model,
  minimumCacheableTokens,
  priceAt,
} from './models.ts'
import { formatUsd } from './money.ts'
import { estimateOutput, type OutputEstimate, type OutputSample } from './output-estimate.ts'
import { type PricedPool, pricedPool } from './pool-cost.ts'
import { type Priors, tokenRatio } from './priors.ts'
import type { MessageRequest } from './request.ts'
import { chooseRoute, hitRateCosts, type PricedRoute, priceRoutes, type RouteTerms } from './routes.ts'
import type { Band, GroupPlan, ModelAlternative, RouteName, RunPlan, WavePlan } from './run-plan.ts'

export interface JobToPlan {
  readonly profile: JobProfile
  readonly settings: JobSettings
  readonly catalogue: Catalogue
  readonly at: Instant
  readonly priors: Priors
  /** What doctor measured at the upstream of the job. */
  readonly visits?: readonly Visit[]
  /** What earlier runs of the job answered, and what its probe did. */
  readonly history?: OutputSample
  readonly probe?: OutputSample
  readonly template?: TemplateOutline
  /** Prices the job on every current model too. */
  readonly allModels?: boolean
  /** A row of the job, to see what other models would refuse. */
  readonly sampleRequest?: MessageRequest
}

/** The cuts that `profileJob` needs so that its profile can be priced on every model. */
export function profileCuts(catalogue: Catalogue, at: Instant, priors: Priors): number[] {
  const { low, best, high } = priors.newTokensPerOld.value
  return promptCuts(catalogue, at, [low, best, high, 1 / low, 1 / best, 1 / high])
}

/** Plans a job: prices every route, chooses one, and says where its marks go and in which waves it runs. */
export function planJob(job: JobToPlan): RunPlan {
  const { profile, settings, catalogue, at } = job
  const output = estimateOutput({ ...settings, history: job.history, probe: job.probe })
  const expectations = expectationsOf(job)
  const terms: RouteTerms = { ...job, output, expectations, pools: pricedPools(job) }
  const priced = priceRoutes(terms)
  const { chosen, because } = chooseRoute(priced.map(({ plan }) => plan))
  const taken = priced.find(({ plan }) => plan.route === chosen)!
  const groups = groupsOf(profile, taken, priced)
  return {
    job: settings.name,
    settings: [...new Set(profile.pools.map((pool) => pool.variant))].map(settingsOfVariant),
    models: [...new Set(profile.pools.map((pool) => pool.model))],
    rows: profile.rows,
    invalidRows: profile.invalidRows,
    promptTokens: profile.promptTokens,
    outputTokens: { ...outputBand(profile, output), source: output.source },
    counting: profile.counting,
    requestBytes: profile.counting === 'stated' ? null : profile.paramsBytes,
    groups,
    sharedPrefixes: profile.sharedPrefixes,
    template: job.template ?? null,
    batches: batchesOf(profile, taken.waves, catalogue),
    waves: taken.waves,
    batchLatencies: expectations.latencies,
    routes: priced.map(({ plan }) => plan),
    hitRates: hitRateCosts(terms),
    chosen,
    chosenBecause: because,
    alternatives: job.allModels
      ? catalogue.models
          .filter((model) => !isRetired(model, at))
          .map((model) => alternativeOf(model, job, output))
      : [],
    priceBook: catalogue.version,
    problems: [...profile.warnings, ...problemsOf(job, terms, taken, output)],
  }
}

/** Plans a job that states its sizes instead of giving rows. */
export function planStated(stated: StatedSizes, job: Omit<JobToPlan, 'profile'>): RunPlan {
  const { settings, catalogue, at, priors } = job
  const models = settings.models.map((name) => findModel(catalogue, name)?.id ?? name)
  const profile = profileStated(stated, models, variantOf(settings), profileCuts(catalogue, at, priors))
  return planJob({ ...job, settings: { ...settings, expectedOutputTokens: stated.output }, profile })
}

function expectationsOf({ catalogue, priors, visits }: JobToPlan): Expectations {
  return expectationsFrom(catalogue.rules, priors, visits ?? [])
}

/** Null when any model of the job has no price. */
function pricedPools(job: JobToPlan, onModel?: Model): PricedPool[] | null {
  const { profile, catalogue, at, priors } = job
  const priced: PricedPool[] = []
  for (const pool of profile.pools) {
    const own = findModel(catalogue, pool.model)
    const model = onModel ?? own
    const price = model && priceAt(model, at)
    if (!model || !price) return null
    priced.push(
      pricedPool(pool, profile.cuts, { model, price, tokenRatio: tokenRatio(priors, own ?? model, model) }),
    )
  }
  return priced
}

function groupsOf(profile: JobProfile, taken: PricedRoute, all: readonly PricedRoute[]): GroupPlan[] {
  const { shape, placements, plan } = taken
  if (shape.marks === 'none' || placements.length === 0) {
    return profile.pools.map((pool, i) => unmarkedGroup(pool, pool.rows, whyNoMarks(taken, all, i)))
  }
  const { expected, certainty, date } = plan.hitRate ?? { expected: 0, certainty: 'assumed', date: null }
  return profile.pools.flatMap((pool, i) => {
    const { placement, terms } = placements[i]!
    return groupPlansOf(pool, placement, terms, {
      prime: shape.marks === 'primed',
      hitRate: expected,
      certainty: certaintyText({ certainty, date }),
    })
  })
}

/** Why the cheapest route of its tier is one without marks: what stands against the cheapest with marks, or in a pool. */
function whyNoMarks({ shape, plan }: PricedRoute, all: readonly PricedRoute[], pool: number): string {
  const marked = all.filter((other) => other.shape.tier === shape.tier && other.shape.marks !== 'none')
  const possible = marked.filter((other) => other.plan.refused === null)
  if (possible.length === 0) {
    const { refused } = marked[0]!.plan
    const own = marked[0]!.placements[pool]?.placement.elsewhere
    return own !== undefined && refused!.includes(own) ? own : refused!
  }
  const [cheapest] = possible
    .map((other) => other.plan)
    .sort((a, b) => (a.cost!.best < b.cost!.best ? -1 : 1))
  return `marks would not pay: ${cheapest!.route} would cost ${formatUsd(cheapest!.cost!.best)}, ${plan.route} ${formatUsd(plan.cost!.best)}`
}

function outputBand(profile: JobProfile, output: OutputEstimate): Band<number> {
  const { perRow } = output
  if (perRow === null) {
    const most = profile.pools
      .flatMap((pool) => pool.sums.best)
      .reduce((sum, { maxTokens }) => sum + maxTokens, 0)
    return { low: 0, best: most, high: most }
  }
  const total = (tokens: number) => Math.round(tokens * profile.rows)
  return { low: total(perRow.low), best: total(perRow.best), high: total(perRow.high) }
}

/** Batches of all waves, by rows and mean bytes; rows whose headers differ never share one. */
function batchesOf(profile: JobProfile, waves: readonly WavePlan[], { rules }: Catalogue): number {
  const variants = Map.groupBy(profile.pools, (pool) => pool.variant)
  let batches = 0
  for (const wave of waves) {
    if (wave.kind === 'realtime') continue
    for (const pools of variants.values()) {
      const share = wave.rows / profile.rows
      const rows = share * pools.reduce((sum, pool) => sum + pool.rows, 0)
      const bytes = share * pools.reduce((sum, pool) => sum + pool.paramsBytes, 0)
      const full = Math.max(
        rows / (rules.batchRowsMax * BATCH_FILL),
        bytes / (rules.batchBytesMax * BATCH_FILL),
      )
      batches += Math.max(1, Math.ceil(full))
    }
  }
  return batches
}

/** The same rows on another model: those of the job's first model, when it asks for several. */
function alternativeOf(model: Model, job: JobToPlan, output: OutputEstimate): ModelAlternative {
  const first = job.settings.models[0]
  const ofFirst = job.profile.pools.filter((pool) => pool.model === first)
  const pools = ofFirst.length > 0 ? ofFirst : job.profile.pools
  const profile: JobProfile = { ...job.profile, pools, rows: pools.reduce((sum, pool) => sum + pool.rows, 0) }
  const terms: RouteTerms = {
    ...job,
    profile,
    output,
    expectations: expectationsOf(job),
    pools: pricedPools({ ...job, profile }, model),
  }
  const routes = priceRoutes(terms).map(({ plan }) => plan)
  const { chosen } = chooseRoute(routes)
  const ratios = pools.map((pool) =>
    tokenRatio(job.priors, findModel(job.catalogue, pool.model) ?? model, model),
  )
  const promptTokens = { low: 0, best: 0, high: 0 }
  let promptTokensMax = 0
  for (const [i, pool] of pools.entries()) {
    for (const end of ESTIMATES) {
      const tokens = pool.sums[end].reduce((sum, sums) => sum + sums.promptTokens, 0)
      promptTokens[end] += Math.round(tokens * ratios[i]![end])
    }
    promptTokensMax = Math.max(promptTokensMax, pool.promptTokensMax.low * ratios[i]!.best)
  }
  return {
    model: model.id,
    route: chosen,
    cost: routes.find((route) => route.route === chosen)!.cost,
    promptTokens,
    note: noteOn(model, ratios),
    wouldRefuse: [...refusalsOf(model, chosen, job), ...tooLong(model, promptTokensMax)],
  }
}

function noteOn(model: Model, ratios: readonly Band<number>[]): string {
  const notes: string[] = []
  const other = ratios.find((ratio) => ratio.best !== 1)
  if (other) {
    const times = (ratio: number) => String(Math.round(ratio * 100) / 100)
    notes.push(
      `${model.tokenizer} tokenizer, ×${times(other.best)} tokens (${times(other.low)}–${times(other.high)})`,
    )
  }
  if (model.status !== 'active') notes.push(model.status === 'limited' ? 'limited access' : model.status)
  if (model.retires !== null && !model.retires.notBefore) notes.push(`retires on ${model.retires.date}`)
  return notes.join('; ')
}

function refusalsOf(
  model: Model,
  chosen: RouteName,
  { sampleRequest, settings, at, catalogue }: JobToPlan,
): string[] {
  if (!sampleRequest) return []
  const request = { ...sampleRequest, model: model.id }
  const route = chosen.startsWith('realtime') ? 'realtime' : 'batch'
  return checkRequest(request, { model, settings, at, route, rules: catalogue.rules })
    .filter((found) => found.severity === 'error')
    .map((found) => found.message)
}

function tooLong(model: Model, promptTokens: number): string[] {
  if (promptTokens <= model.contextTokens) return []
  return [
    `a prompt of about ${formatCount(Math.round(promptTokens))} tokens; its context holds ${formatCount(model.contextTokens)}`,
  ]
}

function problemsOf(
  job: JobToPlan,
  terms: RouteTerms,
  { plan }: PricedRoute,
  output: OutputEstimate,
): Problem[] {
  const { profile, settings, catalogue, at } = job
  const found: Problem[] = []
  const hasBudget = settings.budgetPicoUsd !== null
  for (const model of new Set(profile.pools.map((pool) => pool.model))) {
    const known = findModel(catalogue, model)
    if (known && priceAt(known, at)) continue
    found.push(
      problem('unpriced_model', `${model} has no price in the book of ${catalogue.version}`, {
        severity: hasBudget ? 'error' : 'warning',
        hint: 'state its rates under prices: in the job',
      }),
    )
  }
  if (profile.webSearchesMax === null) {
    found.push(
      problem(
        'unbounded_server_tool',
        'rows may search the web without max_uses: the cost has no upper bound',
        {
          severity: hasBudget && settings.budgetMode === 'hard' ? 'error' : 'warning',
          hint: 'give the web search tool max_uses',
        },
      ),
    )
  }
  if (output.source === 'unknown') {
    found.push(
      problem(
        'output_unknown',
        `the length of the answers is unknown: priced up to max_tokens (${formatCount(profile.maxTokensMax)} a row)`,
        {
          severity: 'warning',
          hint: "set expected_output, or let 'tithe try' or the probe measure it",
        },
      ),
    )
  }
  for (const priced of terms.pools ?? []) {
    const { low, best, high } = priced.pool.promptTokensMax
    if (high > priced.model.contextTokens) {
      const size = `the largest prompt for ${priced.model.id} has about ${formatCount(best)} tokens (up to ${formatCount(high)}); its context holds ${formatCount(priced.model.contextTokens)}`
      found.push(
        problem('prompt_too_long', size, {
          severity: low > priced.model.contextTokens ? 'error' : 'warning',
        }),
      )
    }
    found.push(...markProblems(priced, at))
  }
  if (plan.refused !== null) {
    found.push(
      problem('no_route_fits', `no route keeps the job's terms; ${plan.route}: ${plan.refused}`, {
        severity: 'warning',
      }),
    )
  }
  const budget = settings.budgetPicoUsd
  if (budget !== null && settings.budgetMode === 'soft') {
    const worst = plan.worstCase === null ? '' : ` (${formatUsd(plan.worstCase)} for all rows)`
    const expected = plan.cost === null ? '' : ` (${formatUsd(plan.cost.high)} for all rows)`
    found.push(
      problem(
        'soft_budget',
        `the budget is soft: it sets aside the upper end of what is expected${expected}, not the worst case${worst}, so that more may be spent`,
        {
          severity: 'warning',
          hint: `--budget ${budgetText({ picoUsd: budget, mode: 'hard' })} sets aside the worst case`,
        },
      ),
    )
  }
  if (budget !== null && plan.cost !== null && plan.cost.best > budget) {
    found.push(
      problem(
        'over_budget',
        `the expected cost of ${formatUsd(plan.cost.best)} is over the budget of ${formatUsd(budget)}: the run will stop part of the way`,
        { severity: 'warning', hint: 'raise budget:, or choose a cheaper model (tithe plan --models)' },
      ),
    )
  }
  return found
}

/** The user's own marks that write nothing, and those of ours that may not. */
function markProblems({ pool, model, tokenRatio: ratio }: PricedPool, at: Instant): Problem[] {
  const found: Problem[] = []
  const minimum = minimumCacheableTokens(model, at)
  const total = (end: 'low' | 'best') =>
    pool.sums[end].reduce((sum, { promptTokens }) => sum + promptTokens, 0)
  const lowShare = total('best') === 0 ? 1 : total('low') / total('best')
  for (const prefix of pool.prefixes.values()) {
    const tokens = Math.round(prefix.tokens * ratio.best)
    const sizes = `about ${formatCount(tokens)} tokens to the end of ${prefix.path} are shared by ${formatCount(prefix.rows)} rows; ${model.id} caches nothing below ${formatCount(minimum)}`
    if (prefix.mark !== null && tokens < minimum) {
      found.push(
        problem('mark_below_minimum', `a mark of the job writes nothing: ${sizes}`, { severity: 'warning' }),
      )
    } else if (tokens >= minimum && tokens * lowShare < minimum && prefix.rows > pool.rows / 2) {
      found.push(problem('mark_near_minimum', `may not be cached: ${sizes}`, { severity: 'warning' }))
    }
  }
  return found
}
