import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { instant } from '../core/instant.ts'
import { idsFrom, seededIds } from './ids.ts'

const NOW = instant(Date.UTC(2026, 10, 22))

test('run ids are r and nine lower-case base32 characters, and order by time', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: Date.UTC(2078, 0, 1) }), { minLength: 2 }), (times) => {
      const ids = times.sort((a, b) => a - b).map((ms) => seededIds(1).runId(instant(ms)))
      for (const id of ids) assert.match(id, /^r[0-9a-v]{9}$/)
      const distant = ids.filter((_, i) => i === 0 || times[i]! - times[i - 1]! > 200)
      assert.deepEqual([...distant].sort(), distant)
    }),
  )
})

test('run ids of one process never repeat and never go back, not even when the clock does', () => {
  const ids = idsFrom(() => 0.5)
  const drawn = [NOW, NOW, NOW, instant(NOW - 60_000), NOW].map((now) => ids.runId(now))
  assert.equal(new Set(drawn).size, drawn.length)
  assert.deepEqual([...drawn].sort(), drawn)
})

test('the same seed gives the same ids, another seed others', () => {
  const draw = (seed: number) => {
    const ids = seededIds(seed)
    return [ids.token(24), ids.runId(NOW), ids.random()]
  }
  assert.deepEqual(draw(7), draw(7))
  assert.notDeepEqual(draw(7), draw(8))
})

test('random numbers lie in [0, 1) and spread evenly', () => {
  const ids = seededIds(3)
  const tenths = new Array<number>(10).fill(0)
  for (let i = 0; i < 10_000; i++) tenths[Math.floor(ids.random() * 10)]! += 1
  for (const count of tenths) assert.ok(count > 850 && count < 1_150, `${tenths}`)
})

test('tokens are letters and digits of the asked length', () => {
  assert.match(seededIds(5).token(40), /^[0-9A-Za-z]{40}$/)
})
