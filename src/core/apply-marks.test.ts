import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { applyMarks, fittingMarks } from './apply-marks.ts'
import type { Json, JsonObject } from './json.ts'
import { prefixHashes } from './prefix-hash.ts'
import { marksOf, promptBlocks } from './prompt.ts'
import type { MessageRequest, Ttl } from './request.ts'
import type { MarkPlan } from './run-plan.ts'

const mark = (path: string, ttl: Ttl = '1h'): MarkPlan => ({ path, ttl, prefixHash: '', tokens: 0 })
const settings = { apiVersion: '2023-06-01', betas: [] }

test('a mark goes to the end of its block, and strings become the block that they are', () => {
  const request = {
    system: 'You are brief.',
    max_tokens: 5,
    messages: [{ role: 'user', content: 'Hello' }],
  }
  assert.equal(
    JSON.stringify(applyMarks(request, [mark('system'), mark('messages[0].content[0]', '5m')])),
    '{"system":[{"type":"text","text":"You are brief.","cache_control":{"type":"ephemeral","ttl":"1h"}}],"max_tokens":5,' +
      '"messages":[{"role":"user","content":[{"type":"text","text":"Hello","cache_control":{"type":"ephemeral","ttl":"5m"}}]}]}',
  )
  assert.equal(applyMarks(request, []), request, 'untouched without marks')
})

test('a path names the same block whether it stands as a string or as a block', () => {
  const asBlock = { system: [{ type: 'text', text: 'x' }], messages: [] }
  const asString = { system: 'x', messages: [] }
  assert.deepEqual(applyMarks(asBlock, [mark('system')]), applyMarks(asString, [mark('system[0]')]))
})

test('marks of the author stay; ours yield slots, blocks and TTL to them', () => {
  const own = (ttl: Ttl) => ({ cache_control: { type: 'ephemeral', ttl } })
  const text = (extra: JsonObject = {}) => ({ type: 'text', text: 't', ...extra })
  const paths = (request: MessageRequest, marks: MarkPlan[]) =>
    fittingMarks(request, marks).map(({ path, ttl }) => `${path} ${ttl}`)
  const ours = [mark('system[0]'), mark('system[2]')]

  assert.deepEqual(paths({ system: [text(own('5m')), text(), text()] }, ours), ['system[2] 5m'])
  assert.deepEqual(paths({ system: [text(), text(own('5m')), text()] }, ours), [
    'system[0] 1h',
    'system[2] 5m',
  ])
  const fiveMinutes = [mark('system[0]', '5m')]
  assert.deepEqual(paths({ system: [text(), text(own('1h'))] }, fiveMinutes), ['system[0] 1h'])
  const three = [text(own('5m')), text(own('5m')), text(own('5m'))]
  assert.deepEqual(paths({ system: [text(), text(), text(), ...three] }, ours), ['system[2] 1h'])
  const automatic = { system: [text(), text(), text()], cache_control: { type: 'ephemeral' } }
  assert.deepEqual(paths(automatic, ours), ['system[0] 1h'], 'the automatic mark has the last block')
})

test('a mark inside a tool result takes a slot of its own', () => {
  const inner = { type: 'text', text: 'r', cache_control: { type: 'ephemeral' } }
  const result = { type: 'tool_result', tool_use_id: 't', content: [inner, inner, inner, inner] }
  const request = { system: 's', messages: [{ role: 'user', content: [result] }] }
  assert.deepEqual(fittingMarks(request, [mark('system')]), [])
})

test('a path that the request does not have is a bug of ours, not a row to send', () => {
  assert.throws(() => applyMarks({ messages: [] }, [mark('system')]), /has a block at system/)
})

