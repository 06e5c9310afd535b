import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadUsageExports } from '../facts/usage-exports.ts'
import { recordsOfPage, usageOfRecord } from './usage-export.ts'

const { csv, json } = loadUsageExports()
const WHERE = { file: 'usage.csv', line: 7 }

const RECORD = {
  usage_date_utc: '2026-11-22T00:00:00Z',
  model_version: 'claude-opus-5',
  api_key: 'batch key',
  workspace: 'Default',
  usage_type: 'batch',
  context_window: '≤ 200k',
  usage_input_tokens_no_cache: '10',
  usage_input_tokens_cache_write_5m: '1',
  usage_input_tokens_cache_write_1h: '2',
  usage_input_tokens_cache_read: '3',
  usage_output_tokens: '4',
  web_search_count: '',
}
const QUANTITIES = {
  input: 10,
  cache_write_5m: 1,
  cache_write_1h: 2,
  cache_read: 3,
  output: 4,
  web_search: 0,
}

test('a line of the CSV is usage of a day, whatever else stands in it', () => {
  assert.deepEqual(usageOfRecord(RECORD, csv, WHERE), {
    day: '2026-11-22',
    model: 'claude-opus-5',
    tier: 'batch',
    apiKey: 'batch key',
    workspace: 'Default',
    quantities: QUANTITIES,
  })
})

test('a result of the usage report is the same, with the day of its bucket', () => {
  const result = {
    uncached_input_tokens: 10,
    cache_creation: { ephemeral_5m_input_tokens: 1, ephemeral_1h_input_tokens: 2 },
    cache_read_input_tokens: 3,
    output_tokens: 4,
    server_tool_use: { web_search_requests: 0 },
    model: 'claude-opus-5',
    service_tier: 'batch',
    api_key_id: null,
    workspace_id: 'wrkspc_1',
  }
  const page = {
    data: [
      { starting_at: '2026-11-21T00:00:00Z', ending_at: '2026-11-22T00:00:00Z', results: [] },
      { starting_at: '2026-11-22T00:00:00Z', ending_at: '2026-11-23T00:00:00Z', results: [result] },
    ],
    has_more: false,
  }
  const [found, ...more] = recordsOfPage(page, json)!
  assert.equal(found!.path, 'data[1].results[0]')
  assert.deepEqual(more, [])
  const usage = usageOfRecord(found!.record, json, WHERE)
  assert.ok('day' in usage)
  assert.deepEqual([usage.day, usage.quantities, usage.apiKey], ['2026-11-22', QUANTITIES, null])
  for (const other of [null, [], { data: {} }, { data: [{}] }, { data: [{ results: [1] }] }]) {
    assert.equal(recordsOfPage(other as never, json), null)
  }
})

test('what cannot be compared is said with its column and its place', () => {
  const wrong = (changes: object) => {
    const found = usageOfRecord({ ...RECORD, ...changes }, csv, WHERE)
    assert.ok('message' in found, JSON.stringify(changes))
    assert.deepEqual(found.where, WHERE)
    return found.message
  }
  assert.match(wrong({ usage_date_utc: 'yesterday' }), /usage_date_utc is no date/)
  assert.match(wrong({ model_version: '' }), /model_version is missing/)
  assert.match(wrong({ usage_output_tokens: '1,5' }), /usage_output_tokens is no count: "1,5"/)
  assert.match(wrong({ usage_output_tokens: '-1' }), /no count/)
  assert.match(wrong({ usage_input_tokens_no_cache: '2.5' }), /no count/)
})

test('a tier that we do not sell is another, not standard', () => {
  const usage = usageOfRecord({ ...RECORD, usage_type: 'flex' }, csv, WHERE)
  assert.ok('tier' in usage && usage.tier === 'other')
})
