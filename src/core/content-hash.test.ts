import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { contentHash } from './content-hash.ts'
import type { Json } from './json.ts'

test('key order does not matter, at any depth', () => {
  assert.equal(
    contentHash({ a: 1, b: { c: [1, { d: 2, e: 3 }] } }),
    contentHash({ b: { c: [1, { e: 3, d: 2 }] }, a: 1 }),
  )
})

test('everything else does', () => {
  const different: Json[] = [
    null,
    false,
    0,
    '',
    '0',
    [],
    {},
    [null],
    { a: null },
    { a: '' },
    [1, 2],
    [2, 1],
    1.5,
    '1.5',
  ]
  assert.equal(new Set(different.map(contentHash)).size, different.length)
  assert.match(contentHash(null), /^c1:[0-9a-f]{64}$/)
})

test('an undefined member is absent', () => {
  assert.equal(contentHash({ a: 1, b: undefined }), contentHash({ a: 1 }))
})

test('two values have the same hash exactly when JSON reads them as equal', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
      const [a, b] = [one, other].map((value) => JSON.parse(JSON.stringify(value)) as Json) as [Json, Json]
      assert.equal(contentHash(a) === contentHash(b), isEqual(a, b))
      assert.equal(contentHash(a), contentHash(structuredClone(a)))
    }),
  )
})

function isEqual(a: Json, b: Json): boolean {
  try {
    assert.deepStrictEqual(a, b)
    return true
  } catch {
    return false
  }
}
