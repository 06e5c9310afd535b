import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { sha256Hex } from './digest.ts'
import { problem } from './errors.ts'
import { type PrefixPosition, profileJob, type RowProfile, widenBand } from './job-profile.ts'

const position = (name: string, tokens: number, change: Partial<PrefixPosition> = {}): PrefixPosition => ({
  path: `system[${name.length}]`,
  hash: `p1:${sha256Hex(name)}`,
  tokens,
  markable: true,
  mark: null,
  ...change,
})
const row = (ordinal: number, prefixes: PrefixPosition[], change: Partial<RowProfile> = {}): RowProfile => ({
  ordinal,
  model: 'claude-sonnet-4-6',
  variant: '2023-06-01',
  prefixes,
  promptTokens: { low: 90, best: 100, high: 120 },
  ownBytes: 10,
  paramsBytes: 50,
  maxTokens: 1_000,
  inferenceGeo: null,
  speed: 'standard',
  webSearchesMax: 0,
  warnings: [],
  ...change,
})

test('shared prefixes are counted exactly, those of a single row not at all', () => {
  const profiler = profileJob([])
  for (let i = 0; i < 1_000; i++) {
    profiler.add(row(i, [position('trunk', 50), position(`topic ${i % 10}`, 70), position(`own ${i}`, 90)]))
  }
  const profile = profiler.profile('exact')
  assert.equal(profile.sharedPrefixes, 11)
  const [pool] = profile.pools
  assert.deepEqual(
    [...pool!.prefixes.values()].map((prefix) => prefix.rows).sort((a, b) => a - b),
    [...new Array(10).fill(100), 1_000],
  )
  const topic = pool!.prefixes.get(position('topic 3', 0).hash)
  assert.equal(topic?.parent, position('trunk', 0).hash)
})

test('counts are those of a map over all prefixes, whatever the order of the rows', () => {
  const tree = fc.array(fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: 3 })), { maxLength: 60 })
  fc.assert(
    fc.property(tree, (rows) => {
      const profiler = profileJob([])
      const exact = new Map<string, number>()
      for (const [i, [a, b]] of rows.entries()) {
        const prefixes = [position(`a${a}`, 50), position(`a${a} b${b}`, 70)]
        for (const { hash } of prefixes) exact.set(hash, (exact.get(hash) ?? 0) + 1)
        profiler.add(row(i, prefixes))
      }
      const counted = profiler.profile('exact').pools.flatMap((pool) => [...pool.prefixes.values()])
      assert.deepEqual(
        new Map(counted.map((prefix) => [prefix.hash, prefix.rows])),
        new Map([...exact].filter(([, count]) => count > 1)),
      )
    }),
  )
})

test('rows fall into brackets by their whole prompt, for each end of the band', () => {
  const profiler = profileJob([100])
  profiler.add(row(0, []))
  profiler.add(row(1, [], { promptTokens: { low: 101, best: 110, high: 130 } }))
  const { sums } = profiler.profile('exact').pools[0]!
  assert.deepEqual(
    sums.low.map((bracket) => bracket.rows),
    [1, 1],
  )
  assert.deepEqual(
    sums.best.map((bracket) => bracket.promptTokens),
    [100, 110],
  )
  assert.deepEqual(
    sums.high.map((bracket) => bracket.rows),
    [0, 2],
  )
})

test('rows that are billed or sent differently are kept apart', () => {
  const profiler = profileJob([])
  profiler.add(row(0, []))
  profiler.add(row(1, [], { inferenceGeo: 'us' }))
  profiler.add(row(2, [], { variant: '2026-10-21' }))
  profiler.add(row(3, [], { model: 'claude-haiku-5-5' }))
  profiler.addInvalid()
  const profile = profiler.profile('sampled')
  assert.equal(profile.pools.length, 4)
  assert.deepEqual([profile.rows, profile.invalidRows, profile.counting], [4, 1, 'sampled'])
})

test('a mark of the job’s own on fewer tokens than the minimum takes a slot and writes nothing', () => {
  const profiler = profileJob([])
  const marks = [position('short', 500, { mark: '1h' }), position('long', 1_024, { mark: '5m' })]
  profiler.add(row(0, marks.slice(0, 1), { minimumTokens: 1_024 }))
  profiler.add(row(1, marks, { minimumTokens: 1_024 }))
  const [pool] = profiler.profile('exact').pools
  assert.deepEqual(pool!.sums.best[0]!.ownMarkTokens, { '5m': 1_024, '1h': 0 })
  assert.deepEqual([pool!.rowsWithOwnMarks, pool!.ownMarksMax], [2, 2])
})

test('a warning that many rows have is shown once, with their number', () => {
  const profiler = profileJob([])
  const warnings = [problem('odd', 'something is odd', { severity: 'warning' })]
  for (let i = 0; i < 3; i++) profiler.add(row(i, [], { warnings }))
  assert.deepEqual(
    profiler.profile('exact').warnings.map((warning) => warning.message),
    ['something is odd (3 rows)'],
  )
})

test('one search tool without max_uses leaves the whole job without an upper bound', () => {
  const profiler = profileJob([])
  profiler.add(row(0, [], { webSearchesMax: 3 }))
  profiler.add(row(1, [], { webSearchesMax: 4 }))
  assert.equal(profiler.profile('exact').webSearchesMax, 7)
  profiler.add(row(2, [], { webSearchesMax: null }))
  profiler.add(row(3, [], { webSearchesMax: 1 }))
  assert.equal(profiler.profile('exact').webSearchesMax, null)
})

test('a count from a sample widens the band of every pool and bracket, and leaves the best guess alone', () => {
  const profiler = profileJob([100])
  for (let i = 0; i < 300; i++) {
    const promptTokens = { low: 60 + (i % 50), best: 80 + (i % 50), high: 90 + (i % 50) }
    profiler.add(row(i, [], { model: i % 3 === 0 ? 'a' : 'b', promptTokens }))
  }
  const exact = profiler.profile('sampled')
  const widened = widenBand(exact, 1_000)
  assert.equal(widened.promptTokens.best, exact.promptTokens.best)
  // Each bracket is rounded to whole tokens.
  assert.ok(Math.abs(exact.promptTokens.low - widened.promptTokens.low - 1_000) <= 4)
  assert.ok(Math.abs(widened.promptTokens.high - exact.promptTokens.high - 1_000) <= 4)
  for (const [i, pool] of widened.pools.entries()) {
    for (const [bracket, sums] of pool.sums.high.entries()) {
      assert.ok(sums.promptTokens > exact.pools[i]!.sums.high[bracket]!.promptTokens)
      assert.equal(sums.rows, exact.pools[i]!.sums.high[bracket]!.rows)
    }
  }
  assert.equal(widenBand(exact, 0), exact)
  assert.equal(widenBand(exact, 1e9).promptTokens.low, 0)
})
