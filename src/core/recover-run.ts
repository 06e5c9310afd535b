import { customIdFor, parseCustomId } from './custom-id.ts'
import type { Instant } from './instant.ts'

// What the batches of a workspace tell about a run whose state file is lost: custom_ids carry run, submission and row, and
// the user's id cut short. A batch that has not ended, or whose results are gone, tells nothing.

/** A batch of the workspace, with the custom_ids that its results begin with; null where they cannot be read. */
export interface SurveyedBatch {
  readonly id: string
  readonly createdAt: Instant
  readonly expiresAt: Instant
  readonly rows: number
  readonly state: 'ended' | 'open' | 'gone'
  readonly customIds: readonly string[] | null
}

/** A run that batches of the workspace belong to. */
export interface FoundRun {
  readonly run: string
  /** In the order of their creation. */
  readonly batches: readonly (SurveyedBatch & { readonly submission: number })[]
  /** Rows of the sample whose custom_id is not that of the job's row in the same place. */
  readonly strangers: number
  readonly matched: number
}

/** Runs by the batches that prove them. @param userIdOf of the job's row in that place; null when there is none. */
export function foundRuns(
  batches: readonly SurveyedBatch[],
  userIdOf: (ordinal: number) => string | null,
): FoundRun[] {
  const runs = new Map<
    string,
    { batches: (SurveyedBatch & { submission: number })[]; matched: number; strangers: number }
  >()
  for (const batch of [...batches].sort((a, b) => a.createdAt - b.createdAt)) {
    const ids = (batch.customIds ?? []).flatMap((text) => {
      const parts = parseCustomId(text)
      return parts === null ? [] : [{ ...parts, text }]
    })
    const [first] = ids
    if (first === undefined) continue
    const found = runs.get(first.run) ?? { batches: [], matched: 0, strangers: 0 }
    runs.set(first.run, found)
    found.batches.push({ ...batch, submission: first.submission })
    for (const { run, submission, ordinal, text } of ids) {
      const userId = userIdOf(ordinal)
      const isOurs = userId !== null && customIdFor({ run, submission, ordinal, userId }) === text
      found[isOurs ? 'matched' : 'strangers'] += 1
    }
  }
  return [...runs].map(([run, found]) => ({ run, ...found }))
}

/** The ordinals that the sample of a survey speaks of. */
export function ordinalsOf(batches: readonly SurveyedBatch[]): Set<number> {
  return new Set(
    batches.flatMap(({ customIds }) => (customIds ?? []).flatMap((id) => parseCustomId(id)?.ordinal ?? [])),
  )
}

/** Runs that can be the job's: every row of the sample is one of its rows. */
export function runsOfJob(found: readonly FoundRun[]): FoundRun[] {
  return found.filter(({ matched, strangers }) => matched > 0 && strangers === 0)
}

/**
 * Batches that may be the run's and cannot be read: created since its first one, where that is among the known ones, and
 * no larger than the run. What they answered would be paid for again if its rows were sent.
 */
export function unknownTo(
  run: FoundRun,
  batches: readonly SurveyedBatch[],
  rowsOfRun: number,
): SurveyedBatch[] {
  const known = new Set(run.batches.map((batch) => batch.id))
  const isFirstKnown = run.batches.some((batch) => batch.submission === 1)
  const since = isFirstKnown
    ? Math.min(...run.batches.map((batch) => batch.createdAt))
    : Number.NEGATIVE_INFINITY
  return batches.filter(
    ({ id, state, customIds, createdAt, rows }) =>
      !known.has(id) && createdAt >= since && rows <= rowsOfRun && (state !== 'ended' || customIds === null),
  )
}
