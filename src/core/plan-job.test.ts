import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadCatalogue } from '../facts/load.ts'
import { loadPriors } from '../facts/priors.ts'
import { sha256Hex } from './digest.ts'
import { HOUR_MS, instant, MINUTE_MS } from './instant.ts'
import { type JobSettings, POLICY_DEFAULTS, type StatedSizes } from './job.ts'
import { profileJob, type RowProfile } from './job-profile.ts'
import type { Visit } from './measured.ts'
import { formatUsd, parseUsd, picoUsd } from './money.ts'
import { planJob, planStated, profileCuts } from './plan-job.ts'
import { parsePlanJson, planJson } from './plan-json.ts'
import type { MessageRequest, Ttl } from './request.ts'
import type { RouteName, RunPlan } from './run-plan.ts'

const catalogue = loadCatalogue()
const priors = loadPriors()
const at = instant(Date.parse('2026-11-22T12:00:00Z'))

function settings(change: Partial<JobSettings> = {}): JobSettings {
  return {
    name: 'article',
    path: null,
    apiVersion: '2023-06-01',
    betas: [],
    models: ['claude-sonnet-4-6'],
    withinMs: null,
    budgetPicoUsd: null,
    cache: 'auto',
    batch: 'auto',
    tier: 'start',
    expect: null,
    outputSchema: null,
    expectedOutputTokens: null,
    contractPrices: {},
    ...POLICY_DEFAULTS,
    maxAttempts: 3,
    upstream: null,
    ...change,
  }
}
const stated = (
  sizes: StatedSizes,
  change: Partial<JobSettings> = {},
  more: { allModels?: boolean; visits?: readonly Visit[] } = {},
) => planStated(sizes, { settings: settings(change), catalogue, at, priors, ...more })
const ARTICLE: StatedSizes = { rows: 1_000, shared: 10_000, own: 5_000, output: 1_000 }
const routeOf = (plan: RunPlan, route: RouteName) => plan.routes.find((one) => one.route === route)!
const dollars = (amount: bigint | null | undefined) => (amount == null ? null : formatUsd(amount))

/** A job of real rows: `shared` tokens by all of them, then their own. */
function planned(
  rows: readonly Partial<RowProfile>[],
  change: Partial<JobSettings> = {},
  more: { sampleRequest?: MessageRequest; allModels?: boolean } = {},
): RunPlan {
  const profiler = profileJob(profileCuts(catalogue, at, priors))
  for (const [ordinal, row] of rows.entries()) {
    profiler.add({
      ordinal,
      model: 'claude-sonnet-4-6',
      variant: '2023-06-01',
      prefixes: [{ path: 'system[0]', hash: SHARED, tokens: 10_000, markable: true, mark: null }],
      promptTokens: { low: 14_000, best: 15_000, high: 16_000 },
      ownBytes: 20_000,
      paramsBytes: 60_000,
      maxTokens: 2_000,
      inferenceGeo: null,
      speed: 'standard',
      webSearchesMax: 0,
      warnings: [],
      ...row,
    })
  }
  return planJob({
    profile: profiler.profile('exact'),
    settings: settings(change),
    catalogue,
    at,
    priors,
    ...more,
  })
}
const SHARED = `p1:${sha256Hex('shared')}`
const many = (count: number, row: Partial<RowProfile> = {}) => Array.from({ length: count }, () => row)

