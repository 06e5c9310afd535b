import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { instant } from '../src/core/instant.ts'
import { openSqliteStore } from '../src/stores/sqlite/sqlite-store.ts'
import { newRow, result, runRecord, submissionRecord } from '../src/stores/store.contract.ts'
import type { PendingRow } from '../src/stores/store.ts'
import { openSqliteStoreInWorker } from '../src/stores/worker.ts'

// How fast the SQLite store is: `node bench/stores.ts [rows] [--worker]`. One JSON line a measurement. Results come in a
// random order over their whole submission, the worst there is.

const CHUNK_ROWS = 1_000
const RESULTS_CHUNK = 500
const SUBMISSION_ROWS = 100_000

const rows = Number(process.argv.slice(2).find((argument) => /^\d+$/.test(argument)) ?? 100_000)
const worker = process.argv.includes('--worker')
const dir = mkdtempSync(join(tmpdir(), 'tithe-bench-'))
const store = await (worker ? openSqliteStoreInWorker : openSqliteStore)({ dir })
const { runs } = store
const { id } = runRecord()

await runs.createRun(runRecord())
const lease = await runs.acquireLease(id, 'bench', instant(0), instant(1))
if (lease.kind !== 'held') throw new Error('a fresh run is free')
const { fence } = lease

const prefixesJson = JSON.stringify(['a', 'b', 'c'].map((letter) => `p1:${letter.repeat(64)}`))
await measure('addRows', chunks(rows, CHUNK_ROWS), (ordinals) =>
  runs.addRows(
    id,
    fence,
    ordinals.map((ordinal) => newRow(ordinal, { prefixesJson })),
  ),
)
await measure('assignGroups', chunks(rows, CHUNK_ROWS), (ordinals) =>
  runs.assignGroups(
    id,
    fence,
    ordinals.map((ordinal) => ({ ordinal, group: `p1:${String(ordinal % 4).repeat(64)}` })),
  ),
)
await runs.startRun(id, fence, '{}', rows)
let last: PendingRow | null = null
await measure('pendingRows', chunks(rows, CHUNK_ROWS), async () => {
  last = (await runs.pendingRows(id, instant(0), last, CHUNK_ROWS)).at(-1) ?? null
})
let number = 0
await measure('planSubmission', chunks(rows, SUBMISSION_ROWS), async (ordinals) => {
  await runs.planSubmission(fence, submissionRecord({ rows: ordinals.length }), ordinals)
})
const arrivals = chunks(rows, SUBMISSION_ROWS).flatMap((ordinals) => {
  number += 1
  return split(shuffled(ordinals), RESULTS_CHUNK).map((chunk) => ({ number, chunk, length: chunk.length }))
})
await measure('recordResults', arrivals, ({ number, chunk }) =>
  runs.recordResults(
    id,
    fence,
    number,
    chunk.map((ordinal) => result(number, ordinal, { resultDigest: `c1:${'d'.repeat(64)}` })),
  ),
)
await measure('counts', [{ length: rows }], () => runs.counts(id))
await measure('resultsPage', chunks(rows, CHUNK_ROWS), (ordinals) =>
  runs.resultsPage(id, ordinals[0]! - 1, ordinals.length),
)
const bytes = Buffer.alloc(2_500, 'x')
await measure('append bodies of 2,500 bytes, sync each 500', chunks(rows, 500), async (ordinals) => {
  for (const _ of ordinals) await store.bodies.append(bytes)
  await store.bodies.sync()
})

await runs.close()
await store.bodies.close()
rmSync(dir, { recursive: true })

/** Rate over all steps, and the slowest step. */
async function measure<Step extends { readonly length: number }>(
  what: string,
  steps: readonly Step[],
  work: (step: Step) => Promise<unknown>,
): Promise<void> {
  const begun = performance.now()
  let slowestMs = 0
  let count = 0
  for (const step of steps) {
    const stepBegun = performance.now()
    await work(step)
    slowestMs = Math.max(slowestMs, performance.now() - stepBegun)
    count += step.length
  }
  const seconds = (performance.now() - begun) / 1_000
  const line = {
    what: worker ? `${what}, in a worker` : what,
    rows: count,
    rows_per_second: Math.round(count / seconds),
    slowest_step_ms: Math.round(slowestMs * 10) / 10,
  }
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

function chunks(total: number, size: number): number[][] {
  return split(
    Array.from({ length: total }, (_, index) => index),
    size,
  )
}

function split<T>(list: readonly T[], size: number): T[][] {
  const parts: T[][] = []
  for (let start = 0; start < list.length; start += size) parts.push(list.slice(start, start + size))
  return parts
}

/** Always the same order: a multiplier that shares no factor with the length visits every place once. */
function shuffled(ordinals: readonly number[]): number[] {
  const step = 7_919 * 31
  return ordinals.map((_, index) => ordinals[(index * step) % ordinals.length]!)
}
