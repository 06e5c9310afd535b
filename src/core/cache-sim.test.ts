import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CacheState, type SimulatedRequest, simulateRequest } from './cache-sim.ts'
import { HOUR_MS, instant, MINUTE_MS, SECOND_MS } from './instant.ts'

const RULES = {
  cacheLookbackPositions: 20,
  cacheMarksMax: 4,
  cacheTtlMs: { '5m': 5 * MINUTE_MS, '1h': HOUR_MS },
}

/** A prompt of blocks of 1,000 tokens each, named by one letter or number per block. */
function call(
  blocks: readonly string[],
  marks: SimulatedRequest['marks'],
  more: Partial<SimulatedRequest> = {},
): SimulatedRequest {
  return {
    hashes: blocks.map((_, i) => blocks.slice(0, i + 1).join('/')),
    cumulativeTokens: blocks.map((_, i) => 1000 * (i + 1)),
    marks,
    pool: 'standard',
    model: 'claude-sonnet-5',
    at: instant(0),
    readableAt: more.at ?? instant(0),
    minimumTokens: 1024,
    rules: RULES,
    ...more,
  }
}

function billOf(state: CacheState, request: SimulatedRequest): [number, number, number, number] {
  const usage = simulateRequest(state, request)
  return [usage.readTokens, usage.write1hTokens, usage.write5mTokens, usage.inputTokens]
}

const numbered = (count: number) => Array.from({ length: count }, (_, i) => `${i}`)

test('the example of the documentation: 1h mark at 2,000, 5m mark at 5,000, total 5,600', () => {
  const marks = [
    { index: 0, ttl: '1h' },
    { index: 1, ttl: '5m' },
  ] as const
  const request = call(['a', 'b'], marks, { cumulativeTokens: [2000, 5000], totalTokens: 5600 })
  const state = new CacheState()
  assert.deepEqual(billOf(state, request), [0, 2000, 3000, 600])
  const at = instant(10 * MINUTE_MS)
  assert.deepEqual(billOf(state, { ...request, at }), [2000, 0, 3000, 600])
  assert.deepEqual(billOf(state, { ...request, at }), [5000, 0, 0, 600])
})

test('a 5m mark reads what a 1h mark wrote, and the entry keeps its own TTL', () => {
  const state = new CacheState()
  simulateRequest(state, call(['a', 'b'], [{ index: 1, ttl: '1h' }]))
  const at = (ms: number) => call(['a', 'b'], [{ index: 1, ttl: '5m' }], { at: instant(ms) })
  assert.deepEqual(billOf(state, at(50 * MINUTE_MS)), [2000, 0, 0, 0])
  assert.deepEqual(billOf(state, at(100 * MINUTE_MS)), [2000, 0, 0, 0])
})

test('only the later entry alive: the earlier 1h one is not written again', () => {
  const state = new CacheState()
  simulateRequest(state, call(['a', 'b', 'c'], [{ index: 2, ttl: '1h' }]))
  const marks = [
    { index: 1, ttl: '1h' },
    { index: 2, ttl: '5m' },
  ] as const
  assert.deepEqual(simulateRequest(state, call(['a', 'b', 'c'], marks)).writtenIndexes, [])
})

for (const [distance, hit] of [
  [19, true],
  [20, false],
] as const) {
  test(`an entry ${distance} positions before the mark is ${hit ? 'found' : 'not found'}`, () => {
    const state = new CacheState()
    simulateRequest(state, call(numbered(10), [{ index: 9, ttl: '5m' }]))
    const [read] = billOf(state, call(numbered(40), [{ index: 9 + distance, ttl: '5m' }]))
    assert.equal(read, hit ? 10_000 : 0)
  })
}

test('after one mark has looked back in vain the mark before it looks', () => {
  const state = new CacheState()
  simulateRequest(state, call(numbered(10), [{ index: 9, ttl: '5m' }]))
  const marks = [
    { index: 12, ttl: '5m' },
    { index: 35, ttl: '5m' },
  ] as const
  assert.deepEqual(billOf(state, call(numbered(36), marks)), [10_000, 0, 26_000, 0])
})