test('the article’s case costs what claude-api.md 3.14 says, on every route', () => {
  const plan = stated(ARTICLE)
  const cost = (route: RouteName) => dollars(routeOf(plan, route).cost?.best)
  const extreme = (route: RouteName) => {
    const { costAtExtreme, extreme: label } = routeOf(plan, route)
    return `${dollars(costAtExtreme)} if ${label}`
  }
  assert.equal(cost('realtime'), '$60.00')
  assert.equal(cost('batch'), '$30.00')
  assert.equal(extreme('realtime_cache_5m'), '$33.03 if every row reads')
  assert.equal(extreme('realtime_cache_1h'), '$33.06 if every row reads')
  assert.equal(extreme('batch_cold_5m'), '$33.75 if no row reads')
  assert.equal(extreme('batch_cold_1h'), '$45.00 if no row reads')
  assert.equal(extreme('batch_primed_5m'), '$16.52 if every row reads')
  assert.equal(extreme('batch_primed_1h'), '$16.53 if every row reads')
  assert.deepEqual(
    plan.hitRates.map((line) => `${line.hitRate} ${dollars(line.cost5m)} ${dollars(line.cost1h)}`),
    [
      '0.98 $16.85 $17.07',
      '0.9 $18.23 $19.35',
      '0.7 $21.68 $25.05',
      '0.5 $25.13 $30.75',
      '0.3 $28.58 $36.45',
      '0 $33.75 $45.00',
    ],
  )
})

test('the article’s case goes primed for an hour, at the cost that the survival of its entry implies', () => {
  const plan = stated(ARTICLE)
  assert.equal(plan.chosen, 'batch_primed_1h')
  const route = routeOf(plan, 'batch_primed_1h')
  const shares = route.expectedParts.reduce((sum, part) => sum + part.share, 0)
  const mean = route.expectedParts.reduce((sum, part) => sum + part.share * Number(part.cost), 0)
  assert.ok(Math.abs(shares - 1) < 1e-9)
  assert.ok(Math.abs(mean - Number(route.cost!.best)) < 1e6, 'to a millionth of a dollar')
  assert.ok(route.costAtExtreme! < route.cost!.best && route.cost!.best < routeOf(plan, 'batch').cost!.best)
  assert.ok(route.savings! < 1 - Number(route.costAtExtreme) / Number(routeOf(plan, 'realtime').cost!.best))
  assert.equal(route.hitRate?.certainty, 'assumed')
  const reading = route.expectedParts.filter((part) => /reads/.test(part.what))
  const readShare = reading.reduce((sum, part) => sum + part.share, 0)
  assert.ok(
    Math.abs(route.hitRate.expected - (readShare * 999) / 1_000) < 1e-9,
    'the first row can only write',
  )
  assert.deepEqual(
    plan.groups.map((group) => [group.rows, group.prime, group.marks.map((mark) => mark.ttl)]),
    [[1_000, true, ['1h']]],
  )
})

const visit = (change: Partial<Visit>): Visit => ({
  at: instant(Date.parse('2026-11-21T08:00:00Z')),
  upstream: 'https://api.anthropic.com',
  certainty: 'measured',
  organizationId: 'org_1',
  workspaceId: 'wrkspc_1',
  model: 'claude-haiku-5-5',
  batchLatenciesMs: [],
  cancelLatenciesMs: [],
  primed: null,
  realtimeReadsBatch: null,
  batchReadsRealtime: null,
  readsAcrossTtl: null,
  ...change,
})

