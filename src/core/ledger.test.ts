import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalogue } from '../facts/load.ts'
import { parseTimestamp } from './instant.ts'
import { entryFor } from './ledger.ts'
import type { Usage } from './usage.ts'

const catalogue = loadCatalogue()
const usage: Usage = {
  inputTokens: 0,
  cacheWrite5mTokens: 0,
  cacheWrite1hTokens: 0,
  cacheReadTokens: 1_000_000,
  outputTokens: 0,
  webSearchRequests: 0,
  serviceTier: 'standard',
  inferenceGeo: null,
  speed: 'standard',
}

function entry(model: string, date: string) {
  return entryFor({
    run: 'r1',
    submission: 1,
    ordinal: 0,
    upstreamBatchId: null,
    customId: 'r1-1-0-a',
    at: parseTimestamp(date)!,
    model,
    usage,
    certainty: 'measured',
    kind: 'paid',
    catalogue,
  })
}

test('an entry is priced with the rates of its own day and names the book', () => {
  assert.equal(entry('claude-sonnet-5-5', '2026-10-06').costPicoUsd, 200_000_000_000n)
  assert.equal(entry('claude-sonnet-5-5', '2026-10-08').costPicoUsd, 100_000_000_000n)
  assert.equal(entry('claude-sonnet-5-5', '2026-10-08').realtimePicoUsd, 2_000_000_000_000n)
  assert.equal(entry('claude-sonnet-5-5', '2026-10-08').priceBook, catalogue.version)
})

test('an unknown model and one without a price are unpriced, not free', () => {
  for (const model of ['claude-nobody-9', 'claude-3-opus-20240229']) {
    assert.equal(entry(model, '2026-10-08').costPicoUsd, null)
    assert.equal(entry(model, '2026-10-08').realtimePicoUsd, null)
  }
})
