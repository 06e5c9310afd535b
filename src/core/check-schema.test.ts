import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalogue } from '../facts/load.ts'
import { checkOutputSchema, schemaSize } from './check-schema.ts'
import type { Json } from './json.ts'

const { rules } = loadCatalogue()

function object(properties: Record<string, Json>, more: Record<string, Json> = {}): Json {
  return {
    type: 'object',
    properties,
    required: Object.keys(properties),
    additionalProperties: false,
    ...more,
  }
}

/** `code at path` of every problem. */
function problemsOf(schema: Json | undefined, path?: string): string[] {
  return checkOutputSchema(schema, rules, path).map((found) => `${found.code} at ${found.where?.path}`)
}

test('a plain schema with enums, nullable fields, references and known formats passes', () => {
  const schema = object(
    {
      label: { type: 'string', enum: ['a', 'b'] },
      note: { type: ['string', 'null'] },
      due: { type: 'string', format: 'date' },
      lines: { type: 'array', minItems: 1, items: { $ref: '#/$defs/line' } },
      other: { $ref: '#/$defs/line' },
    },
    { $defs: { line: object({ text: { type: 'string' }, pattern: { type: 'string', pattern: '^a' } }) } },
  )
  assert.deepEqual(problemsOf(schema), [])
})

const REFUSED: [string, Json | undefined, string[]][] = [
  ['no schema', undefined, ['schema_not_object at ']],
  ['true', true, ['schema_not_object at ']],
  [
    'an open object',
    { type: 'object', properties: {} },
    ['schema_additional_properties at additionalProperties'],
  ],
  [
    'an open object inside an array inside an object',
    object({ rows: { type: 'array', items: { type: 'object', additionalProperties: true } } }),
    ['schema_additional_properties at properties.rows.items.additionalProperties'],
  ],
  [
    'an open object that may be null',
    object({ a: { type: ['object', 'null'], properties: {} } }),
    ['schema_additional_properties at properties.a.additionalProperties'],
  ],
  [
    'an open object without a type, in a branch of anyOf',
    object({ a: { anyOf: [{ type: 'null' }, { properties: { b: { type: 'string' } }, required: ['b'] }] } }),
    ['schema_additional_properties at properties.a.anyOf[1].additionalProperties'],
  ],
  [
    'numeric limits',
    object({ n: { type: 'integer', minimum: 1, multipleOf: 5 } }),
    ['schema_keyword_refused at properties.n.minimum', 'schema_keyword_refused at properties.n.multipleOf'],
  ],
  [
    'length limits',
    object({ s: { type: 'string', maxLength: 5 } }),
    ['schema_keyword_refused at properties.s.maxLength'],
  ],
  [
    'two items at least',
    object({ a: { type: 'array', minItems: 2 } }),
    ['schema_min_items at properties.a.minItems'],
  ],
  [
    'a list with an end',
    object({ a: { type: 'array', maxItems: 2 } }),
    ['schema_keyword_refused at properties.a.maxItems'],
  ],
  [
    'an unknown format',
    object({ a: { type: 'string', format: 'iri' } }),
    ['schema_format at properties.a.format'],
  ],
  [
    'a schema that contains itself',
    object({ child: { $ref: '#' } }),
    ['schema_recursive at properties.child.$ref'],
  ],
  [
    'two definitions that contain each other',
    object(
      { a: { $ref: '#/$defs/a' } },
      { $defs: { a: object({ b: { $ref: '#/$defs/b' } }), b: object({ a: { $ref: '#/$defs/a' } }) } },
    ),
    [
      'schema_recursive at properties.a.$ref',
      'schema_recursive at $defs.a.properties.b.$ref',
      'schema_recursive at $defs.b.properties.a.$ref',
    ],
  ],
  ['a dangling reference', object({ a: { $ref: '#/$defs/no' } }), ['schema_reference at properties.a.$ref']],
  [
    'a reference to another document',
    object({ a: { $ref: 'https://example.com/s.json' } }),
    ['schema_reference at properties.a.$ref'],
  ],
]

for (const [what, schema, expected] of REFUSED) {
  test(`refused: ${what}`, () => {
    assert.deepEqual(problemsOf(schema).toSorted(), expected.toSorted())
  })
}

test('24 optional properties pass and 25 do not; 16 unions pass and 17 do not', () => {
  const many = (count: number, schema: Json, required: boolean): Json => {
    const properties = Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, schema]))
    return object(properties, required ? {} : { required: [] })
  }
  const text: Json = { type: 'string' }
  const union: Json = { type: ['string', 'null'] }
  assert.deepEqual(problemsOf(many(24, text, false)), [])
  assert.deepEqual(problemsOf(many(25, text, false), 'here'), ['schema_too_many_optionals at here'])
  assert.deepEqual(problemsOf(many(16, union, true)), [])
  assert.deepEqual(problemsOf(many(17, union, true)), ['schema_too_many_unions at '])
  assert.deepEqual(schemaSize(many(3, union, false)), { optionals: 3, unions: 3 })
})

test('paths begin with the place of the schema, and every refusal says what to do', () => {
  const problems = checkOutputSchema(object({ n: { type: 'integer', minimum: 1 } }), rules, 'output.schema')
  assert.equal(problems[0]!.where!.path, 'output.schema.properties.n.minimum')
  assert.match(problems[0]!.message, /output\.schema\.properties\.n/)
  for (const [, schema] of REFUSED.slice(2)) {
    for (const found of checkOutputSchema(schema, rules)) assert.ok(found.hint, found.message)
  }
})

test('a property named like a keyword is not one', () => {
  assert.deepEqual(problemsOf(object({ minimum: { type: 'integer' }, format: { type: 'string' } })), [])
})

test('many definitions that refer to each other crosswise are checked in time', () => {
  const $defs: Record<string, Json> = { d40: object({}) }
  for (let i = 0; i < 40; i++) {
    $defs[`d${i}`] = object({ a: { $ref: `#/$defs/d${i + 1}` }, b: { $ref: `#/$defs/d${i + 1}` } })
  }
  assert.deepEqual(problemsOf(object({ a: { $ref: '#/$defs/d0' } }, { $defs })), [])
})
