import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { JsonObject } from './json.ts'
import { INVALIDATION, PrefixMemory, type PrefixSettings, prefixHashes } from './prefix-hash.ts'
import { promptBlocks } from './prompt.ts'

const SETTINGS: PrefixSettings = { apiVersion: '2023-06-01', betas: [] }

const REQUEST = {
  model: 'claude-sonnet-5',
  tools: [{ name: 'a' }, { name: 'b' }],
  system: [
    { type: 'text', text: 'one' },
    { type: 'text', text: 'two' },
  ],
  messages: [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'q' },
        { type: 'text', text: 'r' },
      ],
    },
  ],
} as const

function hashesOf(request: JsonObject, settings = SETTINGS as Parameters<typeof prefixHashes>[2]): string[] {
  return prefixHashes(request, promptBlocks(request), settings)
}

/** How many leading positions two requests have in common. */
function commonPositions(one: readonly string[], other: readonly string[]): number {
  const different = one.findIndex((hash, i) => hash !== other[i])
  return different === -1 ? one.length : different
}

test('a hash is tagged with the version of its algorithm and stays what it was', () => {
  const hashes = hashesOf({ model: 'm', system: 's', messages: [] })
  assert.deepEqual(hashes, ['p1:3aec169e70c19e59538a4b47079a4bdf827afde0c19b92c905aa86175466641f'])
})

/** Per changed parameter: how many of the 2 tools, 2 system and 2 message blocks keep their hash. */
const CHANGES: readonly [string, JsonObject, number][] = [
  ['model', { model: 'claude-opus-5' }, 0],
  ['thinking', { thinking: { type: 'adaptive' } }, 0],
  ['effort', { output_config: { effort: 'low' } }, 0],
  ['mcp_servers', { mcp_servers: [{ name: 'x', url: 'https://example.com' }] }, 0],
  ['skills', { container: { skills: [{ skill_id: 'pdf' }] } }, 0],
  ['output format', { output_config: { format: { type: 'json_schema', schema: {} } } }, 2],
  ['speed', { speed: 'fast' }, 2],
  ['tool_choice', { tool_choice: { type: 'any' } }, 4],
  ['context_management', { context_management: { edits: [] } }, 4],
  ['max_tokens', { max_tokens: 5 }, 6],
  ['stop_sequences', { stop_sequences: ['x'] }, 6],
  ['metadata', { metadata: { user_id: 'u' } }, 6],
  ['stream', { stream: true }, 6],
  ['service_tier', { service_tier: 'auto' }, 6],
  ['a default speed', { speed: 'standard' }, 6],
]
for (const [name, change, kept] of CHANGES) {
  test(`a change of ${name} keeps ${kept} of 6 positions`, () => {
    assert.equal(commonPositions(hashesOf(REQUEST), hashesOf({ ...REQUEST, ...change })), kept)
  })
}

test('betas and the API version come before everything', () => {
  assert.equal(commonPositions(hashesOf(REQUEST), hashesOf(REQUEST, { ...SETTINGS, betas: ['x'] })), 0)
  assert.equal(
    commonPositions(hashesOf(REQUEST), hashesOf(REQUEST, { ...SETTINGS, apiVersion: '2026-10-21' })),
    0,
  )
})

test('stating the default effort is the same as leaving it out', () => {
  const settings = { ...SETTINGS, effortDefault: 'high' } as const
  const stated = { ...REQUEST, output_config: { effort: 'high' } }
  assert.deepEqual(hashesOf(stated, settings), hashesOf(REQUEST, settings))
  assert.notDeepEqual(hashesOf(stated), hashesOf(REQUEST))
})

test('an image, citations or web search anywhere reach back to the section they change', () => {
  const withBlock = (block: JsonObject) => ({
    ...REQUEST,
    messages: [{ role: 'user', content: [...REQUEST.messages[0].content, block] }],
  })
  const image = withBlock({ type: 'image', source: { type: 'url', url: 'u' } })
  assert.equal(commonPositions(hashesOf(REQUEST), hashesOf(image)), 4)
  const cited = withBlock({
    type: 'document',
    source: { type: 'url', url: 'u' },
    citations: { enabled: true },
  })
  assert.equal(commonPositions(hashesOf(REQUEST), hashesOf(cited)), 2)
  const web = { ...REQUEST, tools: [...REQUEST.tools, { type: 'web_search_20250305', name: 'web_search' }] }
  assert.equal(commonPositions(hashesOf(REQUEST), hashesOf(web)), 2)
})

