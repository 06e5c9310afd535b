import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InvoiceCheck, type InvoicedAnswer } from './compare-invoice.ts'
import { instant } from './instant.ts'
import type { LedgerEntry } from './ledger.ts'
import { picoUsd } from './money.ts'

const tokens = {
  inputTokens: 12,
  cacheWrite5mTokens: 0,
  cacheWrite1hTokens: 50,
  cacheReadTokens: 900,
  outputTokens: 7,
  webSearchRequests: 0,
}
const line = (row: number): InvoicedAnswer => ({
  batchId: 'msgbatch_1',
  customId: `r0123456ab-1-${row}`,
  model: 'claude-sonnet-4-6',
  ...tokens,
  costPicoUsd: 1_000n,
})
const entry = (row: number, change: Partial<typeof tokens> = {}): LedgerEntry => ({
  run: 'r0123456ab',
  submission: 1,
  ordinal: row,
  upstreamBatchId: 'msgbatch_1',
  customId: `r0123456ab-1-${row}`,
  at: instant(0),
  model: 'claude-sonnet-4-6',
  usage: { ...tokens, ...change, serviceTier: 'batch', inferenceGeo: null, speed: 'standard' },
  costPicoUsd: picoUsd(1_000n),
  realtimePicoUsd: picoUsd(2_000n),
  certainty: 'simulated',
  priceBook: 'b',
  kind: 'paid',
})

function compare(entries: readonly LedgerEntry[]) {
  const check = new InvoiceCheck()
  for (const row of [1, 2, 3]) check.addLine(line(row))
  for (const one of entries) check.addEntry(one)
  return check.comparison()
}

test('a ledger with the same figures for every row equals the invoice', () => {
  const { equal, entries, lines } = compare([entry(3), entry(1), entry(2)])
  assert.deepEqual({ equal, entries, lines }, { equal: true, entries: 3, lines: 3 })
})

test('a dropped entry is a difference', () => {
  const { equal, differences } = compare([entry(1), entry(3)])
  assert.equal(equal, false)
  assert.deepEqual(differences, ['r0123456ab-1-2: invoiced, without a ledger entry'])
})

test('a doubled entry is a difference', () => {
  assert.equal(compare([entry(1), entry(2), entry(2), entry(3)]).equal, false)
})

test('one token moved from read to write is a difference, though the total is the same', () => {
  const moved = entry(2, { cacheReadTokens: 899, cacheWrite1hTokens: 51 })
  const { equal, differences } = compare([entry(1), moved, entry(3)])
  assert.equal(equal, false)
  assert.match(differences[0]!, /write_1h 51 .* invoice .* write_1h 50/)
})
