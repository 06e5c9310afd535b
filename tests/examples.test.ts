import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

// Every example, as a user runs it: planned and, where it has rows, run to its end on the local upstream.

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const homes = mkdtempSync(join(tmpdir(), 'tithe-examples-'))
after(() => rmSync(homes, { recursive: true }))

const JOBS: Readonly<Record<string, { readonly rows: number; readonly chosen: string }>> = {
  'article/job.yaml': { rows: 1_000, chosen: 'batch_primed_1h' },
  'documents-qa/job.yaml': { rows: 24, chosen: 'batch_primed_5m' },
  'evals/job.ts': { rows: 120, chosen: 'batch' },
  'invoices/job.yaml': { rows: 14, chosen: 'batch_primed_1h' },
  'moderation/job.yaml': { rows: 40, chosen: 'batch_primed_1h' },
  'summaries/job.yaml': { rows: 8, chosen: 'batch' },
  'tickets/job.yaml': { rows: 240, chosen: 'batch_primed_1h' },
}
const PLAN_ONLY = 'article/job.yaml'

interface Report {
  readonly rows: Readonly<Record<string, number>>
  readonly ledger_equals_invoice: boolean
  readonly accuracy: { readonly mean: number } | null
}

/** Exit code 0, or the test fails with what was printed. */
async function tithe(home: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, ANTHROPIC_API_KEY: '', TITHE_UPSTREAM: '', NO_COLOR: '1' }
  const command = [join(ROOT, 'bin/tithe.js'), ...args, '--home', join(homes, home)]
  const { stdout } = await promisify(execFile)(process.execPath, command, { cwd: ROOT, env, maxBuffer: 64e6 })
  return stdout
}

test('every job under examples/ is tested here', () => {
  const found = globSync('*/job.{yaml,ts}', { cwd: join(ROOT, 'examples') }).sort()
  assert.deepEqual(found, Object.keys(JOBS).sort())
})

for (const [job, { rows, chosen }] of Object.entries(JOBS)) {
  const path = `examples/${job}`

  test(`${path} is planned without a warning, and nothing is left behind`, async () => {
    const home = `plan-${job.replace('/', '-')}`
    const plan = JSON.parse(await tithe(home, 'plan', path, '--json'))
    // That a model nears its end is no fault of the example, and depends on the day.
    const problems = plan.problems.filter((one: { code: string }) => one.code !== 'model_retires')
    assert.deepEqual([plan.rows, plan.chosen, problems], [rows, chosen, []])
    assert.ok(!existsSync(join(homes, home)))
  })

  if (job === PLAN_ONLY) continue
  test(`${path} runs to its end, every row answered and billed as invoiced`, async () => {
    const home = `run-${job.replace('/', '-')}`
    const report = JSON.parse(await tithe(home, 'run', path, '--json')) as Report
    assert.equal(report.rows['succeeded'], rows)
    assert.equal(report.rows['schema_invalid'], 0)
    assert.equal(report.ledger_equals_invoice, true)
    const results = (await tithe(home, 'results'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    assert.equal(results.length, rows)
    if (job === 'tickets/job.yaml') {
      const ids = new Set(results.map((row) => row.id))
      for (const id of ['T.17', 'T 17', 'T-17', 'say "hello"', 'Größe/3']) assert.ok(ids.has(id), id)
    }
  })
}

test('the article’s case costs what it costs: each route, and a marked batch at each hit rate', async () => {
  const plan = JSON.parse(await tithe('article', 'plan', 'examples/article/job.yaml', '--json'))
  const routes = plan.routes.map((route: Record<string, string | null>) => [
    route['route'],
    cents(route['cost_at_extreme_pico_usd'] ?? route['cost_pico_usd']!),
  ])
  assert.deepEqual(Object.fromEntries(routes), {
    realtime: '60.00',
    realtime_cache_5m: '33.03',
    realtime_cache_1h: '33.06',
    batch: '30.00',
    batch_cold_5m: '33.75',
    batch_cold_1h: '45.00',
    batch_primed_5m: '16.52',
    batch_primed_1h: '16.53',
  })
  const rates = plan.hit_rates.map((at: Record<string, string>) => [
    at['hit_rate'],
    cents(at['cost_5m_pico_usd']!),
    cents(at['cost_1h_pico_usd']!),
  ])
  assert.deepEqual(rates, [
    [0.98, '16.85', '17.07'],
    [0.9, '18.23', '19.35'],
    [0.7, '21.68', '25.05'],
    [0.5, '25.13', '30.75'],
    [0.3, '28.58', '36.45'],
    [0, '33.75', '45.00'],
  ])
})

/** Picodollars as dollars and cents, half a cent up. */
function cents(picoUsd: string): string {
  const rounded = String((BigInt(picoUsd) + 5_000_000_000n) / 10_000_000_000n)
  return `${rounded.slice(0, -2)}.${rounded.slice(-2)}`
}

test('what make.ts wrote is what is committed', async () => {
  const written = ['tickets/tickets.csv', 'invoices/invoices.csv']
  written.push(
    ...globSync('{invoices/files,documents-qa/documents}/*.{pdf,png}', { cwd: join(ROOT, 'examples') }),
  )
  assert.ok(written.length > 15)
  const before = written.map((file) => readFileSync(join(ROOT, 'examples', file)))
  const copy = join(homes, 'copy')
  cpSync(join(ROOT, 'examples'), copy, { recursive: true })
  for (const script of ['tickets/make.ts', 'invoices/make.ts', 'documents-qa/make.ts']) {
    await promisify(execFile)(process.execPath, [join(copy, script)])
  }
  for (const [i, file] of written.entries()) {
    assert.ok(before[i]!.equals(readFileSync(join(copy, file))), file)
  }
})
