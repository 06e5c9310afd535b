import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadCatalogue } from '../facts/load.ts'
import { compareUsage, type LedgerUsage, type UsageComparison } from './compare-usage.ts'
import { emptyQuantities, type Quantities } from './report.ts'
import type { ExportRow } from './usage-export.ts'

const catalogue = loadCatalogue()
const DAYS = ['2026-11-20', '2026-11-21', '2026-11-22', '2026-11-23'] as const
const WHOLE = { firstDay: DAYS[0], lastDay: DAYS[3] }
const MODEL = 'claude-opus-4-8'

const claim = (quantities: Partial<Quantities>, change: Partial<LedgerUsage> = {}): LedgerUsage => ({
  certainty: 'measured',
  model: MODEL,
  tier: 'batch',
  firstDay: DAYS[1],
  lastDay: DAYS[1],
  entries: 1,
  quantities: { ...emptyQuantities(), ...quantities },
  ...change,
})
const row = (quantities: Partial<Quantities>, change: Partial<ExportRow> = {}): ExportRow => ({
  day: DAYS[1],
  workspace: null,
  apiKey: null,
  model: MODEL,
  tier: 'batch',
  quantities: { ...emptyQuantities(), ...quantities },
  ...change,
})
const compare = (ledger: readonly LedgerUsage[], rows: readonly ExportRow[], days = WHOLE) =>
  compareUsage(ledger, { ...days, rows }, catalogue)
const told = ({ days }: UsageComparison) =>
  days.map((one) => [one.day, one.class, one.ledger, one.export, one.result])

test('the same numbers on the same day agree, whoever the keys of the export rows are', () => {
  const compared = compare(
    [claim({ input: 7, output: 3 })],
    [row({ input: 5 }), row({ input: 2, output: 3 })],
  )
  assert.equal(compared.result, 'agrees')
  assert.deepEqual(told(compared), [
    [DAYS[1], 'input', 7, 7, 'agrees'],
    [DAYS[1], 'output', 3, 3, 'agrees'],
  ])
})

test('a token that the export lacks is more in the ledger, and one too many is more in the export', () => {
  const compared = compare([claim({ input: 7, output: 3 })], [row({ input: 6, output: 4 })])
  assert.deepEqual(told(compared), [
    [DAYS[1], 'input', 7, 6, 'more_in_ledger'],
    [DAYS[1], 'output', 3, 4, 'more_in_export'],
  ])
  assert.equal(compared.result, 'more_in_ledger')
})

test('a difference is worth its tokens at batch rates; a model without a price is unpriced', () => {
  const million = compare([claim({ output: 1_000_000 })], [])
  const rate = catalogue.models.find((one) => one.id === MODEL)!.prices.at(-1)!.bands[0]!.rates.output
  assert.equal(million.moreInLedger!.lowPicoUsd, (rate * 1_000_000n) / 2n)
  assert.equal(million.moreInLedger!.highPicoUsd, million.moreInLedger!.lowPicoUsd)
  assert.equal(compare([claim({ output: 1 }, { model: 'claude-unheard-of' })], []).moreInLedger, null)
})

test('price bands make a difference worth a band', () => {
  const banded = catalogue.models.find((one) => (one.prices.at(-1)?.bands.length ?? 0) > 1)!
  const day = banded.prices.at(-1)!.from > DAYS[1] ? banded.prices.at(-1)!.from : DAYS[1]
  const one = claim({ input: 1_000 }, { model: banded.id, firstDay: day, lastDay: day })
  const { moreInLedger } = compare([one], [], { firstDay: day as never, lastDay: day as never })
  assert.ok(moreInLedger!.lowPicoUsd > 0n && moreInLedger!.highPicoUsd > moreInLedger!.lowPicoUsd)
})

test('an alias in the ledger and a snapshot in the export are one model', () => {
  const model = catalogue.models.find((one) => one.aliases.length > 0)!
  const compared = compare(
    [claim({ input: 7 }, { model: model.aliases[0]! })],
    [row({ input: 7 }, { model: model.id })],
  )
  assert.deepEqual([compared.result, compared.totals.length], ['agrees', 1])
})

test('another tier is another figure', () => {
  const compared = compare([claim({ input: 7 })], [row({ input: 7 }, { tier: 'standard' })])
  assert.deepEqual(
    compared.totals.map(({ tier, result }) => [tier, result]),
    [
      ['batch', 'more_in_ledger'],
      ['standard', 'more_in_export'],
    ],
  )
})

test('a batch that ran across midnight may count on both days: shifted, and in total the same', () => {
  const across = claim({ input: 10 }, { firstDay: DAYS[1], lastDay: DAYS[2] })
  const compared = compare([across], [row({ input: 4 }), row({ input: 6 }, { day: DAYS[2] })])
  assert.deepEqual(told(compared), [
    [DAYS[1], 'input', 4, 4, 'shifted'],
    [DAYS[2], 'input', 6, 6, 'shifted'],
  ])
  assert.deepEqual(
    compared.totals.map(({ ledger, export: exported, result }) => [ledger, exported, result]),
    [[10, 10, 'shifted']],
  )
})

test('batches across midnight, night after night, agree with any split of each', () => {
  const night = (day: number) => claim({ input: 100 }, { firstDay: DAYS[day]!, lastDay: DAYS[day + 1]! })
  const rows = [30, 110, 60].map((input, day) => row({ input }, { day: DAYS[day]! }))
  assert.deepEqual(
    compare([night(0), night(1)], rows).days.map((one) => one.result),
    ['shifted', 'shifted', 'shifted'],
  )
})

