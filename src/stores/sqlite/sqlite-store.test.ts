import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { picoUsd } from '../../core/money.ts'
import { newRow, plan, result, runRecord, started, storeContract } from '../store.contract.ts'
import type { Store } from '../store.ts'
import { Connection } from './connection.ts'
import { migrate } from './migrations.ts'
import { openSqliteStore } from './sqlite-store.ts'
import * as statements from './statements.ts'

const dirs = new WeakMap<Store, string>()

storeContract({
  name: 'sqlite',
  async open(context) {
    const dir = temporaryDir(context)
    const store = await openSqliteStore({ dir })
    dirs.set(store, dir)
    return store
  },
  reopen: (store) => openSqliteStore({ dir: dirs.get(store)! }),
})

test('nobody else can read a home: folders 0700, files 0600', async (context) => {
  const dir = join(temporaryDir(context), 'home')
  const store = await openSqliteStore({ dir })
  await store.bodies.append(Buffer.from('secret'))
  await store.runs.createRun(runRecord())
  const modes = readdirSync(dir, { recursive: true, encoding: 'utf8' }).map((name) => [
    name,
    modeOf(join(dir, name)),
  ])
  assert.equal(modeOf(dir), '700')
  assert.deepEqual(Object.fromEntries(modes), {
    'tithe.sqlite': '600',
    'tithe.sqlite-wal': '600',
    'tithe.sqlite-shm': '600',
    bodies: '700',
    [join('bodies', '1.body')]: '600',
  })
  await close(store)
})

test('a reader who never appends leaves no body file behind', async (context) => {
  const dir = temporaryDir(context)
  await close(await openSqliteStore({ dir }))
  assert.deepEqual(readdirSync(dir), ['tithe.sqlite'])
})

test('a damaged file is an error that names it and says what to do', async (context) => {
  const dir = temporaryDir(context)
  const path = join(dir, 'tithe.sqlite')
  writeFileSync(path, 'not a database at all, but of some length'.repeat(100))
  const corrupt = {
    name: 'TitheError',
    code: 'store_corrupt',
    exitCode: 3,
    where: { file: path },
    hint: /folder/,
  }
  await assert.rejects(openSqliteStore({ dir }), corrupt)

  rmSync(path)
  const store = await openSqliteStore({ dir })
  await started(
    store.runs,
    Array.from({ length: 500 }, (_, ordinal) => newRow(ordinal)),
  )
  await close(store)
  truncateSync(path, 16_384)
  await assert.rejects(
    openSqliteStore({ dir }).then((cut) => cut.runs.rowsPage(runRecord().id, -1, 1_000)),
    corrupt,
  )
})

test('a home that cannot be made or written is an error that names it', async (context) => {
  const dir = temporaryDir(context)
  writeFileSync(join(dir, 'file'), '')
  const unavailable = { name: 'TitheError', code: 'store_unavailable', exitCode: 3, hint: /TITHE_HOME/ }
  await assert.rejects(openSqliteStore({ dir: join(dir, 'file', 'home') }), unavailable)
  mkdirSync(join(dir, 'tithe.sqlite'))
  await assert.rejects(openSqliteStore({ dir }), unavailable)
})

// Root may write everywhere.
test('a read-only home is an error that names it', { skip: process.getuid?.() === 0 }, async (context) => {
  const dir = temporaryDir(context)
  chmodSync(dir, 0o500)
  const unavailable = {
    name: 'TitheError',
    code: 'store_unavailable',
    exitCode: 3,
    where: { file: join(dir, 'tithe.sqlite') },
  }
  await assert.rejects(openSqliteStore({ dir }), unavailable)
})

test('when a file cannot grow, the write is an error and everything before it stays', async (context) => {
  const dir = temporaryDir(context)
  // The limit on the size of files stands for a full disk: the child cannot write past it and is not killed for trying.
  const script = `
    import { openSqliteStore } from ${JSON.stringify(new URL('./sqlite-store.ts', import.meta.url).href)}
    import { newRow, runRecord } from ${JSON.stringify(new URL('../store.contract.ts', import.meta.url).href)}
    const { runs, bodies } = await openSqliteStore({ dir: ${JSON.stringify(dir)} })
    await runs.createRun(runRecord())
    const { fence } = await runs.acquireLease(runRecord().id, 'child', 0, 1)
    let rows = 0
    const until = async (work) => { for (;;) try { await work() } catch (error) { return error } }
    const sql = await until(async () => {
      await runs.addRows(runRecord().id, fence, Array.from({ length: 100 }, (_, i) => newRow(rows + i)))
      rows += 100
    })
    const body = await until(() => bodies.append(Buffer.alloc(500_000)))
    const counts = await runs.counts(runRecord().id)
    const told = ({ code, exitCode, where }) => ({ code, exitCode, file: where.file })
    console.log(JSON.stringify({ rows, pending: counts.pending, sql: told(sql), body: told(body) }))`
  const child = [process.execPath, '--input-type=module', '--eval', script]
  const run = promisify(execFile)
  const { stdout } = await run('sh', ['-c', 'ulimit -f 4096; exec "$0" "$@"', ...child], { timeout: 30_000 })
  const { rows, pending, sql, body } = JSON.parse(stdout) as Record<string, unknown>
  assert.deepEqual(sql, { code: 'store_unavailable', exitCode: 3, file: join(dir, 'tithe.sqlite') })
  assert.deepEqual(body, { code: 'store_unavailable', exitCode: 3, file: join(dir, 'bodies', '1.body') })
  assert.equal(pending, rows)
  const store = await openSqliteStore({ dir })
  assert.equal((await store.runs.counts(runRecord().id)).pending, rows)
  await close(store)
})

