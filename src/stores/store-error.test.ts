import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { TitheError } from '../core/errors.ts'
import { storeError } from './store-error.ts'

const PATH = '/somewhere/tithe.sqlite'

test('what SQLite refuses becomes an error with exit code 3 that names the file and says what to do', (context) => {
  const dir = mkdtempSync(join(tmpdir(), 'tithe-error-'))
  context.after(() => rmSync(dir, { recursive: true }))
  const path = join(dir, 'x.sqlite')
  const one = new DatabaseSync(path, { timeout: 0 })
  one.exec('CREATE TABLE a (x UNIQUE)')
  const two = new DatabaseSync(path, { timeout: 0 })
  const readOnly = new DatabaseSync(path, { readOnly: true })
  context.after(() => {
    for (const connection of [one, two, readOnly]) connection.close()
  })

  one.exec('BEGIN IMMEDIATE')
  assertTold(
    caught(() => two.exec('BEGIN IMMEDIATE')),
    'store_unavailable',
    /locked for too long/,
  )
  one.exec('ROLLBACK')
  assertTold(
    caught(() => readOnly.exec('INSERT INTO a VALUES (1)')),
    'store_unavailable',
    /opened for writing/,
  )
  one.exec('PRAGMA max_page_count = 3')
  assertTold(
    caught(() => one.exec('CREATE TABLE b (x); CREATE TABLE c (x)')),
    'store_unavailable',
    /no space/,
  )
  assertTold(
    caught(() => new DatabaseSync(join(dir, 'no', 'x.sqlite'))),
    'store_unavailable',
    /opened for writing/,
  )

  one.exec('INSERT INTO a VALUES (1)')
  const violated = storeError(
    caught(() => one.exec('INSERT INTO a VALUES (1)')),
    PATH,
  )
  assert.equal((violated as Error).name, 'AssertionError')
})

test('what the file system refuses does too', () => {
  assertTold(systemError('ENOSPC'), 'store_unavailable', /no space/)
  assertTold(systemError('EROFS'), 'store_unavailable', /opened for writing/)
  assertTold(systemError('EIO'), 'store_unavailable', /reading or writing/)
})

test('anything else stays what it is', () => {
  const ours = new TitheError('unknown_run', 'no such run')
  const bug = new TypeError('undefined is not a function')
  for (const error of [ours, bug, 'text', null]) assert.equal(storeError(error, PATH), error)
})

function assertTold(error: unknown, code: string, message: RegExp): void {
  const told = storeError(error, PATH) as TitheError
  assert.ok(told instanceof TitheError, String(error))
  assert.deepEqual([told.code, told.exitCode, told.where], [code, 3, { file: PATH }])
  assert.match(told.message, message)
  assert.ok(told.hint)
}

function caught(work: () => unknown): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  return assert.fail('it was not refused')
}

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code })
}
