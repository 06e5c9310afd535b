import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerJson, answerText, parseResultLine } from './answer.ts'

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
