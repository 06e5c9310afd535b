import assert from 'node:assert/strict'
import { test } from 'node:test'
import { instant } from '../../core/instant.ts'
import type { JsonObject } from '../../core/json.ts'
import { Cache, type CacheBill, type CacheCall, cachePromptOf, positionsOf } from './cache.ts'

const RULES = { lookbackPositions: 20, ttlMs: { '5m': 300_000, '1h': 3_600_000 } }
const FIRST_TOKEN_MS = 1_000

/** A call whose prompt is the letters of a word, 1,000 tokens each; marks as `{position: ttl}`. */
function call(
  word: string,
  marks: Record<number, '5m' | '1h'>,
  atMs: number,
  changes: Partial<CacheCall> = {},
): CacheCall {
  return {
    workspace: 'w',
    model: 'm',
    pool: 'batch',
    prefixHashes: Array.from(word, (_, i) => word.slice(0, i + 1)),
    breakpoints: Object.entries(marks).map(([position, ttl]) => ({ position: Number(position), ttl })),
    blockTokens: Array.from(word, () => 1_000),
    totalTokens: word.length * 1_000 + 10,
    minimumTokens: 1_024,
    startedAt: instant(atMs),
    firstTokenAt: instant(atMs + FIRST_TOKEN_MS),
    ...changes,
  }
}

const billed = ({ readTokens, write5mTokens, write1hTokens, inputTokens }: CacheBill) => [
  readTokens,
  write1hTokens,
  write5mTokens,
  inputTokens,
]

test('the documented example: a 1h mark, then a 5m mark, cold and with each of the two entries alive', () => {
  const cache = new Cache(RULES)
  const marks = { 1: '1h', 4: '5m' } as const
  assert.deepEqual(billed(cache.serve(call('abcde!', marks, 0))), [0, 2_000, 3_000, 1_010])
  assert.deepEqual(billed(cache.serve(call('abxyz!', marks, 2_000))), [2_000, 0, 3_000, 1_010])
  assert.deepEqual(billed(cache.serve(call('abcde!', marks, 3_000))), [5_000, 0, 0, 1_010])
})

test('nothing is written without a mark, and a mark below the minimum writes nothing', () => {
  const cache = new Cache(RULES)
  assert.deepEqual(billed(cache.serve(call('abc', {}, 0))), [0, 0, 0, 3_010])
  assert.deepEqual(billed(cache.serve(call('abc', { 0: '5m' }, 0))), [0, 0, 0, 3_010])
  assert.deepEqual(billed(cache.serve(call('abc', { 0: '5m' }, 5_000))), [0, 0, 0, 3_010])
})

test('an entry is readable once the answer of its writer has begun, not before', () => {
  const cache = new Cache(RULES)
  assert.equal(cache.serve(call('abc', { 2: '5m' }, 0)).write5mTokens, 3_000)
  assert.equal(cache.serve(call('abc', { 2: '5m' }, FIRST_TOKEN_MS - 1)).write5mTokens, 3_000)
  assert.equal(cache.serve(call('abc', { 2: '5m' }, FIRST_TOKEN_MS)).readTokens, 3_000)
})

test('an entry lives for its TTL from the start of the request that wrote or last read it', () => {
  const cache = new Cache(RULES)
  cache.serve(call('abc', { 2: '5m' }, 0))
  assert.equal(cache.serve(call('abc', { 2: '5m' }, 299_999)).readTokens, 3_000, 'alive, and refreshed')
  assert.equal(cache.serve(call('abc', { 2: '5m' }, 599_998)).readTokens, 3_000, 'alive by the refresh')
  assert.equal(cache.serve(call('abc', { 2: '5m' }, 899_998)).readTokens, 0, 'gone')
})

test('a read through a mark of the other TTL hits, and refreshes the entry for its own', () => {
  const cache = new Cache(RULES)
  cache.serve(call('abc', { 2: '1h' }, 0))
  assert.equal(cache.serve(call('abc', { 2: '5m' }, 2_000)).readTokens, 3_000)
  assert.equal(
    cache.serve(call('abc', { 2: '5m' }, 3_000_000)).readTokens,
    3_000,
    'an hour, not five minutes',
  )
})

