import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { runRecord, storeContract } from './store.contract.ts'
import type { Store } from './store.ts'
import { openSqliteStoreInWorker, runsInWorker } from './worker.ts'

const dirs = new WeakMap<Store, string>()

storeContract({
  name: 'sqlite in a worker',
  async open(context) {
    const dir = temporaryDir(context)
    const store = await openSqliteStoreInWorker({ dir })
    dirs.set(store, dir)
    return store
  },
  reopen: (store) => openSqliteStoreInWorker({ dir: dirs.get(store)! }),
})

test('an error keeps its code, hint, place and exit code on its way from the thread', async (context) => {
  const dir = temporaryDir(context)
  writeFileSync(
    join(dir, 'tithe.sqlite'),
    'this is no database, but it is long enough to be looked at'.repeat(100),
  )
  await assert.rejects(openSqliteStoreInWorker({ dir }), {
    name: 'TitheError',
    code: 'store_corrupt',
    exitCode: 3,
    hint: /copy of the whole folder/,
    where: { file: join(dir, 'tithe.sqlite') },
  })
})

test('a broken promise of ours stays an error with its message', async (context) => {
  const store = await openSqliteStoreInWorker({ dir: temporaryDir(context) })
  await assert.rejects(store.runs.createRun(runRecord({ state: 'running' })), /created in state preparing/)
  await store.runs.close()
})

test('when the thread dies, open and later calls are errors that say so', async () => {
  const dying = `
    const { parentPort } = require('node:worker_threads')
    parentPort.postMessage({ id: 0, kind: 'answer', answer: null })
    parentPort.on('message', () => process.exit(7))`
  const runs = await runsInWorker(new Worker(dying, { eval: true }), '/home')
  const gone = { name: 'TitheError', code: 'store_unavailable', exitCode: 3, message: /exited with code 7/ }
  const both = await Promise.allSettled([runs.findRuns(''), runs.events('r1')])
  for (const settled of both) {
    assert.equal(settled.status, 'rejected')
    assert.throws(() => {
      throw settled.reason
    }, gone)
  }
  await assert.rejects(runs.findRuns(''), gone)
  await runs.close()
})

test('when the thread throws, the error names it', async () => {
  const throwing = `
    const { parentPort } = require('node:worker_threads')
    parentPort.postMessage({ id: 0, kind: 'answer', answer: null })
    parentPort.on('message', () => { throw new Error('out of luck') })`
  const runs = await runsInWorker(new Worker(throwing, { eval: true }), '/home')
  await assert.rejects(runs.findRuns(''), { code: 'store_unavailable', message: /out of luck/ })
})

test('a process ends by itself, with the store closed or left open', async (context) => {
  const dir = temporaryDir(context)
  mkdirSync(dir, { recursive: true })
  for (const closing of ['await store.runs.close(); await store.bodies.close()', '']) {
    const script = `
      import { openSqliteStoreInWorker } from ${JSON.stringify(new URL('./worker.ts', import.meta.url).href)}
      const store = await openSqliteStoreInWorker({ dir: ${JSON.stringify(dir)} })
      const runs = await store.runs.findRuns('')
      ${closing}
      console.log(runs.length)`
    const run = promisify(execFile)
    const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script], {
      timeout: 20_000,
    })
    assert.equal(stdout, '0\n')
  }
})

function temporaryDir(context: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'tithe-store-'))
  context.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}
