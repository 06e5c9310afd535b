import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalogue } from '../facts/load.ts'
import { loadTokenFacts } from '../facts/tokenizers.ts'
import { RowDescriber } from './describe-row.ts'
import { instant } from './instant.ts'
import type { InputRow } from './rows.ts'
import { tokenMeasurer } from './token-estimate.ts'

const catalogue = loadCatalogue()
const facts = loadTokenFacts()

function describe(text: string, batchBytesMax: number, count: (text: string) => number) {
  const describer = new RowDescriber({
    catalogue: { ...catalogue, rules: { ...catalogue.rules, batchBytesMax } },
    measurer: tokenMeasurer(count, () => null, facts.media),
    facts,
    at: instant(Date.parse('2026-11-22')),
  })
  const row: InputRow = {
    kind: 'row',
    ordinal: 6,
    userId: 'a',
    line: 8,
    file: '/data/rows.jsonl',
    request: {
      model: 'claude-haiku-4-5',
      max_tokens: 10,
      messages: [{ role: 'user', content: [{ type: 'text', text }] }],
    },
    apiVersion: '2023-06-01',
    betas: [],
    columns: {},
    expected: undefined,
    sharedBlocks: 0,
    warnings: [],
  }
  return describer.describe(row)
}

test('a row larger than a batch is refused with its place, and its tokens are not counted', () => {
  const { problems, stored } = describe('x'.repeat(5_000), 4_000, () => assert.fail('counted'))
  assert.equal(problems[0]!.code, 'row_larger_than_batch')
  assert.deepEqual(problems[0]!.where, { file: '/data/rows.jsonl', line: 8 })
  assert.ok(stored.paramsBytes > 5_000)
})
