import type { Problem } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'

/** One record of the input, before the template. */
export type InputRecord =
  | {
      readonly kind: 'record'
      /** 1-based line (CSV, JSONL, JSON) or record number (Parquet, inline rows); null for a file that is the row. */
      readonly line: number | null
      readonly columns: JsonObject
      /** The user's id unless the job names an `id` column; null: the record's number. */
      readonly ownId: string | null
    }
  | {
      readonly kind: 'bad'
      readonly line: number | null
      readonly columns: JsonObject
      readonly problem: Problem
    }

/** Where rows come from. Reading streams, and can be done again from the start. */
export interface RecordSource {
  /** For messages: the file as the user wrote it, `3 inline rows`, `invoices/*.pdf`. */
  readonly description: string
  /** Absolute path, when the input is one file. */
  readonly file: string | null
  /** Columns that every record has; null where each record brings its own (JSON, JSONL). */
  readonly columns: readonly string[] | null
  /** Columns that are too large to be repeated in results. */
  readonly bulky: readonly string[]
  /**
   * @param wanted columns that the job uses; others may be left out when reading them is costly (the text of a file).
   * @throws TitheError when the rest of the input cannot be read: wrong encoding, an unclosed quote.
   */
  records(wanted: ReadonlySet<string>): AsyncIterable<InputRecord>
  /** What decides the rows, for the fingerprint: bytes, and the names of files that are rows. */
  contents(wanted: ReadonlySet<string>): AsyncIterable<string | Uint8Array>
}
