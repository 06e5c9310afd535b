import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reviseRequest, sentBytesMax, sentMaxTokens, sentPromptTokensHigh } from './row-revision.ts'

const REQUEST = { model: 'm', max_tokens: 100, messages: [{ role: 'user', content: 'Look it up.' }] }
const part = (text: string) => ({ content: [{ type: 'text', text }], stop_reason: 'pause_turn', usage: {} })

test('a revised request has its room and what was said so far, as one turn of the assistant', () => {
  assert.deepEqual(reviseRequest(REQUEST, { maxTokens: 200 }, []), { ...REQUEST, max_tokens: 200 })
  assert.deepEqual(reviseRequest(REQUEST, { maxTokens: null }, [part('one'), part('two')]), {
    ...REQUEST,
    messages: [
      ...REQUEST.messages,
      {
        role: 'assistant',
        content: [
          { type: 'text', text: 'one' },
          { type: 'text', text: 'two' },
        ],
      },
    ],
  })
})

test('what is planned for a row is planned for it as it will be sent', () => {
  const row = { maxTokens: 100, promptTokensHigh: 1_000, paramsBytes: 5_000, revision: null }
  assert.deepEqual([sentMaxTokens(row), sentPromptTokensHigh(row), sentBytesMax(row, 0)], [100, 1_000, 5_000])
  const revised = { ...row, revision: { maxTokens: 400, continues: [1, 2] } }
  assert.deepEqual([sentMaxTokens(revised), sentPromptTokensHigh(revised)], [400, 1_800])
})

test('the bound of bytes holds for what is really sent', () => {
  const parts = [part('one'.repeat(50)), part('ü'.repeat(99))]
  const lines = parts.map((message) =>
    JSON.stringify({ custom_id: 'a', result: { type: 'succeeded', message } }),
  )
  const revision = { maxTokens: 999_999, continues: [1, 2] }
  const bytes = (value: unknown) =>
    Buffer.byteLength(typeof value === 'string' ? value : JSON.stringify(value))
  const bound = sentBytesMax(
    { paramsBytes: bytes(REQUEST), revision },
    lines.reduce((sum, line) => sum + bytes(line), 0),
  )
  assert.ok(bytes(reviseRequest(REQUEST, revision, parts)) <= bound)
})
