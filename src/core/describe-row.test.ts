import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalogue } from '../facts/load.ts'
import { loadTokenFacts } from '../facts/tokenizers.ts'
import { RowDescriber } from './describe-row.ts'
import { instant } from './instant.ts'
import type { JsonObject } from './json.ts'
import type { InputRow } from './rows.ts'
import { tokenMeasurer } from './token-estimate.ts'

const catalogue = loadCatalogue()
const facts = loadTokenFacts()

function describe(
  request: JsonObject,
  { batchBytesMax = catalogue.rules.batchBytesMax, count = (text: string) => text.length } = {},
) {
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
    request: { max_tokens: 10, ...request },
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
  const content = [{ type: 'text', text: 'x'.repeat(5_000) }]
  const { problems, stored } = describe(
    { model: 'claude-haiku-4-5', messages: [{ role: 'user', content }] },
    { batchBytesMax: 4_000, count: () => assert.fail('counted') },
  )
  assert.equal(problems[0]!.code, 'row_larger_than_batch')
  assert.deepEqual(problems[0]!.where, { file: '/data/rows.jsonl', line: 8 })
  assert.ok(stored.paramsBytes > 5_000)
})

test('rows that go on from one conversation share its thinking only where the model keeps it', () => {
  const asked = { role: 'user', content: 'q' }
  const thought = { type: 'thinking', thinking: 't', signature: 's' }
  const called = {
    role: 'assistant',
    content: [thought, { type: 'tool_use', id: 'i', name: 'n', input: {} }],
  }
  const seen = { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'i', content: 'r' }] }
  const loop = [asked, called, seen]
  const after = [...loop, { role: 'assistant', content: 'a' }, { role: 'user', content: 'thanks' }]
  const shared = (model: string) => {
    const [a, b] = [loop, after].map((messages) => describe({ model, messages }).profile.prefixes)
    return a!.filter(({ hash }, i) => hash === b![i]?.hash).map(({ path }) => path)
  }
  assert.deepEqual(shared('claude-haiku-4-5'), ['messages[0].content'])
  assert.deepEqual(shared('claude-sonnet-4-6'), [
    'messages[0].content',
    'messages[1].content[0]',
    'messages[1].content[1]',
  ])
})
