import { instant } from '../../core/instant.ts'
import type { LedgerEntry, LedgerSum } from '../../core/ledger.ts'
import { type PicoUsd, picoUsd } from '../../core/money.ts'
import type { RowRevision } from '../../core/rows.ts'
import type { AttemptRecord, PendingRow, RowRecord, RowToSend, SubmissionRecord } from '../store.ts'

// Rows as `statements.ts` reads them, and the records that they stand for. Names agree; what differs is here: places in
// body files are three columns, no group is '', booleans are 0 and 1, and entries are read with every integer as a bigint.

type Columns<T, Changed extends keyof T, As> = Omit<T, Changed> & As

export type RowColumns = Columns<
  RowRecord,
  'request' | 'columns' | 'group' | 'decidedBy' | 'revision',
  {
    revisionJson: string | null
    requestFile: number
    requestOffset: number
    requestLength: number
    columnsFile: number
    columnsOffset: number
    columnsLength: number
    prefixGroup: string
    submission: number | null
  }
>

/** Field by field here and below: copying what is left of an object takes twice as long, and pages are long. */
export function rowRecord(columns: RowColumns): RowRecord {
  return {
    ordinal: columns.ordinal,
    userId: columns.userId,
    line: columns.line,
    model: columns.model,
    variant: columns.variant,
    request: { file: columns.requestFile, offset: columns.requestOffset, length: columns.requestLength },
    paramsBytes: columns.paramsBytes,
    columns: { file: columns.columnsFile, offset: columns.columnsOffset, length: columns.columnsLength },
    expectedJson: columns.expectedJson,
    prefixesJson: columns.prefixesJson,
    promptTokens: columns.promptTokens,
    promptTokensHigh: columns.promptTokensHigh,
    maxTokens: columns.maxTokens,
    webSearchesMax: columns.webSearchesMax,
    inferenceGeo: columns.inferenceGeo,
    speed: columns.speed,
    ownMarkTtl: columns.ownMarkTtl,
    invalidProblem: columns.invalidProblem,
    state: columns.state,
    group: columns.prefixGroup === '' ? null : columns.prefixGroup,
    attempts: columns.attempts,
    attemptsBefore: columns.attemptsBefore,
    notBefore: columns.notBefore,
    revision: revisionOf(columns.revisionJson),
    outcome: columns.outcome,
    decidedBy: columns.state === 'done' ? columns.submission : null,
  }
}

function revisionOf(json: string | null): RowRevision | null {
  return json === null ? null : (JSON.parse(json) as RowRevision)
}

export type ToSendColumns = Pick<
  RowColumns,
  'ordinal' | 'userId' | 'requestFile' | 'requestOffset' | 'requestLength' | 'prefixGroup' | 'revisionJson'
>

export function rowToSend(columns: ToSendColumns): RowToSend {
  return {
    ordinal: columns.ordinal,
    userId: columns.userId,
    request: { file: columns.requestFile, offset: columns.requestOffset, length: columns.requestLength },
    group: columns.prefixGroup === '' ? null : columns.prefixGroup,
    revision: revisionOf(columns.revisionJson),
  }
}

export type PendingColumns = Columns<
  PendingRow,
  'group' | 'revision',
  { prefixGroup: string; revisionJson: string | null }
>

export function pendingRow(columns: PendingColumns): PendingRow {
  return {
    ordinal: columns.ordinal,
    variant: columns.variant,
    model: columns.model,
    group: columns.prefixGroup === '' ? null : columns.prefixGroup,
    paramsBytes: columns.paramsBytes,
    promptTokens: columns.promptTokens,
    promptTokensHigh: columns.promptTokensHigh,
    maxTokens: columns.maxTokens,
    webSearchesMax: columns.webSearchesMax,
    inferenceGeo: columns.inferenceGeo,
    speed: columns.speed,
    ownMarkTtl: columns.ownMarkTtl,
    userId: columns.userId,
    attempts: columns.attempts,
    revision: revisionOf(columns.revisionJson),
  }
}

export type AttemptColumns = Columns<
  AttemptRecord,
  'run' | 'result' | 'schemaValid',
  {
    resultFile: number | null
    resultOffset: number
    resultLength: number
    schemaValid: 0 | 1 | null
  }
