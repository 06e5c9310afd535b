import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadCatalogue } from '../facts/load.ts'
import {
  type BudgetAccount,
  budgetFor,
  budgetOutcome,
  budgetText,
  expectationOf,
  parseBudget,
  type Reservation,
  type RowToReserve,
  remainingPicoUsd,
  reservationOf,
  reserve,
} from './budget.ts'
import { parseTimestamp } from './instant.ts'
import { formatUsd, picoUsd } from './money.ts'

const catalogue = loadCatalogue()
const TODAY = parseTimestamp('2026-11-22')!

// Sonnet 4.6: $3 and $15 a million, half of it in a batch.
const ROW: RowToReserve = {
  model: 'claude-sonnet-4-6',
  promptTokensHigh: 1_000_000,
  maxTokens: 100_000,
  webSearchesMax: 0,
  inferenceGeo: null,
  speed: 'standard',
  ownMarkTtl: null,
  revision: null,
}
const UNMARKED = { tier: 'batch', marks: [] } as const
const marks = (ttl: '5m' | '1h', tokens = 800_000) => [{ ttl, tokens }]

const dollars = (reservation: Reservation) =>
  reservation.kind === 'bounded' ? formatUsd(reservation.picoUsd) : reservation.what
const hard = (row: Partial<RowToReserve> = {}, terms: Partial<Parameters<typeof reservationOf>[1]> = {}) =>
  dollars(reservationOf({ ...ROW, ...row }, { ...UNMARKED, ...terms }, null, catalogue, TODAY))
const soft = (
  row: Partial<RowToReserve> = {},
  terms: Partial<Parameters<typeof reservationOf>[1]> = {},
  expected = { hitRate: 0.5 as number | null, outputTokens: 1_000 as number | null },
) => dollars(reservationOf({ ...ROW, ...row }, { ...UNMARKED, ...terms }, expected, catalogue, TODAY))

test('a budget is dollars, and soft only when it says so', () => {
  assert.deepEqual(parseBudget(25), { picoUsd: 25_000_000_000_000n, mode: 'hard' })
  assert.deepEqual(parseBudget('$0.50'), { picoUsd: 500_000_000_000n, mode: 'hard' })
  assert.deepEqual(parseBudget(' 25 soft '), { picoUsd: 25_000_000_000_000n, mode: 'soft' })
  assert.deepEqual(parseBudget('25 hard'), { picoUsd: 25_000_000_000_000n, mode: 'hard' })
  for (const none of ['', 'soft', '0', -1, '25 softly', '25soft', '25 soft soft', 'a lot']) {
    assert.equal(parseBudget(none), null, String(none))
  }
})

test('a budget is written so that it is read back to the picodollar', () => {
  assert.deepEqual(
    ['25', '0.5', '100', '0.000000000001', '12.34 soft'].map((text) => budgetText(parseBudget(text)!)),
    ['25', '0.5', '100', '0.000000000001', '12.34 soft'],
  )
  fc.assert(
    fc.property(fc.bigInt({ min: 1n, max: 1n << 70n }), fc.constantFrom('hard', 'soft'), (amount, mode) => {
      const limit = { picoUsd: picoUsd(amount), mode } as const
      assert.deepEqual(parseBudget(budgetText(limit)), limit)
    }),
  )
})

test('a hard budget sets aside the worst case of a row as it will be sent', () => {
  assert.equal(hard(), '$2.25', 'unmarked, in a batch')
  assert.equal(hard({}, { marks: marks('5m') }), '$2.63', 'all of the prompt written for 5 minutes')
  assert.equal(hard({}, { marks: marks('1h') }), '$3.75', 'and for an hour')
  assert.equal(
    hard({ ownMarkTtl: '1h' }, { marks: marks('5m') }),
    '$3.75',
    "the request's own mark is dearer",
  )
  assert.equal(hard({}, { tier: 'standard' }), '$4.50', 'in realtime')
  assert.equal(hard({ inferenceGeo: 'us' }), '$2.48')
  assert.equal(hard({ webSearchesMax: 10 }), '$2.73', 'ten searches, and what the service writes behind them')
  assert.equal(hard({ revision: { maxTokens: 200_000, continues: [] } }), '$3.00', 'twice the room')
  assert.equal(hard({ revision: { maxTokens: null, continues: [1, 2] } }), '$2.55', 'what was said so far')
  const fast = { model: 'claude-opus-5-5', speed: 'fast' } as const
  assert.equal(hard(fast, { tier: 'standard' }), '$12.00', 'fast mode has rates of its own')
})

test('what has no upper bound fits no hard budget', () => {
  assert.equal(hard({ webSearchesMax: null }), 'web_searches')
  assert.equal(hard({ model: 'llama' }), 'price')
  assert.equal(soft({ webSearchesMax: null }), '$1.51')
  assert.equal(soft({ model: 'llama' }), 'price')
})

