import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RowDescriber } from '../core/describe-row.ts'
import { instant } from '../core/instant.ts'
import { POLICY_DEFAULTS } from '../core/job.ts'
import type { InputRow } from '../core/rows.ts'
import { tokenMeasurer } from '../core/token-estimate.ts'
import { loadCatalogue } from '../facts/load.ts'
import { loadPriors } from '../facts/priors.ts'
import { loadTokenFacts } from '../facts/tokenizers.ts'
import { type PlanningDeps, planRun } from './plan-run.ts'

const at = instant(Date.parse('2026-11-22T12:00:00Z'))

async function* rows(): AsyncGenerator<InputRow> {
  for (let ordinal = 0; ordinal < 50; ordinal++) {
    yield {
      kind: 'row',
      ordinal,
      userId: `row ${ordinal}`,
      line: ordinal + 1,
      request: {
        model: 'claude-sonnet-4-6',
        max_tokens: 100,
        messages: [{ role: 'user', content: 'Sort this. '.repeat(100) }],
      },
      apiVersion: '2023-06-01',
      betas: [],
      columns: {},
      expected: undefined,
      sharedBlocks: 0,
      warnings: [],
    }
  }
}

function plan(halfBandTokens: number) {
  const catalogue = loadCatalogue()
  const facts = loadTokenFacts()
  const measurer = tokenMeasurer(
    (text) => text.length / 4,
    () => null,
    facts.media,
  )
  const deps: PlanningDeps = {
    catalogue,
    priors: loadPriors(),
    visits: [],
    at,
    describer: new RowDescriber({ catalogue, measurer, facts, at }),
    counting: () => (halfBandTokens === 0 ? 'exact' : 'sampled'),
    halfBandTokens: () => halfBandTokens,
  }
  const settings = {
    name: 'sorting',
    path: null,
    models: ['claude-sonnet-4-6'],
    apiVersion: '2023-06-01',
    betas: [],
    withinMs: null,
    budgetPicoUsd: null,
    cache: 'auto',
    batch: 'auto',
    tier: 'start',
    expect: null,
    outputSchema: null,
    expectedOutputTokens: 10,
    contractPrices: {},
    ...POLICY_DEFAULTS,
    maxAttempts: 3,
    upstream: null,
  } as const
  const job = { settings, outline: null, stated: null, problems: [], rows }
  return planRun(job, deps, { allModels: false, skipInvalid: false }, null, null)
}

test('what a sample may be off widens the band of tokens and of every route’s cost', async () => {
  const exact = await plan(0)
  const sampled = await plan(2_000)
  assert.equal(sampled.promptTokens.best, exact.promptTokens.best)
  assert.ok(Math.abs(exact.promptTokens.low - sampled.promptTokens.low - 2_000) <= 1)
  assert.ok(Math.abs(sampled.promptTokens.high - exact.promptTokens.high - 2_000) <= 1)
  for (const [i, { route, cost }] of sampled.routes.entries()) {
    const before = exact.routes[i]!.cost!
    assert.ok(cost!.low < before.low && cost!.high > before.high, route)
    assert.equal(cost!.best, before.best)
  }
})
