import { assert } from '../core/assert.ts'
import type { Instant } from '../core/instant.ts'
import type { ServedBatch, ServedBatchStore, ServedResult, ServedRow } from './served-store.ts'

interface StoredBatch {
  batch: ServedBatch | null
  readonly rows: ServedRow[]
  readonly results: Map<number, ServedResult>
}

/** Served batches for the length of a process; `onEffects` sees what is recorded with each result. */
export function memoryServedStore<Effects>(
  onEffects?: (effects: Effects) => void,
): ServedBatchStore<Effects> {
  const stored = new Map<number, StoredBatch>()
  let lastNumber = 0
  const get = (number: number) => {
    const one = stored.get(number)
    assert(one !== undefined, `batch ${number} is in the store`)
    return one
  }
  const change = (number: number, changes: Partial<ServedBatch>) => {
    const one = get(number)
    assert(one.batch !== null, `batch ${number} was accepted`)
    one.batch = { ...one.batch, ...changes }
  }
  const accepted = (workspace: string) =>
    [...stored.values()].flatMap(({ batch }) => (batch?.workspace === workspace ? [batch] : []))

  return {
    async receiveBatch() {
      lastNumber += 1
      stored.set(lastNumber, { batch: null, rows: [], results: new Map() })
      return lastNumber
    },
    async addRows(batch, rows) {
      for (const row of rows) get(batch).rows.push(row)
    },
    async acceptBatch(batch) {
      get(batch.number).batch = batch
    },
    async discardBatch(batch) {
      stored.delete(batch)
    },
    async findBatch(workspace, id) {
      return accepted(workspace).find((batch) => batch.id === id) ?? null
    },
    async listBatches(workspace, { olderThan, newerThan, limit }) {
      const found = accepted(workspace)
        .filter(({ number }) => olderThan === null || number < olderThan)
        .filter(({ number }) => newerThan === null || number > newerThan)
        .sort((one, other) => other.number - one.number)
      return newerThan === null ? found.slice(0, limit) : found.slice(-limit)
    },
    async openBatches(workspace) {
      return accepted(workspace).filter(({ state }) => state !== 'ended')
    },
    async waitingRows(batch, afterRow, limit) {
      const { rows, results } = get(batch)
      const found: ServedRow[] = []
      let sizeBytes = 0
      for (let i = afterRow + 1; i < rows.length && found.length < limit.rows; i++) {
        if (results.has(i)) continue
        sizeBytes += rows[i]!.params.byteLength
        if (found.length > 0 && sizeBytes > limit.sizeBytes) break
        found.push(rows[i]!)
      }
      return found
    },
    async unendedRows(batch, at) {
      const results = [...get(batch).results.values()].sort((one, other) => one.row - other.row)
      return results.filter(({ endsAt }) => endsAt > at).map(({ endsAt }) => endsAt)
    },
    async recordResult(batch, result, effects, _at: Instant) {
      const { results } = get(batch)
      assert(!results.has(result.row), `row ${result.row} of batch ${batch} has one result`)
      results.set(result.row, result)
      onEffects?.(effects)
    },
    async startCancel(batch, at) {
      if (get(batch).batch?.state !== 'in_progress') return false
      change(batch, { state: 'canceling', cancelInitiatedAt: at })
      return true
    },
    async endBatch(batch, at, unfinished) {
      const { rows, results } = get(batch)
      const counts = { succeeded: 0, errored: 0, canceled: 0, expired: 0 }
      for (const { kind } of results.values()) counts[kind] += 1
      counts[unfinished] = rows.length - results.size
      change(batch, { state: 'ended', endedAt: at, counts })
      rows.forEach((row, i) => {
        rows[i] = { ...row, params: new Uint8Array() }
      })
    },
    async resultLines(batch, rows) {
      const one = stored.get(batch)
      if (one === undefined) return []
      return rows.flatMap((row) => {
        const found = one.rows[row]
        if (found === undefined) return []
        return [{ customId: found.customId, line: one.results.get(row)?.line ?? null }]
      })
    },
    async deleteBatch(batch) {
      stored.delete(batch)
    },
  }
}
