import assert from 'node:assert/strict'
import { test } from 'node:test'
import { instant } from '../core/instant.ts'
import { type JobSettings, POLICY_DEFAULTS } from '../core/job.ts'
import type { Visit } from '../core/measured.ts'
import { planStated } from '../core/plan-job.ts'
import type { RunPlan } from '../core/run-plan.ts'
import { loadCatalogue } from '../facts/load.ts'
import { loadPriors } from '../facts/priors.ts'
import { renderPlan } from './render-plan.ts'

const settings: JobSettings = {
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
}
const article = (change: Partial<JobSettings> = {}, visits: readonly Visit[] = []): RunPlan =>
  planStated(
    { rows: 1_000, shared: 10_000, own: 5_000, output: 1_000 },
    {
      settings: { ...settings, ...change },
      catalogue: loadCatalogue(),
      at: instant(Date.parse('2026-11-22')),
      priors: loadPriors(),
      visits,
      allModels: true,
    },
  )
const VISIT: Visit = {
  at: instant(Date.parse('2026-11-21T08:00:00Z')),
  upstream: 'https://api.anthropic.com',
  certainty: 'measured',
  organizationId: 'org_1',
  workspaceId: 'wrkspc_1',
  model: 'claude-haiku-5-5',
  batchLatenciesMs: [30_000, 40_000],
  cancelLatenciesMs: [],
  primed: { rows: 3, read: 3 },
  realtimeReadsBatch: null,
  batchReadsRealtime: null,
  readsAcrossTtl: null,
}
const plain = { colour: false, width: 110, allModels: false }

test('a plan shows rows, marks with their reason, waves, every route, the choice and the terms of batches', () => {
  const text = renderPlan(article(), plain)
  for (const wanted of [
    /^article · claude-sonnet-4-6 · api 2023-06-01$/m,
    /1,000 rows\n/,
    /15,000,000 prompt tokens \(as stated in the job\) · 1,000,000 output tokens \(given\)/,
    /mark the shared part \(1h\), primed/,
    /a 1h mark pays above 52\.6 % hits/,
    /1 primer +1 {2}one real row/,
    /realtime \+ cache 5m .* all \$33\.03/,
    /batch cold 1h .* none \$45\.00/,
    /^→ {2}batch primed 1h .* all \$16\.53/m,
    /hits: .*assumed until this job has been measured/,
    /any batch: not eligible for zero data retention/,
    /batch primed 1h: the lowest expected cost/,
  ]) {
    assert.match(text, wanted)
  }
})

test('no line is wider than the terminal or 110 columns, and colour changes nothing but colour', () => {
  for (const width of [100, 110, 200]) {
    const lines = renderPlan(article(), { ...plain, width, allModels: true }).split('\n')
    const routes = lines.indexOf('Routes')
    for (const [i, line] of lines.entries()) {
      // The table of routes has a width of its own: its figures are not wrapped.
      const isRoute = i > routes && i <= routes + 9
      assert.ok(line.length <= (isRoute ? 110 : Math.min(width, 110)), `${line.length}: ${line}`)
      assert.equal(line, line.trimEnd())
    }
  }
  const coloured = renderPlan(article(), { ...plain, colour: true })
  assert.notEqual(coloured, renderPlan(article(), plain))
  assert.equal(coloured.replaceAll(/\u001b\[\d+m/g, ''), renderPlan(article(), plain))
})

test('a route that is refused is marked, with its reason below the table', () => {
  const text = renderPlan(article({ batch: 'off' }), plain)
  assert.match(text, /^✗ {2}batch primed 1h/m)
  assert.match(text, /✗ batch, batch cold 5m, .*: the job says batch: off/)
})

test('other models are shown when asked for, with what their tokenizer does', () => {
  assert.doesNotMatch(renderPlan(article(), plain), /Other models/)
  const text = renderPlan(article(), { ...plain, allModels: true })
  assert.match(text, /claude-sonnet-5-5 +batch primed 1h +\$[\d.]+ +19,500,000 {2}new tokenizer, ×1\.3/)
})

test('many groups are summed up', () => {
  const plan = article()
  const [group] = plan.groups
  const groups = Array.from({ length: 500 }, (_, i) => ({ ...group!, group: `p1:${i}`, rows: 2 }))
  const text = renderPlan({ ...plan, groups }, plain)
  assert.match(text, /and 494 more groups with 988 rows/)
})

test('unknown output and prices are said, not hidden', () => {
  const plan = article()
  const unknown: RunPlan = { ...plan, outputTokens: { ...plan.outputTokens, source: 'unknown' } }
  assert.match(renderPlan(unknown, plain), /output unknown, at most 1,000,000 tokens/)
  assert.match(renderPlan(unknown, plain), /≤ \$60\.00/)
  const unpriced: RunPlan = {
    ...plan,
    routes: plan.routes.map((route) => ({ ...route, cost: null, worstCase: null })),
  }
  assert.match(renderPlan(unpriced, plain), /unpriced/)
})

test('where something was measured the plan says so with its date, and which latencies it reckons with', () => {
  const text = renderPlan(article({}, [VISIT]), plain).replace(/\s+/g, ' ')
  for (const wanted of [
    / hits \d+\.\d % \(measured 2026-11-21\): 3 of 3 rows behind a primer read/,
    /assumed or measured 2026-11-21 until this job has been measured/,
    /finish times of batches: by 52 recorded and 2 measured batch latencies \(measured 2026-11-21\)/,
  ]) {
    assert.match(text, wanted)
  }
  assert.doesNotMatch(renderPlan(article(), plain), /finish times of batches|measured 20/)
})
