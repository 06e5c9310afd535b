import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerJson, answerText, flawOf, joinParts, parseResultLine } from './answer.ts'

test('a succeeded line gives its message and stop reason', () => {
  const line = parseResultLine(
    '{"custom_id":"a","result":{"type":"succeeded","message":{"content":[{"type":"thinking","thinking":""},{"type":"text","text":"{\\"n\\":1}"}],"stop_reason":"end_turn"}}}',
  )
  assert.ok(line?.message)
  assert.equal(line.stopReason, 'end_turn')
  assert.equal(answerText(line.message), '{"n":1}')
  assert.deepEqual(answerJson(line.message), { n: 1 })
})

test('the double error envelope of an errored line is opened', () => {
  const line = parseResultLine(
    '{"custom_id":"bad","result":{"type":"errored","error":{"type":"error","error":{"details":{"error_visibility":"user_facing"},"type":"not_found_error","message":"model: claude-does-not-exist-9"},"request_id":null}}}',
  )
  assert.equal(line?.errorType, 'not_found_error')
  assert.equal(line?.errorMessage, 'model: claude-does-not-exist-9')
})

test('canceled and expired lines have only their type', () => {
  assert.equal(parseResultLine('{"custom_id":"c","result":{"type":"canceled"}}')?.outcome, 'canceled')
  assert.equal(parseResultLine('{"custom_id":"c","result":{"type":"expired"}}')?.message, null)
})

test('what is not a result line is null', () => {
  for (const text of ['', '{', '[]', '{"custom_id":"a"}', '{"custom_id":"a","result":{"type":"done"}}']) {
    assert.equal(parseResultLine(text), null, text)
  }
  assert.equal(parseResultLine('{"custom_id":"a","result":{"type":"succeeded"}}'), null)
})

test('the code that some errors carry in their details is read', () => {
  const line = parseResultLine(
    '{"custom_id":"a","result":{"type":"errored","error":{"type":"error","error":{"type":"rate_limit_error","message":"","details":{"error_code":"enforced_spend_limit_reached"}}}}}',
  )
  assert.equal(line?.errorCode, 'enforced_spend_limit_reached')
})

test('an unusable answer has one flaw: a refusal and a cut answer break a schema without being counted for it', () => {
  const flaw = (stopReason: string | null, schemaValid: boolean | null = false) =>
    flawOf({ outcome: 'succeeded', stopReason, schemaValid })
  assert.equal(flaw('refusal'), 'refused')
  assert.equal(flaw('max_tokens'), 'truncated')
  assert.equal(flaw('model_context_window_exceeded'), 'truncated')
  assert.equal(flaw('pause_turn'), 'unfinished')
  assert.equal(flaw('end_turn'), 'schema_invalid')
  assert.equal(flaw('end_turn', true), null)
  assert.equal(flaw('tool_use', null), null)
  assert.equal(flawOf({ outcome: 'errored', stopReason: null, schemaValid: null }), null)
})

test('the parts of an answer that paused are read as one', () => {
  const part = (text: string) => ({ content: [{ type: 'text', text }], stop_reason: 'pause_turn' })
  const last = { content: [{ type: 'text', text: 'end' }], stop_reason: 'end_turn' }
  const whole = joinParts([part('first, '), part('then, ')], last)
  assert.equal(answerText(whole), 'first, then, end')
  assert.equal(whole['stop_reason'], 'end_turn')
  assert.equal(joinParts([], last), last)
})
