import { assert } from '../core/assert.ts'
import type { BodyRef, ReopenedRow, RunRecord } from './store.ts'

// What both stores hold to when rows are sent again and runs are forgotten.

/** Stands in the place of a text that said why something was not done. */
export const FORGOTTEN = 'forgotten'

export function assertOver({ id, state }: Pick<RunRecord, 'id' | 'state'>): void {
  assert(state === 'finished' || state === 'canceled', `run ${id} is over when it is forgotten`)
}

export function assertReplaceable(rows: readonly ReopenedRow[]): void {
  for (const { ordinal, replacement } of rows) {
    if (replacement === null) continue
    const { row } = replacement
    assert(
      row.ordinal === ordinal && row.invalidProblem === null,
      `row ${ordinal} is replaced by one that can be sent`,
    )
  }
}

/** Places in body files, given by file and offset: those that touch or overlap become one. */
export class BodyRanges {
  readonly merged: BodyRef[] = []

  add({ file, offset, length }: BodyRef): void {
    if (length === 0) return
    const last = this.merged.at(-1)
    if (last === undefined || last.file !== file || last.offset + last.length < offset) {
      this.merged.push({ file, offset, length })
      return
    }
    const end = Math.max(last.offset + last.length, offset + length)
    this.merged[this.merged.length - 1] = { file, offset: last.offset, length: end - last.offset }
  }
}
