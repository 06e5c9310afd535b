import { type Problem, TitheError } from './errors.ts'
import { isObject, type JsonObject } from './json.ts'
import { moneyFields, type PicoUsd, picoUsd } from './money.ts'
import type { Band, GroupPlan, ModelAlternative, RoutePlan, RunPlan } from './run-plan.ts'

// A plan as JSON, `tithe.plan/1`: printed by `plan --json` and kept with the run. Reading back what was written gives
// the same plan, to the picodollar.

const SCHEMA = 'tithe.plan/1'

export function planJson(plan: RunPlan): JsonObject {
  return {
    schema: SCHEMA,
    job: plan.job,
    settings: plan.settings.map(({ apiVersion, betas }) => ({ api_version: apiVersion, betas })),
    models: plan.models,
    rows: plan.rows,
    invalid_rows: plan.invalidRows,
    prompt_tokens: { ...plan.promptTokens },
    output_tokens: { ...plan.outputTokens },
    // Every cost below, while nobody knows how long answers are.
    costs_are_upper_bounds: plan.outputTokens.source === 'unknown',
    counting: plan.counting,
    request_bytes: plan.requestBytes,
    shared_prefixes: plan.sharedPrefixes,
    groups: plan.groups.map(groupJson),
    template: plan.template && { parts: plan.template.parts.map((part) => ({ ...part })) },
    batches: plan.batches,
    waves: plan.waves.map((wave) => ({ ...wave })),
    batch_latencies: plan.batchLatencies,
    chosen: plan.chosen,
    chosen_because: plan.chosenBecause,
    routes: plan.routes.map((route) => ({ ...routeJson(route), chosen: route.route === plan.chosen })),
    hit_rates: plan.hitRates.map(({ hitRate, cost5m, cost1h }) => ({
      hit_rate: hitRate,
      ...moneyFields('cost_5m', cost5m),
      ...moneyFields('cost_1h', cost1h),
    })),
    alternatives: plan.alternatives.map(alternativeJson),
    price_book: plan.priceBook,
    problems: plan.problems.map((problem) => ({ ...problem, where: problem.where && { ...problem.where } })),
  }
}

function groupJson(group: GroupPlan): JsonObject {
  const { marks, ...rest } = group
  return {
    ...rest,
    marks: marks.map(({ path, ttl, prefixHash, tokens }) => ({ path, ttl, prefix_hash: prefixHash, tokens })),
  }
}

function routeJson(route: RoutePlan): JsonObject {
  return {
    route: route.route,
    ...bandFields(route.cost),
    ...moneyFields('cost_at_extreme', route.costAtExtreme),
    extreme: route.extreme && `if ${route.extreme}`,
    ...moneyFields('worst_case', route.worstCase),
    savings: route.savings,
    hit_rate: route.hitRate && { ...route.hitRate },
    expected_parts: route.expectedParts.map(({ what, share, cost }) => ({
      what,
      share,
      ...moneyFields('cost', cost),
    })),
    finish_ms: { ...route.finishMs },
    bottleneck: route.bottleneck,
    zero_data_retention: route.zeroDataRetention,
    refused: route.refused,
  }
}

function alternativeJson(alternative: ModelAlternative): JsonObject {
  return {
    model: alternative.model,
    route: alternative.route,
    ...bandFields(alternative.cost),
    prompt_tokens: { ...alternative.promptTokens },
    note: alternative.note,
    would_refuse: alternative.wouldRefuse,
  }
}

function bandFields(cost: Band<PicoUsd> | null) {
  return {
    ...moneyFields('cost', cost?.best ?? null),
    ...moneyFields('cost_low', cost?.low ?? null),
    ...moneyFields('cost_high', cost?.high ?? null),
  }
}

