import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JsonObject } from '../../core/json.ts'
import { findModel } from '../../core/models.ts'
import { loadCatalogue } from '../../facts/load.ts'
import { type SimulatedAnswer, simulateAnswer } from './answers.ts'
import { LOCAL_SETTINGS } from './local-upstream.ts'

const catalogue = loadCatalogue()
const QUIET = findModel(catalogue, 'claude-sonnet-4-6')!
const THINKING = findModel(catalogue, 'claude-sonnet-5')!

function answerTo(
  request: JsonObject,
  options: {
    content?: string
    call?: string
    model?: typeof QUIET
    shares?: Partial<typeof LOCAL_SETTINGS>
  } = {},
): SimulatedAnswer & { kind: 'answered' } {
  const { content = 'prompt', call = 'call', model = QUIET, shares = {} } = options
  const settings = { ...LOCAL_SETTINGS, ...shares }
  const answer = simulateAnswer({ max_tokens: 1_000, ...request }, model, { content, call }, settings)
  assert.ok(answer.kind === 'answered')
  return answer
}

const textOf = ({ content }: { content: readonly JsonObject[] }) => String(content.at(-1)!['text'])

test('a text says that it is simulated and is as long as its tokens', () => {
  const answer = answerTo({})
  assert.match(textOf(answer), /^Simulated answer; no model was called\. /)
  assert.equal(textOf(answer).length, answer.outputTokens * 4)
  assert.equal(answer.stopReason, 'end_turn')
})

test('the same prompt is answered alike, another one otherwise', () => {
  assert.deepEqual(answerTo({}, { call: 'first' }), answerTo({}, { call: 'second' }))
  assert.notDeepEqual(answerTo({}, { content: 'other' }), answerTo({}))
})

test('an answer never exceeds max_tokens, and says when it was cut there', () => {
  let cut = 0
  for (let i = 0; i < 2_000; i++) {
    const { outputTokens, stopReason } = answerTo({ max_tokens: 10 }, { content: `${i}` })
    assert.ok(outputTokens <= 10)
    if (stopReason === 'max_tokens') cut += 1
  }
  assert.ok(cut > 0 && cut < 100, `${cut} of 2,000 were cut`)
})

test('max_tokens: 0 warms the cache and answers nothing', () => {
  const answer = answerTo({ max_tokens: 0 })
  assert.deepEqual([answer.content, answer.stopReason, answer.outputTokens], [[], 'max_tokens', 0])
})

const LABEL = { type: 'object', properties: { label: { enum: ['a', 'b'] } }, required: ['label'] }

test('a schema gets JSON that fits it, or JSON that is cut off where the room ends', () => {
  const request = { output_config: { format: { type: 'json_schema', schema: LABEL } } }
  const answer = answerTo(request)
  assert.ok(['a', 'b'].includes(JSON.parse(textOf(answer)).label))
  const cut = answerTo({ ...request, max_tokens: 2 })
  assert.equal(cut.stopReason, 'max_tokens')
  assert.throws(() => JSON.parse(textOf(cut)))
})

test('a demanded tool is used with an input that fits its schema', () => {
  const tools = [
    { name: 'first', input_schema: { type: 'object' } },
    { name: 'label', input_schema: LABEL },
  ]
  const answer = answerTo({ tools, tool_choice: { type: 'tool', name: 'label' } })
  const use = answer.content[0]!
  assert.deepEqual([answer.stopReason, use['type'], use['name']], ['tool_use', 'tool_use', 'label'])
  assert.ok(['a', 'b'].includes(String((use['input'] as JsonObject)['label'])))
  assert.equal(answerTo({ tools, tool_choice: { type: 'any' } }).stopReason, 'tool_use')
  assert.equal(answerTo({ tools }).stopReason, 'end_turn')
})

test('a model that thinks by default answers with an empty thinking block first, in the room that is left', () => {
  const answer = answerTo({}, { model: THINKING })
  assert.deepEqual([answer.content[0]!['type'], answer.content[0]!['thinking']], ['thinking', ''])
  assert.ok(answer.thinkingTokens! > 0 && answer.thinkingTokens! < answer.outputTokens)
  assert.equal(answerTo({ thinking: { type: 'disabled' } }, { model: THINKING }).thinkingTokens, null)
  const tight = answerTo({ max_tokens: 3 }, { model: THINKING })
  assert.ok(tight.outputTokens <= 3)
  const told = answerTo({ thinking: { type: 'adaptive', display: 'summarized' } }, { model: THINKING })
  assert.match(String(told.content[0]!['thinking']), /^Simulated thinking/)
})

test('the shares of answers that go wrong are met, and a retry has its own chance', () => {
  const shares = { refusedShare: 0.2, truncatedShare: 0.1, erroredShare: 0.3 }
  const counts: Record<string, number> = {}
  for (let i = 0; i < 4_000; i++) {
    const settings = { ...LOCAL_SETTINGS, ...shares }
    const answer = simulateAnswer({ max_tokens: 1_000 }, QUIET, { content: 'one', call: `${i}` }, settings)
    const key = answer.kind === 'errored' ? 'errored' : answer.stopReason
    counts[key] = (counts[key] ?? 0) + 1
  }
  for (const [key, share] of [
    ['errored', 0.3],
    ['refusal', 0.2],
    ['max_tokens', 0.1],
    ['end_turn', 0.4],
  ] as const) {
    assert.ok(Math.abs(counts[key]! / 4_000 - share) < 0.03, `${key}: ${counts[key]}`)
  }
})

test('a request with a server tool may pause after a first search, and goes on when it is sent back', () => {
  const tools = [{ type: 'web_search_20250305', name: 'web_search' }]
  const user = { role: 'user', content: 'Look it up.' }
  const ask = (request: JsonObject) =>
    answerTo({ messages: [user], ...request }, { shares: { pausedShare: 1 }, model: THINKING })
  const paused = ask({ tools })
  assert.deepEqual([paused.stopReason, paused.webSearches], ['pause_turn', 1])
  assert.deepEqual(
    paused.content.map(({ type }) => type),
    ['thinking', 'text', 'server_tool_use', 'web_search_tool_result'],
  )
  const continued = ask({ tools, messages: [user, { role: 'assistant', content: paused.content }] })
  assert.deepEqual([continued.stopReason, continued.webSearches], ['end_turn', 0])
  assert.equal(ask({}).stopReason, 'end_turn')
  const own = [
    { name: 'look_up', input_schema: { type: 'object' } },
    { type: 'bash_20250124', name: 'bash' },
  ]
  assert.equal(ask({ tools: own }).stopReason, 'end_turn', 'what the user runs does not pause the service')
})
