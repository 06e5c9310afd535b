import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FAULT_NAMES, FAULTS, Faults } from './faults.ts'
import { seededRandom } from './local/seeded.ts'

test('a scheduled fault fires from its call on, so often as was said, and is counted', () => {
  const faults = Faults.scheduled(seededRandom('a'), [
    { name: 'create: answer lost', call: 2, times: 2 },
    { name: 'results: cut', call: 1, times: 1 },
  ])
  const drawn = [1, 2, 3, 4].map(() => faults.draw('create'))
  assert.deepEqual(drawn, [null, 'create: answer lost', 'create: answer lost', null])
  assert.equal(faults.draw('results'), 'results: cut')
  assert.equal(faults.draw('results'), null)
  assert.deepEqual(Object.fromEntries(faults.fired), { 'create: answer lost': 2, 'results: cut': 1 })
})

test('faults of any call meet any call; after a calm none fires, and what fired stays counted', () => {
  const schedule = [{ name: 'upstream: slow', call: 1, times: 9 }] as const
  const faults = Faults.scheduled(seededRandom('a'), schedule)
  assert.equal(faults.draw('list'), 'upstream: slow')
  assert.equal(faults.draw('message'), 'upstream: slow')
  faults.calm()
  assert.equal(faults.draw('list'), null)
  assert.equal(faults.fired.get('upstream: slow'), 2)
})

test('a fault that found nothing to spoil comes another time', () => {
  const schedule = [{ name: 'results: billing error in a row', call: 1, times: 1 }] as const
  const faults = Faults.scheduled(seededRandom('a'), schedule)
  const drawn = faults.draw('results')
  assert.ok(drawn)
  faults.putBack(drawn)
  assert.equal(faults.fired.size, 0)
  assert.equal(faults.draw('results'), drawn)
})

test('the same seed draws the same faults', () => {
  const draws = () => {
    const faults = Faults.atRandom(seededRandom('b'), FAULT_NAMES)
    return Array.from({ length: 40 }, () => faults.draw('create'))
  }
  assert.deepEqual(draws(), draws())
  assert.ok(draws().some((name) => name !== null))
})

test('every fault says in a few words what it does', () => {
  for (const what of Object.values(FAULTS)) assert.ok(what.length > 2 && what.length < 90, what)
})
