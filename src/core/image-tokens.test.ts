import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type ImageTier, imageTokens, shrunkSize } from './image-tokens.ts'

const CELL = 28
const standard: ImageTier = { edgePixelsMax: 1568, tokensMax: 1568 }
const high: ImageTier = { edgePixelsMax: 2576, tokensMax: 4784 }

describe('image tokens', () => {
  // Every example of claude-api.md 5.2.
  const table = [
    { width: 200, height: 200, standard: 64, high: 64 },
    { width: 1000, height: 1000, standard: 1296, high: 1296 },
    { width: 1092, height: 1092, standard: 1521, high: 1521 },
    { width: 1075, height: 1520, standard: 1551, high: 2145 },
    { width: 1920, height: 1080, standard: 1560, high: 2691 },
    { width: 2000, height: 1500, standard: 1564, high: 3888 },
    { width: 3840, height: 2160, standard: 1560, high: 4784 },
  ]
  for (const row of table) {
    it(`${row.width} × ${row.height} is ${row.standard} tokens, or ${row.high} in the high tier`, () => {
      assert.equal(imageTokens(row, standard, CELL), row.standard)
      assert.equal(imageTokens(row, high, CELL), row.high)
    })
  }

  it('shrinks to the documented sizes', () => {
    const shrunk = (width: number, height: number, tier: ImageTier) => {
      const size = shrunkSize({ width, height }, tier, CELL)
      return `${size.width}x${size.height}`
    }
    assert.equal(shrunk(1075, 1520, standard), '924x1307')
    assert.equal(shrunk(1920, 1080, standard), '1456x819')
    assert.equal(shrunk(2000, 1500, standard), '1269x952')
    assert.equal(shrunk(3840, 2160, standard), '1456x819')
    assert.equal(shrunk(3840, 2160, high), '2576x1449')
  })

  it('stays within the tier, never grows an image, and does not care which edge is long', () => {
    const side = fc.integer({ min: 1, max: 8000 })
    fc.assert(
      fc.property(side, side, fc.constantFrom(standard, high), (width, height, tier) => {
        const size = shrunkSize({ width, height }, tier, CELL)
        assert.ok(size.width <= width && size.height <= height)
        assert.ok(Math.max(size.width, size.height) <= tier.edgePixelsMax)
        const tokens = imageTokens({ width, height }, tier, CELL)
        assert.ok(tokens >= 1 && tokens <= tier.tokensMax)
        assert.equal(tokens, imageTokens({ width: height, height: width }, tier, CELL))
      }),
    )
  })
})
