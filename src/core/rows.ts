import type { Problem } from './errors.ts'
import type { Json, JsonObject } from './json.ts'
import type { ApiSettings, MessageRequest } from './request.ts'

/**
 * One input record, rendered. A row of a job over several models appears once per model, with the same `userId`.
 */
export interface InputRow extends ApiSettings {
  readonly kind: 'row'
  /** 0-based, unique in the run, in input order. */
  readonly ordinal: number
  readonly userId: string
  /** 1-based line or record number in the input; null for a file that is itself the row. */
  readonly line: number | null
  /** The file that holds the line; absent for rows that a program gives. */
  readonly file?: string
  /**
   * The Messages body without `stream`. Attachments stand in it as blocks whose source is
   * `{type: 'tithe_attachment', path, sha256, media_type, size_bytes}`: the bytes are read again when the row is sent.
   */
  readonly request: MessageRequest
  /** The columns that results repeat. */
  readonly columns: JsonObject
  /** What an evaluation expects, from the `expect` column; undefined when the job has none. */
  readonly expected: Json | undefined
  /** How many leading blocks of the prompt are shared by the template (0 when unknown, as in raw JSONL). */
  readonly sharedBlocks: number
  readonly warnings: readonly Problem[]
}

/** A record that cannot be sent. With `--skip-invalid` it becomes a row with the outcome `invalid`. */
export interface InvalidRow {
  readonly kind: 'invalid'
  readonly ordinal: number
  readonly userId: string | null
  readonly line: number | null
  readonly columns: JsonObject
  readonly problems: readonly Problem[]
}

/** What a row is called: its id, or its place where it has none. */
export function nameOf({ userId, ordinal }: Pick<InputRow | InvalidRow, 'userId' | 'ordinal'>): string {
  return userId ?? `row ${ordinal + 1}`
}

/** The API's four results of a row in a batch, and ours for a row refused before sending. */
export type Outcome = 'succeeded' | 'errored' | 'canceled' | 'expired' | 'invalid'

/**
 * How a row ended: as the attempt that decided it did; or `unretrievable`, when its batch has ended and its results were
 * archived or deleted before they were read. What such a row cost is unknown, and it is never sent again unasked.
 */
export type RowOutcome = Outcome | 'unretrievable'

/** How the next attempt of a row differs from the row as it was rendered. */
export interface RowRevision {
  /** In place of the request's own `max_tokens`; null keeps that. */
  readonly maxTokens: number | null
  /** Submissions, in order, whose paused answers (`pause_turn`) are sent along to be continued. */
  readonly continues: readonly number[]
}
