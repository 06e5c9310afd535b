import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadExportNames } from '../facts/usage-exports.ts'
import { TitheError } from './errors.ts'
import type { JsonObject } from './json.ts'
import { exportOfPages, exportOfRows, exportRow, rowsOf } from './usage-export.ts'

const names = loadExportNames()

/** The example of the reference, with an answer's own fields. */
const RESULT = {
  account_id: null,
  api_key_id: null,
  cache_creation: { ephemeral_1h_input_tokens: 1000, ephemeral_5m_input_tokens: 500 },
  cache_read_input_tokens: 200,
  context_window: '0-200k',
  inference_geo: 'global',
  model: 'claude-opus-5',
  output_tokens: 450,
  server_tool_use: { web_search_requests: 10 },
  service_tier: 'batch',
  uncached_input_tokens: 1500,
  workspace_id: 'wrkspc_1',
}
const page = (results: readonly object[], more = false) => ({
  data: [{ starting_at: '2026-11-20T00:00:00Z', ending_at: '2026-11-21T00:00:00Z', results }],
  has_more: more,
  next_page: more ? 'page_1' : null,
})
const read = (...pages: unknown[]) =>
  exportOfPages(
    pages.map((one, index) => ({ page: one, where: { file: 'usage.jsonl', line: index + 1 } })),
    names.json.value,
  )
const CSV_ROW: JsonObject = {
  usage_date_utc: '2026-11-20',
  model_version: 'claude-opus-5',
  api_key: 'key',
  workspace: 'Default',
  usage_type: 'standard',
  context_window: '≤ 200k',
  usage_input_tokens_no_cache: '12',
  usage_input_tokens_cache_write_5m: '0',
  usage_input_tokens_cache_write_1h: '3',
  usage_input_tokens_cache_read: '4',
  usage_output_tokens: '5',
  web_search_count: '0',
  inference_geo: 'not_available',
  speed: '',
}
const csvRow = (change: JsonObject = {}) =>
  exportRow({ ...CSV_ROW, ...change }, names.csv.value, { file: 'usage.csv', line: 2 })

function refusal(act: () => unknown): TitheError {
  try {
    act()
  } catch (error) {
    assert.ok(error instanceof TitheError)
    assert.ok(error.hint !== null, 'says what to do')
    return error
  }
  return assert.fail('was accepted')
}

test('a page of the usage report becomes rows, each number in its class', () => {
  assert.deepEqual(read(page([RESULT])), {
    format: 'json',
    firstDay: '2026-11-20',
    lastDay: '2026-11-20',
    rows: [
      {
        day: '2026-11-20',
        workspace: 'wrkspc_1',
        apiKey: null,
        model: 'claude-opus-5',
        tier: 'batch',
        quantities: {
          input: 1500,
          cache_write_5m: 500,
          cache_write_1h: 1000,
          cache_read: 200,
          output: 450,
          web_search: 10,
        },
      },
    ],
  })
})

test('a row of the CSV becomes the same, hours fall on their day, unknown columns do not matter', () => {
  assert.deepEqual(csvRow({ brand_new: 'x' }), {
    day: '2026-11-20',
    workspace: 'Default',
    apiKey: 'key',
    model: 'claude-opus-5',
    tier: 'standard',
    quantities: { input: 12, cache_write_5m: 0, cache_write_1h: 3, cache_read: 4, output: 5, web_search: 0 },
  })
  assert.equal(csvRow({ usage_date_utc: '2026-11-20 23:00' }).day, '2026-11-20')
  assert.equal(csvRow({ usage_date_utc: '2026-11-20T23:30:00-01:00' }).day, '2026-11-21')
})

test('a day without use is covered all the same', () => {
  assert.deepEqual(read(page([]))?.rows, [])
  assert.equal(read(page([])).lastDay, '2026-11-20')
  assert.match(refusal(() => exportOfRows([], { file: 'usage.csv' })).message, /covers no day/)
})

test('numbers that are not counts are refused where they stand', () => {
  for (const value of ['', '1.5', '-1', '1,000', '12x', null, undefined]) {
    const { code, where } = refusal(() => csvRow({ usage_output_tokens: value }))
    assert.equal(code, 'bad_export')
    assert.deepEqual(where, { file: 'usage.csv', line: 2, path: 'usage_output_tokens' }, String(value))
  }
  const nested = { ...RESULT, cache_creation: { ephemeral_5m_input_tokens: 1 } }
  assert.deepEqual(refusal(() => read(page([RESULT]), page([RESULT, nested]))).where, {
    file: 'usage.jsonl',
    line: 2,
    path: 'data[0].results[1].cache_creation.ephemeral_1h_input_tokens',
  })
})

test('days that are none are refused', () => {
  for (const day of ['20.11.2026', '2026-02-30', '2026-11-20x', '2026-11-20 25:00', '']) {
    assert.equal(refusal(() => csvRow({ usage_date_utc: day })).where?.path, 'usage_date_utc', day)
  }
})

test('a report that is not by model and tier is refused, and told how to ask for it', () => {
  for (const key of ['model', 'service_tier']) {
    const { hint, where } = refusal(() => read(page([{ ...RESULT, [key]: null }])))
    assert.match(hint!, /group_by\[\]=model&group_by\[\]=service_tier/)
    assert.equal(where?.path, `data[0].results[0].${key}`)
  }
})

test('a report of which the last page is missing is refused: its rest would look like a difference', () => {
  assert.equal(read(page([RESULT], true), page([RESULT])).rows.length, 2)
  const { message, where } = refusal(() => read(page([RESULT]), page([RESULT], true)))
  assert.match(message, /not complete/)
  assert.equal(where?.line, 2)
})

test('JSON of another shape is refused', () => {
  for (const value of [{}, { data: 1 }, { data: [1] }, { data: [{ results: [] }] }, [], 3, null]) {
    assert.equal(refusal(() => read(value)).code, 'bad_export', JSON.stringify(value))
  }
  assert.equal(refusal(() => read(page([3 as never]))).where?.path, 'data[0].results[0]')
})

test('workspace and key are taken out by name; the default workspace has none in JSON; the days stay', () => {
  const first = { ...RESULT, api_key_id: 'apikey_1' }
  const exported = read(page([first, { ...RESULT, workspace_id: null, output_tokens: 1 }]))
  const outputs = (workspace: string | null, apiKey: string | null = null) =>
    rowsOf(exported, { workspace, apiKey }, {}).rows.map((one) => one.quantities.output)
  assert.deepEqual([outputs('wrkspc_1'), outputs('Default'), outputs(null)], [[450], [1], [450, 1]])
  assert.deepEqual(outputs(null, 'apikey_1'), [450])
  assert.equal(rowsOf(exported, { workspace: 'Default', apiKey: null }, {}).lastDay, exported.lastDay)
  assert.match(refusal(() => outputs('wrkspc_2')).hint!, /it has "wrkspc_1", "Default"/)
  assert.equal(refusal(() => outputs('Default', 'apikey_1')).code, 'unknown_api_key')
  const ungrouped = read(page([{ ...RESULT, workspace_id: null }]))
  const { hint } = refusal(() => rowsOf(ungrouped, { workspace: 'Default', apiKey: null }, {}))
  assert.match(hint!, /group_by\[\]=workspace_id/)
})
