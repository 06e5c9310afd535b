import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import type { LedgerUsage } from '../../src/core/compare-usage.ts'
import { openSqliteStore } from '../../src/stores/sqlite/sqlite-store.ts'
import { smallJob } from './jobs.ts'
import { addFiles, folder, tithe } from './tithe.ts'

const HEADER =
  'usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,' +
  'usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,' +
  'usage_output_tokens,web_search_count,inference_geo,speed\n'

/** What the provider would export of this ledger; `output` is added to the output tokens. */
function csvOf(ledger: readonly LedgerUsage[], output = 0): string {
  const lines = ledger.map(({ lastDay, model, tier, quantities: of }) =>
    [
      ...[lastDay, model, 'key', '"Data, team"', tier, '≤ 200k', of.input, of.cache_write_5m],
      ...[of.cache_write_1h, of.cache_read, of.output + output, of.web_search, 'not_available', ''],
    ].join(','),
  )
  return `${HEADER}${lines.join('\n')}\n`
}

function pageOf(ledger: readonly LedgerUsage[]): string {
  const data = ledger.map(({ lastDay, model, tier, quantities: of }) => ({
    starting_at: `${lastDay}T00:00:00Z`,
    results: [
      {
        model,
        service_tier: tier,
        workspace_id: null,
        uncached_input_tokens: of.input,
        cache_creation: {
          ephemeral_5m_input_tokens: of.cache_write_5m,
          ephemeral_1h_input_tokens: of.cache_write_1h,
        },
        cache_read_input_tokens: of.cache_read,
        output_tokens: of.output,
        server_tool_use: { web_search_requests: of.web_search },
      },
    ],
  }))
  return JSON.stringify({ data, has_more: false, next_page: null })
}

