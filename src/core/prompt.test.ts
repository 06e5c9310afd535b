import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { marksOf, promptBlocks } from './prompt.ts'

const mark = { type: 'ephemeral' }

test('blocks come as tools, system, messages, wherever the fields stand', () => {
  const blocks = promptBlocks({
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
      { role: 'assistant', content: 'c' },
    ],
    system: [{ type: 'text', text: 's' }],
    tools: [
      { name: 't', input_schema: { type: 'object' } },
      { type: 'mcp_toolset', mcp_server_name: 'm' },
    ],
  })
  assert.deepEqual(
    blocks.map(({ path, section, type, role, opensMessage }) => [path, section, type, role, opensMessage]),
    [
      ['tools[0]', 'tools', 'custom', null, false],
      ['tools[1]', 'tools', 'mcp_toolset', null, false],
      ['system[0]', 'system', 'text', null, false],
      ['messages[0].content[0]', 'messages', 'text', 'user', true],
      ['messages[0].content[1]', 'messages', 'text', 'user', false],
      ['messages[1].content', 'messages', 'text', 'assistant', true],
    ],
  )
})

test('a string is one text block, equal in bytes to the block form', () => {
  const [system, content] = promptBlocks({ system: 'ä', messages: [{ role: 'user', content: 'q' }] })
  const [asBlock] = promptBlocks({ system: [{ type: 'text', text: 'ä' }] })
  assert.equal(system!.path, 'system')
  assert.equal(system!.bytes, '{"type":"text","text":"ä"}')
  assert.equal(system!.bytes, asBlock!.bytes)
  assert.equal(system!.sizeBytes, 27)
  assert.equal(content!.path, 'messages[0].content')
})

test('an empty string as system is no block', () => {
  assert.deepEqual(promptBlocks({ system: '', messages: [] }), [])
})

test('bytes keep key order and leave out only the mark', () => {
  const [block] = promptBlocks({
    tools: [
      {
        name: 't',
        cache_control: { type: 'ephemeral', ttl: '1h' },
        input_schema: { type: 'object', properties: { cache_control: { type: 'string' }, a: {} } },
      },
    ],
  })
  assert.equal(
    block!.bytes,
    '{"name":"t","input_schema":{"type":"object","properties":{"cache_control":{"type":"string"},"a":{}}}}',
  )
  assert.equal(block!.mark, '1h')
})

test('a mark inside a tool result is the mark of the whole block and not part of its bytes', () => {
  const [block] = promptBlocks({
    messages: [
      {
        role: 'user',
        content: [
          {
            type: 'tool_result',
            tool_use_id: 'u',
            content: [
              { type: 'text', text: 'x' },
              { type: 'text', text: 'y', cache_control: mark },
            ],
          },
        ],
      },
    ],
  })
  assert.equal(block!.mark, '5m')
  assert.doesNotMatch(block!.bytes, /cache_control/)
})

test('a null mark is no mark', () => {
  const [block] = promptBlocks({ system: [{ type: 'text', text: 's', cache_control: null }] })
  assert.equal(block!.mark, null)
  assert.equal(block!.bytes, '{"type":"text","text":"s"}')
})

test('thinking and empty text cannot be marked', () => {
  const blocks = promptBlocks({
    messages: [
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 't', signature: 's' },
          { type: 'redacted_thinking', data: 'd' },
          { type: 'text', text: '' },
          { type: 'tool_use', id: 'u', name: 'n', input: {} },
        ],
      },
    ],
  })
  assert.deepEqual(
    blocks.map((block) => block.markable),
    [false, false, false, true],
  )
})

test('the automatic mark goes on the last block that can carry it', () => {
  const request = {
    cache_control: mark,
    system: 's',
    messages: [
      {
        role: 'assistant',
        content: [
          { type: 'text', text: 'a' },
          { type: 'thinking', thinking: 't', signature: 's' },
        ],
      },
    ],
  }
  assert.deepEqual(marksOf(request, promptBlocks(request)), [
    { index: 1, path: 'messages[0].content[0]', ttl: '5m', source: 'automatic' },
  ])
})

test('the automatic mark adds nothing to a block that has its own, and nothing where none can stand', () => {
  const own = { cache_control: mark, system: [{ type: 'text', text: 's', cache_control: mark }] }
  assert.deepEqual(
    marksOf(own, promptBlocks(own)).map(({ source }) => source),
    ['explicit'],
  )
  const nothing = { cache_control: mark, messages: [{ role: 'user', content: '' }] }
  assert.deepEqual(marksOf(nothing, promptBlocks(nothing)), [])
})

test('the automatic mark stands in prompt order among explicit ones', () => {
  const request = {
    cache_control: { type: 'ephemeral', ttl: '1h' },
    system: [{ type: 'text', text: 's', cache_control: { type: 'ephemeral', ttl: '1h' } }],
    messages: [{ role: 'user', content: 'q' }],
  }
  assert.deepEqual(
    marksOf(request, promptBlocks(request)).map(({ index, source }) => [index, source]),
    [
      [0, 'explicit'],
      [1, 'automatic'],
    ],
  )
})

test('base64 and an attachment with the same content are the same block', () => {
  const bytes = Buffer.from('%PDF-1.7 invoice')
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const documentOf = (source: object) =>
    promptBlocks({ messages: [{ role: 'user', content: [{ type: 'document', source: { ...source } }] }] })[0]!
  const inline = documentOf({ type: 'base64', media_type: 'application/pdf', data: bytes.toString('base64') })
  const attached = documentOf({
    type: 'tithe_attachment',
    path: '/somewhere/else.pdf',
    sha256,
    media_type: 'application/pdf',
    size_bytes: bytes.length,
    pages: 1,
  })
  assert.equal(attached.identity, inline.identity)
  assert.equal(attached.sizeBytes, inline.sizeBytes)
  assert.notEqual(
    documentOf({ type: 'base64', media_type: 'image/png', data: bytes.toString('base64') }).identity,
    inline.identity,
  )
  assert.notEqual(documentOf({ type: 'url', url: 'https://example.com/a.pdf' }).identity, inline.identity)
})

test('a deferred tool is outside the prompt until a reference brings its definition in', () => {
  const requestWith = (description: string) => ({
    tools: [{ name: 'search' }, { name: 'refund', description, defer_loading: true }],
    messages: [
      {
        role: 'user',
        content: [
          {
            type: 'tool_result',
            tool_use_id: 'u',
            content: [{ type: 'tool_reference', tool_name: 'refund' }],
          },
        ],
      },
    ],
  })
  const [tool, result] = promptBlocks(requestWith('a'))
  const [otherTool, otherResult] = promptBlocks(requestWith('b'))
  assert.equal(tool!.path, 'tools[0]')
  assert.equal(tool!.identity, otherTool!.identity)
  assert.notEqual(result!.identity, otherResult!.identity)
})

test('a memory of blocks changes nothing but the time it takes', () => {
  const request = { system: [{ type: 'text', text: 's', cache_control: mark }], messages: [] }
  const memory = { contents: new WeakMap(), sharedBlocks: 1 }
  assert.deepEqual(promptBlocks(request, memory), promptBlocks(request))
  assert.deepEqual(promptBlocks(request, memory), promptBlocks(request))
})
