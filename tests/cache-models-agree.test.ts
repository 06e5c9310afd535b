import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CacheState, simulateRequest } from '../src/core/cache-sim.ts'
import { HOUR_MS, instant, MINUTE_MS, SECOND_MS } from '../src/core/instant.ts'
import type { JsonObject } from '../src/core/json.ts'
import { prefixHashes } from '../src/core/prefix-hash.ts'
import { marksOf, promptBlocks } from '../src/core/prompt.ts'
import { Cache, cachePromptOf, positionsOf } from '../src/upstreams/local/cache.ts'

/**
 * Two models of one cache, written apart from the same documentation: the core's, which plans are held against, and the
 * local upstream's, which bills by it. They share no code; here they see the same requests and must agree on every token.
 */

const RULES = {
  cacheLookbackPositions: 20,
  cacheMarksMax: 4,
  cacheTtlMs: { '5m': 5 * MINUTE_MS, '1h': HOUR_MS },
}
const SETTINGS = { apiVersion: '2023-06-01', betas: [] }
const EFFORT_DEFAULT = 'high'

/** Few words, so that requests share prefixes. */
const block = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom('a', 'b').map((text): JsonObject => ({ type: 'text', text })) },
  fc.constantFrom<JsonObject>(
    { type: 'thinking', thinking: 't', signature: 's' },
    { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } },
    {
      type: 'document',
      source: { type: 'url', url: 'https://example.com/a.pdf' },
      citations: { enabled: true },
    },
    { type: 'tool_use', id: 'i', name: 'n', input: { b: 1, a: 2 } },
    { type: 'tool_result', tool_use_id: 'i', content: [{ type: 'text', text: 'r' }] },
  ),
)

/** What most requests of a sequence have in common; each takes the blocks of one conversation up to some point. */
const story = fc.record({
  blocks: fc.array(block, { minLength: 30, maxLength: 45 }),
  tools: fc.subarray<JsonObject>([
    { name: 't', input_schema: { type: 'object' } },
    { type: 'web_search_20250305', name: 'web_search' },
    { name: 'u', input_schema: { type: 'object' } },
  ]),
  question: fc.nat(10),
  answer: fc.nat(25),
  dropsOldThinking: fc.boolean(),
})

const turn = fc.record({
  length: fc.integer({ min: 1, max: 45 }),
  marksFromEnd: fc.array(fc.oneof(fc.nat(3), fc.nat(45)), { minLength: 1, maxLength: 4 }),
  hours: fc.nat(2),
  automatic: fc.constantFrom(null, null, '5m', '1h'),
  asString: fc.boolean(),
  change: fc.oneof(
    { weight: 12, arbitrary: fc.constant<JsonObject>({}) },
    fc.constantFrom<JsonObject>(
      { thinking: { type: 'adaptive' } },
      { output_config: { effort: 'low' } },
      { output_config: { effort: EFFORT_DEFAULT } },
      { output_config: { format: { type: 'json_schema', schema: {} } } },
      { tool_choice: { type: 'any' } },
      { speed: 'fast' },
      { speed: 'standard' },
      { max_tokens: 7 },
      { tools: [] },
      { system: '' },
      { system: 'other' },
    ),
  ),
  model: mostly('claude-sonnet-5', 'claude-opus-5'),
  workspace: mostly('w', 'w2'),
  pool: mostly<'standard' | 'batch'>('standard', 'batch'),
  minimumTokens: mostly(1024, 0, 20_000),
  gapMs: fc.constantFrom(0, SECOND_MS, SECOND_MS, 3 * MINUTE_MS, 5 * MINUTE_MS, 20 * MINUTE_MS, 2 * HOUR_MS),
  answerMs: fc.constantFrom(0, SECOND_MS, 30 * SECOND_MS),
  rest: fc.nat(13),
})

function mostly<T>(usual: T, ...others: T[]): fc.Arbitrary<T> {
  return fc.oneof({ weight: 8, arbitrary: fc.constant(usual) }, fc.constantFrom(...others))
}

type Story = typeof story extends fc.Arbitrary<infer T> ? T : never
type Turn = typeof turn extends fc.Arbitrary<infer T> ? T : never

