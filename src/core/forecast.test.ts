import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareForecast, forecastJson, type Measured } from './forecast.ts'
import { picoUsd } from './money.ts'
import type { RunPlan } from './run-plan.ts'

const plan = {
  rows: 1_000,
  promptTokens: { low: 0, best: 15_000_000, high: 0 },
  outputTokens: { low: 0, best: 1_000_000, high: 0, source: 'given' },
  chosen: 'batch_primed_1h',
  routes: [{ route: 'batch_primed_1h', cost: { best: picoUsd(20_000n) }, hitRate: { expected: 0.8 } }],
} as unknown as RunPlan
const measured: Measured = {
  rows: 100,
  rowsThatRead: 60,
  promptTokens: 1_650_000,
  outputTokens: 90_000,
  costPicoUsd: picoUsd(2_500n),
}

test('after a wave the plan is held against what came, row for row', () => {
  const found = compareForecast(plan, measured)
  const rounded = (line: { error: number | null } | null) => line?.error?.toFixed(3)
  assert.deepEqual(
    [found.hitRate, found.promptTokensPerRow, found.outputTokensPerRow, found.cost].map(rounded),
    ['-0.250', '0.100', '-0.100', '0.250'],
  )
  assert.equal(found.cost?.forecast, 2_000n)
  assert.equal(found.expectedTotal, 25_000n)
})

test('what was not forecast has no error', () => {
  const unknown = { ...plan, outputTokens: { ...plan.outputTokens, source: 'unknown' as const } }
  assert.equal(compareForecast(unknown, measured).outputTokensPerRow, null)
  assert.equal(compareForecast(plan, { ...measured, costPicoUsd: null }).cost, null)
  const nothing = compareForecast(plan, { ...measured, rows: 0 })
  assert.deepEqual([nothing.cost, nothing.hitRate, nothing.expectedTotal], [null, null, null])
})

test('in JSON money stands in both spellings and what is unknown is null', () => {
  const json = forecastJson(compareForecast(plan, { ...measured, rows: 1_000 }), 'simulated')
  assert.deepEqual(json['cost'], {
    forecast_pico_usd: '20000',
    forecast_usd: 2e-8,
    measured_pico_usd: '2500',
    measured_usd: 2.5e-9,
    error: -0.875,
  })
  assert.equal(json['expected_total_pico_usd'], '2500')
  assert.equal(forecastJson(compareForecast(plan, { ...measured, rows: 0 }), null)['cost'], null)
})
