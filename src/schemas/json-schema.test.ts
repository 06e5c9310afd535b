import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TitheError } from '../core/errors.ts'
import { compileSchema } from './json-schema.ts'

const invoice = {
  type: 'object',
  properties: {
    number: { type: 'string' },
    due: { type: 'string', format: 'date' },
    currency: { enum: ['EUR', 'USD'] },
    lines: {
      type: 'array',
      items: {
        type: 'object',
        properties: { total: { type: 'number' } },
        required: ['total'],
        additionalProperties: false,
      },
    },
  },
  required: ['number'],
  additionalProperties: false,
}

test('a valid value has no reason against it', () => {
  const check = compileSchema(invoice)
  assert.equal(check({ number: 'A-1', due: '2026-11-22', currency: 'EUR', lines: [{ total: 1.5 }] }), null)
})

const REASONS: [value: unknown, reason: string][] = [
  [{}, "answer must have required property 'number'"],
  ['text', 'answer must be object'],
  [{ number: 5 }, 'number must be string'],
  [{ number: 'a', lines: [{ total: 1 }, { total: '2' }] }, 'lines[1].total must be number'],
  [{ number: 'a', note: 'x' }, 'answer must NOT have additional properties ("note")'],
  [{ number: 'a', currency: 'eur' }, 'currency must be equal to one of the allowed values: ["EUR","USD"]'],
  [{ number: 'a', due: '22.11.2026' }, 'due must match format "date"'],
]

for (const [value, reason] of REASONS) {
  test(`one line says why: ${reason}`, () => {
    assert.equal(compileSchema(invoice)(value), reason)
  })
}

test('of a failed choice the branch is named, and the rest is counted', () => {
  const check = compileSchema({
    properties: { a: { anyOf: [{ type: 'null' }, { properties: { b: { type: 'string' } } }] } },
  })
  assert.equal(check({ a: { b: 1 } }), 'a.b must be string (and 2 more)')
})

test('the reason holds nothing of the answer', () => {
  assert.doesNotMatch(compileSchema(invoice)({ number: 'a', currency: 'a-secret' })!, /a-secret/)
})

test('the draft is 2020-12: prefixItems counts', () => {
  const check = compileSchema({ type: 'array', prefixItems: [{ type: 'string' }] })
  assert.equal(check([1]), '[0] must be string')
})

test('one schema object is compiled once, and two schemas may share an $id', () => {
  assert.equal(compileSchema(invoice), compileSchema(invoice))
  assert.equal(compileSchema({ $id: 'x', type: 'string' })('a'), null)
  assert.equal(compileSchema({ $id: 'x', type: 'number' })(1), null)
})

test('what is no schema is refused with the reason', () => {
  assert.throws(
    () => compileSchema({ type: 'strng' }),
    (error) => error instanceof TitheError && error.code === 'invalid_schema' && /type/.test(error.message),
  )
  assert.throws(() => compileSchema({ $ref: '#/$defs/none' }), /invalid_schema|none/)
})
