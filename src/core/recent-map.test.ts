import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RecentMap } from './recent-map.ts'

/** A text is kept from its second `set` on. */
function keep(map: RecentMap<number>, text: string, value: number): void {
  map.set(text, value)
  map.set(text, value)
}

describe('RecentMap', () => {
  it('holds no text that came once', () => {
    const map = new RecentMap<number>(1_000)
    map.set('a row', 1)
    assert.equal(map.get('a row'), undefined)
    map.set('a row', 1)
    assert.equal(map.get('a row'), 1)
  })

  it('forgets what was not used lately once the texts are too long in all', () => {
    const map = new RecentMap<number>(12)
    keep(map, 'aaa', 1)
    keep(map, 'bbb', 2)
    for (const [text, value] of [
      ['ccc', 3],
      ['ddd', 4],
      ['eee', 5],
    ] as const) {
      keep(map, text, value)
      assert.equal(map.get('aaa'), 1)
    }
    assert.equal(map.get('bbb'), undefined)
    assert.equal(map.get('eee'), 5)
  })

  it('never holds texts longer than its bound in all', () => {
    const map = new RecentMap<number>(100)
    const texts = Array.from({ length: 60 }, (_, i) => `text ${i}`.padEnd(10))
    for (const [i, text] of texts.entries()) keep(map, text, i)
    const held = texts.filter((text) => map.get(text) !== undefined)
    assert.ok(held.length > 0 && held.length <= 10, `${held.length} texts of 10 held`)
  })

  it('does not keep a text that would push out most others', () => {
    const map = new RecentMap<number>(12)
    keep(map, 'aaa', 1)
    keep(map, 'a long text', 2)
    assert.equal(map.get('a long text'), undefined)
    assert.equal(map.get('aaa'), 1)
  })

  it('gives the value set last', () => {
    const map = new RecentMap<number>(12)
    keep(map, 'aaa', 1)
    for (let i = 0; i < 10; i++) map.set('bbb', i)
    assert.equal(map.get('aaa'), 1)
    assert.equal(map.get('bbb'), 9)
  })
})
