import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { access, constants, type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { BasicType, ColumnSource, Writer } from 'hyparquet-writer'
import { TitheError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { moneyFields, toUsdNumber } from '../core/money.ts'
import type { ResultRow } from '../core/result-row.ts'
import { valueText } from './placeholder.ts'

export type ResultFormat = 'jsonl' | 'csv' | 'parquet'

/** The columns of ours, in order, in the API's and our JSON's spelling. */
const FIELDS: readonly {
  readonly name: string
  readonly type: BasicType
  readonly value: (row: ResultRow) => Json | bigint
}[] = [
  { name: 'id', type: 'STRING', value: (row) => row.id },
  { name: 'ordinal', type: 'INT32', value: (row) => row.ordinal },
  { name: 'outcome', type: 'STRING', value: (row) => row.outcome },
  { name: 'model', type: 'STRING', value: (row) => row.model },
  { name: 'text', type: 'STRING', value: (row) => row.text },
  {
    name: 'json',
    type: 'STRING',
    value: (row) => (row.json === undefined ? null : JSON.stringify(row.json)),
  },
  { name: 'schema_valid', type: 'BOOLEAN', value: (row) => row.schemaValid },
  { name: 'schema_error', type: 'STRING', value: (row) => row.schemaError },
  { name: 'score', type: 'DOUBLE', value: (row) => row.score },
  { name: 'stop_reason', type: 'STRING', value: (row) => row.stopReason },
  { name: 'error', type: 'STRING', value: (row) => row.error },
  { name: 'input_tokens', type: 'INT32', value: (row) => row.inputTokens },
  { name: 'cache_write_5m_tokens', type: 'INT32', value: (row) => row.cacheWrite5mTokens },
  { name: 'cache_write_1h_tokens', type: 'INT32', value: (row) => row.cacheWrite1hTokens },
  { name: 'cache_read_tokens', type: 'INT32', value: (row) => row.cacheReadTokens },
  { name: 'output_tokens', type: 'INT32', value: (row) => row.outputTokens },
  { name: 'cost_pico_usd', type: 'INT64', value: (row) => row.costPicoUsd },
  {
    name: 'cost_usd',
    type: 'DOUBLE',
    value: (row) => (row.costPicoUsd === null ? null : toUsdNumber(row.costPicoUsd)),
  },
  { name: 'attempts', type: 'INT32', value: (row) => row.attempts },
]

/** One line of JSONL, without its newline. */
export function resultLine(row: ResultRow): string {
  const line: Record<string, Json> = { schema: 'tithe.result/1' }
  for (const { name, value } of FIELDS) {
    const field = value(row)
    line[name] = typeof field === 'bigint' ? field.toString() : field
  }
  // In JSON the answer is a value, not a text that holds one.
  line['json'] = row.json ?? null
  const history = row.history.map(({ submission, outcome, stopReason, costPicoUsd }) => ({
    submission,
    outcome,
    stop_reason: stopReason,
    ...moneyFields('cost', costPicoUsd),
  }))
  return JSON.stringify({ ...line, history, columns: row.columns })
}

/**
 * The results as text, streamed. `rows` is called twice for CSV: a first time to learn which columns the inputs have,
 * because a header cannot be mended once it is written.
 */
export async function* resultText(
  format: 'jsonl' | 'csv',
  rows: () => AsyncIterable<ResultRow>,
): AsyncGenerator<string> {
  if (format === 'jsonl') {
    for await (const row of rows()) yield `${resultLine(row)}\n`
    return
  }
  const columns = await inputColumns(rows())
  yield csvLine([...columns.map(({ shown }) => shown), ...FIELDS.map(({ name }) => name)])
  for await (const row of rows()) {
    const own = columns.map(({ name }) => valueText(row.columns[name] ?? null))
    yield csvLine([
      ...own,
      ...FIELDS.map(({ value }) => {
        const field = value(row)
        return typeof field === 'bigint' ? field.toString() : valueText(field)
      }),
    ])
  }
}

function csvLine(fields: readonly string[]): string {
  const quoted = fields.map((field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field))
  return `${quoted.join(',')}\n`
}

/**
 * Writes results to a file that is there whole or not at all.
 * @throws TitheError `output_unwritable`.
 */
export async function writeResults(
  path: string,
  format: ResultFormat,
  rows: () => AsyncIterable<ResultRow>,
): Promise<void> {
  await writeWhole(path, (temporary) =>
    format === 'parquet' ? writeParquet(temporary, rows) : writeText(temporary, resultText(format, rows)),
  )
}

/** Anthropic's own results file with the user's ids in place of ours. @param lines one result as received, and its id. */
export async function writeRawResults(
  path: string,
  lines: AsyncIterable<{ readonly line: Uint8Array; readonly userId: string }>,
): Promise<void> {
  await writeWhole(path, (temporary) => writeText(temporary, rawResultLines(lines)))
}

/** `writeRawResults` as a stream, each line with its newline. */
export async function* rawResultLines(
  lines: AsyncIterable<{ readonly line: Uint8Array; readonly userId: string }>,
): AsyncGenerator<Buffer> {
  for await (const { line, userId } of lines) yield Buffer.concat([spliceCustomId(line, userId), NEWLINE])
}

const NEWLINE = Buffer.from('\n')

/**
 * Says at once, before anything is spent, that results cannot be written there.
 * @throws TitheError `output_unwritable`.
 */
export async function checkWritable(path: string): Promise<void> {
  const absolute = resolve(path)
  const directory = dirname(absolute)
  try {
    await access(directory, constants.W_OK)
    if (!(await stat(directory)).isDirectory()) throw Object.assign(new Error(), { code: 'ENOTDIR' })
  } catch (cause) {
    throw unwritable(absolute, `the directory ${directory}`, cause)
  }
  const existing = await stat(absolute).catch(() => null)
  if (existing?.isDirectory()) {
    throw new TitheError('output_unwritable', `results cannot be written to ${absolute}: it is a directory`, {
      hint: `name a file in it: ${join(path, 'results.jsonl')}`,
      where: { file: absolute },
    })
  }
}

function unwritable(path: string, what: string, cause: unknown): TitheError {
  const code = (cause as NodeJS.ErrnoException).code
  const reasons: Record<string, string> = {
    ENOENT: 'does not exist',
    ENOTDIR: 'is not a directory',
    EACCES: 'may not be written by you',
    EPERM: 'may not be written by you',
    EROFS: 'is on a read-only disk',
    ENOSPC: 'is on a full disk',
  }
  return new TitheError(
    'output_unwritable',
    `results cannot be written to ${path}: ${what} ${reasons[code ?? ''] ?? `fails (${code})`}`,
    {
      hint: 'choose another place, or make the directory',
      where: { file: path },
      cause,
    },
  )
}

async function writeWhole(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const absolute = resolve(path)
  await checkWritable(absolute)
  // In the same directory, because a rename across disks is a copy.
  const temporary = join(dirname(absolute), `.${basename(absolute)}.${randomUUID()}.tmp`)
  try {
    await write(temporary)
    const file = await open(temporary, 'r+')
    await file.sync().finally(() => file.close())
    await rename(temporary, absolute)
  } catch (cause) {
    await rm(temporary, { force: true })
    const isDisk = cause instanceof Error && typeof (cause as NodeJS.ErrnoException).syscall === 'string'
    throw isDisk ? unwritable(absolute, 'it', cause) : cause
  }
}

async function writeText(path: string, chunks: AsyncIterable<string | Buffer>): Promise<void> {
  await pipeline(Readable.from(chunks), createWriteStream(path, { highWaterMark: 1 << 18 }))
}

interface InputColumn {
  readonly name: string
  /** As the header shows it: a column that is called like one of ours gets a prefix. */
  readonly shown: string
  readonly type: BasicType
}

/** The columns that inputs have, in the order in which they first appear. */
async function inputColumns(rows: AsyncIterable<ResultRow>): Promise<InputColumn[]> {
  const types = new Map<string, Set<string>>()
  for await (const { columns } of rows) {
    for (const [name, value] of Object.entries(columns)) {
      let seen = types.get(name)
      if (seen === undefined) {
        seen = new Set()
        types.set(name, seen)
      }
      if (value !== null && value !== undefined) seen.add(typeof value)
    }
  }
  const taken = new Set([...FIELDS.map(({ name }) => name), ...types.keys()])
  return [...types].map(([name, seen]) => {
    let shown = name
    if (FIELDS.some((field) => field.name === name)) {
      do shown = `input_${shown}`
      while (taken.has(shown))
    }
    taken.add(shown)
    const only = seen.size === 1 ? [...seen][0] : undefined
    return { name, shown, type: only === 'number' ? 'DOUBLE' : only === 'boolean' ? 'BOOLEAN' : 'STRING' }
  })
}

const ROW_GROUP_ROWS = 10_000

async function writeParquet(path: string, rows: () => AsyncIterable<ResultRow>): Promise<void> {
  const { ByteWriter, parquetWriteRows } = await import('hyparquet-writer')
  const columns = await inputColumns(rows())
  const specs: Omit<ColumnSource, 'data'>[] = [
    ...columns.map(({ shown, type }) => ({ name: shown, type, nullable: true })),
    ...FIELDS.map(({ name, type }) => ({ name, type, nullable: true })),
  ]
  const records = async function* (): AsyncGenerator<Record<string, unknown>> {
    for await (const row of rows()) {
      const record: Record<string, unknown> = {}
      for (const { name, shown, type } of columns) {
        const value = row.columns[name] ?? null
        record[shown] = value === null || type !== 'STRING' ? value : valueText(value)
      }
      for (const { name, value } of FIELDS) record[name] = value(row)
      yield record
    }
  }
  await using file: FileHandle = await open(path, 'w')
  const writer = new ByteWriter() as Writer & { index: number }
  // Called after every row group: hands the bytes on, so that memory holds one group at a time.
  const flush = async (): Promise<void> => {
    await file.write(writer.getBytes())
    writer.index = 0
  }
  writer.flush = flush
  writer.finish = flush
  await parquetWriteRows({ writer, rows: records(), columns: specs, rowGroupSize: ROW_GROUP_ROWS })
}

/** A results line with another custom_id; every other byte stays as it was received. */
export function spliceCustomId(line: Uint8Array, userId: string): Buffer {
  const [start, end] = customIdSpan(line)
  return Buffer.concat([line.subarray(0, start), Buffer.from(JSON.stringify(userId)), line.subarray(end)])
}

/** Where the value of the outermost `custom_id` stands, quotes included. The answer may hold the same key deeper. */
function customIdSpan(line: Uint8Array): readonly [start: number, end: number] {
  let depth = 0
  let isKey = false
  let isValue = false
  for (let at = 0; at < line.length; at++) {
    const byte = line[at]
    if (byte === 0x22) {
      const start = at
      for (at += 1; line[at] !== 0x22 && at < line.length; at++) if (line[at] === 0x5c) at += 1
      if (isValue) return [start, at + 1]
      isKey = Buffer.from(line.subarray(start, at + 1)).toString('latin1') === '"custom_id"'
    } else if (byte === 0x3a) {
      isValue = isKey && depth === 1
    } else if (byte === 0x7b || byte === 0x5b) {
      depth += 1
    } else if (byte === 0x7d || byte === 0x5d) {
      depth -= 1
    }
  }
  throw new TitheError('bad_result_line', 'a result line has no custom_id', {
    hint: 'the stored results are damaged, or the upstream does not keep to the format',
    exitCode: 3,
  })
}