// Valid requests: at most four marks of their own, no hour after five minutes.
const blockText = fc.record({ type: fc.constant('text'), text: fc.string({ minLength: 1, maxLength: 4 }) })
const someRequest = fc
  .record({
    tools: fc.array(
      fc.record({ name: fc.string({ maxLength: 3 }), input_schema: fc.constant({ type: 'object' }) }),
      {
        maxLength: 3,
      },
    ),
    system: fc.oneof(fc.string({ minLength: 1, maxLength: 5 }), fc.array(blockText, { maxLength: 3 })),
    messages: fc.array(
      fc.record({
        role: fc.constantFrom('user', 'assistant'),
        content: fc.oneof(
          fc.string({ minLength: 1, maxLength: 5 }),
          fc.array(blockText, { minLength: 1, maxLength: 4 }),
        ),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    own: fc.array(fc.nat({ max: 12 }), { maxLength: 3 }),
    hours: fc.nat({ max: 4 }),
    automatic: fc.boolean(),
  })
  .map(({ own, hours, automatic, ...bare }): MessageRequest => {
    let request: MessageRequest = bare
    const blocks = promptBlocks(bare)
    const marked = [...new Set(own.filter((index) => index < blocks.length))].sort((a, b) => a - b)
    for (const [i, index] of marked.entries()) {
      request = applyMarks(request, [mark(blocks[index]!.path, i < hours ? '1h' : '5m')])
    }
    return automatic ? { ...request, cache_control: { type: 'ephemeral' } } : request
  })
const ourMarks = (request: MessageRequest, wanted: readonly number[], ttl: Ttl): MarkPlan[] => {
  const blocks = promptBlocks(request)
  return [...new Set(wanted)]
    .filter((index) => index < blocks.length)
    .sort((a, b) => a - b)
    .map((index) => mark(blocks[index]!.path, ttl))
}
const someMarks = fc.tuple(fc.array(fc.nat({ max: 12 }), { maxLength: 4 }), fc.constantFrom<Ttl>('5m', '1h'))

test('a marked request never has more than 4 marks, nor an hour after five minutes', () => {
  fc.assert(
    fc.property(someRequest, someMarks, (request, [wanted, ttl]) => {
      const marked = applyMarks(request, ourMarks(request, wanted, ttl))
      const marks = marksOf(marked, promptBlocks(marked))
      assert.ok(marks.length <= 4, `${marks.length} marks`)
      const ttls = marks.map((one) => one.ttl).join(' ')
      assert.doesNotMatch(ttls, /5m.*1h/)
      const before = marksOf(request, promptBlocks(request))
      for (const own of before) {
        assert.ok(
          marks.some((one) => one.index === own.index && one.ttl === own.ttl && one.source === own.source),
          'a mark of the author is as it was',
        )
      }
    }),
    { numRuns: 300 },
  )
})

test('marking changes nothing that the model reads, and taking our marks out gives the request back', () => {
  fc.assert(
    fc.property(someRequest, someMarks, (request, [wanted, ttl]) => {
      const ours = ourMarks(request, wanted, ttl)
      const marked = applyMarks(request, ours)
      const hashes = (one: MessageRequest) => prefixHashes(one, promptBlocks(one), settings)
      assert.deepEqual(hashes(marked), hashes(request))
      const restored = structuredClone(asBlocks(marked))
      for (const { path } of fittingMarks(request, ours)) {
        const steps = (path.endsWith(']') ? path : `${path}[0]`).match(/[^.[\]]+/g)!
        const block = steps.reduce((at, step) => at[step] as JsonObject, restored)
        delete (block as { cache_control?: Json }).cache_control
      }
      assert.equal(JSON.stringify(restored), JSON.stringify(asBlocks(request)))
    }),
    { numRuns: 300 },
  )
})

/** Strings as the block that they are, keys in their order. */
function asBlocks(request: MessageRequest): JsonObject {
  const list = (value: Json | undefined): Json =>
    typeof value === 'string' ? [{ type: 'text', text: value }] : (value ?? null)
  return {
    ...request,
    system: list(request['system']),
    messages: (request['messages'] as readonly JsonObject[]).map((message) => ({
      ...message,
      content: list(message['content']),
    })),
  }
}
