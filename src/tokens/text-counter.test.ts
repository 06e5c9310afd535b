import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { countTokens } from 'bpe-lite'
import fc from 'fast-check'
import { textCounter } from './text-counter.ts'

const count = textCounter()
const words = fc.array(
  fc.constantFrom('the', 'invoice', 'Überweisung', '42', '3.14', '{"a": 1}', '\n\n', '  -'),
  {
    maxLength: 2_000,
  },
)

describe('textCounter', () => {
  it('counts nothing in nothing', () => {
    assert.equal(count(''), 0)
  })

  it('counts text with blanks exactly as one piece', () => {
    fc.assert(
      fc.property(words, (parts) => {
        const text = parts.join(' ')
        assert.equal(count(text), countTokens(text, 'anthropic'))
      }),
      { numRuns: 50 },
    )
  })

  it('counts text without any blank nearly as one piece', () => {
    for (const text of [
      'a'.repeat(50_000),
      'QmFzZTY0IGlzIG5vdCB0ZXh0'.repeat(2_000),
      '测试'.repeat(20_000),
    ]) {
      const whole = countTokens(text, 'anthropic')
      assert.ok(Math.abs(count(text) - whole) <= 0.005 * whole, `${count(text)} for ${whole}`)
    }
  })

  it('never cuts a character in two', () => {
    for (let offset = 0; offset < 3; offset++) {
      const text = `${'x'.repeat(offset)}${'😀'.repeat(3_000)}`
      assert.ok(Math.abs(count(text) - countTokens(text, 'anthropic')) <= offset + 1)
    }
  })

  it('gives the same count again', () => {
    const text = 'the same handbook '.repeat(500)
    assert.equal(count(text), count(text))
  })
})
