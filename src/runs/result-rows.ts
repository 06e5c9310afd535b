import { answerJson, answerText, joinParts, parseResultLine } from '../core/answer.ts'
import type { JsonObject } from '../core/json.ts'
import type { ResultRow } from '../core/result-row.ts'
import type { ResultRecord, Store } from '../stores/store.ts'
import { pausedParts } from './paused-parts.ts'

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
    case 'unfinished':
      return attempt?.stopReason === 'pause_turn'
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
  for await (const record of resultRecords(store, run, only)) yield resultRow(store, run, record)
}

async function resultRow(
  store: Store,
  run: string,
  { row, attempt, entries }: ResultRecord,
): Promise<ResultRow> {
  const line = attempt?.result ? parseResultLine(text(await store.bodies.read(attempt.result))) : null
  const answer =
    line?.message == null
      ? null
      : joinParts(await pausedParts(store, run, row, attempt!.submission), line.message)
  const attempts =
    row.attempts > 1 ? await store.runs.attemptsOf(run, [row.ordinal]) : attempt ? [attempt] : []
  const sum = (count: (entry: ResultRecord['entries'][number]) => number) =>
    entries.reduce((total, entry) => total + count(entry), 0)
  const unpriced = entries.some((entry) => entry.costPicoUsd === null)
  return {
    id: row.userId,
    ordinal: row.ordinal,
    columns: JSON.parse(text(await store.bodies.read(row.columns))) as JsonObject,
    outcome: row.outcome!,
    model: row.model === '' ? null : row.model,
    text: answer && answerText(answer),
    json: answer === null ? undefined : answerJson(answer),
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
    history: attempts.map(({ submission, outcome, stopReason }) => {
      const entry = entries.find((one) => one.submission === submission)
      return { submission, outcome, stopReason, costPicoUsd: entry === undefined ? 0n : entry.costPicoUsd }
    }),
  }
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8')
}
