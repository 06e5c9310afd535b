import { instant } from '../../core/instant.ts'
import type { LedgerEntry } from '../../core/ledger.ts'
import { type PicoUsd, picoUsd } from '../../core/money.ts'
import type { AttemptRecord, BodyRef, PendingRow, RowRecord } from '../store.ts'

// Rows as `statements.ts` reads them, and the records that they stand for. Names agree; what differs is here: places in
// body files are three columns, no group is '', booleans are 0 and 1, and entries are read with every integer as a bigint.

type Columns<T, Changed extends keyof T, As> = Omit<T, Changed> & As

export type RowColumns = Columns<
  RowRecord,
  'request' | 'columns' | 'group' | 'decidedBy',
  {
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

export function rowRecord(columns: RowColumns): RowRecord {
  const { requestFile, requestOffset, requestLength, columnsFile, columnsOffset, columnsLength, ...rest } =
    columns
  const { prefixGroup, submission, ...same } = rest
  return {
    ...same,
    request: { file: requestFile, offset: requestOffset, length: requestLength },
    columns: { file: columnsFile, offset: columnsOffset, length: columnsLength },
    group: prefixGroup === '' ? null : prefixGroup,
    decidedBy: same.state === 'done' ? submission : null,
  }
}

export type PendingColumns = Columns<PendingRow, 'group', { prefixGroup: string }>

export function pendingRow({ prefixGroup, ...same }: PendingColumns): PendingRow {
  return { ...same, group: prefixGroup === '' ? null : prefixGroup }
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
  const { resultFile, resultOffset, resultLength, schemaValid, ...same } = columns
  const result: BodyRef | null =
    resultFile === null ? null : { file: resultFile, offset: resultOffset, length: resultLength }
  return { ...same, run, result, schemaValid: schemaValid === null ? null : schemaValid === 1 }
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
