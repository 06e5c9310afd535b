import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { SharedBeginning } from './shared-beginning.ts'

const handbooks = ['first ', 'second ', 'short '].map((name) => name.repeat(name === 'short ' ? 3 : 2_000))

/** Splits all bodies and joins them again from what would be stored. */
function throughStore(bodies: readonly string[]): { joined: string[]; storedBytes: number } {
  const shared = new SharedBeginning()
  const beginnings = new Map<number, Uint8Array>()
  let storedBytes = 0
  const joined = bodies.map((body, id) => {
    const { beginning, fresh, rest } = shared.split(id, Buffer.from(body))
    if (fresh !== null) {
      assert.ok(!beginnings.has(beginning!))
      beginnings.set(beginning!, fresh)
      storedBytes += fresh.length
    }
    storedBytes += rest.length
    const start = beginning === null ? Buffer.alloc(0) : beginnings.get(beginning)!
    return Buffer.concat([start, rest]).toString('utf8')
  })
  return { joined, storedBytes }
}

describe('SharedBeginning', () => {
  it('gives back every body as it came', () => {
    const body = fc.tuple(fc.constantFrom(...handbooks), fc.string()).map(([book, own]) => book + own)
    fc.assert(
      fc.property(fc.array(body, { maxLength: 20 }), (bodies) => {
        assert.deepEqual(throughStore(bodies).joined, bodies)
      }),
    )
  })

  it('stores what bodies share a few times, however many they are', () => {
    const bodies = Array.from({ length: 500 }, (_, i) => `${handbooks[0]}case ${i}`)
    const { storedBytes } = throughStore(bodies)
    assert.ok(storedBytes < 6 * handbooks[0]!.length, `${storedBytes} bytes stored`)
  })
})
