import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { SHARED_DATA } from '../../bench/jobs/shared-data.ts'
import { folder, start } from './tithe.ts'

// Real input to its end on the local upstream, and its bill recomputed by a script that knows nothing of Tithe.

const BENCH = fileURLToPath(new URL('../../bench', import.meta.url))
const SONNET = 'claude-sonnet-4-6=3/3.75/6/0.30/15'

const JOBS: Readonly<Record<string, { readonly rows: number; readonly price: string }>> = {
  'banking77.yaml': { rows: 3_080, price: SONNET },
  'invoices.ts': { rows: 11, price: SONNET },
  'peps.ts': { rows: 53, price: 'claude-opus-5-5=4/5/8/0.20/20' },
}

const skip =
  existsSync(join(SHARED_DATA, 'workloads')) || process.env['CI'] === 'true'
    ? false
    : `WORKLOADS NOT FOUND AT ${SHARED_DATA}: NO REAL INPUT WAS RUN`

describe('real workloads', { skip }, () => {
  for (const [job, { rows, price }] of Object.entries(JOBS)) {
    it(`${job}: every row answered, the ledger as invoiced, the bill as recomputed from the results`, async () => {
      const cwd = folder()
      const environment = { TITHE_SHARED: SHARED_DATA }
      const tithe = (...args: string[]) => start(cwd, args, environment).ended
      const ran = await tithe('run', join(BENCH, 'jobs', job), '--yes', '--json')
      assert.equal(ran.code, 0, ran.stderr)
      const report = JSON.parse(ran.stdout)
      assert.deepEqual([report.rows.rows, report.rows.succeeded], [rows, rows])
      assert.equal(report.ledger_equals_invoice, true)

      const results = join(cwd, 'results.jsonl')
      writeFileSync(results, (await tithe('results', '--raw')).stdout)
      const verified = await promisify(execFile)(process.execPath, [
        join(BENCH, 'verify-bill.ts'),
        results,
        price,
      ])
      const [bill] = JSON.parse((await tithe('report', '--json')).stdout).bills
      assert.equal(verified.stdout.trim(), bill.cost_pico_usd)
    })
  }
})
