import { assert } from './assert.ts'
import { CUSTOM_ID_LENGTH_MAX } from './custom-id.ts'
import { type Problem, problem } from './errors.ts'
import { formatCount } from './figures.ts'
import { instant } from './instant.ts'
import type { ApiRules } from './models.ts'
import type { GroupPlan, RouteName, WavePlan } from './run-plan.ts'
import { nextWave, type WaveSummary } from './waves.ts'

/** A row as it will stand in a batch: `bytes` of `{"custom_id":…,"params":…}`. */
export interface RowToBatch {
  readonly ordinal: number
  /** Rows of different variants (version and betas) never share a batch. */
  readonly variant: string
  readonly bytes: number
}

export interface BatchLimits {
  readonly rowsMax: number
  readonly bytesMax: number
  /** How full a batch is made, 0 to 1; a single row may fill it to the brim. */
  readonly fill: number
}

export interface PlannedBatch<Row> {
  readonly rows: readonly Row[]
  /** Of the whole HTTP body. */
  readonly sizeBytes: number
}

/**
 * Full batches are refused whole, and what "256 MB" means is not said (claude-api.md 2.2): 95 % leaves room for both.
 */
export const BATCH_FILL = 0.95

export function batchLimits(rules: Pick<ApiRules, 'batchRowsMax' | 'batchBytesMax'>): BatchLimits {
  return { rowsMax: rules.batchRowsMax, bytesMax: rules.batchBytesMax, fill: BATCH_FILL }
}

/** Longest `,"cache_control":{"type":"ephemeral","ttl":"1h"}` and what turning a text into a block adds. */
export const MARK_BYTES_MAX = 128
/** What a batch adds around a row's `params`, but for its custom_id and its marks. */
export const ELEMENT_BYTES = '{"custom_id":"","params":}'.length + 64
/** The same with the longest custom_id and as many marks as a request may have. */
export const ELEMENT_BYTES_MAX = ELEMENT_BYTES + CUSTOM_ID_LENGTH_MAX + 4 * MARK_BYTES_MAX

const ENVELOPE_BYTES = '{"requests":['.length + ']}'.length
const COMMA_BYTES = 1

/**
 * Splits rows into batches, order kept. `sizeBytes` is that of the HTTP body, to the byte. Lazy: memory is that of one
 * batch. Rows that no batch can hold are refused before (`rowTooLarge`).
 *
 * The number of rows is all that the upstream's list tells of a batch, so no two should have the same: a batch whose
 * number is taken goes without its last few rows, which stand in the next one or, at the end, in none.
 * @param rows by variant.
 * @param taken numbers of rows that other batches have; those of the batches that are planned are added.
 */
export async function* planBatches<Row extends RowToBatch>(
  rows: AsyncIterable<Row> | Iterable<Row>,
  limits: BatchLimits,
  taken: Set<number> | null = null,
): AsyncGenerator<PlannedBatch<Row>> {
  const rowsMax = Math.max(1, Math.floor(limits.rowsMax * limits.fill))
  const bytesMax = Math.floor(limits.bytesMax * limits.fill)
  let batch: Row[] = []
  let sizeBytes = ENVELOPE_BYTES
  for await (const row of rows) {
    assert(rowTooLarge(row, limits.bytesMax) === null, 'a row larger than a batch was refused when planning')
    const fits = () =>
      batch.length === 0 ||
      (batch.length < rowsMax &&
        sizeBytes + COMMA_BYTES + row.bytes <= bytesMax &&
        row.variant === batch[0]!.variant)
    while (!fits()) {
      const kept = keptOf(batch, sizeBytes, taken)
      yield kept
      // Rows of another variant cannot go along: what was cut off stays for a later wave.
      batch = row.variant === batch[0]!.variant ? batch.slice(kept.rows.length) : []
      sizeBytes = bodyBytes(batch)
    }
    sizeBytes += row.bytes + (batch.length > 0 ? COMMA_BYTES : 0)
    batch.push(row)
  }
  if (batch.length > 0) yield keptOf(batch, sizeBytes, taken)
}

/** As many of the rows as no other batch has; all of them when every number down to half of theirs is taken. */
function keptOf<Row extends RowToBatch>(
  rows: readonly Row[],
  sizeBytes: number,
  taken: Set<number> | null,
): PlannedBatch<Row> {
  if (taken === null) return { rows, sizeBytes }
  let count = rows.length
  while (taken.has(count) && (count - 1) * 2 >= rows.length) count -= 1
  if (taken.has(count)) count = rows.length
  taken.add(count)
  const kept = rows.slice(0, count)
  return { rows: kept, sizeBytes: bodyBytes(kept) }
}

function bodyBytes(rows: readonly RowToBatch[]): number {
  const commas = Math.max(0, rows.length - 1) * COMMA_BYTES
  return rows.reduce((sum, row) => sum + row.bytes, ENVELOPE_BYTES + commas)
}

/** A row that fills more than a batch by itself; null when it fits. */
export function rowTooLarge(row: Pick<RowToBatch, 'ordinal' | 'bytes'>, bytesMax: number): Problem | null {
  const bytes = ENVELOPE_BYTES + row.bytes
  if (bytes <= bytesMax) return null
  return problem(
    'row_larger_than_batch',
    `row ${row.ordinal + 1} makes a batch of ${formatCount(bytes)} bytes by itself; the limit is ${formatCount(bytesMax)}`,
    { hint: 'give large media as a url or file source, or split the row' },
  )
}

/** Rows that may be queued upstream at once: the tier's limit, with the room that batches have too. */
export function rowsInFlightMax(queuedRowsMax: number): number {
  return Math.max(1, Math.floor(queuedRowsMax * BATCH_FILL))
}

/** What `planWaves` needs to know of a job. */
export interface WavesToPlan {
  readonly rows: number
  readonly route: RouteName
  readonly groups: readonly Pick<GroupPlan, 'group' | 'prime'>[]
  readonly withinMs: number | null
  readonly rowsInFlightMax: number
}

/**
 * The waves that a job will go in if nothing surprises: what `nextWave` would decide if every wave simply ended. The
 * driver asks `nextWave` itself, so plan and run cannot disagree.
 */
export function planWaves(job: WavesToPlan): WavePlan[] {
  const waves: WavePlan[] = []
  const summaries: WaveSummary[] = []
  let pending = job.rows
  for (;;) {
    const decision = nextWave({
      now: instant(0),
      nextRowAt: null,
      pending,
      waves: summaries,
      ...job,
    })
    if (decision.kind === 'wait' || decision.kind === 'done') return waves
    const rows = decision.kind === 'primer' ? Math.min(pending, decision.groups.length) : decision.rows
    waves.push({ kind: decision.kind, rows, because: decision.because })
    summaries.push({ wave: waves.length, kind: decision.kind, rows, open: false, startedAt: null })
    pending -= rows
  }
}
