import { stat } from 'node:fs/promises'
import { extname, resolve } from 'node:path'
import { TitheError } from '../core/errors.ts'
import { isObject, type JsonObject } from '../core/json.ts'
import { openCsv } from './csv.ts'
import { isPattern, openFiles } from './file-rows.ts'
import type { InputFile, InputFormat, JobInput } from './job-schema.ts'
import { openJson } from './json-rows.ts'
import { openJsonl } from './jsonl.ts'
import { openParquet } from './parquet.ts'
import type { RecordSource } from './record-source.ts'
import { fileSize } from './text-file.ts'

const FORMATS: Readonly<Record<string, InputFormat>> = {
  '.csv': 'csv',
  '.tsv': 'tsv',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.json': 'json',
  '.parquet': 'parquet',
}

/** Rows given by a program instead of a file: a list, or a function that begins it anew each time it is called. */
export type RowsInput = readonly JsonObject[] | (() => Iterable<JsonObject> | AsyncIterable<JsonObject>)

/**
 * Opens what `input:` names. Paths resolve against `baseDirectory`.
 * @param rowBytesMax what a request can hold; larger rows are refused as they are read.
 * @throws TitheError for a missing file, an unknown format, and what the format's own reader refuses at its beginning.
 */
export async function openInput(
  input: JobInput | RowsInput,
  baseDirectory: string,
  rowBytesMax: number,
): Promise<RecordSource> {
  if (typeof input === 'function' || Array.isArray(input)) return rowsSource(input as RowsInput)
  if (typeof input === 'string') {
    // A file whose name happens to hold a bracket is still a file.
    return isPattern(input) && !(await exists(resolve(baseDirectory, input)))
      ? openFiles([input], baseDirectory, rowBytesMax)
      : openFile({ file: input }, baseDirectory, rowBytesMax)
  }
  if ('files' in input) return openFiles([input.files].flat(), baseDirectory, rowBytesMax)
  if ('rows' in input) return rowsSource(input.rows as readonly JsonObject[])
  return openFile(input as InputFile, baseDirectory, rowBytesMax)
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null
}

async function openFile(input: InputFile, baseDirectory: string, rowBytesMax: number): Promise<RecordSource> {
  const path = resolve(baseDirectory, input.file)
  const sizeBytes = await fileSize(path)
  const format = input.format ?? FORMATS[extname(path).toLowerCase()]
  if (format === undefined) {
    throw new TitheError('unknown_format', `${path}: the format of the input does not show in its name`, {
      hint: 'name it: input: {file: …, format: csv | tsv | jsonl | json | parquet}; for files as rows write a pattern such as dir/*.pdf',
      where: { file: path },
    })
  }
  if (sizeBytes === 0) throw emptyInput(input.file, path)
  switch (format) {
    case 'csv':
      return openCsv(path, input.delimiter ?? ',', input.file, rowBytesMax)
    case 'tsv':
      return openCsv(path, input.delimiter ?? '\t', input.file, rowBytesMax)
    case 'jsonl':
      return openJsonl(path, input.file)
    case 'json':
      return openJson(path, input.file)
    case 'parquet':
      return openParquet(path, input.file)
  }
}

export function emptyInput(description: string, path: string | null): TitheError {
  return new TitheError('empty_input', `the input holds no rows: ${description}`, {
    hint: 'a job needs at least one row',
    ...(path === null ? {} : { where: { file: path } }),
  })
}

function rowsSource(rows: RowsInput): RecordSource {
  const begin = typeof rows === 'function' ? rows : () => rows
  return {
    description: typeof rows === 'function' ? 'rows of a program' : `${rows.length} inline rows`,
    file: null,
    columns: null,
    bulky: [],
    async *records() {
      let line = 0
      for await (const row of begin()) {
        line += 1
        if (!isObject(row)) {
          throw new TitheError('bad_row', `inline row ${line} is not an object`, {
            hint: 'every row is an object: {column: value, …}',
          })
        }
        yield { kind: 'record', line, columns: row, ownId: null }
      }
    },
    async *contents() {
      for await (const row of begin()) yield `${JSON.stringify(row)}\n`
    },
  }
}
