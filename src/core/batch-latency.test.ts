import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { latencyOfWaves, shareEndedWithin, sharePairsEndedWithin, survivalOf } from './batch-latency.ts'
import { HOUR_MS, MINUTE_MS } from './instant.ts'

const latencies = [MINUTE_MS, 2 * MINUTE_MS, 10 * MINUTE_MS, 90 * MINUTE_MS]

test('shares count the recorded batches, alone and one after the other', () => {
  assert.equal(shareEndedWithin(latencies, HOUR_MS), 3 / 4)
  assert.equal(shareEndedWithin(latencies, 2 * MINUTE_MS), 1 / 4, 'ending at the very instant is too late')
  assert.equal(sharePairsEndedWithin(latencies, 5 * MINUTE_MS), 4 / 16)
})

test('an entry survives one wave with the share of batches quicker than its TTL', () => {
  const { reads, diesAfterRelease, goesUnmarked } = survivalOf(latencies, [99], HOUR_MS, 30 * MINUTE_MS)
  assert.equal(goesUnmarked, 1 / 4)
  assert.equal(reads, 9 / 16, 'primer and bulk together must end within the hour')
  assert.ok(Math.abs(diesAfterRelease - (3 / 4 - 9 / 16)) < 1e-12)
})

test('each further wave is another chance to die, weighted by its rows', () => {
  const one = survivalOf(latencies, [1_000], HOUR_MS, HOUR_MS)
  const two = survivalOf(latencies, [10, 990], HOUR_MS, HOUR_MS)
  assert.ok(two.reads < one.reads)
  assert.ok(Math.abs(two.goesUnmarked - (0.01 * (1 / 4) + 0.99 * (1 - 9 / 16))) < 1e-12)
})

test('a primer that is not waited for long enough leaves its rows unmarked', () => {
  assert.equal(survivalOf(latencies, [99], HOUR_MS, 5 * MINUTE_MS).goesUnmarked, 1 / 2)
})

test('the three shares are shares and add up to 1, and a longer TTL never reads less', () => {
  const someLatencies = fc.array(fc.integer({ min: 1, max: 10_000_000 }), { minLength: 1, maxLength: 20 })
  const someWaves = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(someLatencies, someWaves, fc.integer({ min: 1, max: 10_000_000 }), (recorded, waves, ttl) => {
      const { reads, diesAfterRelease, goesUnmarked } = survivalOf(recorded, waves, ttl, HOUR_MS)
      for (const share of [reads, diesAfterRelease, goesUnmarked]) {
        assert.ok(share >= -1e-9 && share <= 1 + 1e-9)
      }
      assert.ok(Math.abs(reads + diesAfterRelease + goesUnmarked - 1) < 1e-9)
      assert.ok(survivalOf(recorded, waves, 2 * ttl, HOUR_MS).reads >= reads - 1e-9)
    }),
  )
})

test('waves one after the other take the sum of their latencies', () => {
  const single = latencyOfWaves([MINUTE_MS], [HOUR_MS, HOUR_MS, HOUR_MS])
  assert.deepEqual(single, { median: 3 * MINUTE_MS, p95: 3 * MINUTE_MS })
  assert.deepEqual(latencyOfWaves(latencies, [HOUR_MS]), { median: 2 * MINUTE_MS, p95: HOUR_MS }, 'capped')
  // Of 16 pairs the 8th is 12 minutes, the 16th 180.
  assert.deepEqual(latencyOfWaves(latencies, [24 * HOUR_MS, 24 * HOUR_MS]), {
    median: 12 * MINUTE_MS,
    p95: 180 * MINUTE_MS,
  })
  assert.deepEqual(latencyOfWaves(latencies, []), { median: 0, p95: 0 })
})
