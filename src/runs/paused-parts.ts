import { parseResultLine } from '../core/answer.ts'
import { assert } from '../core/assert.ts'
import type { JsonObject } from '../core/json.ts'
import type { AttemptRecord, RowRecord, Store } from '../stores/store.ts'

// The answers of a row that paused in a server tool (`pause_turn`) are kept as received, like every result, and are read
// back when they are sent along, checked or shown: few rows have any.

type Paused = Pick<RowRecord, 'ordinal' | 'revision'>

/** Bytes of the result lines that a row's next attempt sends along. */
export async function pausedBytes(store: Store, run: string, row: Paused): Promise<number> {
  const attempts = await pausedAttempts(store, run, row, Number.POSITIVE_INFINITY)
  return attempts.reduce((sum, attempt) => sum + attempt.result!.length, 0)
}

/** The paused answers that came before an attempt in `submission`, in order, as messages. */
export async function pausedParts(
  store: Store,
  run: string,
  row: Paused,
  submission: number = Number.POSITIVE_INFINITY,
): Promise<JsonObject[]> {
  const parts: JsonObject[] = []
  for (const attempt of await pausedAttempts(store, run, row, submission)) {
    const bytes = await store.bodies.read(attempt.result!)
    const message = parseResultLine(Buffer.from(bytes).toString('utf8'))?.message ?? null
    assert(message !== null, `row ${row.ordinal} has an answer in submission ${attempt.submission}`)
    parts.push(message)
  }
  return parts
}

async function pausedAttempts(
  store: Store,
  run: string,
  { ordinal, revision }: Paused,
  before: number,
): Promise<AttemptRecord[]> {
  const wanted = new Set(revision?.continues.filter((submission) => submission < before))
  if (wanted.size === 0) return []
  const attempts = await store.runs.attemptsOf(run, [ordinal])
  return attempts.filter((attempt) => wanted.has(attempt.submission))
}