test('a read looks at twenty positions from the mark, the marked one being the first', () => {
  const word = 'abcdefghijklmnopqrstuvwxyz'
  const read = (entryAt: number, markAt: number) => {
    const cache = new Cache(RULES)
    cache.serve(call(word.slice(0, entryAt + 1), { [entryAt]: '5m' }, 0))
    return cache.serve(call(word, { [markAt]: '5m' }, 2_000)).readTokens
  }
  assert.equal(read(4, 23), 5_000)
  assert.equal(read(4, 24), 0)
})

test('pools, models and workspaces share nothing', () => {
  const cache = new Cache(RULES)
  cache.serve(call('abc', { 2: '5m' }, 0))
  for (const other of [{ pool: 'standard' }, { model: 'n' }, { workspace: 'v' }] as const) {
    assert.equal(cache.serve(call('abc', { 2: '5m' }, 2_000, other)).readTokens, 0, JSON.stringify(other))
  }
  assert.equal(cache.serve(call('abc', { 2: '5m' }, 2_000)).readTokens, 3_000)
})

test('what was saved is there again', () => {
  const before = new Cache(RULES)
  const { changed } = before.serve(call('abc', { 2: '5m' }, 0))
  const after = new Cache(RULES, changed)
  assert.equal(after.serve(call('abc', { 2: '5m' }, 2_000)).readTokens, 3_000)
})

const SETTINGS = { apiVersion: '2023-06-01', betas: [] }
const MODEL = { effortDefault: 'high', dropsOldThinking: false }
const hashesOf = (request: JsonObject) =>
  cachePromptOf(request, positionsOf(request), SETTINGS, MODEL).prefixHashes
const BASE: JsonObject = {
  model: 'm',
  tools: [{ name: 't', input_schema: { type: 'object' } }],
  system: 'handbook',
  messages: [{ role: 'user', content: 'question' }],
}

/** How many leading positions keep their hash. */
function kept(changes: JsonObject): number {
  const before = hashesOf(BASE)
  const after = hashesOf({ ...BASE, ...changes })
  const lost = before.findIndex((hash, i) => hash !== after[i])
  return lost === -1 ? before.length : lost
}

test('each change loses the sections that the documentation says, and no more', () => {
  assert.equal(kept({ max_tokens: 9, metadata: { user_id: 'u' }, stop_sequences: ['x'] }), 3)
  assert.equal(kept({ output_config: { effort: 'high' } }), 3, 'stating the default effort is leaving it out')
  assert.equal(kept({ tool_choice: { type: 'any' } }), 2)
  assert.equal(kept({ output_config: { format: { type: 'json_schema', schema: {} } } }), 1)
  assert.equal(kept({ output_config: { effort: 'low' } }), 0)
  assert.equal(kept({ thinking: { type: 'adaptive' } }), 0)
  assert.equal(kept({ model: 'n' }), 0)
  assert.equal(kept({ tools: [{ name: 'u', input_schema: { type: 'object' } }] }), 0)
})

test('a mark is no part of what is hashed, nor is the string form of a text', () => {
  const marked = {
    ...BASE,
    tools: [{ name: 't', cache_control: { type: 'ephemeral' }, input_schema: { type: 'object' } }],
    system: [{ type: 'text', text: 'handbook', cache_control: { type: 'ephemeral', ttl: '1h' } }],
  }
  assert.deepEqual(hashesOf(marked), hashesOf(BASE))
})

test('automatic caching marks the last block that can carry a mark', () => {
  const thinking = { type: 'thinking', thinking: '', signature: 's' }
  const request = { ...BASE, cache_control: { type: 'ephemeral' } }
  const messages = [{ role: 'assistant', content: [{ type: 'text', text: 'a' }, thinking] }]
  const breakpoints = (body: JsonObject) =>
    cachePromptOf(body, positionsOf(body), SETTINGS, MODEL).breakpoints
  assert.deepEqual(breakpoints(request), [{ position: 2, ttl: '5m' }])
  assert.deepEqual(breakpoints({ ...request, messages }), [{ position: 2, ttl: '5m' }])
})
