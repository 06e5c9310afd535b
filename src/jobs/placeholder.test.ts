import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fillPieces, parsePlaceholders, valueText } from './placeholder.ts'

function fill(
  text: string,
  row: Record<string, never> | Record<string, string | number | null | object>,
): string {
  const parsed = parsePlaceholders(text)
  assert.equal(parsed.kind, 'text', text)
  return parsed.kind === 'text' ? fillPieces(parsed.pieces, row as never, []) : ''
}

test('placeholders take spaces inside, any name, and leave white space around them alone', () => {
  assert.equal(fill(' {{a}}\n\n{{ größe (cm) }}\t', { a: 'x', 'größe (cm)': 3 }), ' x\n\n3\t')
})

test('escaped braces are literal, also beside a placeholder', () => {
  assert.equal(fill('\\{{a}} {{a}} \\{{{{a}}', { a: 'x' }), '{{a}} x {{x')
})

test('single braces and closing braces are text', () => {
  assert.equal(fill('{"a": {"b": {{a}}}}', { a: 1 }), '{"a": {"b": 1}}')
})

test('a value is not looked at for placeholders', () => {
  assert.equal(fill('{{a}}', { a: '{{b}} $& \\{{' }), '{{b}} $& \\{{')
})

test('texts stand as they are, null as nothing, the rest as JSON', () => {
  assert.deepEqual(['a', null, 1.5, true, { b: [1, null] }].map(valueText), [
    'a',
    '',
    '1.5',
    'true',
    '{"b":[1,null]}',
  ])
})

test('braces that begin no placeholder are found', () => {
  for (const [text, offset] of [
    ['a {{', 2],
    ['{{}}', 0],
    ['{{ }}', 0],
    ['x {{a\n}}', 2],
    ['{{{a}}}', 0],
  ] as const) {
    assert.deepEqual(parsePlaceholders(text), { kind: 'bad_braces', offset }, text)
  }
})

test('a text without two opening braces in a row is one piece, itself', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }).filter((text) => text !== '' && !text.includes('{{')),
      (text) => {
        assert.deepEqual(parsePlaceholders(text), { kind: 'text', pieces: [text] })
      },
    ),
  )
})

test('any text can be written literally by escaping its braces', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom('{{', 'a', '}}', '\n', ' ')), (words) => {
      const text = words.join('')
      assert.equal(fill(text.replaceAll('{{', '\\{{'), {}), text)
    }),
  )
})
