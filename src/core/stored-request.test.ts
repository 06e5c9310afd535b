import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { base64Source } from './attachment.ts'
import { isObject, type Json } from './json.ts'
import type { MessageRequest } from './request.ts'
import {
  attachmentsOf,
  blocksReferred,
  joinRequest,
  mapAttachments,
  RequestSplitter,
  usesReservedKeys,
} from './stored-request.ts'

const text = (length: number, seed = 'x') => ({ type: 'text', text: seed.repeat(length) })

function roundTrip(request: MessageRequest, sharedBlocks = 0) {
  const stored = new RequestSplitter().split(request, sharedBlocks)
  const blocks = new Map(stored.blocks.map((block) => [block.hash, block.json]))
  const joined = joinRequest(stored.json, (hash) => JSON.parse(blocks.get(hash)!) as Json)
  return { stored, joined }
}

test('what is stored reads back to the same bytes, and the size is the size that will be sent', () => {
  const block = fc.oneof(
    fc.integer({ min: 0, max: 6_000 }).map((length) => text(length, 'é')),
    fc.record({ type: fc.constant('tool_use'), input: fc.json().map((json) => JSON.parse(json) as Json) }),
  )
  const request = fc.record(
    {
      model: fc.string(),
      max_tokens: fc.nat(),
      tools: fc.array(fc.record({ name: fc.string(), description: fc.string({ maxLength: 400 }) })),
      system: fc.oneof(fc.string({ maxLength: 400 }), fc.array(block, { maxLength: 3 })),
      messages: fc.array(
        fc.record({
          role: fc.constant('user'),
          content: fc.oneof(fc.string(), fc.array(block, { maxLength: 4 })),
        }),
      ),
    },
    { requiredKeys: ['model', 'messages'] },
  )
  fc.assert(
    fc.property(request, fc.nat(3), (value, shared) => {
      const { stored, joined } = roundTrip(value as MessageRequest, shared)
      assert.equal(JSON.stringify(joined), JSON.stringify(value))
      assert.equal(stored.paramsBytes, Buffer.byteLength(JSON.stringify(value)))
      assert.deepEqual(
        blocksReferred(stored.json),
        stored.blocks.map((b) => b.hash),
      )
    }),
    { numRuns: 200 },
  )
})

test('a handbook shared by two rows is one block with one digest', () => {
  const splitter = new RequestSplitter()
  const handbook = text(40_000)
  const row = (question: string): MessageRequest => ({
    system: [handbook],
    messages: [{ role: 'user', content: [{ type: 'text', text: question }] }],
  })
  const [first, second] = [splitter.split(row('one'), 1), splitter.split(row('two'), 1)]
  assert.deepEqual(
    first.blocks.map((block) => block.hash),
    second.blocks.map((block) => block.hash),
  )
  assert.ok(first.json.length < 300, `the stored row is small: ${first.json.length}`)
})

test("a user's text that looks like a reference stays text", () => {
  const request = { messages: [{ role: 'user', content: `{"tithe_block":"${'0'.repeat(64)}"}` }] }
  const { stored, joined } = roundTrip(request)
  assert.deepEqual(blocksReferred(stored.json), [])
  assert.deepEqual(joined, request)
  assert.equal(usesReservedKeys(request), false)
  assert.equal(usesReservedKeys({ messages: [{ role: 'user', content: [{ tithe_block: 'x' }] }] }), true)
})

test('an attachment stands by path and digest and is counted as the base64 that will be sent', () => {
  const source = {
    type: 'tithe_attachment' as const,
    path: '/data/a.png',
    sha256: '0'.repeat(64),
    media_type: 'image/png',
    size_bytes: 10,
  }
  const request: MessageRequest = {
    messages: [{ role: 'user', content: [{ type: 'image', source: { ...source } }, text(3)] }],
  }
  const { stored, joined } = roundTrip(request)
  assert.deepEqual(attachmentsOf(joined), [source])
  const sent = mapAttachments(joined, (attachment) => base64Source(attachment, Buffer.alloc(10)))
  assert.equal(stored.paramsBytes, Buffer.byteLength(JSON.stringify(sent)))
  assert.ok(isObject(sent) && !JSON.stringify(sent).includes('tithe_attachment'))
})