test('an entry is written at marks only', () => {
  const state = new CacheState()
  simulateRequest(state, call(['a', 'b', 'c', 'd'], [{ index: 3, ttl: '5m' }]))
  assert.deepEqual(billOf(state, call(['a', 'b', 'c', 'x'], [{ index: 2, ttl: '5m' }])), [0, 0, 3000, 1000])
})

test('a mark below the minimum writes nothing', () => {
  const state = new CacheState()
  const short = call(['a'], [{ index: 0, ttl: '5m' }])
  assert.deepEqual(billOf(state, short), [0, 0, 0, 1000])
  assert.equal(state.size, 0)
  assert.deepEqual(billOf(state, { ...short, minimumTokens: 1000 }), [0, 0, 1000, 0])
})

test('a 1h mark below the minimum leaves everything to the 5m mark after it', () => {
  const marks = [
    { index: 0, ttl: '1h' },
    { index: 1, ttl: '5m' },
  ] as const
  assert.deepEqual(billOf(new CacheState(), call(['a', 'b'], marks)), [0, 0, 2000, 0])
})

test('the TTL runs from the start of the request and a read starts it again', () => {
  const state = new CacheState()
  const at = (ms: number) =>
    call(['a', 'b'], [{ index: 1, ttl: '5m' }], { at: instant(ms), readableAt: instant(ms + 20 * SECOND_MS) })
  const reads = [0, 299, 598, 898].map((seconds) => billOf(state, at(seconds * SECOND_MS))[0])
  assert.deepEqual(reads, [0, 2000, 2000, 0])
})

test('what was written can be read only once the answer of the writer has begun', () => {
  const state = new CacheState()
  const at = (ms: number) =>
    call(['a', 'b'], [{ index: 1, ttl: '5m' }], { at: instant(ms), readableAt: instant(ms + 2 * SECOND_MS) })
  assert.deepEqual(
    [0, 1000, 1999, 2000].map((ms) => billOf(state, at(ms))[0]),
    [0, 0, 0, 2000],
  )
})

for (const other of [{ pool: 'batch' }, { workspace: 'w2' }, { model: 'claude-opus-5' }] as const) {
  test(`nothing is shared with another ${Object.keys(other)[0]}`, () => {
    const state = new CacheState()
    const request = call(['a', 'b'], [{ index: 1, ttl: '5m' }])
    simulateRequest(state, request)
    assert.deepEqual(billOf(state, { ...request, ...other }), [0, 0, 2000, 0])
    assert.deepEqual(billOf(state, { ...request, ...other }), [2000, 0, 0, 0])
  })
}

test('a fifth mark and a 1h mark after a 5m one are refused before they come here', () => {
  const marks = [0, 1, 2, 3, 4].map((index) => ({ index, ttl: '5m' as const }))
  assert.throws(() => simulateRequest(new CacheState(), call(numbered(5), marks)), /too many marks/)
  const wrongOrder = [
    { index: 0, ttl: '5m' },
    { index: 1, ttl: '1h' },
  ] as const
  assert.throws(
    () => simulateRequest(new CacheState(), call(numbered(2), wrongOrder)),
    /1h mark after a 5m mark/,
  )
})

test('a copy of a state is a state of its own, and what has expired can be forgotten', () => {
  const state = new CacheState()
  const request = call(['a', 'b'], [{ index: 1, ttl: '5m' }])
  simulateRequest(state.copy(), request)
  assert.equal(state.size, 0)
  simulateRequest(state, request)
  state.forgetExpired(instant(5 * MINUTE_MS - 1))
  assert.equal(state.size, 1)
  state.forgetExpired(instant(5 * MINUTE_MS))
  assert.equal(state.size, 0)
})

