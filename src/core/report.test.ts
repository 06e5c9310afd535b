import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadCatalogue } from '../facts/load.ts'
import { parseTimestamp } from './instant.ts'
import { entryFor, type LedgerEntry } from './ledger.ts'
import { picoUsd } from './money.ts'
import { type PaidAttempt, ReportFold, type RowResult, reportJson } from './report.ts'
import type { Usage } from './usage.ts'

const catalogue = loadCatalogue()

function entry(part: Partial<Omit<LedgerEntry, 'usage'>> & { usage?: Partial<Usage> } = {}): LedgerEntry {
  return entryFor({
    run: 'r1',
    submission: 1,
    ordinal: 0,
    upstreamBatchId: null,
    customId: 'r1-1-0-a',
    at: parseTimestamp('2026-11-22')!,
    model: 'claude-sonnet-4-6',
    certainty: 'simulated',
    kind: 'paid',
    catalogue,
    ...part,
    usage: {
      inputTokens: 0,
      cacheWrite5mTokens: 0,
      cacheWrite1hTokens: 0,
      cacheReadTokens: 0,
      outputTokens: 0,
      webSearchRequests: 0,
      serviceTier: 'batch',
      inferenceGeo: null,
      speed: 'standard',
      ...part.usage,
    },
  })
}

function row(part: Partial<RowResult>): RowResult {
  const plain: RowResult = {
    model: 'claude-sonnet-4-6',
    outcome: 'succeeded',
    stopReason: 'end_turn',
    schemaValid: null,
    score: null,
  }
  return { ...plain, ...part }
}

test('the job of claude-api.md 3.14, primed with 5m, is reported at $16.52 and 72.5 % saved', () => {
  const fold = new ReportFold(catalogue)
  const own = { inputTokens: 5_000, outputTokens: 1_000 }
  for (let ordinal = 0; ordinal < 1_000; ordinal++) {
    fold.addEntry(
      entry({
        ordinal,
        usage: ordinal === 0 ? { ...own, cacheWrite5mTokens: 10_000 } : { ...own, cacheReadTokens: 10_000 },
      }),
    )
  }
  const forecast = {
    low: picoUsd(16_000_000_000_000n),
    best: picoUsd(16_000_000_000_000n),
    high: picoUsd(17_000_000_000_000n),
  }
  const report = fold.report(forecast)
  const bill = report.bills[0]!
  assert.equal(bill.costPicoUsd, 16_517_250_000_000n)
  assert.equal(bill.realtimePicoUsd, 60_000_000_000_000n)
  assert.equal(bill.savings!.toFixed(3), '0.725')
  assert.deepEqual(bill.cache, { marked: 1_000, read: 999, hitRate: 0.999, tokenHitRate: 0.999 })
  assert.deepEqual(
    bill.lines.map((line) => [line.class, line.quantity, line.costPicoUsd]),
    [
      ['input', 5_000_000, 7_500_000_000_000n],
      ['cache_write_5m', 10_000, 18_750_000_000n],
      ['output', 1_000_000, 7_500_000_000_000n],
      ['cache_read', 9_990_000, 1_498_500_000_000n],
    ],
  )
  assert.equal(report.forecast!.within, true)
  assert.equal(report.forecast!.error!.toFixed(4), '0.0323')
})

test('measured and simulated entries stand in bills of their own, and no forecast is held against two bills', () => {
  const fold = new ReportFold(catalogue)
  fold.addEntry(entry({ usage: { inputTokens: 10 } }))
  fold.addEntry(entry({ certainty: 'measured', usage: { inputTokens: 7 } }))
  const report = fold.report({ low: picoUsd(0n), best: picoUsd(1n), high: picoUsd(2n) })
  assert.deepEqual(
    report.bills.map(({ certainty, entries, quantities }) => [certainty, entries, quantities.input]),
    [
      ['measured', 1, 7],
      ['simulated', 1, 10],
    ],
  )
  assert.equal(report.forecast, null)
})

