import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { sha256Hex } from '../../core/digest.ts'
import { Connection } from './connection.ts'
import { MIGRATIONS, migrate } from './migrations.ts'

const GOLDEN = new URL('./schema.golden.sql', import.meta.url)

/** What a store has run cannot be changed any more: a change is a new migration, and a new line here. */
const DIGESTS = [
  '6b408b2fcd927dd296a4694f4bc493c56e06309d643c8d6adeb50215de26a179',
  '50e36fd47164a62d9daad99696fa74aa4f523f3c26f8d2eb11ca8200b7625bb2',
  '0fd23e85bb74d297a52fe72d0750ae8534f0002ae87c4d430e67c8276f47d806',
]

test('migrations are numbered from 1 without a gap and never change', () => {
  const files = readdirSync(new URL('./migrations', import.meta.url)).sort()
  assert.deepEqual(
    files,
    MIGRATIONS.map((_, index) => `${String(index + 1).padStart(6, '0')}.ts`),
  )
  assert.deepEqual(MIGRATIONS.map(sha256Hex), DIGESTS)
})

test('all migrations together give the schema in schema.golden.sql', (context) => {
  const connection = open(context)
  migrate(connection)
  const schema = connection
    .all<{ sql: string }>('SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name')
    .map(({ sql }) => `${sql};\n`)
    .join('\n')
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(GOLDEN, schema)
  assert.equal(schema, readFileSync(GOLDEN, 'utf8'), 'run with UPDATE_GOLDEN=1 after a new migration')
})

test('migrations run once, in order, forward only', (context) => {
  const connection = open(context)
  migrate(connection, ['CREATE TABLE a (x)'])
  migrate(connection, ['CREATE TABLE a (x)', 'CREATE TABLE b (x); INSERT INTO b VALUES (1)'])
  migrate(connection, ['CREATE TABLE a (x)', 'CREATE TABLE b (x); INSERT INTO b VALUES (1)'])
  assert.deepEqual(numbers(connection), [1, 2])
  assert.equal(connection.all('SELECT x FROM b').length, 1)
})

test('a migration that fails leaves nothing behind, not even its number', (context) => {
  const connection = open(context)
  assert.throws(() => migrate(connection, ['CREATE TABLE a (x)', 'CREATE TABLE b (x); CREATE TABLE a (x)']))
  assert.deepEqual(numbers(connection), [1])
  assert.equal(connection.get("SELECT 1 FROM sqlite_schema WHERE name = 'b'"), undefined)
})

test('an older version refuses a newer schema, changes nothing and says what to do', (context) => {
  const connection = open(context)
  migrate(connection, ['CREATE TABLE a (x)', 'CREATE TABLE b (x)'])
  assert.throws(() => migrate(connection, ['CREATE TABLE a (x)']), {
    name: 'TitheError',
    code: 'store_too_new',
    exitCode: 3,
    message: /its schema is 2, this version knows 1/,
    hint: /Update Tithe/,
    where: { file: connection.path },
  })
  assert.deepEqual(numbers(connection), [1, 2])
})

test('processes that open a new home together all find it ready', async (context) => {
  const dir = temporaryDir(context)
  const script = `
    import { openSqliteStore } from ${JSON.stringify(new URL('./sqlite-store.ts', import.meta.url).href)}
    const { runs } = await openSqliteStore({ dir: ${JSON.stringify(dir)} })
    console.log((await runs.findRuns('')).length)`
  const run = promisify(execFile)
  const opened = await Promise.all(
    [1, 2, 3, 4].map(() =>
      run(process.execPath, ['--input-type=module', '--eval', script], { timeout: 30_000 }),
    ),
  )
  assert.deepEqual(
    opened.map(({ stdout }) => stdout),
    ['0\n', '0\n', '0\n', '0\n'],
  )
})

function numbers(connection: Connection): number[] {
  return connection
    .all<{ number: number }>('SELECT number FROM migrations ORDER BY number')
    .map((row) => row.number)
}

function open(context: TestContext): Connection {
  const connection = new Connection(join(temporaryDir(context), 'tithe.sqlite'))
  context.after(() => connection.close())
  return connection
}

function temporaryDir(context: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'tithe-migrations-'))
  context.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}
