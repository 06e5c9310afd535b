import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { smallJob } from './jobs.ts'
import { addFiles, folder, tithe, titheJson } from './tithe.ts'

const HEADER =
  'usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,' +
  'usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,' +
  'usage_output_tokens,web_search_count,inference_geo,speed'

/** The export that the provider would give for this ledger, one line an answer. */
function exportOf(cwd: string, more = 0): string {
  const database = new DatabaseSync(join(cwd, '.tithe/tithe.sqlite'), { readOnly: true })
  try {
    const rows = database.prepare('SELECT * FROM v_ledger').all()
    const lines = rows.map((row, index) =>
      [
        String(row['at']).slice(0, 10),
        row['model'],
        'a key',
        'Default',
        row['service_tier'],
        '≤ 200k',
        row['input_tokens'],
        row['cache_write_5m_tokens'],
        row['cache_write_1h_tokens'],
        row['cache_read_tokens'],
        Number(row['output_tokens']) + (index === 0 ? more : 0),
        0,
        'global',
        '',
      ].join(','),
    )
    return `${[HEADER, ...lines].join('\n')}\n`
  } finally {
    database.close()
  }
}

test('a ledger is held against the usage export of the provider, to the token', async () => {
  const cwd = folder(smallJob(40))
  assert.equal((await tithe(cwd, 'run', 'job.yaml')).code, 0)
  addFiles(cwd, { 'same.csv': exportOf(cwd), 'less.csv': exportOf(cwd, -1), 'more.csv': exportOf(cwd, 1) })

  const same = await tithe(cwd, 'reconcile', 'same.csv', '--simulated')
  assert.equal(same.code, 0, same.stdout + same.stderr)
  assert.match(same.stdout, /simulated: 2 of 2 figures from .* are equal/)

  const less = await tithe(cwd, 'reconcile', 'less.csv', '--simulated')
  assert.equal(less.code, 1)
  assert.match(less.stdout, /output .* MORE IN THE LEDGER/)

  assert.equal((await tithe(cwd, 'reconcile', 'more.csv', '--simulated')).code, 0)
  assert.equal((await tithe(cwd, 'reconcile', 'more.csv', '--simulated', '--exclusive')).code, 1)

  const json = await titheJson(cwd, 'reconcile', 'more.csv', '--simulated', '--workspace', 'Default')
  assert.equal(json['schema'], 'tithe.reconcile/1')
  assert.deepEqual((json['counts'] as Record<string, number>)['more_in_export'], 1)

  const real = await tithe(cwd, 'reconcile', 'same.csv')
  assert.match(real.stdout, /measured: 0 of 2 figures/, 'nothing simulated is taken for real')
  assert.match(real.stdout, /larger in the export/)

  const other = await tithe(cwd, 'reconcile', 'same.csv', '--workspace', 'Elsewhere')
  assert.equal(other.code, 2)
  assert.match(other.stderr, /it names the workspaces Default and the keys a key/)
})

test('an export that cannot be read is refused with its place', async () => {
  const cwd = folder({
    'columns.csv': 'usage_date_utc,model_version\n2026-11-22,claude-opus-5\n',
    'line.csv': `${HEADER}\n2026-11-22,claude-opus-5,k,w,batch,,ten,0,0,0,1,0,,\n`,
    'page.json': '{"data": {}}',
    'pages.jsonl': '{"data": [], "has_more": false}\nnot json\n',
  })
  for (const [file, says] of [
    ['columns.csv', /has no column usage_type/],
    ['line.csv', /line\.csv:2[\s\S]*no count: "ten"/],
    ['page.json', /no page of a usage report/],
    ['pages.jsonl', /pages\.jsonl:2[\s\S]*not JSON/],
    ['missing.csv', /missing\.csv/],
  ] as const) {
    const { code, stderr } = await tithe(cwd, 'reconcile', file)
    assert.equal(code, 2, `${file}: ${stderr}`)
    assert.match(stderr, says)
  }
})