test('a model without a price leaves the total to the others, and alone leaves none', () => {
  const fold = new ReportFold(catalogue)
  fold.addEntry(entry({ model: 'claude-nobody-9', usage: { inputTokens: 10 } }))
  assert.equal(fold.report().bills[0]!.costPicoUsd, null)
  assert.equal(fold.report().bills[0]!.lines[0]!.costPicoUsd, null)
  fold.addEntry(entry({ usage: { inputTokens: 10 } }))
  const bill = fold.report().bills[0]!
  assert.equal(bill.costPicoUsd, 15_000_000n)
  assert.deepEqual(bill.unpriced, { entries: 1, models: ['claude-nobody-9'] })
})

test('lines are told apart by tier, band, region, model and class; an alias is its model', () => {
  const fold = new ReportFold(catalogue)
  const haiku = 'claude-haiku-5-5'
  fold.addEntry(entry({ model: haiku, usage: { inputTokens: 100_000 } }))
  fold.addEntry(entry({ model: haiku, usage: { inputTokens: 100_001 } }))
  fold.addEntry(entry({ model: 'claude-haiku-4-5', usage: { cacheWrite1hTokens: 5 } }))
  fold.addEntry(entry({ model: 'claude-haiku-4-5-20251001', usage: { cacheWrite1hTokens: 5 } }))
  fold.addEntry(entry({ usage: { inputTokens: 5, serviceTier: 'standard', inferenceGeo: 'us' } }))
  assert.deepEqual(
    fold
      .report()
      .bills[0]!.lines.map((line) => [
        line.model,
        line.tier,
        line.inferenceGeo,
        line.bandPromptTokensMax,
        line.class,
        line.quantity,
      ]),
    [
      [haiku, 'batch', null, 100_000, 'input', 100_000],
      [haiku, 'batch', null, null, 'input', 100_001],
      ['claude-haiku-4-5-20251001', 'batch', null, null, 'cache_write_1h', 10],
      ['claude-sonnet-4-6', 'standard', 'us', null, 'input', 5],
    ],
  )
})

test('entries of an older price book keep their total and give up their cost by class', () => {
  const fold = new ReportFold(catalogue)
  fold.addEntry({ ...entry({ usage: { inputTokens: 10 } }), priceBook: 'older', costPicoUsd: picoUsd(99n) })
  const bill = fold.report().bills[0]!
  assert.equal(bill.costPicoUsd, 99n)
  assert.equal(bill.lines[0]!.costPicoUsd, null)
  assert.equal(bill.lines[0]!.quantity, 10)
})

test('a duplicate answer is counted and paid', () => {
  const fold = new ReportFold(catalogue)
  fold.addEntry(entry({ usage: { inputTokens: 10 } }))
  fold.addEntry(entry({ kind: 'duplicate', usage: { inputTokens: 10 } }))
  assert.equal(fold.report().bills[0]!.duplicates, 1)
  assert.equal(fold.report().bills[0]!.costPicoUsd, 30_000_000n)
})

test('rows are counted by outcome and model, and accuracy is the mean score of scored rows', () => {
  const fold = new ReportFold(catalogue)
  fold.addRow(row({ score: 1, schemaValid: true }))
  fold.addRow(row({ score: 0.5, schemaValid: false }))
  fold.addRow(row({ stopReason: 'max_tokens' }))
  fold.addRow(row({ model: 'claude-opus-5', stopReason: 'refusal', score: 0 }))
  fold.addRow(row({ model: 'claude-opus-5', outcome: 'expired', stopReason: null }))
  const report = fold.report()
  assert.deepEqual(report.rows, {
    rows: 5,
    succeeded: 4,
    errored: 0,
    canceled: 0,
    expired: 1,
    invalid: 0,
    unretrievable: 0,
    refused: 1,
    truncated: 1,
    schemaInvalid: 1,
    unfinished: 0,
  })
  assert.deepEqual(report.accuracy, { scored: 3, right: 1, mean: 0.5 })
  assert.deepEqual(
    report.models.map(({ model, accuracy }) => [model, accuracy?.mean]),
    [
      ['claude-sonnet-4-6', 0.75],
      ['claude-opus-5', 0],
    ],
  )
})

