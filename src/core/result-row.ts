import type { Json, JsonObject } from './json.ts'
import type { Outcome, RowOutcome } from './rows.ts'

/** One row of the results. Null where the row has none: an invalid row has no answer, an unpriced one no cost. */
export interface ResultRow {
  readonly id: string | null
  /** 0-based place in the input. */
  readonly ordinal: number
  readonly columns: JsonObject
  readonly outcome: RowOutcome
  readonly model: string | null
  readonly text: string | null
  /** The answer as JSON; undefined when it is none. */
  readonly json: Json | undefined
  /** Whether the answer fits `output.schema`, and how it does not; null without a schema or an answer. */
  readonly schemaValid: boolean | null
  readonly schemaError: string | null
  /** From 0 to 1, of an evaluation. */
  readonly score: number | null
  readonly stopReason: string | null
  /** The API's message, or ours for an invalid row. */
  readonly error: string | null
  readonly inputTokens: number
  readonly cacheWrite5mTokens: number
  readonly cacheWrite1hTokens: number
  readonly cacheReadTokens: number
  readonly outputTokens: number
  readonly costPicoUsd: bigint | null
  readonly attempts: number
  /** Every attempt that ended, in the order in which they were sent. */
  readonly history: readonly AttemptSummary[]
}

export interface AttemptSummary {
  readonly submission: number
  readonly outcome: Outcome
  readonly stopReason: string | null
  /** 0 when nothing was billed, null when something was that has no price. */
  readonly costPicoUsd: bigint | null
}
