import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import type { Readable, Writable } from 'node:stream'
import { test } from 'node:test'
import { openSqliteStore } from './sqlite/sqlite-store.ts'

const CHUNK_ROWS = 25

/** Adds rows with bodies to a run of its own until its stdin ends, and says how many were committed after each chunk. */
function writer(dir: string, run: string): string {
  return `
    import { openSqliteStore } from ${JSON.stringify(new URL('./sqlite/sqlite-store.ts', import.meta.url).href)}
    import { newRow, runRecord } from ${JSON.stringify(new URL('./store.contract.ts', import.meta.url).href)}
    const { runs, bodies } = await openSqliteStore({ dir: ${JSON.stringify(dir)} })
    await runs.createRun(runRecord({ id: '${run}' }))
    const { fence } = await runs.acquireLease('${run}', '${run}', 0, 1)
    let ending = false
    process.stdin.on('end', () => { ending = true }).resume()
    let committed = 0
    while (!ending) {
      const rows = []
      for (let ordinal = committed; ordinal < committed + ${CHUNK_ROWS}; ordinal++) {
        const request = await bodies.append(Buffer.from(\`${run} \${ordinal} \`.repeat(100)))
        rows.push(newRow(ordinal, { request }))
      }
      await bodies.sync()
      await runs.addRows('${run}', fence, rows)
      committed += ${CHUNK_ROWS}
      process.stdout.write(committed + '\\n')
      await new Promise(setImmediate)
    }
    await runs.close()
    await bodies.close()`
}

type Child = ChildProcessByStdio<Writable, Readable, null>

test('two processes write one home, one is killed, and nothing that was committed is lost', async (context) => {
  const dir = mkdtempSync(join(tmpdir(), 'tithe-shared-'))
  context.after(() => rmSync(dir, { recursive: true, force: true }))
  const start = (run: string) => {
    const child: Child = spawn(process.execPath, ['--input-type=module', '--eval', writer(dir, run)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    context.after(() => child.kill('SIGKILL'))
    return { child, exited: once(child, 'exit'), progress: progressOf(child) }
  }
  const victim = start('rvictim')
  const survivor = start('rsurvivor')
  await Promise.all([victim.progress.reaches(10 * CHUNK_ROWS), survivor.progress.reaches(10 * CHUNK_ROWS)])

  victim.child.kill('SIGKILL')
  await victim.exited
  const before = survivor.progress.committed()
  await survivor.progress.reaches(before + 10 * CHUNK_ROWS)
  survivor.child.stdin.end()
  assert.deepEqual(await survivor.exited, [0, null])

  const file = new DatabaseSync(join(dir, 'tithe.sqlite'))
  assert.equal(file.prepare('PRAGMA integrity_check').get()?.['integrity_check'], 'ok')
  assert.deepEqual(file.prepare('PRAGMA foreign_key_check').all(), [])
  file.close()

  const { runs, bodies } = await openSqliteStore({ dir })
  for (const [run, { progress }] of [
    ['rvictim', victim],
    ['rsurvivor', survivor],
  ] as const) {
    const rows = await runs.rowsPage(run, -1, 1_000_000)
    assert.ok(
      rows.length >= progress.committed(),
      `${rows.length} rows of ${run}, ${progress.committed()} answered`,
    )
    assert.equal(rows.length % CHUNK_ROWS, 0, 'a chunk is there whole or not at all')
    for (const [index, row] of rows.entries()) {
      assert.equal(row.ordinal, index)
      assert.equal(Buffer.from(await bodies.read(row.request)).toString(), `${run} ${index} `.repeat(100))
    }
  }
  await runs.close()
  await bodies.close()
})

function progressOf(child: Child) {
  let committed = 0
  const waiting: { rows: number; resolve: () => void }[] = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    committed = Number(line)
    for (const { rows, resolve } of waiting) if (committed >= rows) resolve()
  })
  return {
    committed: () => committed,
    reaches: (rows: number) =>
      new Promise<void>((resolve, reject) => {
        waiting.push({ rows, resolve })
        child.once('exit', (code) =>
          reject(new Error(`it ended early, with code ${code}, at ${committed} rows`)),
        )
      }),
  }
}