/** What `planJson` wrote, with the keys that reading back needs. */
type Written<Name extends string> = { readonly [key in `${Name}_pico_usd`]: string | null }
type WrittenBand = Written<'cost'> & Written<'cost_low'> & Written<'cost_high'>
interface WrittenPlan {
  readonly job: string
  readonly settings: readonly { readonly api_version: string; readonly betas: readonly string[] }[]
  readonly models: readonly string[]
  readonly rows: number
  readonly invalid_rows: number
  readonly prompt_tokens: RunPlan['promptTokens']
  readonly output_tokens: RunPlan['outputTokens']
  readonly counting: RunPlan['counting']
  readonly request_bytes: number | null
  readonly shared_prefixes: number
  readonly groups: readonly (Omit<GroupPlan, 'marks'> & {
    readonly marks: readonly { path: string; ttl: '5m' | '1h'; prefix_hash: string; tokens: number }[]
  })[]
  readonly template: RunPlan['template']
  readonly batches: number
  readonly waves: RunPlan['waves']
  /** Absent in plans of before it was written. */
  readonly batch_latencies?: string
  readonly chosen: RunPlan['chosen']
  readonly chosen_because: string
  readonly routes: readonly (WrittenBand &
    Written<'cost_at_extreme'> &
    Written<'worst_case'> & {
      readonly route: RoutePlan['route']
      readonly extreme: string | null
      readonly savings: number | null
      readonly hit_rate: RoutePlan['hitRate']
      readonly expected_parts: readonly ({
        readonly what: string
        readonly share: number
      } & Written<'cost'>)[]
      readonly finish_ms: RoutePlan['finishMs']
      readonly bottleneck: string
      readonly zero_data_retention: boolean
      readonly refused: string | null
    })[]
  readonly hit_rates: readonly ({ readonly hit_rate: number } & Written<'cost_5m'> & Written<'cost_1h'>)[]
  readonly alternatives: readonly (WrittenBand & {
    readonly model: string
    readonly route: ModelAlternative['route']
    readonly prompt_tokens: ModelAlternative['promptTokens']
    readonly note: string
    readonly would_refuse: readonly string[]
  })[]
  readonly price_book: string
  readonly problems: readonly Problem[]
}

/**
 * Reads a plan that `planJson` wrote and a store kept.
 * @throws `plan_unreadable` when it is no plan of this version.
 */
export function parsePlanJson(text: string): RunPlan {
  const parsed: unknown = JSON.parse(text)
  if (!isObject(parsed) || parsed['schema'] !== SCHEMA) {
    const found = isObject(parsed) ? String(parsed['schema'] ?? 'no schema') : typeof parsed
    throw new TitheError('plan_unreadable', `the stored plan is ${found}, not ${SCHEMA}`, {
      hint: 'it was written by another version of tithe: use that one to resume the run',
    })
  }
  const plan = parsed as unknown as WrittenPlan
  return {
    job: plan.job,
    settings: plan.settings.map(({ api_version: apiVersion, betas }) => ({ apiVersion, betas })),
    models: plan.models,
    rows: plan.rows,
    invalidRows: plan.invalid_rows,
    promptTokens: plan.prompt_tokens,
    outputTokens: plan.output_tokens,
    counting: plan.counting,
    requestBytes: plan.request_bytes,
    groups: plan.groups.map((group) => ({
      ...group,
      marks: group.marks.map(({ path, ttl, prefix_hash: prefixHash, tokens }) => ({
        path,
        ttl,
        prefixHash,
        tokens,
      })),
    })),
    sharedPrefixes: plan.shared_prefixes,
    template: plan.template,
    batches: plan.batches,
    waves: plan.waves,
    batchLatencies: plan.batch_latencies ?? '',
    routes: plan.routes.map((route) => ({
      route: route.route,
      cost: parseBand(route),
      costAtExtreme: parseMoney(route.cost_at_extreme_pico_usd),
      extreme: route.extreme === null ? null : (route.extreme.slice('if '.length) as RoutePlan['extreme']),
      worstCase: parseMoney(route.worst_case_pico_usd),
      hitRate: route.hit_rate && { ...route.hit_rate, date: route.hit_rate.date ?? null },
      expectedParts: route.expected_parts.map(({ what, share, cost_pico_usd: cost }) => ({
        what,
        share,
        cost: parseMoney(cost)!,
      })),
      savings: route.savings,
      finishMs: route.finish_ms,
      bottleneck: route.bottleneck,
      zeroDataRetention: route.zero_data_retention,
      refused: route.refused,
    })),
    hitRates: plan.hit_rates.map((line) => ({
      hitRate: line.hit_rate,
      cost5m: parseMoney(line.cost_5m_pico_usd)!,
      cost1h: parseMoney(line.cost_1h_pico_usd)!,
    })),
    chosen: plan.chosen,
    chosenBecause: plan.chosen_because,
    alternatives: plan.alternatives.map((alternative) => ({
      model: alternative.model,
      route: alternative.route,
      cost: parseBand(alternative),
      promptTokens: alternative.prompt_tokens,
      note: alternative.note,
      wouldRefuse: alternative.would_refuse,
    })),
    priceBook: plan.price_book,
    problems: plan.problems,
  }
}

function parseMoney(amount: string | null): PicoUsd | null {
  return amount === null ? null : picoUsd(BigInt(amount))
}

function parseBand(written: WrittenBand): Band<PicoUsd> | null {
  const best = parseMoney(written.cost_pico_usd)
  const low = parseMoney(written.cost_low_pico_usd)
  const high = parseMoney(written.cost_high_pico_usd)
  return best === null || low === null || high === null ? null : { low, best, high }
}
