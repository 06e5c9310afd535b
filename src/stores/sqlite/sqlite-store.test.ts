import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { storeContract } from '../store.contract.ts'
import type { Store } from '../store.ts'
import { openSqliteStore } from './sqlite-store.ts'

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

function temporaryDir(context: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'tithe-store-'))
  context.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}
