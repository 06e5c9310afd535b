import { latencyOfWaves, type Survival, survivalOf } from './batch-latency.ts'
import { planWaves, rowsInFlightMax } from './batch-plan.ts'
import { type Placement, type PlacementTerms, placeMarks } from './cache-plan.ts'
import { savingsOf } from './cost.ts'
import { formatCount } from './figures.ts'
import type { Instant } from './instant.ts'
import { formatDuration, MINUTE_MS } from './instant.ts'
import type { JobSettings } from './job.ts'
import type { Estimate, JobProfile, PoolProfile } from './job-profile.ts'
import type { Expectations } from './measured.ts'
import { type Catalogue, type MinuteLimits, minimumCacheableTokens, minuteLimitsOf } from './models.ts'
import { formatUsd, type PicoUsd, picoUsd } from './money.ts'
import type { OutputEstimate } from './output-estimate.ts'
import {
  type CostTerms,
  type PricedPool,
  poolCost,
  poolUsage,
  type Scenario,
  usualRates,
} from './pool-cost.ts'
import type { Priors } from './priors.ts'
import type { Ttl } from './request.ts'
import {
  expectCold,
  expectPrimed,
  expectRealtime,
  type RouteExpectation,
  UNMARKED,
} from './route-expectation.ts'
import type { CostPart, HitRateCost, RouteName, RoutePlan, WavePlan } from './run-plan.ts'
import { primerPatienceMs } from './waves.ts'

// Every route that a job could take, priced and timed. A route's expected cost is a mixture of certain ones (every row
// reads, none does, unmarked), each priced exactly; the shares are assumptions until a run has measured them.

export interface RouteShape {
  readonly route: RouteName
  readonly tier: 'standard' | 'batch'
  readonly marks: 'none' | 'cold' | 'primed'
  readonly ttl: Ttl | null
}

/** In the order in which they are shown; on equal cost the earlier, simpler one is chosen. */
const ROUTES: readonly RouteShape[] = [
  { route: 'realtime', tier: 'standard', marks: 'none', ttl: null },
  { route: 'realtime_cache_5m', tier: 'standard', marks: 'cold', ttl: '5m' },
  { route: 'realtime_cache_1h', tier: 'standard', marks: 'cold', ttl: '1h' },
  { route: 'batch', tier: 'batch', marks: 'none', ttl: null },
  { route: 'batch_cold_5m', tier: 'batch', marks: 'cold', ttl: '5m' },
  { route: 'batch_cold_1h', tier: 'batch', marks: 'cold', ttl: '1h' },
  { route: 'batch_primed_5m', tier: 'batch', marks: 'primed', ttl: '5m' },
  { route: 'batch_primed_1h', tier: 'batch', marks: 'primed', ttl: '1h' },
]

/** The hit rates at which claude-api.md 3.14 states the cost. */
const HIT_RATES_SHOWN = [0.98, 0.9, 0.7, 0.5, 0.3, 0]

export interface RouteTerms {
  readonly profile: JobProfile
  /** Null when a model of the job has no price. */
  readonly pools: readonly PricedPool[] | null
  readonly catalogue: Catalogue
  readonly at: Instant
  readonly settings: JobSettings
  readonly priors: Priors
  readonly expectations: Expectations
  readonly output: OutputEstimate
}

/** A route with what the plan needs beside its line in the table. */
export interface PricedRoute {
  readonly plan: RoutePlan
  readonly shape: RouteShape
  readonly waves: readonly WavePlan[]
  /** By pool, in the order of the pools; empty when unpriced. */
  readonly placements: readonly { readonly placement: Placement; readonly terms: PlacementTerms }[]
}

type Placed = PricedRoute['placements']

const NOWHERE: Placement = { groups: [], beside: null, elsewhere: '' }

export function priceRoutes(terms: RouteTerms): PricedRoute[] {
  const baseline = baselineCost(terms)
  return ROUTES.map((shape) => priceRoute(shape, terms, baseline))
}