test('every rule of the table reaches the hashes', () => {
  for (const rule of INVALIDATION) {
    assert.ok(['tools', 'system', 'messages'].includes(rule.before), rule.setting)
    assert.match(rule.because, /./)
  }
})

test('moving or removing a mark changes no hash', () => {
  const marked = {
    ...REQUEST,
    cache_control: { type: 'ephemeral' },
    system: [{ ...REQUEST.system[0], cache_control: { type: 'ephemeral', ttl: '1h' } }, REQUEST.system[1]],
  }
  assert.deepEqual(hashesOf(marked), hashesOf(REQUEST))
})

test('a string and its block form have the same hash, whatever the order of the keys of the block', () => {
  const string = hashesOf({ system: 's', messages: [{ role: 'user', content: 'q' }] })
  const blocks = hashesOf({
    messages: [{ content: [{ text: 'q', type: 'text' }], role: 'user' }],
    system: [{ type: 'text', text: 's', citations: null }],
  })
  assert.deepEqual(blocks, string)
})

test('key order inside a tool input is seen', () => {
  const withInput = (input: JsonObject) =>
    hashesOf({
      messages: [{ role: 'assistant', content: [{ type: 'tool_use', id: 'i', name: 'n', input }] }],
    })
  assert.notDeepEqual(withInput({ a: 1, b: 2 }), withInput({ b: 2, a: 1 }))
})

test('the role and the boundaries of messages are part of the prefix', () => {
  const messages = (...list: [string, ...string[]][]) =>
    hashesOf({
      messages: list.map(([role, ...texts]) => ({
        role,
        content: texts.map((text) => ({ type: 'text', text })),
      })),
    })
  assert.notDeepEqual(messages(['user', 'a']), messages(['assistant', 'a']))
  assert.notEqual(messages(['user', 'a', 'b'])[1], messages(['user', 'a'], ['user', 'b'])[1])
  assert.equal(messages(['user', 'a', 'b'])[0], messages(['user', 'a'], ['assistant', 'b'])[0])
})

test('a new user turn drops earlier thinking on older models, and with it every hash after', () => {
  const turn = [
    { role: 'user', content: 'q' },
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 't', signature: 's' },
        { type: 'tool_use', id: 'i', name: 'n', input: {} },
      ],
    },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'i', content: 'r' }] },
  ]
  const next = [...turn, { role: 'assistant', content: 'a' }, { role: 'user', content: 'q2' }]
  const kept = (settings: typeof SETTINGS) =>
    commonPositions(hashesOf({ messages: turn }, settings), hashesOf({ messages: next }, settings))
  assert.equal(kept(SETTINGS), 4)
  assert.equal(kept({ ...SETTINGS, dropsOldThinking: true }), 1)
})

const text = fc.record({ type: fc.constant('text'), text: fc.constantFrom('a', 'b', 'c', 'a"\n') })
const someRequest = fc.record({
  model: fc.constantFrom('m', 'n'),
  tools: fc.array(fc.record({ name: fc.constantFrom('a', 'b') }), { maxLength: 2 }),
  system: fc.array(text, { maxLength: 3 }),
  messages: fc.array(
    fc.record({ role: fc.constantFrom('user', 'assistant'), content: fc.array(text, { maxLength: 3 }) }),
    {
      maxLength: 3,
    },
  ),
})

test('equal prefixes have equal hashes, and a change of a block changes every later hash and no earlier one', () => {
  fc.assert(
    fc.property(someRequest, fc.nat(20), (request, at) => {
      const before = hashesOf(request)
      if (before.length === 0) return
      assert.equal(new Set(before).size, before.length)
      const path = promptBlocks(request)[at % before.length]!.path
      const changed = structuredClone(request) as JsonObject
      const block = path
        .split(/[.[\]]+/)
        .filter(Boolean)
        .reduce((value, key) => (value as Record<string, JsonObject>)[key]!, changed)
      Object.assign(block, { changed: true })
      assert.equal(commonPositions(before, hashesOf(changed)), at % before.length)
      assert.ok(hashesOf(changed).every((hash, i) => i < at % before.length || hash !== before[i]))
    }),
  )
})

test('a memory gives the same hashes as none, for any sequence of requests', () => {
  fc.assert(
    fc.property(fc.array(someRequest, { maxLength: 12 }), (requests) => {
      const memory = new PrefixMemory()
      const blockMemory = { contents: new WeakMap(), sharedBlocks: Number.POSITIVE_INFINITY }
      for (const request of [...requests, ...requests]) {
        const hashes = prefixHashes(request, promptBlocks(request, blockMemory), SETTINGS, memory)
        assert.deepEqual(hashes, hashesOf(request))
      }
    }),
  )
})
