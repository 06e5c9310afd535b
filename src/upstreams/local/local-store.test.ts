import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { plusMs } from '../../core/instant.ts'
import type { ServedBatch, ServedResult } from '../../stores/served-store.ts'
import type { InvoiceLine } from './invoice.ts'
import { START } from './local.contract-setup.ts'
import { LocalStore } from './local-store.ts'

async function inFolder(use: (path: (name: string) => string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tithe-local-store-'))
  try {
    await use((name) => join(folder, name))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const batchOf = (number: number): ServedBatch => ({
  number,
  id: `msgbatch_${number}`,
  workspace: 'w',
  apiVersion: '2023-06-01',
  betas: ['a', 'b'],
  state: 'in_progress',
  rows: 3,
  createdAt: plusMs(START, number),
  startsAt: START,
  endsNotBefore: START,
  expiresAt: START,
  cancelInitiatedAt: null,
  endedAt: null,
  counts: { succeeded: 0, errored: 0, canceled: 0, expired: 0 },
})

const params = (sizeBytes: number) => new Uint8Array(sizeBytes).fill(0x20)

async function accepted(store: LocalStore): Promise<number> {
  const number = await store.receiveBatch()
  const rows = [0, 1, 2].map((row) => ({ row, customId: `row-${row}`, params: params(10) }))
  await store.addRows(number, rows)
  await store.acceptBatch(batchOf(number))
  return number
}

const resultOf = (row: number): ServedResult => ({
  row,
  customId: `row-${row}`,
  kind: 'succeeded',
  line: params(5),
  endsAt: plusMs(START, 1_000 + row),
})

const lineOf = (customId: string): InvoiceLine => ({
  batchId: 'msgbatch_1',
  customId,
  at: START,
  model: 'm',
  inputTokens: 1,
  cacheWrite5mTokens: 2,
  cacheWrite1hTokens: 3,
  cacheReadTokens: 4,
  outputTokens: 5,
  webSearchRequests: 6,
  tier: 'batch',
  inferenceGeo: 'global',
  speed: 'standard',
  costPicoUsd: 2n ** 60n,
})

test('a batch comes back as it was accepted, and rows without a result wait', async () => {
  const store = new LocalStore(':memory:', { groupRows: 10 })
  const number = await accepted(store)
  assert.deepEqual(await store.findBatch('w', 'msgbatch_1'), batchOf(number))
  assert.equal(await store.findBatch('other', 'msgbatch_1'), null)
  await store.recordResult(number, resultOf(1), null, START)
  const waiting = await store.waitingRows(number, -1, { rows: 10, sizeBytes: 1_000 })
  assert.deepEqual(
    waiting.map(({ row }) => row),
    [0, 2],
  )
  assert.deepEqual(await store.unendedRows(number, START), [resultOf(1).endsAt])
  assert.deepEqual(await store.unendedRows(number, resultOf(1).endsAt), [])
  store.close()
})

test('a window of rows keeps to its bytes, but for a first row that is larger', async () => {
  const store = new LocalStore(':memory:', { groupRows: 10 })
  const number = await store.receiveBatch()
  const sizes = [500, 40, 40, 40]
  await store.addRows(
    number,
    sizes.map((size, row) => ({ row, customId: `row-${row}`, params: params(size) })),
  )
  const window = async (afterRow: number) => {
    const rows = await store.waitingRows(number, afterRow, { rows: 10, sizeBytes: 100 })
    return rows.map(({ row }) => row)
  }
  assert.deepEqual(await window(-1), [0])
  assert.deepEqual(await window(0), [1, 2])
  assert.deepEqual(await window(2), [3])
  assert.deepEqual(await window(3), [])
  store.close()
})

test('results are durable before whatever is recorded after them', () =>
  inFolder(async (path) => {
    const store = new LocalStore(path('live'), { groupRows: 1_000 })
    const number = await accepted(store)
    await store.recordResult(number, resultOf(0), { invoiceLine: lineOf('row-0'), cacheEntries: [] }, START)
    await accepted(store)
    for (const suffix of ['', '-wal']) copyFileSync(path(`live${suffix}`), path(`killed${suffix}`))
    store.close()
    const killed = new LocalStore(path('killed'), { groupRows: 1 })
    assert.deepEqual(
      (await killed.waitingRows(number, -1, { rows: 9, sizeBytes: 999 })).map(({ row }) => row),
      [1, 2],
    )
    assert.equal(killed.savedNow(), plusMs(START, 2))
    killed.close()
  }))

test('a second result or a second invoice line for a row is refused with all that came with it', async () => {
  const store = new LocalStore(':memory:', { groupRows: 1 })
  const number = await accepted(store)
  const effects = { invoiceLine: lineOf('row-0'), cacheEntries: [] }
  await store.recordResult(number, resultOf(0), effects, START)
  await assert.rejects(store.recordResult(number, resultOf(0), null, START), /UNIQUE/)
  await assert.rejects(store.recordResult(number, resultOf(1), effects, START), /UNIQUE/)
  assert.deepEqual(
    (await store.waitingRows(number, -1, { rows: 9, sizeBytes: 999 })).map(({ row }) => row),
    [1, 2],
  )
  store.close()
})

test('an invoice line keeps every figure, also above 2⁵³ picodollars', async () => {
  const store = new LocalStore(':memory:', { groupRows: 1 })
  const number = await accepted(store)
  for (const row of [0, 1, 2]) {
    await store.recordResult(
      number,
      resultOf(row),
      { invoiceLine: lineOf(`row-${row}`), cacheEntries: [] },
      START,
    )
  }
  const lines: InvoiceLine[] = []
  for await (const line of store.invoice()) lines.push(line)
  assert.deepEqual(lines, [lineOf('row-0'), lineOf('row-1'), lineOf('row-2')])
  store.close()
})

test('a deleted batch is gone, its invoice is not', async () => {
  const store = new LocalStore(':memory:', { groupRows: 1 })
  const number = await accepted(store)
  await store.recordResult(number, resultOf(0), { invoiceLine: lineOf('row-0'), cacheEntries: [] }, START)
  await store.endBatch(number, START, 'expired')
  assert.deepEqual((await store.findBatch('w', 'msgbatch_1'))!.counts, {
    succeeded: 1,
    errored: 0,
    canceled: 0,
    expired: 2,
  })
  await store.deleteBatch(number)
  assert.equal(await store.findBatch('w', 'msgbatch_1'), null)
  assert.deepEqual(await store.resultLines(number, [0, 1, 2]), [])
  let lines = 0
  for await (const _ of store.invoice()) lines += 1
  assert.equal(lines, 1)
  store.close()
})

test('a file of a newer version is left alone, with a hint', () =>
  inFolder(async (path) => {
    new LocalStore(path('file'), { groupRows: 1 }).close()
    const db = new DatabaseSync(path('file'))
    db.exec('PRAGMA user_version = 2')
    db.close()
    assert.throws(() => new LocalStore(path('file'), { groupRows: 1 }), { code: 'local_file_newer' })
  }))

test('bodies that begin alike come back whole, also in a batch whose number belonged to a discarded one', async () => {
  await inFolder(async (path) => {
    const store = new LocalStore(path('local.sqlite'), { groupRows: 1 })
    for (const handbook of ['an old handbook. ', 'a new handbook. ', 'a new handbook. ']) {
      const rows = [0, 1, 2, 3].map((row) => ({
        row,
        customId: `row-${row}`,
        params: Buffer.from(`${handbook.repeat(1_000)} case ${row}`),
      }))
      const number = await store.receiveBatch()
      assert.equal(number, 1)
      await store.addRows(number, rows.slice(0, 2))
      await store.addRows(number, rows.slice(2))
      const waiting = await store.waitingRows(number, -1, { rows: 10, sizeBytes: 1e6 })
      assert.deepEqual(
        waiting.map((row) => Buffer.from(row.params).toString()),
        rows.map((row) => row.params.toString()),
      )
      await store.discardBatch(number)
    }
    store.close()
  })
})