/** The whole job uncached in realtime: what savings are measured against. Null when unpriced. */
function baselineCost(terms: RouteTerms): PicoUsd | null {
  const { pools, output } = terms
  if (pools === null) return null
  const unmarked = pools.map((priced) => ({ ...priced, pool: withoutOwnMarks(priced.pool) }))
  const cost = { estimate: 'best', scenario: 'unmarked', tier: 'standard', output } as const
  return totalCost({ ...terms, pools: unmarked }, [], cost)
}

/** What the job costs as a marked batch, by hit rate over its marked rows. */
export function hitRateCosts(terms: RouteTerms): HitRateCost[] {
  const placed5m = orAtALoss(place(terms, '5m', 1), terms)
  const placed1h = orAtALoss(place(terms, '1h', 1), terms)
  if (terms.pools === null || markedRows(placed5m) === 0 || markedRows(placed1h) === 0) return []
  const cost = (placed: Placed, hitRate: number): PicoUsd => {
    const end = (scenario: Scenario) =>
      totalCost(terms, placed, { estimate: 'best', scenario, tier: 'batch', output: terms.output })
    return mix([
      { share: hitRate, cost: end('all_read') },
      { share: 1 - hitRate, cost: end('all_write') },
    ])
  }
  return HIT_RATES_SHOWN.map((hitRate) => ({
    hitRate,
    cost5m: cost(placed5m, hitRate),
    cost1h: cost(placed1h, hitRate),
  }))
}

function priceRoute(shape: RouteShape, terms: RouteTerms, baseline: PicoUsd | null): PricedRoute {
  const { profile, settings, catalogue, priors, expectations } = terms
  const { rules } = catalogue
  const inFlightMax = rowsInFlightMax(rules.tiers[settings.tier].queuedRowsMax)
  const wavesFor = (primers: number): WavePlan[] =>
    planWaves({
      rows: profile.rows,
      route: shape.route,
      groups: Array.from({ length: primers }, (_, i) => ({ group: String(i), prime: true })),
      withinMs: settings.withinMs,
      rowsInFlightMax: inFlightMax,
    })
  const survivalIn = (waves: readonly WavePlan[]): Survival =>
    survivalOf(
      expectations.batchLatenciesMs,
      waves.filter((wave) => wave.kind !== 'primer').map((wave) => wave.rows),
      rules.cacheTtlMs[shape.ttl ?? '5m'],
      primerPatienceMs(settings.withinMs),
    )

  const primed = shape.marks === 'primed'
  // Marks are placed by the survival of an entry with one primer; more primers change its wave by little.
  const readShare = primed
    ? survivalIn(wavesFor(1)).reads * expectations.primed.read.best
    : shape.tier === 'standard'
      ? priors.realtimeHitRate.value.best
      : 1
  const paying = place(terms, shape.ttl, readShare)
  const placed = shape.ttl === null ? paying : orAtALoss(paying, terms)
  const waves = wavesFor(primed ? groupsIn(placed) : 0)
  const expected = expectationOf(shape, terms, placed, survivalIn(waves))

  const costs = terms.pools && expectedCosts(terms, placed, shape, expected)
  const finish =
    shape.tier === 'batch'
      ? batchFinish(terms, waves, inFlightMax)
      : realtimeFinish(terms, placed, markedRows(placed) === 0 ? 'unmarked' : 'primed')
  const extreme = extremeOf(shape, placed)
  const at = (scenario: Scenario, change: Partial<CostTerms> = {}) =>
    terms.pools &&
    totalCost(terms, placed, {
      estimate: 'best',
      scenario,
      tier: shape.tier,
      output: terms.output,
      ...change,
    })
  const worst = at(markedRows(placed) === 0 ? 'unmarked' : 'all_write', { estimate: 'high', output: 'max' })
  const searches = profile.webSearchesMax
  const plan: RoutePlan = {
    route: shape.route,
    cost: costs?.cost ?? null,
    costAtExtreme: extreme === null ? null : at(extreme === 'no row reads' ? 'all_write' : 'primed'),
    extreme,
    worstCase:
      worst === null || searches === null
        ? null
        : picoUsd(worst + BigInt(searches) * catalogue.webSearchPicoUsd),
    hitRate: expected.hitRate,
    expectedParts: costs?.parts ?? [],
    savings: costs && baseline !== null ? savingsOf(costs.cost.best, baseline) : null,
    finishMs: finish.finishMs,
    bottleneck: finish.bottleneck,
    zeroDataRetention: shape.tier === 'standard',
    refused: refusalOf(shape, terms, paying, finish.finishMs.p95),
  }
  return { plan, shape, waves, placements: paying }
}