test('what others used the day before is no shift where nothing ran across midnight', () => {
  const lacking = claim({ input: 50 }, { tier: 'standard', firstDay: DAYS[2], lastDay: DAYS[2] })
  const compared = compare([lacking], [row({ input: 60 }, { tier: 'standard' })])
  assert.equal(compared.result, 'more_in_ledger')
})

test('tokens on the wrong day are a difference where no batch ran across midnight', () => {
  const compared = compare([claim({ input: 10 })], [row({ input: 10 }, { day: DAYS[2] })])
  assert.deepEqual(told(compared), [
    [DAYS[1], 'input', 10, 0, 'more_in_ledger'],
    [DAYS[2], 'input', 0, 10, 'more_in_export'],
  ])
  assert.equal(compared.totals[0]!.result, 'more_in_ledger')
})

test('what lies outside the export is counted and not compared', () => {
  const compared = compare(
    [
      claim({ input: 5 }, { entries: 2 }),
      claim({ input: 7, web_search: 1 }, { firstDay: DAYS[3], lastDay: DAYS[3], entries: 3 }),
    ],
    [row({ input: 5 })],
    { firstDay: DAYS[0], lastDay: DAYS[2] as never },
  )
  assert.deepEqual([compared.entries, compared.result], [2, 'agrees'])
  assert.deepEqual(compared.outside, { entries: 3, tokens: 7 })
})

test('what a batch across the edge of the export lacks may stand beyond the edge', () => {
  const across = claim({ input: 10 }, { firstDay: DAYS[2], lastDay: DAYS[3] })
  const compared = compare([across], [row({ input: 4 }, { day: DAYS[2] })], {
    firstDay: DAYS[0],
    lastDay: DAYS[2] as never,
  })
  assert.deepEqual(compared.outside, { entries: 0, tokens: 6 })
  assert.equal(compared.days[0]!.ledger, 4)
  assert.notEqual(compared.result, 'more_in_ledger')
})

const quantities = fc.record({
  input: fc.nat(50),
  cache_write_5m: fc.nat(3),
  cache_write_1h: fc.nat(3),
  cache_read: fc.nat(500),
  output: fc.nat(20),
  web_search: fc.nat(2),
})
const claims = fc.array(
  fc
    .record({
      quantities,
      model: fc.constantFrom(MODEL, 'claude-sonnet-4-6', 'claude-unheard-of'),
      tier: fc.constantFrom<LedgerUsage['tier']>('batch', 'standard'),
      days: fc.tuple(fc.nat(3), fc.nat(3)),
      cut: fc.double({ min: 0, max: 1, noNaN: true }),
    })
    .map(({ days, ...one }) => {
      const [first, last] = [Math.min(...days), Math.max(...days)]
      return { one, first, last }
    }),
  { minLength: 1, maxLength: 12 },
)
type Claims = typeof claims extends fc.Arbitrary<infer Value> ? Value : never

const ledgerOf = (all: Claims) =>
  all.map(({ one, first, last }) =>
    claim(one.quantities, {
      model: one.model,
      tier: one.tier,
      firstDay: DAYS[first]!,
      lastDay: DAYS[last]!,
    }),
  )
/** As a provider could count it: every claim cut in two, one part on its first and one on its last day. */
const exportOf = (all: Claims): ExportRow[] =>
  all.flatMap(({ one, first, last }) => {
    const part = emptyQuantities()
    const rest = emptyQuantities()
    for (const name of Object.keys(part) as (keyof Quantities)[]) {
      part[name] = Math.floor(one.quantities[name] * one.cut)
      rest[name] = one.quantities[name] - part[name]
    }
    const same = { model: one.model, tier: one.tier }
    return [row(part, { ...same, day: DAYS[first]! }), row(rest, { ...same, day: DAYS[last]! })]
  })

test('a ledger counted by the provider in any way that its batches allow has no difference', () => {
  fc.assert(
    fc.property(claims, (all) => {
      const { days, totals } = compare(ledgerOf(all), exportOf(all))
      for (const { result, ledger, export: exported } of [...days, ...totals]) {
        assert.ok(result === 'agrees' || result === 'shifted')
        assert.equal(ledger, exported)
      }
    }),
  )
})

test('one token that moves from one class to another is found as one token on each side', () => {
  fc.assert(
    fc.property(claims, fc.nat(), (all, pick) => {
      const rows = exportOf(all)
      const filled = rows.filter((one) => one.quantities.cache_read > 0)
      fc.pre(filled.length > 0)
      const moved = filled[pick % filled.length]!
      const changed = rows.map((one) =>
        one === moved
          ? {
              ...one,
              quantities: {
                ...one.quantities,
                cache_read: one.quantities.cache_read - 1,
                input: one.quantities.input + 1,
              },
            }
          : one,
      )
      const differing = compare(ledgerOf(all), changed).days.filter(
        ({ result }) => result === 'more_in_ledger' || result === 'more_in_export',
      )
      const off = differing.map((one) => [one.class, one.result, Math.abs(one.ledger - one.export)])
      assert.deepEqual(off.sort(), [
        ['cache_read', 'more_in_ledger', 1],
        ['input', 'more_in_export', 1],
      ])
    }),
  )
})
