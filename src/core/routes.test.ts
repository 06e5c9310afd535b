import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadCatalogue } from '../facts/load.ts'
import { loadPriors } from '../facts/priors.ts'
import { loadTokenFacts } from '../facts/tokenizers.ts'
import { applyMarks } from './apply-marks.ts'
import { groupOf, groupPlansOf } from './cache-plan.ts'
import { CacheState, simulateRequest } from './cache-sim.ts'
import { costOf } from './cost.ts'
import { RowDescriber } from './describe-row.ts'
import { instant, MINUTE_MS, plusMs } from './instant.ts'
import { type JobSettings, POLICY_DEFAULTS } from './job.ts'
import { profileJob } from './job-profile.ts'
import type { JsonObject } from './json.ts'
import { expectationsFrom } from './measured.ts'
import { findModel, minimumCacheableTokens, priceAt } from './models.ts'
import { profileCuts } from './plan-job.ts'
import { poolUsage, pricedPool, type Scenario } from './pool-cost.ts'
import { prefixHashes } from './prefix-hash.ts'
import { marksOf, promptBlocks } from './prompt.ts'
import type { MessageRequest, Ttl } from './request.ts'
import { priceRoutes } from './routes.ts'
import type { InputRow } from './rows.ts'
import type { RunPlan } from './run-plan.ts'
import { estimateBlocks, tokenMeasurer } from './token-estimate.ts'
import type { Usage } from './usage.ts'

// The price of a route is arithmetic over sums of rows. Here the very rows are sent, marked as the route marks them,
// through the model of the cache, one by one: both must come to the same usage, to the token.

const catalogue = loadCatalogue()
const priors = loadPriors()
const facts = loadTokenFacts()
const START = instant(Date.parse('2026-11-22T12:00:00Z'))
const MODEL = findModel(catalogue, 'claude-sonnet-4-6')!
const PRICE = priceAt(MODEL, START)!
const SETTINGS = { apiVersion: '2023-06-01', betas: [] }
const CACHE = { ...SETTINGS, effortDefault: MODEL.parameters.effortDefault }
const OUTPUT_TOKENS = 100
const OUTPUT = {
  source: 'given',
  perRow: { low: OUTPUT_TOKENS, best: OUTPUT_TOKENS, high: OUTPUT_TOKENS },
} as const
const JOB: JobSettings = {
  ...SETTINGS,
  name: 'job',
  path: null,
  models: [MODEL.id],
  withinMs: null,
  budgetPicoUsd: null,
  cache: 'auto',
  batch: 'auto',
  tier: 'start',
  expect: null,
  outputSchema: null,
  expectedOutputTokens: OUTPUT_TOKENS,
  contractPrices: {},
  ...POLICY_DEFAULTS,
  maxAttempts: 3,
  upstream: null,
}
const NO_ROW = {
  ...SETTINGS,
  kind: 'row',
  line: null,
  columns: {},
  expected: undefined,
  sharedBlocks: 0,
  warnings: [],
} as const
const OWN_MARKS = (['handbook', 'request'] as const).flatMap((on) =>
  (['5m', '1h'] as const).map((ttl) => ({ on, ttl })),
)
/** A character a token, or what the fitted constants make of it. */
const measurer = tokenMeasurer(
  (text) => text.length,
  () => null,
  facts.media,
)

interface Job {
  readonly handbook: number
  /** Sizes of texts that follow the handbook, each shared by the rows that name it. */
  readonly chapters: readonly number[]
  readonly rows: readonly { readonly chapter: number; readonly own: number }[]
  /** Marks of the job's own: on the handbook, or the automatic one of the whole request. */
  readonly ownMark: null | { readonly on: 'handbook' | 'request'; readonly ttl: Ttl }
}

function requestsOf({ handbook, chapters, rows, ownMark }: Job): MessageRequest[] {
  const mark = ownMark && { cache_control: { type: 'ephemeral', ttl: ownMark.ttl } }
  const text = (kind: string, size: number, more: JsonObject | null = null) => ({
    type: 'text',
    text: kind.padEnd(size, 'x'),
    ...more,
  })
  return rows.map(({ chapter, own }, i) => ({
    model: MODEL.id,
    max_tokens: 1_000,
    system: [text('handbook', handbook, ownMark?.on === 'handbook' ? mark : null)],
    messages: [
      {
        role: 'user',
        content: [text(`chapter ${chapter}`, chapters[chapter]!), text(`question ${i} `, own)],
      },
    ],
    ...(ownMark?.on === 'request' && mark),
  }))
}