describe('reconcile', { concurrency: 2 }, () => {
  const cwd = folder(smallJob(30))
  before(async () => {
    assert.equal((await tithe(cwd, 'run', 'job.yaml')).code, 0)
    const store = await openSqliteStore({ dir: join(cwd, '.tithe') })
    const ledger = await store.runs.ledgerUsage()
    await store.runs.close()
    await store.bodies.close()
    assert.ok(ledger.length > 0 && ledger.every((one) => one.certainty === 'simulated'))
    addFiles(cwd, {
      'same.csv': csvOf(ledger),
      'less.csv': csvOf(ledger, -1),
      'more.csv': csvOf(ledger, 1),
      'old.csv': csvOf(ledger.map((one) => ({ ...one, lastDay: '2024-01-01' }))),
      'page.json': JSON.stringify(JSON.parse(pageOf(ledger)), null, 2),
      'pages.jsonl': ledger.map((one) => `${pageOf([one])}\n`).join(''),
      'pages.json': `[${ledger.map((one) => pageOf([one])).join(',\n')}]`,
    })
  })
  const reconcile = (...args: string[]) => tithe(cwd, 'reconcile', ...args, '--simulated')

  test('an export with the numbers of the ledger agrees, in every format', async () => {
    for (const file of ['same.csv', 'page.json', 'pages.jsonl', 'pages.json']) {
      const { code, stdout, stderr } = await reconcile(file, '--exclusive')
      assert.deepEqual([code, stderr], [0, ''], file)
      assert.match(stdout, /ledger: 30 simulated entries, which nobody bills/)
      assert.match(stdout, /claude-opus-4-8 .*batch +output +[\d,]+ +[\d,]+ +(agrees|shifted)\n/)
      assert.match(stdout, /every figure agrees\n$/)
    }
  })

  test('a token that the export lacks is told with its day and worth, and is exit 1', async () => {
    const { code, stdout } = await reconcile('less.csv')
    assert.equal(code, 1)
    assert.match(stdout, /\d{4}-\d\d-\d\d +claude-opus-4-8 +batch +output .*\$0\.0+\d+ +more in the ledger/)
    assert.match(stdout, /more in the ledger: \d figures?, worth \$0\.0+\d+: the export lacks what/)
    const json = JSON.parse((await reconcile('less.csv', '--json')).stdout)
    assert.deepEqual(
      [json.schema, json.agrees, json.result, json.format, json.certainty, json.entries],
      ['tithe.reconcile/1', false, 'more_in_ledger', 'csv', 'simulated', 30],
    )
    const output = json.totals.find((one: { class: string }) => one.class === 'output')
    assert.ok(output.ledger > output.export && output.result === 'more_in_ledger')
    assert.match(output.worth_low_pico_usd, /^\d+$/)
  })

  test('more in the export may be others, unless nobody else uses it', async () => {
    const { code, stdout } = await reconcile('more.csv')
    assert.equal(code, 0)
    assert.match(stdout, /more in the export: .*: other programs, or answers that the ledger lacks/)
    assert.equal((await reconcile('more.csv', '--exclusive')).code, 1)
  })

  test('one workspace and one key of the export are compared by their names', async () => {
    const only = ['--workspace', 'Data, team', '--api-key', 'key']
    assert.equal((await reconcile('same.csv', ...only)).code, 0)
    const { code, stderr } = await reconcile('same.csv', '--workspace', 'data')
    assert.equal(code, 2)
    assert.match(stderr, /nothing of --workspace data\n {2}hint: it has "Data, team"/)
  })

  test('where there is nothing to compare it says why, and never that all agrees', async () => {
    const measured = await tithe(cwd, 'reconcile', 'same.csv')
    assert.equal(measured.code, 2)
    assert.match(measured.stderr, /no measured entries\n {2}hint: 30 are of the local upstream.*--simulated/)
    const outside = await reconcile('old.csv')
    assert.equal(outside.code, 2)
    assert.match(outside.stderr, /all 30 simulated entries .* outside 2024-01-01 to 2024-01-01/)
    const nowhere = await tithe(
      folder({ 'same.csv': `${HEADER}2026-01-01,m,k,w,batch,,1,0,0,0,1,0,,\n` }),
      'reconcile',
      'same.csv',
    )
    assert.equal(nowhere.code, 2)
    assert.match(nowhere.stderr, /no measured entries\n {2}hint: .*--home/)
  })

  test('a file that is no export is refused with the place and what to do', async () => {
    const bad: [content: string, says: RegExp][] = [
      [
        'a,b\n1,2\n',
        /bad.txt:1: not a usage export: no columns usage_date_utc, model_version, usage_type.*\n {2}hint: /,
      ],
      [
        `${HEADER}2026-01-01,m,k,w,batch,,1,0,0,0,1.5,0,,\n`,
        /bad.txt:2 usage_output_tokens: .*"1.5", not a whole/,
      ],
      [`${HEADER}2026-01-01,m,k,w\n`, /line 2 of .*bad.txt has 4 fields, the header 14/],
      [HEADER, /bad.txt:1: the export covers no day/],
      ['', /bad.txt is empty/],
      ['{"data": [}', /bad.txt: not JSON/],
      ['{"data": []}\n{"data": 1}\n', /bad.txt:2: no list "data" here/],
      [
        '[{"data": [{"starting_at": "2026-01-01T00:00:00Z", "results": [{}]}]}]',
        /bad.txt \[0\]\.data\[0\]\.results\[0\]/,
      ],
      ['{"data": [], "has_more": true}', /has_more: the export is not complete\n {2}hint: .*next_page/],
    ]
    for (const [content, says] of bad) {
      const { code, stderr } = await tithe(folder({ 'bad.txt': content }), 'reconcile', 'bad.txt')
      assert.equal(code, 2, content)
      assert.match(stderr, says)
    }
    const missing = await tithe(cwd, 'reconcile', 'none.csv')
    assert.deepEqual([missing.code, /there is no file none\.csv/.test(missing.stderr)], [2, true])
  })
})