test('a soft budget sets aside the upper end of what is expected', () => {
  assert.equal(soft(), '$1.51', 'all of the prompt, and the expected answer')
  // 400,000 read, 400,000 written, 200,000 as input.
  assert.equal(soft({}, { marks: marks('5m') }), '$1.12')
  assert.equal(soft({}, { marks: marks('5m') }, { hitRate: 1, outputTokens: 1_000 }), '$0.43')
  assert.equal(soft({}, {}, { hitRate: null, outputTokens: null }), hard(), 'nothing is known of the answers')
  assert.equal(soft({}, {}, { hitRate: null, outputTokens: 9_999_999 }), hard(), 'answers end at max_tokens')
})

test('a plan says nothing of the tier that it did not choose', () => {
  const plan = {
    chosen: 'batch_primed_5m',
    routes: [{ route: 'batch_primed_5m', hitRate: { expected: 0.9 } }],
    rows: 10,
    outputTokens: { low: 0, best: 100, high: 205, source: 'given' },
  } as unknown as Parameters<typeof expectationOf>[0]
  assert.deepEqual(expectationOf(plan, 'batch'), { hitRate: 0.9, outputTokens: 21 })
  assert.deepEqual(expectationOf(plan, 'standard'), { hitRate: null, outputTokens: 21 })
  const unknown = { ...plan, outputTokens: { ...plan.outputTokens, source: 'unknown' as const } }
  assert.equal(expectationOf(unknown, 'batch').outputTokens, null)
})

test('rows are released only while what is spent and set aside stays within the budget, in any order', () => {
  const amount = fc.bigInt({ min: 0n, max: 1_000n })
  const row = fc.record({ reserved: amount, share: fc.integer({ min: 0, max: 100 }) })
  const run = fc.record({
    limitPicoUsd: fc.bigInt({ min: 0n, max: 5_000n }),
    rows: fc.array(row, { maxLength: 40 }),
    waves: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 40, maxLength: 40 }),
    /** Every so many rows, one whose cost is never known. */
    lostEvery: fc.integer({ min: 2, max: 12 }),
  })
  fc.assert(
    fc.property(run, ({ limitPicoUsd, rows, waves, lostEvery }) => {
      let account: BudgetAccount = { limitPicoUsd, spentPicoUsd: 0n, reservedPicoUsd: 0n }
      let released = 0
      for (const size of waves) {
        const wave: typeof rows = []
        for (const next of rows.slice(released, released + size)) {
          const before = remainingPicoUsd(account)
          const after = reserve(account, next.reserved)
          assert.equal(after === null, next.reserved > before)
          if (after === null) break
          account = after
          assert.ok(account.spentPicoUsd + account.reservedPicoUsd <= limitPicoUsd)
          assert.equal(remainingPicoUsd(account), before - next.reserved)
          wave.push(next)
        }
        for (const [index, { reserved, share }] of wave.entries()) {
          if ((released + index) % lostEvery === 0) continue
          account = {
            ...account,
            reservedPicoUsd: account.reservedPicoUsd - reserved,
            spentPicoUsd: account.spentPicoUsd + (reserved * BigInt(share)) / 100n,
          }
        }
        released += wave.length
        assert.ok(account.spentPicoUsd + account.reservedPicoUsd <= limitPicoUsd)
        assert.ok(remainingPicoUsd(account) >= 0n)
      }
    }),
  )
  const overdrawn = { limitPicoUsd: 5n, spentPicoUsd: 9n, reservedPicoUsd: 0n }
  assert.equal(remainingPicoUsd(overdrawn), 0n)
  assert.equal(reserve(overdrawn, 1n), null)
})

test('the budget that is named as enough is enough, to a cent', () => {
  assert.equal(budgetText(budgetFor(1n, 'hard')), '0.01')
  assert.equal(budgetText(budgetFor(12_340_000_000_000n, 'soft')), '12.34 soft')
  assert.equal(budgetText(budgetFor(12_340_000_000_001n, 'hard')), '12.35')
})

test('an overshoot is told apart by what made it', () => {
  const limit = { picoUsd: picoUsd(100n), mode: 'hard' } as const
  const over = (spent: bigint, duplicates: bigint) => {
    const outcome = budgetOutcome(limit, picoUsd(spent), picoUsd(duplicates))
    return [outcome.overshootPicoUsd, outcome.byDuplicatesPicoUsd, outcome.byBoundsPicoUsd]
  }
  assert.deepEqual(over(100n, 50n), [0n, 0n, 0n])
  assert.deepEqual(over(130n, 50n), [30n, 30n, 0n])
  assert.deepEqual(over(130n, 10n), [30n, 10n, 20n])
})