function extremeOf(shape: RouteShape, placed: Placed): RoutePlan['extreme'] {
  if (shape.marks === 'none') return null
  if (markedRows(placed) === 0) return 'nothing is cached'
  return shape.marks === 'cold' && shape.tier === 'batch' ? 'no row reads' : 'every row reads'
}

/** Where marks go in every pool for a route, as far as they pay; nowhere without a TTL. */
function place(terms: RouteTerms, ttl: Ttl | null, readShare: number): Placed {
  return (terms.pools ?? []).map((priced) => {
    const placementTerms: PlacementTerms = {
      ttl: ttl ?? '5m',
      rates: usualRates(priced),
      minimumTokens: minimumCacheableTokens(priced.model, terms.at),
      tokenRatio: priced.tokenRatio.best,
      // A route without marks of ours still has those of the job.
      marksMax: ttl === null ? 0 : terms.catalogue.rules.cacheMarksMax,
      readShare,
    }
    const isBare = ttl === null && priced.pool.rowsWithOwnMarks === 0
    const placement = isBare ? NOWHERE : placeMarks(priced.pool, placementTerms)
    return { placement, terms: placementTerms }
  })
}

/**
 * The same marks; where none pays, those that would cost more than they save: a route is priced as what it is, and
 * refused because it does not pay.
 */
function orAtALoss(paying: Placed, { pools }: RouteTerms): Placed {
  if (markedRows(paying) > 0) return paying
  return paying.map(({ terms }, i) => {
    const placement = placeMarks(pools![i]!.pool, { ...terms, atALoss: true })
    return { placement, terms }
  })
}

function groupsIn(placed: Placed): number {
  return placed.reduce((sum, { placement }) => sum + placement.groups.length, 0)
}

function markedRows(placed: Placed): number {
  return placed.reduce(
    (sum, { placement }) => sum + placement.groups.reduce((rows, group) => rows + group.rows, 0),
    0,
  )
}

/** What is expected of a route, its hit rates assumed until a run has measured them. */
function expectationOf(
  shape: RouteShape,
  terms: RouteTerms,
  placed: Placed,
  survival: Survival,
): RouteExpectation {
  const { profile, priors, expectations } = terms
  const marked = markedRows(placed)
  if (marked === 0) return UNMARKED
  const basis = { rows: profile.rows, marked, groups: groupsIn(placed), priors }
  if (shape.tier === 'standard') return expectRealtime(basis)
  if (shape.marks !== 'primed' || shape.ttl === null) return expectCold(basis)
  return expectPrimed(basis, { survival, ttl: shape.ttl, expectations })
}

/** The cost at each end of the band, and the parts of the best. */
function expectedCosts(terms: RouteTerms, placed: Placed, shape: RouteShape, { ways }: RouteExpectation) {
  const partsAt = (estimate: Estimate): CostPart[] =>
    ways[estimate].map(({ what, share, scenario }) => ({
      what,
      share,
      cost: totalCost(terms, placed, { estimate, scenario, tier: shape.tier, output: terms.output }),
    }))
  const parts = partsAt('best')
  const best = mix(parts)
  const low = mix(partsAt('low'))
  const high = mix(partsAt('high'))
  // The mixture holds a little of ways that lie outside the ends, such as an entry that dies after release.
  return { parts, cost: { low: low < best ? low : best, best, high: high > best ? high : best } }
}

function totalCost(
  { pools, catalogue }: RouteTerms,
  placed: Placed,
  cost: Omit<CostTerms, 'placement'>,
): PicoUsd {
  const costs = (pools ?? []).map((priced, i) =>
    poolCost(priced, { ...cost, placement: placed[i]?.placement ?? NOWHERE }, catalogue),
  )
  return picoUsd(costs.reduce((sum, one) => sum + one, 0n))
}

const SHARE_PARTS = 1_000_000_000n

