import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseBatchElement } from './batch-element.ts'

const parse = (json: string) => parseBatchElement(Buffer.from(json), 3)
const refusalOf = (json: string) => {
  const element = parse(json)
  return element.kind === 'refused' ? element.message : null
}

test('params are the bytes that came, digits, escapes and key order included', () => {
  const params = '{"2":1.0,"1":12345678901234567890,"text":"\\u00e4 \\"}],{","list":[{"a":[1]}]}'
  const element = parse(`{ "custom_id" : "a-1", "params" : ${params} , "more": [1, {"params": 2}] }`)
  assert.ok(element.kind === 'element')
  assert.equal(element.customId, 'a-1')
  assert.equal(Buffer.from(element.params).toString('utf8').trim(), params)
})

test('a key that is spelled with escapes, or stands twice, is read as JSON.parse reads it', () => {
  const element = parse('{"params":{"old":1},"custom_id":"a","par\\u0061ms":{"new":1}}')
  assert.ok(element.kind === 'element')
  assert.equal(Buffer.from(element.params).toString('utf8'), '{"new":1}')
})

test('the bytes of params parse to what JSON.parse sees, whatever stands around them', () => {
  const around = fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 3 })
  fc.assert(
    fc.property(
      around,
      fc.dictionary(fc.string(), fc.jsonValue()),
      fc.constantFrom(0, 2),
      (others, params, indent) => {
        const json = JSON.stringify({ ...others, custom_id: 'a', params }, null, indent)
        const element = parse(json)
        assert.ok(element.kind === 'element')
        assert.deepEqual(JSON.parse(Buffer.from(element.params).toString('utf8')), JSON.parse(json).params)
      },
    ),
  )
})

for (const [json, message] of [
  ['{"params":{}}', 'requests.3.custom_id: Field required'],
  ['{"custom_id":7,"params":{}}', 'requests.3.custom_id: Input should be a valid string'],
  ['{"custom_id":"","params":{}}', 'requests.3.custom_id: String should have at least 1 character'],
  [
    `{"custom_id":"${'a'.repeat(65)}","params":{}}`,
    'requests.3.custom_id: String should have at most 64 characters',
  ],
  [
    '{"custom_id":"a.b","params":{}}',
    "requests.3.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
  ],
  ['{"custom_id":"a"}', 'requests.3.params: Field required'],
  ['{"custom_id":"a","params":[]}', 'requests.3.params: Input should be a valid dictionary'],
  ['[]', 'requests.3: Input should be a valid dictionary'],
] as const) {
  test(`${json.slice(0, 40)} is refused in the API's words`, () => assert.equal(refusalOf(json), message))
}

test('what is no JSON is refused without repeating it', () => {
  assert.match(refusalOf('{"custom_id":"secret",')!, /^The request body is not valid JSON: /)
  assert.doesNotMatch(refusalOf('{"custom_id":"secret",')!, /secret/)
  assert.match(parseBatchElement(Uint8Array.of(0x22, 0xff, 0x22), 0).kind, /refused/)
})
