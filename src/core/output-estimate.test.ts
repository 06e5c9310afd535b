import assert from 'node:assert/strict'
import { test } from 'node:test'
import { estimateOutput, NO_OUTPUT, withAnswer } from './output-estimate.ts'

const sampleOf = (...tokens: number[]) => tokens.reduce(withAnswer, NO_OUTPUT)

test('what the job states comes first, then earlier runs, then the probe, then nothing', () => {
  const history = sampleOf(90, 100, 110, 100, 100)
  const probe = sampleOf(200, 200, 200, 200, 200)
  assert.deepEqual(estimateOutput({ expectedOutputTokens: 7, history, probe }), {
    source: 'given',
    perRow: { low: 7, best: 7, high: 7 },
  })
  assert.equal(estimateOutput({ expectedOutputTokens: null, history, probe }).source, 'history')
  assert.equal(estimateOutput({ expectedOutputTokens: null, probe }).source, 'probe')
  assert.deepEqual(estimateOutput({ expectedOutputTokens: null }), { source: 'unknown', perRow: null })
})

test('a sample gives the 95 % interval of its mean', () => {
  const { perRow } = estimateOutput({ expectedOutputTokens: null, probe: sampleOf(90, 95, 100, 105, 110) })
  assert.equal(perRow?.best, 100)
  // Standard deviation 7.906, five answers: 1.96 · 7.906 / √5 = 6.93.
  assert.ok(Math.abs(perRow.high - 106.93) < 0.01 && Math.abs(perRow.low - 93.07) < 0.01)
})

test('a handful of answers says too little to be an estimate', () => {
  assert.equal(estimateOutput({ expectedOutputTokens: null, probe: sampleOf(1, 2, 3, 4) }).source, 'unknown')
})