test('a measured share of hits behind a primer takes the place of the assumed one, and the plan says since when', () => {
  const assumed = routeOf(stated(ARTICLE), 'batch_primed_1h')
  const plan = stated(ARTICLE, {}, { visits: [visit({ primed: { rows: 40, read: 30 } })] })
  const route = routeOf(plan, 'batch_primed_1h')
  assert.deepEqual([route.hitRate?.certainty, route.hitRate?.date], ['measured', '2026-11-21'])
  assert.match(
    route.hitRate!.why,
    /^30 of 40 rows behind a primer read \(measured 2026-11-21; 60 to 86 % are possible/,
  )
  assert.match(plan.groups[0]!.because, /are expected \(measured 2026-11-21\)/)
  assert.ok(route.cost!.best > assumed.cost!.best && route.cost!.low > assumed.cost!.low)
  assert.ok(route.hitRate!.expected < assumed.hitRate!.expected)
  const shares = route.expectedParts.reduce((sum, part) => sum + part.share, 0)
  assert.ok(Math.abs(shares - 1) < 1e-9)
  // The other routes know nothing of primers.
  assert.deepEqual(routeOf(plan, 'batch_cold_1h'), routeOf(stated(ARTICLE), 'batch_cold_1h'))
  assert.deepEqual(parsePlanJson(JSON.stringify(planJson(plan))), plan)
})

test('a primed batch is dearest when its entry dies; where no measured latency outlasts it, when as few read as may', () => {
  const primed = { rows: 40, read: 39 }
  const quick = visit({ primed, batchLatenciesMs: Array<number>(20).fill(30_000) })
  const high = (visits: readonly Visit[]) =>
    routeOf(stated(ARTICLE, {}, { visits }), 'batch_primed_1h').cost!.high
  assert.equal(high([visit({ primed })]), high([]))
  assert.ok(high([quick]) < high([]) / 2n)
})

test('measured latencies that are enough decide finish times and what a cache entry lives through', () => {
  const plan = stated(ARTICLE, {}, { visits: [visit({ batchLatenciesMs: Array<number>(20).fill(30_000) })] })
  assert.equal(plan.batchLatencies, '20 measured batch latencies (measured 2026-11-21)')
  const { finishMs, hitRate } = routeOf(plan, 'batch_primed_5m')
  const inAll = 30_000 * plan.waves.length
  assert.deepEqual([finishMs.median, finishMs.p95], [inAll, inAll])
  assert.equal(hitRate!.expected, 0.999)
  assert.equal(hitRate!.certainty, 'assumed')
  assert.equal(stated(ARTICLE).batchLatencies, '52 recorded batch latencies')
})

test('the band of a cost holds what hits may do to it: from every row reading to every row writing', () => {
  const plan = stated(ARTICLE)
  for (const { cost } of plan.routes) assert.ok(cost!.low <= cost!.best && cost!.best <= cost!.high)
  const band = (route: RouteName) => {
    const { low, high } = routeOf(plan, route).cost!
    return `${dollars(low)} to ${dollars(high)}`
  }
  assert.equal(band('batch'), '$30.00 to $30.00')
  assert.equal(band('batch_primed_1h'), '$16.53 to $45.00')
  assert.equal(band('batch_cold_5m'), '$16.85 to $33.75')
})

// Recomputed from claude-api.md 3.15 with the prices of section 4, in dollars, sharing no code with the planner.
const PRICES: Record<string, { in: number; out: number; read: number; min: number; above100k?: number }> = {
  'claude-sonnet-4-6': { in: 3, out: 15, read: 0.3, min: 1_024 },
  'claude-opus-5-5': { in: 4, out: 20, read: 0.2, min: 512 },
  'claude-fable-5-2': { in: 8, out: 40, read: 0.2, min: 512 },
  'claude-haiku-4-5-20251001': { in: 1, out: 5, read: 0.1, min: 4_096 },
  'claude-haiku-5-5': { in: 0.1, out: 0.5, read: 0.01, min: 512, above100k: 5 },
}
function recomputed(
  model: string,
  { rows, shared, own, output }: StatedSizes,
  reads: number,
  ttl: Ttl,
  batch: boolean,
) {
  const price = PRICES[model]!
  const writes = rows - reads
  const input = rows * own * price.in
  const cached = shared * (reads * price.read + writes * price.in * (ttl === '5m' ? 1.25 : 2))
  const band = shared + own > 100_000 ? (price.above100k ?? 1) : 1
  return ((input + cached + rows * output * price.out) * band * (batch ? 0.5 : 1)) / 1e6
}

const someSizes = fc.record({
  rows: fc.integer({ min: 2, max: 200_000 }),
  shared: fc.integer({ min: 5_000, max: 120_000 }),
  own: fc.integer({ min: 0, max: 60_000 }),
  output: fc.integer({ min: 0, max: 8_000 }),
})

test('any rows, sizes and model cost what the formula gives, to a millionth', () => {
  fc.assert(
    fc.property(someSizes, fc.constantFrom(...Object.keys(PRICES)), (sizes, model) => {
      const plan = stated(sizes, { models: [model] })
      const { rows } = sizes
      const near = (actual: bigint | null | undefined, expected: number, what: string) => {
        assert.ok(actual != null, what)
        assert.ok(
          Math.abs(Number(actual) / 1e12 / expected - 1) < 1e-6,
          `${what}: ${actual} is not $${expected}`,
        )
      }
      const unmarked = (batch: boolean) =>
        recomputed(model, { ...sizes, own: sizes.shared + sizes.own, shared: 0 }, 0, '5m', batch)
      near(routeOf(plan, 'realtime').cost?.best, unmarked(false), 'realtime')
      near(routeOf(plan, 'batch').cost?.best, unmarked(true), 'batch')
      for (const ttl of ['5m', '1h'] as const) {
        const perfect = (batch: boolean) => recomputed(model, sizes, rows - 1, ttl, batch)
        near(routeOf(plan, `realtime_cache_${ttl}`).costAtExtreme, perfect(false), `realtime + cache ${ttl}`)
        near(routeOf(plan, `batch_primed_${ttl}`).costAtExtreme, perfect(true), `primed ${ttl}`)
        const none = recomputed(model, sizes, 0, ttl, true)
        near(routeOf(plan, `batch_cold_${ttl}`).costAtExtreme, none, `cold ${ttl}`)
        near(routeOf(plan, `batch_cold_${ttl}`).worstCase, none, `worst of cold ${ttl}`)
        for (const line of plan.hitRates) {
          const cost = ttl === '5m' ? line.cost5m : line.cost1h
          near(cost, recomputed(model, sizes, rows * line.hitRate, ttl, true), `${line.hitRate} ${ttl}`)
        }
      }
    }),
    { numRuns: 60 },
  )
})

test('a route that does not pay is priced as what it is, and refused', () => {
  const plan = stated({ rows: 2, shared: 10_000, own: 500, output: 10 })
  const hour = routeOf(plan, 'batch_primed_1h')
  assert.ok(hour.cost!.best > routeOf(plan, 'batch').cost!.best)
  assert.match(hour.refused!, /a 1h mark pays from use 3/)
  const { chosen, groups } = stated(
    { rows: 2, shared: 10_000, own: 500, output: 10 },
    { cache: { ttl: '1h' } },
  )
  assert.equal(chosen, 'batch')
  assert.deepEqual(
    groups.map((group) => group.marks.length),
    [0],
  )
})

test('of two rows in a cold batch only the second may read, and no more likely than any other', () => {
  const { expected, high } = routeOf(stated({ rows: 2, shared: 10_000, own: 0, output: 0 }), 'batch_cold_5m')
    .hitRate!
  assert.equal(expected, priors.coldBatchHitRate.value.best / 2)
  assert.equal(high, 0.5)
})

test('where nothing can be cached no end is called one where rows read', () => {
  const plan = stated({ rows: 1_000, shared: 1_023, own: 5, output: 100 })
  for (const route of plan.routes.filter((one) => one.extreme !== null)) {
    assert.equal(route.extreme, 'nothing is cached')
    assert.equal(route.costAtExtreme, route.cost!.best)
  }
})

test('rows on both sides of Haiku 5.5’s 100,000 tokens are each billed at their own rates', () => {
  const rowOf = (best: number): Partial<RowProfile> => ({
    model: 'claude-haiku-5-5',
    prefixes: [],
    promptTokens: { low: best, best, high: best },
  })
  const change = { models: ['claude-haiku-5-5'], expectedOutputTokens: 1_000 }
  const plan = planned([...many(3, rowOf(100_000)), ...many(2, rowOf(100_001))], change)
  const small = 3 * (100_000 * 0.1 + 1_000 * 0.5)
  const large = 2 * (100_001 * 0.5 + 1_000 * 2.5)
  assert.equal(routeOf(plan, 'realtime').cost?.best, BigInt(Math.round((small + large) * 1e6)))
})

test('on another model the band follows that model’s tokens, not the counted ones', () => {
  const plan = stated({ rows: 10, shared: 0, own: 80_000, output: 0 }, {}, { allModels: true })
  const haiku = plan.alternatives.find((other) => other.model === 'claude-haiku-5-5')!
  // 80,000 tokens of the older tokenizer are about 104,000 of the newer: over the band.
  assert.deepEqual(haiku.promptTokens, { low: 800_000, best: 1_040_000, high: 1_176_000 })
  assert.equal(dollars(haiku.cost?.best), formatUsd(parseUsd((10 * 104_000 * 0.5 * 0.5) / 1e6)!))
  assert.equal(dollars(haiku.cost?.low), formatUsd(parseUsd((10 * 80_000 * 0.1 * 0.5) / 1e6)!))
})

test('answers grow with the tokenizer too, as far as max_tokens lets them', () => {
  const priced = (model: string, more: Partial<StatedSizes> = {}) => {
    const plan = stated({ ...ARTICLE, shared: 0, own: 15_000, ...more }, {}, { allModels: true })
    return dollars(plan.alternatives.find((other) => other.model === model)!.cost?.best)
  }
  const batch = (output: number) => formatUsd(parseUsd((1_000 * (19_500 * 2 + output * 10) * 0.5) / 1e6)!)
  assert.equal(priced('claude-sonnet-5-5'), batch(1_300))
  assert.equal(priced('claude-sonnet-5-5', { maxTokens: 1_200 }), batch(1_200))
})

test('stated sizes hold for each model of the job, with its max_tokens and its region', () => {
  const models = ['claude-sonnet-4-6', 'claude-haiku-4-5']
  const plan = stated({ ...ARTICLE, maxTokens: 4_000, inferenceGeo: 'us' }, { models })
  assert.equal(plan.rows, 2_000)
  assert.deepEqual(plan.models, ['claude-sonnet-4-6', 'claude-haiku-4-5-20251001'])
  assert.equal(dollars(routeOf(plan, 'realtime').cost?.best), '$88.00', '1.1 × ($60 + $20)')
  assert.equal(dollars(routeOf(plan, 'realtime').worstCase), '$154.00', '1.1 × ($105 + $35)')
  assert.equal(
    stated({ ...ARTICLE, speed: 'fast' }, { models: ['claude-opus-5-5'] }).chosen,
    'realtime_cache_5m',
  )
})

test('every current model is an alternative; the tokenizer’s effect is in its figures, retired ones are not there', () => {
  const plan = stated(ARTICLE, {}, { allModels: true })
  const names = plan.alternatives.map((other) => other.model)
  assert.ok(names.includes('claude-opus-5-5') && names.includes('claude-sonnet-4-6'))
  assert.ok(!names.some((name) => catalogue.models.find((model) => model.id === name)?.status === 'retired'))
  const newer = plan.alternatives.find((other) => other.model === 'claude-sonnet-5-5')!
  assert.match(newer.note, /new tokenizer, ×1\.3 tokens \(1–1\.47\)/)
  assert.equal(newer.promptTokens.best, 19_500_000)
  assert.equal(plan.alternatives.find((other) => other.model === 'claude-sonnet-4-6')!.note, '')
})

test('a model that would refuse the job says why', () => {
  const sampleRequest: MessageRequest = {
    model: 'claude-sonnet-4-6',
    max_tokens: 2_000,
    temperature: 0,
    messages: [{ role: 'user', content: 'x' }],
  }
  const plan = planned(many(3), {}, { sampleRequest, allModels: true })
  const other = (name: string) => plan.alternatives.find((one) => one.model === name)!
  assert.deepEqual(other('claude-sonnet-4-6').wouldRefuse, [])
  assert.match(other('claude-opus-5-5').wouldRefuse.join(), /temperature/)
  const long = stated({ rows: 3, shared: 0, own: 300_000, output: 10 }, {}, { allModels: true })
  const haiku = long.alternatives.find((one) => one.model === 'claude-haiku-4-5-20251001')!
  assert.match(haiku.wouldRefuse.join(), /300,000 tokens; its context holds 200,000/)
})

test('what the user forbids is refused with the reason, and the best of the rest is chosen', () => {
  assert.equal(stated(ARTICLE, { cache: 'off' }).chosen, 'batch')
  assert.match(routeOf(stated(ARTICLE, { cache: 'off' }), 'batch_primed_1h').refused!, /cache: off/)
  assert.equal(stated(ARTICLE, { batch: 'off' }).chosen, 'realtime_cache_5m')
  assert.equal(stated(ARTICLE, { batch: 'off', cache: 'off' }).chosen, 'realtime')
  assert.equal(stated(ARTICLE, { cache: { ttl: '5m' } }).chosen, 'batch_primed_5m')
})

test('a route whose 95th percentile is later than within is not chosen', () => {
  const plan = stated(ARTICLE, { withinMs: HOUR_MS })
  assert.match(plan.chosen, /^realtime_cache/)
  assert.match(routeOf(plan, 'batch').refused!, /95 % finish in 2 h .* later than within: 1 h/)
  const hopeless = stated(ARTICLE, { withinMs: MINUTE_MS })
  assert.ok(hopeless.problems.some((found) => found.code === 'no_route_fits'))
})

test('where nothing is shared no route sets marks, and plain batch is chosen', () => {
  const plan = stated({ rows: 1_000, shared: 0, own: 15_000, output: 100 })
  assert.equal(plan.chosen, 'batch')
  assert.match(routeOf(plan, 'batch_primed_1h').refused!, /no two rows begin alike/)
  assert.deepEqual(plan.hitRates, [])
  assert.deepEqual(
    plan.groups.map(({ marks, prime, because }) => [marks.length, prime, because]),
    [[0, false, 'no two rows begin alike at a place where a mark could stand']],
  )
  const short = stated({ rows: 1_000, shared: 1_023, own: 5, output: 100 })
  assert.match(routeOf(short, 'batch_primed_1h').refused!, /1 short of the minimum of 1,024/)
})

test('what stands against marks is said for each model of a job', () => {
  const prefix = (name: string, tokens: number) => [
    { path: 'system[0]', hash: `p1:${sha256Hex(name)}`, tokens, markable: true, mark: null },
  ]
  const rows = (model: string, prefixes: RowProfile['prefixes']) => [
    { model, prefixes },
    { model, prefixes },
  ]
  const both = [
    ...rows('claude-sonnet-4-6', prefix('sonnet', 1_000)),
    ...rows('claude-haiku-5-5', prefix('haiku', 500)),
  ]
  const { groups, routes } = planned(both)
  assert.deepEqual(
    groups.map((group) => [group.model, /\d+ short of the minimum of [\d,]+/.exec(group.because)?.[0]]),
    [
      ['claude-sonnet-4-6', '24 short of the minimum of 1,024'],
      ['claude-haiku-5-5', '12 short of the minimum of 512'],
    ],
  )
  assert.match(routes.at(-1)!.refused!, /sonnet-4-6: 1,000 tokens .*; claude-haiku-5-5: 500 tokens/)
  assert.match(planned(both, { cache: 'off' }).groups[1]!.because, /cache: off/)
})

test('a batch is never eligible for zero data retention, realtime is', () => {
  for (const route of stated(ARTICLE).routes) {
    assert.equal(route.zeroDataRetention, route.route.startsWith('realtime'), route.route)
  }
})

test('finishing late is said: median, 95th percentile and latest never fall, and each wave may take a day', () => {
  const plan = stated(ARTICLE)
  for (const { finishMs } of plan.routes) {
    assert.ok(finishMs.median <= finishMs.p95 && finishMs.p95 <= finishMs.latest)
  }
  assert.equal(routeOf(plan, 'batch').finishMs.latest, 3 * 24 * HOUR_MS)
  assert.equal(routeOf(plan, 'realtime').finishMs.median, 8 * MINUTE_MS, '15 M tokens at 2 M a minute')
  assert.match(routeOf(plan, 'realtime').bottleneck, /tier start: 2,000,000 input tokens a minute/)
  const huge = stated({ ...ARTICLE, rows: 1_000_000 })
  assert.match(routeOf(huge, 'batch').bottleneck, /queue limit of tier start: 200,000 rows/)
})

test('Fable’s own limits hold for Fable', () => {
  const plan = stated(ARTICLE, { models: ['claude-fable-5-2'] })
  assert.equal(routeOf(plan, 'realtime').finishMs.median, 30 * MINUTE_MS, '15 M tokens at 500 k a minute')
})

test('unknown output is priced up to max_tokens and says so; a stated one is used', () => {
  const unknown = planned(many(10))
  assert.deepEqual(unknown.outputTokens, { low: 0, best: 20_000, high: 20_000, source: 'unknown' })
  assert.ok(unknown.problems.some((found) => found.code === 'output_unknown'))
  const given = planned(many(10), { expectedOutputTokens: 500 })
  assert.deepEqual(given.outputTokens, { low: 5_000, best: 5_000, high: 5_000, source: 'given' })
  assert.ok(routeOf(given, 'batch').cost!.best < routeOf(unknown, 'batch').cost!.best)
  assert.equal(routeOf(given, 'batch').worstCase, routeOf(unknown, 'batch').worstCase)
})

test('the worst case is the upper estimate, all written, answered up to max_tokens', () => {
  const plan = planned(many(10), { expectedOutputTokens: 1 })
  const shared = Math.round(10_000 * (16 / 15))
  const perRow = (shared * 6 + (16_000 - shared) * 3 + 2_000 * 15) / 2
  assert.equal(routeOf(plan, 'batch_primed_1h').worstCase, BigInt(10 * perRow * 1e6))
})

test('US inference costs a tenth more, and searches without a bound have no worst case', () => {
  const [us, world] = ['us', null].map((inferenceGeo) => planned(many(5, { inferenceGeo })))
  const cost = (plan: RunPlan | undefined) => routeOf(plan!, 'batch').cost!.best
  assert.equal(cost(us) * 10n, cost(world) * 11n)
  const bounded = planned(many(5, { webSearchesMax: 2 }))
  const extra = routeOf(bounded, 'batch').worstCase! - routeOf(world!, 'batch').worstCase!
  assert.equal(dollars(picoUsd(extra)), '$0.10')
  const open = planned(many(5, { webSearchesMax: null }), { budgetPicoUsd: parseUsd(1) })
  assert.equal(routeOf(open, 'batch').worstCase, null)
  assert.equal(open.problems.find((found) => found.code === 'unbounded_server_tool')?.severity, 'error')
})

test('an unknown model is unpriced, never free, and a budget refuses it', () => {
  const plan = planned(many(50, { model: 'claude-of-tomorrow' }))
  assert.ok(
    plan.routes.every((route) => route.cost === null && route.worstCase === null && route.savings === null),
  )
  assert.equal(plan.chosen, 'batch')
  assert.equal(plan.problems.find((found) => found.code === 'unpriced_model')?.severity, 'warning')
  const budgeted = planned(many(50, { model: 'claude-of-tomorrow' }), { budgetPicoUsd: parseUsd(1) })
  assert.equal(budgeted.problems.find((found) => found.code === 'unpriced_model')?.severity, 'error')
})

test('an expected cost over the budget is a warning with both figures', () => {
  const plan = stated(ARTICLE, { budgetPicoUsd: parseUsd(5) })
  assert.match(
    plan.problems.find((found) => found.code === 'over_budget')!.message,
    /is over the budget of \$5\.00/,
  )
  assert.ok(
    !stated(ARTICLE, { budgetPicoUsd: parseUsd(50) }).problems.some((found) => found.code === 'over_budget'),
  )
})

test('a mark of the job below the minimum is a warning with the numbers', () => {
  const prefixes = [{ path: 'system[0]', hash: SHARED, tokens: 800, markable: true, mark: '5m' as const }]
  const plan = planned(many(10, { prefixes }))
  const found = plan.problems.find((one) => one.code === 'mark_below_minimum')
  assert.match(found!.message, /about 800 tokens to the end of system\[0\] .* caches nothing below 1,024/)
})

test('marks that each row writes for itself cost their premium on every route', () => {
  const own = (ordinal: number): Partial<RowProfile> => ({
    prefixes: [
      {
        path: 'messages[0].content[0]',
        hash: `p1:${sha256Hex(`own ${ordinal}`)}`,
        tokens: 15_000,
        markable: true,
        mark: '5m',
      },
    ],
    promptTokens: { low: 15_000, best: 15_000, high: 15_000 },
  })
  const plan = planned(
    Array.from({ length: 20 }, (_, i) => own(i)),
    { expectedOutputTokens: 0 },
  )
  const { cost, savings } = routeOf(plan, 'realtime')
  assert.equal(dollars(cost?.best), formatUsd(parseUsd((20 * 15_000 * 3.75) / 1e6)!))
  assert.equal(savings, -0.25)
})

test('rows that bring marks of their own on what they share go marked on every route, and are priced so', () => {
  const marked = { path: 'system[0]', hash: SHARED, tokens: 10_000, markable: true, mark: '1h' as const }
  const plan = planned(many(1_000, { prefixes: [marked] }), { expectedOutputTokens: 0 })
  assert.equal(routeOf(plan, 'batch').cost?.best, routeOf(plan, 'batch_cold_1h').cost?.best)
  assert.equal(routeOf(plan, 'realtime').cost?.best, routeOf(plan, 'realtime_cache_1h').cost?.best)
  const dead = routeOf(plan, 'batch_primed_1h').expectedParts.find((part) =>
    /dead at release/.test(part.what),
  )!
  assert.equal(dead.cost, routeOf(plan, 'batch_cold_1h').costAtExtreme)
  assert.ok(routeOf(plan, 'realtime').savings! > 0, 'against no cache at all')
})

test('what another model would refuse is asked for the way that the job goes', () => {
  const sampleRequest = {
    model: 'claude-opus-5-5',
    max_tokens: 100,
    speed: 'fast',
    messages: [{ role: 'user', content: 'x' }],
  }
  const rows = many(3, { model: 'claude-opus-5-5', speed: 'fast' })
  const fast = planned(
    rows,
    { models: ['claude-opus-5-5'], batch: 'off' },
    { sampleRequest, allModels: true },
  )
  const other = (name: string) => fast.alternatives.find((one) => one.model === name)!.wouldRefuse
  assert.deepEqual(other('claude-opus-5-5'), [])
})

test('rows of several models are priced each at its own, and headers that differ never share a batch', () => {
  const rows = [...many(100), ...many(100, { variant: '2026-10-21' })]
  const plan = planned(rows, { cache: 'off', expectedOutputTokens: 10 })
  assert.equal(plan.settings.length, 2)
  assert.equal(plan.batches, 2 * plan.waves.length)
})

test('a plan reads back from its JSON as it was, to the picodollar', () => {
  const warned = many(40, { warnings: [] })
  for (const plan of [
    stated(ARTICLE, { budgetPicoUsd: parseUsd(5) }, { allModels: true }),
    planned(warned),
    planned(many(3, { model: 'claude-of-tomorrow' })),
  ]) {
    const json = planJson(plan)
    assert.equal(json['schema'], 'tithe.plan/1')
    assert.deepEqual(parsePlanJson(JSON.stringify(json)), plan)
    assert.doesNotMatch(JSON.stringify(json), /"[a-z0-9]+[A-Z]\w*":/, 'keys are snake_case')
  }
  assert.throws(() => parsePlanJson('{"schema":"tithe.plan/9"}'), /tithe\.plan\/9, not tithe\.plan\/1/)
})
