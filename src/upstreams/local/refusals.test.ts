import assert from 'node:assert/strict'
import { test } from 'node:test'
import { problem } from '../../core/errors.ts'
import { instant } from '../../core/instant.ts'
import type { JsonObject } from '../../core/json.ts'
import { loadCatalogue } from '../../facts/load.ts'
import { askOf, START } from './local.contract-setup.ts'
import { checkCall, type RefusalContext } from './refusals.ts'

const catalogue = loadCatalogue()

function refusalOf(request: unknown, changes: Partial<RefusalContext> = {}): string | null {
  const checked = checkCall(request, {
    tier: 'batch',
    apiVersion: '2023-06-01',
    betas: [],
    at: START,
    catalogue,
    checkRequest: () => [],
    ...changes,
  })
  return checked.kind === 'accepted' ? null : `${checked.error.type}: ${checked.error.message}`
}

/** The message of a refusal of a request that would be accepted but for the changes. */
const refused = (changes: JsonObject, context: Partial<RefusalContext> = {}) =>
  refusalOf(JSON.parse(JSON.stringify(askOf('question', changes))), context)?.replace(
    /^invalid_request_error: /,
    '',
  ) ?? null

const text = (value: string, ttl?: '5m' | '1h') =>
  ttl
    ? { type: 'text', text: value, cache_control: { type: 'ephemeral', ttl } }
    : { type: 'text', text: value }

test('a plain request is accepted, and so is one that goes on where a server tool paused', () => {
  assert.equal(refused({}), null)
  const use = { type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: {} }
  const messages = [{ role: 'user', content: 'Look it up.' }]
  const paused = { role: 'assistant', content: [{ type: 'text', text: 'I look.' }, use] }
  assert.equal(refused({ model: 'claude-opus-5', messages: [...messages, paused] }), null)
})

for (const [cause, changes, message] of [
  ['no messages', { messages: undefined }, 'messages: Field required'],
  ['empty messages', { messages: [] }, 'messages: at least one message is required'],
  ['no max_tokens', { max_tokens: undefined }, 'max_tokens: Field required'],
  ['stream', { stream: true }, '"stream=True" is not supported in the Message Batches API'],
  ['max_tokens: 0', { max_tokens: 0 }, 'max_tokens: must be greater than or equal to 1'],
  [
    'max_tokens too big',
    { model: 'claude-haiku-4-5', max_tokens: 9_999_999 },
    'max_tokens: 9999999 > 64000, which is the maximum allowed number of output tokens for claude-haiku-4-5-20251001',
  ],
  [
    'an unknown model',
    { model: 'claude-does-not-exist-9' },
    'not_found_error: model: claude-does-not-exist-9',
  ],
  [
    'a retired model',
    { model: 'claude-3-5-haiku-20241022' },
    'not_found_error: model: claude-3-5-haiku-20241022',
  ],
  [
    'a tool that is not there',
    { tools: [], tool_choice: { type: 'tool', name: 'does_not_exist' } },
    "Tool 'does_not_exist' not found in provided tools",
  ],
  [
    'the old way of thinking on a new model',
    { model: 'claude-opus-5', thinking: { type: 'enabled', budget_tokens: 2_000 } },
    '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort"',
  ],
  [
    'a forced tool on a model that refuses it',
    { model: 'claude-sonnet-5-5', tools: [{ name: 't' }], tool_choice: { type: 'any' } },
    'tool_choice: type "tool" and "any" are not supported for this model.',
  ],
  [
    'prefill',
    { messages: [{ role: 'assistant', content: 'I' }] },
    'This model does not support assistant message prefill. The conversation must end with a user message.',
  ],
  ['fast mode', { speed: 'fast' }, 'speed: Extra inputs are not permitted'],
  ['fallbacks', { fallbacks: [] }, 'fallbacks: Extra inputs are not permitted'],
  ['an unknown field', { max_token: 5 }, 'max_token: Extra inputs are not permitted'],
  [
    'five marks',
    { system: Array.from({ length: 5 }, () => text('a', '5m')) },
    'A maximum of 4 blocks with cache_control may be provided. Found 5.',
  ],
  [
    '1h after 5m',
    { system: [text('a', '5m')], messages: [{ role: 'user', content: [text('b'), text('c', '1h')] }] },
    "messages.0.content.1.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks are processed in the following order: `tools`, `system`, `messages`.",
  ],
  [
    'a mark on empty text',
    { messages: [{ role: 'user', content: [text('', '5m')] }] },
    'messages.0.content.0.text: cache_control cannot be set for empty text blocks',
  ],
  [
    'empty text',
    { messages: [{ role: 'user', content: [text('')] }] },
    'messages: text content blocks must be non-empty',
  ],
] as const) {
  test(`a row with ${cause} is refused in the API's words`, () => {
    assert.equal(refused(changes as unknown as JsonObject), message)
  })
}

test('what only batches refuse passes in realtime', () => {
  const context = { tier: 'standard' } as const
  for (const changes of [{ stream: true }, { max_tokens: 0 }]) assert.equal(refused(changes, context), null)
})

test('sampling parameters are gone from version 2026-10-21 on', () => {
  const newer = { apiVersion: '2026-10-21' }
  assert.equal(refused({ temperature: 1 }), null)
  assert.equal(refused({ temperature: 1 }, newer), 'temperature: Extra inputs are not permitted')
})

test('a beta may bring fields, and one of them more output', () => {
  const betas = [catalogue.rules.batchOutputBeta]
  assert.equal(refused({ mcp_servers: [] }, { betas }), null)
  assert.match(refused({ max_tokens: 300_000 })!, /300000 > 128000/)
  assert.equal(refused({ max_tokens: 300_000 }, { betas }), null)
  assert.match(refused({ max_tokens: 300_000 }, { betas, tier: 'standard' })!, /300000 > 128000/)
})

test('a model goes on its day', () => {
  const model = 'claude-sonnet-4-5'
  assert.equal(refused({ model }), null)
  const at = instant(Date.parse('2026-11-30T00:00:00Z'))
  assert.equal(refused({ model }, { at }), 'not_found_error: model: claude-sonnet-4-5')
})

test('the rest of the parameter matrix is refused by the check that is handed in, warnings are not', () => {
  const check = (severity: 'error' | 'warning') => () => [problem('some_code', 'not like this', { severity })]
  assert.equal(refused({}, { checkRequest: check('error') }), 'not like this')
  assert.equal(refused({}, { checkRequest: check('warning') }), null)
})
