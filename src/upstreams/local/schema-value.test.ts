import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import fc from 'fast-check'
import type { Json, JsonObject } from '../../core/json.ts'
import { schemaValue } from './schema-value.ts'
import { seededRandom } from './seeded.ts'

const ajv = new Ajv2020({ strict: false, allErrors: true })
;(addFormats as unknown as (ajv: Ajv2020) => void)(ajv)

function assertValid(schema: JsonObject, values = 50): void {
  const validate = ajv.compile(schema)
  for (let i = 0; i < values; i++) {
    const value = schemaValue(schema, seededRandom(`${i}`))
    assert.ok(validate(value), `${JSON.stringify(value)}: ${ajv.errorsText(validate.errors)}`)
  }
}

const object = (
  properties: JsonObject,
  required: readonly string[] = Object.keys(properties),
): JsonObject => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
})

test('an invoice with nested objects, arrays, enums and unions is valid', () => {
  assertValid(
    object(
      {
        number: { type: 'string' },
        issued: { type: 'string', format: 'date' },
        currency: { enum: ['EUR', 'USD', null] },
        total: { anyOf: [{ type: 'number' }, { type: 'null' }] },
        paid: { type: ['boolean', 'null'] },
        kind: { const: 'invoice' },
        lines: {
          type: 'array',
          minItems: 1,
          items: object({ text: { type: 'string' }, amount: { type: 'number' } }),
        },
        note: { type: 'string' },
      },
      ['number', 'issued', 'lines', 'kind'],
    ),
  )
})

test('references into $defs and definitions are followed, with what stands beside them', () => {
  assertValid({
    ...object({
      from: { $ref: '#/$defs/party' },
      to: { $ref: '#/definitions/a~1b', description: 'to whom' },
    }),
    $defs: {
      party: object({ name: { type: 'string' }, country: { $ref: '#/$defs/country' } }),
      country: { enum: ['DE', 'FR'] },
    },
    definitions: { 'a/b': object({ id: { type: 'integer' } }) },
  })
})

test('allOf joins its parts', () => {
  assertValid({
    allOf: [{ $ref: '#/$defs/base' }, { properties: { b: { type: 'integer' } }, required: ['b'] }],
    $defs: { base: { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] } },
  })
})

for (const format of 'date-time time date duration email hostname uri ipv4 ipv6 uuid'.split(' ')) {
  test(`a string of format ${format} is one`, () => assertValid({ type: 'string', format }))
}

test('numbers keep to their limits, should a schema state any', () => {
  assertValid({ type: 'integer', minimum: 3, maximum: 7 })
  assertValid({ type: 'number', exclusiveMinimum: 0, maximum: 1 })
  assertValid({ type: 'integer', multipleOf: 5, minimum: 11, maximum: 40 })
  assertValid({ type: 'string', minLength: 20, maxLength: 25 })
  assertValid({ type: 'array', minItems: 2, maxItems: 2, items: { type: 'boolean' } })
})

test('required properties come out first', () => {
  const schema = object({ later: { type: 'string' }, first: { type: 'string' } }, ['first'])
  assert.equal(Object.keys(schemaValue(schema, () => 0) as JsonObject)[0], 'first')
})

test('different seeds choose different labels, and all of them', () => {
  const labels = Array.from({ length: 10 }, (_, i) => `label_${i}`)
  const chosen = new Set<Json>()
  for (let i = 0; i < 200; i++) chosen.add(schemaValue({ enum: labels }, seededRandom(`row ${i}`)))
  assert.equal(chosen.size, labels.length)
})

test('every generated schema gets a valid value', () => {
  const { schema } = fc.letrec<{ schema: JsonObject }>((tie) => ({
    schema: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      fc.constantFrom<JsonObject>(
        { type: 'string' },
        { type: 'number' },
        { type: 'boolean' },
        { enum: ['a', 1, null] },
      ),
      fc.record({ type: fc.constant('array'), items: tie('schema') }) as fc.Arbitrary<JsonObject>,
      fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
      fc
        .tuple(fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), tie('schema'), { maxKeys: 4 }), fc.boolean())
        .map(([properties, all]) => object(properties, all ? Object.keys(properties) : [])),
    ),
  }))
  fc.assert(
    fc.property(schema, (one) => assertValid(one, 2)),
    { numRuns: 100 },
  )
})