>

export function attemptRecord(run: string, columns: AttemptColumns): AttemptRecord {
  const { resultFile, resultOffset, resultLength, schemaValid } = columns
  return {
    run,
    submission: columns.submission,
    ordinal: columns.ordinal,
    customId: columns.customId,
    at: columns.at,
    outcome: columns.outcome,
    stopReason: columns.stopReason,
    errorType: columns.errorType,
    errorMessage: columns.errorMessage,
    result: resultFile === null ? null : { file: resultFile, offset: resultOffset, length: resultLength },
    resultDigest: columns.resultDigest,
    schemaValid: schemaValid === null ? null : schemaValid === 1,
    schemaProblem: columns.schemaProblem,
    score: columns.score,
  }
}

export type SubmissionColumns = Columns<SubmissionRecord, 'isDuplicate', { isDuplicate: 0 | 1 }>

export function submissionRecord(columns: SubmissionColumns): SubmissionRecord {
  return { ...columns, isDuplicate: columns.isDuplicate === 1 }
}

export interface EntryColumns {
  readonly submission: bigint
  readonly ordinal: bigint
  readonly upstreamBatchId: string | null
  readonly customId: string
  readonly at: bigint
  readonly model: string
  readonly inputTokens: bigint
  readonly cacheWrite5mTokens: bigint
  readonly cacheWrite1hTokens: bigint
  readonly cacheReadTokens: bigint
  readonly outputTokens: bigint
  readonly webSearchRequests: bigint
  readonly serviceTier: LedgerEntry['usage']['serviceTier']
  readonly inferenceGeo: string | null
  readonly speed: LedgerEntry['usage']['speed']
  readonly costPicoUsd: bigint | null
  readonly realtimePicoUsd: bigint | null
  readonly certainty: LedgerEntry['certainty']
  readonly priceBook: string
  readonly kind: LedgerEntry['kind']
}

export function ledgerEntry(run: string, columns: EntryColumns): LedgerEntry {
  const money = (amount: bigint | null): PicoUsd | null => (amount === null ? null : picoUsd(amount))
  return {
    run,
    submission: Number(columns.submission),
    ordinal: Number(columns.ordinal),
    upstreamBatchId: columns.upstreamBatchId,
    customId: columns.customId,
    at: instant(Number(columns.at)),
    model: columns.model,
    usage: {
      inputTokens: Number(columns.inputTokens),
      cacheWrite5mTokens: Number(columns.cacheWrite5mTokens),
      cacheWrite1hTokens: Number(columns.cacheWrite1hTokens),
      cacheReadTokens: Number(columns.cacheReadTokens),
      outputTokens: Number(columns.outputTokens),
      webSearchRequests: Number(columns.webSearchRequests),
      serviceTier: columns.serviceTier,
      inferenceGeo: columns.inferenceGeo,
      speed: columns.speed,
    },
    costPicoUsd: money(columns.costPicoUsd),
    realtimePicoUsd: money(columns.realtimePicoUsd),
    certainty: columns.certainty,
    priceBook: columns.priceBook,
    kind: columns.kind,
  }
}

export interface SumColumns {
  readonly submission: bigint
  readonly prefixGroup: string | null
  readonly isRealtime: bigint
  readonly entries: bigint
  readonly readingEntries: bigint
  readonly unpricedEntries: bigint
  readonly promptTokens: bigint
  readonly outputTokens: bigint
  readonly costHigh: bigint
  readonly costLow: bigint
  readonly cachedTokensMax: bigint
}

export function ledgerSum(columns: SumColumns): LedgerSum {
  return {
    submission: Number(columns.submission),
    group: columns.prefixGroup,
    isRealtime: columns.isRealtime === 1n,
    entries: Number(columns.entries),
    readingEntries: Number(columns.readingEntries),
    unpricedEntries: Number(columns.unpricedEntries),
    promptTokens: Number(columns.promptTokens),
    outputTokens: Number(columns.outputTokens),
    costPicoUsd: picoUsd(columns.costHigh * 2n ** 32n + columns.costLow),
    cachedTokensMax: Number(columns.cachedTokensMax),
  }
}