/** The routes of a job on one model, priced, and the marks with which the rows of each would go. */
function pricedRoutes(requests: readonly MessageRequest[]) {
  const describer = new RowDescriber({ catalogue, measurer, facts, at: START })
  const profiler = profileJob(profileCuts(catalogue, START, priors))
  for (const [ordinal, request] of requests.entries()) {
    const row: InputRow = { ...NO_ROW, ordinal, userId: String(ordinal), request }
    const { profile, problems } = describer.describe(row)
    assert.deepEqual(problems, [])
    profiler.add(profile)
  }
  const profile = profiler.profile('exact')
  const tokenRatio = { low: 1, best: 1, high: 1 }
  const pools = profile.pools.map((pool) =>
    pricedPool(pool, profile.cuts, { model: MODEL, price: PRICE, tokenRatio }),
  )
  assert.equal(pools.length, 1)
  const expectations = expectationsFrom(catalogue.rules, priors, [])
  const job = { profile, catalogue, at: START, settings: JOB, priors, output: OUTPUT }
  const routes = priceRoutes({ ...job, pools, expectations })
  return routes.map((route) => {
    const { placement, terms } = route.placements[0]!
    const how = { prime: true, hitRate: 1, certainty: 'assumed' } as const
    const groups = groupPlansOf(profile.pools[0]!, placement, terms, how)
    const usageIn = (scenario: Scenario): Usage => {
      const tier = route.shape.tier
      const cost = { estimate: 'best', scenario, tier, placement, output: OUTPUT } as const
      return poolUsage(pools[0]!, cost).reduce(plus)
    }
    return { ...route, groups, usageIn }
  })
}

type TestedRoute = ReturnType<typeof pricedRoutes>[number]

/** When a row starts: by its place in the job, and whether it is the first of its group. */
type StartMs = (row: { readonly index: number; readonly isFirst: boolean }) => number

const FIRST_TOKEN_MS = 1_000

/** Sends the rows through the cache and adds up what they are billed. */
function simulate(
  requests: readonly MessageRequest[],
  { groups, shape }: TestedRoute,
  startMs: StartMs,
): Usage {
  const seen = new Set<string>()
  const calls = requests.map((request, index) => {
    const group = groupOf(
      { groups } as unknown as RunPlan,
      prefixHashes(request, promptBlocks(request), CACHE),
    )
    const isFirst = group !== null && !seen.has(group.group)
    if (group !== null) seen.add(group.group)
    const marked = applyMarks(request, group?.marks ?? [])
    return { marked, at: plusMs(START, startMs({ index, isFirst })) }
  })
  const state = new CacheState()
  return calls
    .sort((a, b) => a.at - b.at)
    .map(({ marked, at }): Usage => {
      const blocks = promptBlocks(marked)
      const { prefixTokens, best } = estimateBlocks(marked, blocks, MODEL, measurer, facts)
      const billed = simulateRequest(state, {
        pool: shape.tier,
        model: MODEL.id,
        hashes: prefixHashes(marked, blocks, CACHE),
        cumulativeTokens: prefixTokens,
        totalTokens: best,
        marks: marksOf(marked, blocks),
        at,
        readableAt: plusMs(at, FIRST_TOKEN_MS),
        minimumTokens: minimumCacheableTokens(MODEL, START),
        rules: catalogue.rules,
      })
      return {
        inputTokens: billed.inputTokens,
        cacheWrite5mTokens: billed.write5mTokens,
        cacheWrite1hTokens: billed.write1hTokens,
        cacheReadTokens: billed.readTokens,
        outputTokens: OUTPUT_TOKENS,
        webSearchRequests: 0,
        serviceTier: shape.tier,
        inferenceGeo: null,
        speed: 'standard',
      }
    })
    .reduce(plus)
}

function plus(a: Usage, b: Usage): Usage {
  return {
    ...a,
    inputTokens: a.inputTokens + b.inputTokens,
    cacheWrite5mTokens: a.cacheWrite5mTokens + b.cacheWrite5mTokens,
    cacheWrite1hTokens: a.cacheWrite1hTokens + b.cacheWrite1hTokens,
    cacheReadTokens: a.cacheReadTokens + b.cacheReadTokens,
    outputTokens: a.outputTokens + b.outputTokens,
  }
}

const TOGETHER: StartMs = () => 0
const PRIMERS_FIRST: StartMs = ({ isFirst }) => (isFirst ? 0 : MINUTE_MS)
const ONE_BY_ONE: StartMs = ({ index }) => index * 2 * FIRST_TOKEN_MS

/** Below the minimum of every model, or above it. */
const size = fc.oneof(fc.constant(20), fc.integer({ min: 1_500, max: 9_000 }))
const someJob = fc.array(size, { minLength: 1, maxLength: 3 }).chain((chapters) =>
  fc.record({
    handbook: size,
    chapters: fc.constant(chapters),
    rows: fc.array(
      fc.record({ chapter: fc.nat(chapters.length - 1), own: fc.integer({ min: 20, max: 3_000 }) }),
      { minLength: 2, maxLength: 30 },
    ),
    ownMark: fc.constantFrom(null, null, ...OWN_MARKS),
  }),
)