/** Sequences over few letters, so that prefixes are shared often. */
const sequence = fc.array(
  fc
    .record({
      blocks: fc.array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 26 }),
      marks: fc.array(fc.nat(25), { maxLength: 4 }),
      hours: fc.nat(4),
      minimumTokens: fc.constantFrom(0, 1024, 4096),
      pool: fc.constantFrom('standard' as const, 'batch' as const),
      gapMs: fc.constantFrom(0, SECOND_MS, 4 * MINUTE_MS, 6 * MINUTE_MS, 2 * HOUR_MS),
      answerMs: fc.constantFrom(0, 3 * SECOND_MS),
      rest: fc.nat(50),
    })
    .map(({ blocks, marks, hours, ...rest }) => ({
      ...rest,
      blocks,
      marks: [...new Set(marks.map((index) => index % blocks.length))]
        .sort((a, b) => a - b)
        .map((index, i) => ({ index, ttl: i < hours ? ('1h' as const) : ('5m' as const) })),
    })),
  { maxLength: 15 },
)

function* requestsOf(
  rows: typeof sequence extends fc.Arbitrary<infer T> ? T : never,
): Generator<SimulatedRequest> {
  let now = 0
  for (const { blocks, marks, minimumTokens, pool, gapMs, answerMs, rest } of rows) {
    now += gapMs
    const at = instant(now)
    const totalTokens = 1000 * blocks.length + rest
    yield call(blocks, marks, { at, readableAt: instant(now + answerMs), minimumTokens, pool, totalTokens })
  }
}

test('the four classes add up to the prompt, and nothing is negative', () => {
  fc.assert(
    fc.property(sequence, (rows) => {
      const state = new CacheState()
      for (const request of requestsOf(rows)) {
        const bill = billOf(state, request)
        assert.equal(bill[0] + bill[1] + bill[2] + bill[3], request.totalTokens)
        assert.ok(bill.every((tokens) => tokens >= 0))
      }
    }),
  )
})

test('nothing is read that was not written before, deep enough, in the same pool, and still alive', () => {
  fc.assert(
    fc.property(sequence, (rows) => {
      const state = new CacheState()
      const written: { hash: string; pool: string; readableAt: number; aliveUntil: number }[] = []
      for (const request of requestsOf(rows)) {
        const usage = simulateRequest(state, request)
        if (usage.readIndex !== null) {
          const source = written.findLast(
            (entry) =>
              entry.hash === request.hashes[usage.readIndex!] &&
              entry.pool === request.pool &&
              entry.readableAt <= request.at &&
              entry.aliveUntil > request.at,
          )
          assert.ok(source, 'read without a living entry')
          source.aliveUntil = Math.max(source.aliveUntil, request.at + HOUR_MS)
          assert.ok(
            request.marks.some(({ index }) => index >= usage.readIndex! && index - usage.readIndex! < 20),
          )
        }
        for (const index of usage.writtenIndexes) {
          assert.ok(request.cumulativeTokens[index]! >= request.minimumTokens)
          const ttlMs = RULES.cacheTtlMs[request.marks.find((mark) => mark.index === index)!.ttl]
          written.push({
            hash: request.hashes[index]!,
            pool: request.pool,
            readableAt: request.readableAt,
            aliveUntil: request.at + ttlMs,
          })
        }
      }
    }),
  )
})

test('the same request again, while its entry lives, reads all that it wrote', () => {
  fc.assert(
    fc.property(sequence, (rows) => {
      const state = new CacheState()
      for (const request of requestsOf(rows)) {
        const first = simulateRequest(state, request)
        const again = simulateRequest(state, { ...request, at: request.readableAt })
        // More, where an entry that was not readable yet has become so.
        assert.ok(again.readTokens >= first.readTokens + first.write1hTokens + first.write5mTokens)
      }
    }),
  )
})

test('removing the mark of an earlier block does not break a hit within the lookback', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 19 }), fc.integer({ min: 2, max: 10 }), (distance, length) => {
      const state = new CacheState()
      simulateRequest(state, call(numbered(length), [{ index: length - 1, ttl: '5m' }]))
      const longer = numbered(length + distance)
      const [read] = billOf(state, call(longer, [{ index: longer.length - 1, ttl: '5m' }]))
      assert.equal(read, 1000 * length)
    }),
  )
})