test('the lines of a bill add up to its total, whatever was used', () => {
  const anyEntry = fc.record({
    model: fc.constantFrom('claude-sonnet-4-6', 'claude-haiku-5-5', 'claude-opus-5-5'),
    usage: fc.record({
      inputTokens: fc.nat(200_000),
      cacheWrite5mTokens: fc.nat(9_000),
      cacheWrite1hTokens: fc.nat(9_000),
      cacheReadTokens: fc.nat(90_000),
      outputTokens: fc.nat(9_000),
      webSearchRequests: fc.nat(3),
      serviceTier: fc.constantFrom('standard' as const, 'batch' as const),
      inferenceGeo: fc.constantFrom(null, 'us'),
    }),
  })
  fc.assert(
    fc.property(fc.array(anyEntry, { minLength: 1, maxLength: 20 }), (entries) => {
      const fold = new ReportFold(catalogue)
      for (const each of entries) fold.addEntry(entry(each))
      const bill = fold.report().bills[0]!
      assert.equal(
        bill.lines.reduce((sum, line) => sum + line.costPicoUsd!, 0n),
        bill.costPicoUsd,
      )
    }),
  )
})

test('the JSON form names its schema first, spells money twice and survives JSON', () => {
  const fold = new ReportFold(catalogue)
  fold.addRow(row({}))
  fold.addEntry(entry({ usage: { inputTokens: 1_000_000 } }))
  const json = reportJson(fold.report({ low: picoUsd(1n), best: picoUsd(1n), high: picoUsd(1n) }))
  assert.equal(Object.keys(json)[0], 'schema')
  const parsed = JSON.parse(JSON.stringify(json))
  assert.equal(parsed.schema, 'tithe.report/1')
  assert.equal(parsed.bills[0].cost_pico_usd, '1500000000000')
  assert.equal(parsed.bills[0].cost_usd, 1.5)
  assert.equal(parsed.bills[0].lines[0].cost_pico_usd, '1500000000000')
  assert.equal(parsed.rows.schema_invalid, 0)
  assert.doesNotMatch(JSON.stringify(json), /"[a-z]+[A-Z]/)
})

test('what further attempts cost stands beside the totals, by what was wrong with the answer before', () => {
  const fold = new ReportFold(catalogue)
  const attempt = (
    submission: number,
    stopReason: string | null,
    part: Partial<PaidAttempt> = {},
  ): PaidAttempt => ({
    outcome: 'succeeded',
    stopReason,
    schemaValid: null,
    entry: entry({ submission, usage: { outputTokens: 1_000_000 } }),
    ...part,
  })
  const errored = attempt(0, null, { outcome: 'errored', entry: null })
  const rows = [
    // An error in between costs nothing and is not the reason.
    [attempt(1, 'max_tokens'), errored, attempt(3, 'max_tokens'), attempt(4, 'end_turn')],
    [attempt(1, 'pause_turn'), attempt(2, 'end_turn', { schemaValid: false }), attempt(3, 'end_turn')],
    // A first answer after an error was asked for anyhow.
    [errored, attempt(2, 'end_turn')],
    // A latecomer decides nothing, and is counted as a duplicate.
    [attempt(1, 'refusal', { entry: entry({ kind: 'duplicate' }) }), attempt(2, 'end_turn')],
  ]
  for (const attempts of rows) {
    fold.addAttempts(attempts)
    for (const { entry: paid } of attempts) if (paid !== null) fold.addEntry(paid)
  }
  const [bill] = fold.report().bills
  const each = picoUsd(7_500_000_000_000n)
  assert.deepEqual(bill!.further, [
    { after: 'truncated', attempts: 2, costPicoUsd: picoUsd(2n * each) },
    { after: 'unfinished', attempts: 1, costPicoUsd: each },
    { after: 'schema_invalid', attempts: 1, costPicoUsd: each },
  ])
  assert.equal(bill!.entries, 9)
  assert.equal(bill!.costPicoUsd, 8n * each)
})
