import { answerJson, answerText, parseResultLine } from '../core/answer.ts'
import { TitheError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import { checkWritable, type ResultFormat, type ResultRow, writeResults } from '../jobs/write-results.ts'
import type { ResultRecord, Store } from '../stores/store.ts'
import type { Flags } from './main.ts'

const PAGE_ROWS = 500

/** What `--only` chooses: an outcome, or one of the ways in which a succeeded row is unusable. */
export function isWanted({ row, attempt }: ResultRecord, only: string | undefined): boolean {
  switch (only) {
    case undefined:
      return true
    case 'refused':
      return attempt?.stopReason === 'refusal'
    case 'truncated':
      return attempt?.stopReason === 'max_tokens' || attempt?.stopReason === 'model_context_window_exceeded'
    case 'schema_invalid':
      return attempt?.schemaValid === false
    default:
      return row.outcome === only
  }
}

export async function* resultRecords(store: Store, run: string, only?: string): AsyncGenerator<ResultRecord> {
  let after = -1
  for (;;) {
    const page = await store.runs.resultsPage(run, after, PAGE_ROWS)
    if (page.length === 0) return
    for (const record of page) if (record.row.outcome !== null && isWanted(record, only)) yield record
    after = page.at(-1)!.row.ordinal
  }
}

/** The rows of a run with their answers, by input order. */
export async function* resultRows(store: Store, run: string, only?: string): AsyncGenerator<ResultRow> {
  for await (const record of resultRecords(store, run, only)) yield resultRow(store, record)
}

async function resultRow(store: Store, { row, attempt, entries }: ResultRecord): Promise<ResultRow> {
  const line = attempt?.result ? parseResultLine(text(await store.bodies.read(attempt.result))) : null
  const sum = (count: (entry: ResultRecord['entries'][number]) => number) =>
    entries.reduce((total, entry) => total + count(entry), 0)
  const unpriced = entries.some((entry) => entry.costPicoUsd === null)
  return {
    id: row.userId,
    ordinal: row.ordinal,
    columns: JSON.parse(text(await store.bodies.read(row.columns))) as JsonObject,
    outcome: row.outcome!,
    model: row.model === '' ? null : row.model,
    text: line?.message ? answerText(line.message) : null,
    json: line?.message ? answerJson(line.message) : undefined,
    schemaValid: attempt?.schemaValid ?? null,
    schemaError: attempt?.schemaProblem ?? null,
    score: attempt?.score ?? null,
    stopReason: attempt?.stopReason ?? null,
    error: attempt?.errorMessage ?? row.invalidProblem,
    inputTokens: sum((entry) => entry.usage.inputTokens),
    cacheWrite5mTokens: sum((entry) => entry.usage.cacheWrite5mTokens),
    cacheWrite1hTokens: sum((entry) => entry.usage.cacheWrite1hTokens),
    cacheReadTokens: sum((entry) => entry.usage.cacheReadTokens),
    outputTokens: sum((entry) => entry.usage.outputTokens),
    costPicoUsd: unpriced ? null : entries.reduce((total, entry) => total + entry.costPicoUsd!, 0n),
    attempts: row.attempts,
  }
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8')
}

/** By the ending of a file's name; null when it has none of ours. */
export function formatOfFile(file: string): ResultFormat | null {
  const format = /\.(jsonl|csv|parquet)$/i.exec(file)?.[1]?.toLowerCase()
  return (format as ResultFormat | undefined) ?? null
}

/** `--output`, checked before anything is sent: results that cannot be written should not be bought. */
export async function outputFlag(flags: Flags): Promise<string | null> {
  const file = flags['output']
  if (typeof file !== 'string') return null
  if (formatOfFile(file) === null) {
    throw new TitheError('bad_flag', `cannot tell a format from ${file}`, {
      hint: 'end it in .jsonl, .csv or .parquet',
    })
  }
  await checkWritable(file)
  return file
}

export async function writeResultsFile(
  store: Store,
  run: string,
  file: string,
  only?: string,
): Promise<void> {
  await writeResults(file, formatOfFile(file)!, () => resultRows(store, run, only))
}