test('the views show rows and money in words and dollars, past 2⁶³ picodollars in sum', async (context) => {
  const dir = temporaryDir(context)
  const store = await openSqliteStore({ dir })
  const invalid = newRow(2, { invalidProblem: 'no placeholder' })
  const fence = await started(store.runs, [newRow(0), newRow(1), invalid, newRow(3)])
  const number = await plan(store.runs, fence, [0, 1, 3])
  const dearUsd = 2 ** 63 / 1e12
  const dear = { costPicoUsd: picoUsd(2n ** 63n - 1n), realtimePicoUsd: null }
  const first = result(number, 0, { next: { kind: 'pending', notBefore: null, revision: null } })
  await store.runs.recordResults(runRecord().id, fence, number, [
    { ...first, entry: { ...first.entry!, ...dear } },
    result(number, 1),
    { ...result(number, 3), entry: { ...result(number, 3).entry!, costPicoUsd: null } },
  ])
  const again = await plan(store.runs, fence, [0])
  await store.runs.recordResults(runRecord().id, fence, again, [
    { ...result(again, 0), entry: { ...result(again, 0).entry!, ...dear } },
  ])
  await close(store)

  const file = new DatabaseSync(join(dir, 'tithe.sqlite'))
  context.after(() => file.close())
  const rows = file
    .prepare(
      'SELECT run, user_id, state, outcome, attempts, submission, problem, cost_usd FROM v_rows ORDER BY ordinal',
    )
    .all()
  assert.deepEqual(
    rows.map((row) => Object.values(row)),
    [
      [runRecord().id, 'user-0', 'done', 'succeeded', 2, again, null, 2 * dearUsd],
      [runRecord().id, 'user-1', 'done', 'succeeded', 1, number, null, 0.000155],
      [runRecord().id, 'user-2', 'done', 'invalid', 0, null, 'no placeholder', 0],
      [runRecord().id, 'user-3', 'done', 'succeeded', 1, number, null, null],
    ],
  )
  const ledger = file
    .prepare(
      'SELECT submission, ordinal, user_id, at, prompt_tokens, cost_usd FROM v_ledger ORDER BY submission, ordinal',
    )
    .all()
  assert.deepEqual(
    ledger.map((row) => Object.values(row)),
    [
      [number, 0, 'user-0', '2026-11-22T10:00:00.000Z', 2_010, dearUsd],
      [number, 1, 'user-1', '2026-11-22T10:00:00.000Z', 2_010, 0.000155],
      [number, 3, 'user-3', '2026-11-22T10:00:00.000Z', 2_010, null],
      [again, 0, 'user-0', '2026-11-22T10:00:00.000Z', 2_010, dearUsd],
    ],
  )
})

test('no statement reads a table from end to end or sorts what it does not return', (context) => {
  const connection = new Connection(join(temporaryDir(context), 'tithe.sqlite'))
  context.after(() => connection.close())
  migrate(connection)
  // Runs are few; LEDGER_USAGE is of the whole ledger, LEDGER_SUMS of a whole run, BODY_REFS of the whole home; the others sort the rows
  // that they were asked for by name.
  const sorting = [
    'RUNS_BY_PREFIX',
    'NEWEST_RUN_BY_FINGERPRINT',
    'BLOCKS_BY_HASH',
    'ROWS_BY_ORDINAL',
    'ATTEMPTS_OF_ROWS',
    'LEDGER_SUMS',
    'LEDGER_USAGE',
    'BODY_REFS',
  ]
  let looked = 0
  for (const [name, sql] of Object.entries(statements)) {
    const steps = connection.all<{ detail: string }>(`EXPLAIN QUERY PLAN ${sql}`).map(({ detail }) => detail)
    const bad = steps.filter((step) => /^SCAN (?!wanted|json_each)|TEMP B-TREE/.test(step))
    if (!sorting.includes(name)) assert.deepEqual(bad, [], name)
    looked += steps.length
  }
  assert.ok(looked > 50)
})

function temporaryDir(context: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'tithe-store-'))
  context.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8)
}

async function close(store: Store): Promise<void> {
  await store.runs.close()
  await store.bodies.close()
}