/** The mean of costs by shares that add up to 1, rounded once to a picodollar. */
function mix(parts: readonly { readonly share: number; readonly cost: PicoUsd }[]): PicoUsd {
  let left = SHARE_PARTS
  const total = parts.reduce((sum, { share, cost }, i) => {
    const weight = i === parts.length - 1 ? left : BigInt(Math.round(share * Number(SHARE_PARTS)))
    left -= weight
    return sum + cost * weight
  }, 0n)
  return picoUsd((total + SHARE_PARTS / 2n) / SHARE_PARTS)
}

function withoutOwnMarks(pool: PoolProfile): PoolProfile {
  const cleared = (estimate: Estimate) =>
    pool.sums[estimate].map((sums) => ({ ...sums, ownMarkTokens: { '5m': 0, '1h': 0 } }))
  const sums = { low: cleared('low'), best: cleared('best'), high: cleared('high') }
  return { ...pool, rowsWithOwnMarks: 0, sums }
}

interface Finish {
  readonly finishMs: RoutePlan['finishMs']
  readonly bottleneck: string
}

function batchFinish(
  { catalogue, settings, expectations }: RouteTerms,
  waves: readonly WavePlan[],
  inFlightMax: number,
): Finish {
  const { rules } = catalogue
  const patienceMs = primerPatienceMs(settings.withinMs)
  const capsMs = waves.map((wave) => (wave.kind === 'primer' ? patienceMs : rules.batchExpiryMs))
  const full = waves.filter((wave) => wave.rows === inFlightMax).length
  return {
    finishMs: {
      ...latencyOfWaves(expectations.batchLatenciesMs, capsMs),
      latest: capsMs.reduce((sum, cap) => sum + cap, 0),
    },
    bottleneck:
      full > 0
        ? `queue limit of tier ${settings.tier}: ${formatCount(rules.tiers[settings.tier].queuedRowsMax)} rows`
        : `batch latency, ${waves.length} ${waves.length === 1 ? 'wave' : 'waves'}`,
  }
}

/**
 * As fast as the tier's limits let it go: reads do not count against them (claude-api.md 3.10), output counts as used.
 * In whole minutes, as the limits are. Models have limits of their own, so the slowest decides.
 */
function realtimeFinish(terms: RouteTerms, placed: Placed, expected: Scenario): Finish {
  const slowest = (estimate: Estimate, scenario: Scenario, output: CostTerms['output']) => {
    const needs = new Map<string, { limit: MinuteLimits; requests: number; input: number; output: number }>()
    for (const [i, priced] of (terms.pools ?? []).entries()) {
      const placement = placed[i]?.placement ?? NOWHERE
      const limit = minuteLimitsOf(terms.catalogue.rules, terms.settings.tier, priced.model)
      const need = needs.get(priced.model.id) ?? { limit, requests: 0, input: 0, output: 0 }
      need.requests += priced.pool.rows
      for (const usage of poolUsage(priced, { estimate, scenario, tier: 'standard', placement, output })) {
        need.input += usage.inputTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens
        need.output += usage.outputTokens
      }
      needs.set(priced.model.id, need)
    }
    if (terms.pools === null) needs.set('unpriced', unpricedNeed(terms))
    const candidates = [...needs.values()].flatMap(({ limit, requests, input, output: tokens }) => [
      {
        minutes: requests / limit.requestsPerMinute,
        what: `${formatCount(limit.requestsPerMinute)} requests`,
      },
      {
        minutes: input / limit.inputTokensPerMinute,
        what: `${formatCount(limit.inputTokensPerMinute)} input tokens`,
      },
      {
        minutes: tokens / limit.outputTokensPerMinute,
        what: `${formatCount(limit.outputTokensPerMinute)} output tokens`,
      },
    ])
    return candidates.reduce((a, b) => (b.minutes > a.minutes ? b : a), { minutes: 0, what: 'nothing' })
  }
  const toMs = ({ minutes }: { minutes: number }) => Math.max(1, Math.ceil(minutes)) * MINUTE_MS
  const missed: Scenario = expected === 'unmarked' ? 'unmarked' : 'all_write'
  const best = slowest('best', expected, terms.output)
  return {
    finishMs: {
      median: toMs(best),
      p95: toMs(slowest('high', missed, terms.output)),
      latest: toMs(slowest('high', missed, 'max')),
    },
    bottleneck: `tier ${terms.settings.tier}: ${best.what} a minute`,
  }
}