function requestOf({ blocks, tools, question, answer }: Story, turn: Turn): JsonObject {
  const own = blocks.slice(0, turn.length)
  const system = [{ type: 'text', text: 'handbook' }]
  const count = tools.length + system.length + own.length
  const places = [...new Set(turn.marksFromEnd.map((back) => count - 1 - (back % count)))].sort(
    (a, b) => a - b,
  )
  let position = -1
  const marked = (block: JsonObject): JsonObject => {
    const mark = places.indexOf(++position)
    if (mark === -1 || block['type'] === 'thinking') return block
    return { ...block, cache_control: { type: 'ephemeral', ttl: mark < turn.hours ? '1h' : '5m' } }
  }
  const request = { tools: tools.map(marked), system: system.map(marked) }
  const turns = [
    { role: 'user', content: own.slice(0, question) },
    { role: 'assistant', content: own.slice(question, question + answer) },
    { role: 'user', content: own.slice(question + answer) },
  ].filter(({ content }) => content.length > 0)
  return {
    model: turn.model,
    ...request,
    messages: turns.map(({ role, content }) => ({
      role,
      content: turn.asString ? stringForm(content.map(marked)) : content.map(marked),
    })),
    ...(turn.automatic !== null && { cache_control: { type: 'ephemeral', ttl: turn.automatic } }),
    ...turn.change,
  }
}

/** One unmarked text block as the string that it equals. */
function stringForm(content: JsonObject[]): JsonObject[] | string {
  const [only, ...others] = content
  const isPlain = others.length === 0 && only?.['type'] === 'text' && only['cache_control'] === undefined
  return isPlain ? String(only['text']) : content
}

/** A request that the API would refuse is no test of the cache. */
function isAccepted(marks: readonly { ttl: string }[]): boolean {
  const first5m = marks.findIndex((mark) => mark.ttl === '5m')
  return marks.length <= 4 && !(first5m !== -1 && marks.slice(first5m).some((mark) => mark.ttl === '1h'))
}

test('the cache of the core and that of the local upstream bill every sequence of requests alike', () => {
  let reads = 0
  let requests = 0
  fc.assert(
    fc.property(story, fc.array(turn, { minLength: 2, maxLength: 12 }), (story, turns) => {
      const state = new CacheState()
      const cache = new Cache({ lookbackPositions: RULES.cacheLookbackPositions, ttlMs: RULES.cacheTtlMs })
      let now = 0
      for (const turn of turns) {
        now += turn.gapMs
        const at = instant(now)
        const readableAt = instant(now + turn.answerMs)
        const { model, workspace, pool, minimumTokens } = turn
        const request = requestOf(story, turn)
        const facts = { effortDefault: EFFORT_DEFAULT, dropsOldThinking: story.dropsOldThinking } as const

        const promptBlockList = promptBlocks(request)
        const marks = marksOf(request, promptBlockList)
        if (!isAccepted(marks)) continue
        const tokens = promptBlockList.map((block) => 40 * block.sizeBytes)
        const total = tokens.reduce((sum, each) => sum + each, turn.rest)
        let sum = 0
        const ours = simulateRequest(state, {
          hashes: prefixHashes(request, promptBlockList, { ...SETTINGS, ...facts }),
          cumulativeTokens: tokens.map((each) => (sum += each)),
          totalTokens: total,
          marks,
          ...{ model, workspace, pool, minimumTokens, at, readableAt, rules: RULES },
        })

        const prompt = cachePromptOf(request, positionsOf(request), SETTINGS, facts)
        const theirs = cache.serve({
          ...prompt,
          blockTokens: tokens,
          totalTokens: total,
          ...{ model, workspace, pool, minimumTokens, startedAt: at, firstTokenAt: readableAt },
        })

        const bill = ({
          readTokens,
          write5mTokens,
          write1hTokens,
          inputTokens,
        }: typeof theirs | typeof ours) => ({
          readTokens,
          write5mTokens,
          write1hTokens,
          inputTokens,
        })
        assert.deepEqual(bill(ours), bill(theirs))
        requests++
        if (ours.readTokens > 0) reads++
      }
    }),
    { numRuns: 300 },
  )
  assert.ok(
    reads > requests / 20,
    `only ${reads} of ${requests} requests read anything: too little is shared`,
  )
})
