import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RecentMap } from './recent-map.ts'

describe('RecentMap', () => {
  it('forgets what was used least recently once the texts are too long in all', () => {
    const map = new RecentMap<number>(12)
    map.set('aaa', 1)
    map.set('bbb', 2)
    map.set('ccc', 3)
    map.set('ddd', 4)
    assert.equal(map.get('aaa'), 1)
    map.set('eee', 5)
    assert.equal(map.get('bbb'), undefined)
    assert.equal(map.get('aaa'), 1)
    assert.equal(map.get('eee'), 5)
  })

  it('does not keep a text that would push out most others', () => {
    const map = new RecentMap<number>(12)
    map.set('aaa', 1)
    map.set('a long text', 2)
    assert.equal(map.get('a long text'), undefined)
    assert.equal(map.get('aaa'), 1)
  })

  it('counts a text that is set again once', () => {
    const map = new RecentMap<number>(12)
    map.set('aaa', 1)
    for (let i = 0; i < 10; i++) map.set('bbb', i)
    assert.equal(map.get('aaa'), 1)
    assert.equal(map.get('bbb'), 9)
  })
})