/**
 * Calls `hold` with every route of many jobs. Left out is a route whose TTL is not that of the job's own marks: there a
 * row's own marks decide which TTL ours can have (`fittingMarks`), and the price does not follow them.
 */
function onEveryRoute(
  jobs: fc.Arbitrary<Job>,
  hold: (route: TestedRoute, requests: readonly MessageRequest[]) => void,
): void {
  let nested = 0
  fc.assert(
    fc.property(jobs, (job) => {
      const requests = requestsOf(job)
      for (const route of pricedRoutes(requests)) {
        const { ttl } = route.shape
        if (ttl !== null && job.ownMark !== null && job.ownMark.ttl !== ttl) continue
        hold(route, requests)
        if (route.groups.some(({ marks }) => marks.length > 1)) nested++
      }
    }),
    // So many that none without nested marks is beyond belief: a hundred were, once.
    { numRuns: 300 },
  )
  assert.ok(nested > 0, 'some rows go with two marks')
}

const costOfAll = (usage: Usage) => costOf(usage, PRICE, catalogue).totalPicoUsd

test('rows that start together are billed what is priced as "no row reads"', () => {
  onEveryRoute(someJob, (route, requests) => {
    const billed = simulate(requests, route, TOGETHER)
    assert.deepEqual(billed, route.usageIn('all_write'), route.shape.route)
    if (route.plan.extreme === 'no row reads' && route.groups.some(({ group }) => group !== '')) {
      assert.equal(costOfAll(billed), route.plan.costAtExtreme)
    }
  })
})

test('rows that start behind the first of their group are billed what is priced as "every row reads"', () => {
  onEveryRoute(someJob, (route, requests) => {
    const billed = simulate(requests, route, PRIMERS_FIRST)
    assert.deepEqual(billed, route.usageIn('primed'), route.shape.route)
    if (route.plan.extreme === 'every row reads' && route.groups.some(({ group }) => group !== '')) {
      assert.equal(costOfAll(billed), route.plan.costAtExtreme)
    }
  })
})

test('a row in no group reads what groups have written before it, where it has a mark of its own behind that', () => {
  const alone: Job = {
    handbook: 1_500,
    chapters: [2_077, 4_308, 20],
    rows: [1, 1, 0, 1, 2, 0, 0, 0].map((chapter) => ({ chapter, own: 20 })),
    ownMark: { on: 'request', ttl: '1h' },
  }
  onEveryRoute(fc.constant(alone), (route, requests) => {
    assert.deepEqual(simulate(requests, route, PRIMERS_FIRST), route.usageIn('primed'), route.shape.route)
  })
})

test('rows that start one after another cost no more than that, and as much where their groups share nothing', () => {
  onEveryRoute(someJob, (route, requests) => {
    const billed = simulate(requests, route, ONE_BY_ONE)
    const price = route.usageIn('primed')
    const { groups } = route.placements[0]!.placement
    if (groups.length <= 1) assert.deepEqual(billed, price, route.shape.route)
    // The first of a second group reads the trunk that the first group's wrote; primers start together and cannot.
    else assert.ok(costOfAll(billed) <= costOfAll(price), route.shape.route)
  })
})

test('of a cold start with c rows at once, c write and the others read: a mean of the two ends, by their shares', () => {
  const oneGroup = fc.record({
    job: someJob.map((job) => ({
      ...job,
      chapters: [20],
      rows: job.rows.map((row) => ({ ...row, chapter: 0 })),
    })),
    atOnce: fc.integer({ min: 1, max: 30 }),
  })
  let grouped = 0
  fc.assert(
    fc.property(oneGroup, ({ job, atOnce }) => {
      const requests = requestsOf({ ...job, ownMark: null })
      const rows = requests.length
      const writers = Math.min(atOnce, rows)
      for (const route of pricedRoutes(requests)) {
        const billed = simulate(requests, route, ({ index }) => (index < atOnce ? 0 : MINUTE_MS))
        const [write, read] = [route.usageIn('all_write'), route.usageIn('all_read')]
        for (const name of CLASSES) {
          assert.equal(rows * billed[name], writers * write[name] + (rows - writers) * read[name], name)
        }
        if (route.groups.some(({ group }) => group !== '')) grouped++
      }
    }),
  )
  assert.ok(grouped > 0)
})

const CLASSES = ['inputTokens', 'cacheReadTokens', 'cacheWrite5mTokens', 'cacheWrite1hTokens'] as const