/** Of a job that cannot be priced, at its upper bound: its models may not even be known. */
function unpricedNeed({ profile, catalogue, settings }: RouteTerms) {
  return {
    limit: catalogue.rules.tiers[settings.tier],
    requests: profile.rows,
    input: profile.promptTokens.high,
    output: profile.rows * profile.maxTokensMax,
  }
}

/** Models differ in their minimums and tokenizers, so each has its own reason. */
function nowhereToMark({ profile }: RouteTerms, placed: Placed): string {
  const reasons = new Map(placed.map(({ placement }, i) => [placement.elsewhere, profile.pools[i]!.model]))
  if (reasons.size === 0) return 'a model of the job has no price'
  if (reasons.size === 1) return placed[0]!.placement.elsewhere
  return [...reasons].map(([reason, model]) => `${model}: ${reason}`).join('; ')
}

function refusalOf(shape: RouteShape, terms: RouteTerms, paying: Placed, p95Ms: number): string | null {
  const { settings, profile } = terms
  if (shape.tier === 'batch' && settings.batch === 'off') return 'the job says batch: off'
  if (shape.tier === 'batch' && profile.pools.some((pool) => pool.speed === 'fast')) {
    return 'rows ask for fast mode, which batches refuse'
  }
  if (shape.ttl !== null) {
    if (settings.cache === 'off') return 'the job says cache: off'
    if (settings.cache !== 'auto' && settings.cache.ttl !== shape.ttl) {
      return `the job asks for marks of ${settings.cache.ttl}`
    }
    if (markedRows(paying) === 0) return nowhereToMark(terms, paying)
  }
  if (settings.withinMs !== null && p95Ms > settings.withinMs) {
    return `95 % finish in ${formatDuration(p95Ms)}, later than within: ${formatDuration(settings.withinMs)}`
  }
  return null
}

/**
 * The cheapest batch route that is not refused, and why; on equal cost the simpler. Realtime is for what cannot wait:
 * it takes the limits that live callers need, so it is chosen only when no batch keeps the job's terms. Where it is
 * expected to cost less, the reason says so.
 */
export function chooseRoute(routes: readonly RoutePlan[]): {
  readonly chosen: RouteName
  readonly because: string
} {
  const possible = routes.filter((route) => route.refused === null)
  if (possible.length === 0) {
    const quickest = routes.reduce((a, b) => (b.finishMs.p95 < a.finishMs.p95 ? b : a))
    return { chosen: quickest.route, because: 'no route keeps the job’s terms; this one finishes first' }
  }
  const batches = possible.filter(({ route }) => shapeOf(route).tier === 'batch')
  const eligible = batches.length > 0 ? batches : possible
  if (eligible.some(({ cost }) => cost === null)) {
    return {
      chosen: eligible[0]!.route,
      because: 'a model has no price here; batches cost half of whatever it is',
    }
  }
  const cheapest = cheapestOf(eligible)!
  const next = cheapestOf(
    eligible.filter(({ route }) => shapeOf(route).marks !== shapeOf(cheapest.route).marks),
  )
  const reasons = [`the lowest expected cost, ${formatUsd(cheapest.cost!.best)}`]
  if (next !== null) reasons.push(`${next.route} would cost ${formatUsd(next.cost!.best)}`)
  if (batches.length === 0) reasons.push('no batch keeps the job’s terms')
  const quicker = cheapestOf(possible.filter((route) => !eligible.includes(route)))
  if (quicker?.cost && quicker.cost.best < cheapest.cost!.best) {
    reasons.push(
      `${quicker.route} is expected at ${formatUsd(quicker.cost.best)}, on the limits of your live traffic: batch: off takes it`,
    )
  }
  return { chosen: cheapest.route, because: reasons.join('; ') }
}

function cheapestOf(routes: readonly RoutePlan[]): RoutePlan | null {
  return routes.reduce<RoutePlan | null>((a, b) => (a === null || b.cost!.best < a.cost!.best ? b : a), null)
}

function shapeOf(route: RouteName): RouteShape {
  return ROUTES.find((shape) => shape.route === route)!
}
