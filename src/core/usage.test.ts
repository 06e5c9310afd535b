import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseUsage, promptTokens } from './usage.ts'

const usage = { input_tokens: 10, output_tokens: 5, cache_read_input_tokens: 100 }

test('without a split by TTL everything written is a 5-minute write', () => {
  const parsed = parseUsage({ ...usage, cache_creation_input_tokens: 40 })!
  assert.deepEqual([parsed.cacheWrite5mTokens, parsed.cacheWrite1hTokens], [40, 0])
  assert.equal(promptTokens(parsed), 150)
})

test('what the split by TTL leaves out is a 5-minute write', () => {
  const split = { ephemeral_5m_input_tokens: 3, ephemeral_1h_input_tokens: 7 }
  const parsed = parseUsage({ ...usage, cache_creation_input_tokens: 40, cache_creation: split })!
  assert.deepEqual([parsed.cacheWrite5mTokens, parsed.cacheWrite1hTokens], [33, 7])
})

test('a split alone is enough, and null counters are 0', () => {
  const split = { ephemeral_5m_input_tokens: 3, ephemeral_1h_input_tokens: null }
  const parsed = parseUsage({ ...usage, cache_read_input_tokens: null, cache_creation: split })!
  assert.deepEqual([parsed.cacheWrite5mTokens, parsed.cacheWrite1hTokens, parsed.cacheReadTokens], [3, 0, 0])
})

test('what is not a usage object is null', () => {
  for (const raw of [null, 'usage', {}, { input_tokens: 1 }]) assert.equal(parseUsage(raw), null)
})
