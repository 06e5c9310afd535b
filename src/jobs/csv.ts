import Papa from 'papaparse'
import { problem, TitheError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import type { InputRecord, RecordSource } from './record-source.ts'
import { readBytes, readText } from './text-file.ts'

/**
 * A CSV or TSV file with a header. Lines that do not fit the header are bad records; they stop nobody else.
 * @param recordBytesMax more than a row can hold: a record with more text than that opens a quote that is never closed.
 * @throws TitheError for what makes the whole file unreadable: encoding, header, an unclosed quote.
 */
export async function openCsv(
  path: string,
  delimiter: string,
  description: string,
  recordBytesMax: number,
): Promise<RecordSource> {
  const header = await readHeader(path, delimiter, recordBytesMax)
  return {
    description,
    file: path,
    columns: header,
    bulky: [],
    async *records() {
      let isHeader = true
      for await (const { line, fields, malformed } of readCsvRows(path, delimiter, recordBytesMax)) {
        if (isHeader) isHeader = false
        else yield recordOf(path, header, line, fields, malformed)
      }
    },
    contents: () => readBytes(path),
  }
}

async function readHeader(path: string, delimiter: string, recordBytesMax: number): Promise<string[]> {
  for await (const { line, fields } of readCsvRows(path, delimiter, recordBytesMax)) {
    const header = fields.map((name) => name.trim())
    header.forEach((name, index) => {
      const where = { file: path, line }
      if (name === '') {
        throw new TitheError('csv_header', `column ${index + 1} of ${path} has no name in the header`, {
          hint: 'the first line names the columns: name it, or remove the column',
          where,
        })
      }
      const earlier = header.indexOf(name)
      if (earlier < index) {
        throw new TitheError(
          'csv_header',
          `the header of ${path} names "${name}" twice: columns ${earlier + 1} and ${index + 1}`,
          { hint: 'rename one of them', where },
        )
      }
    })
    return header
  }
  throw new TitheError('empty_input', `${path} is empty`, {
    hint: 'a CSV file begins with a line that names its columns',
    where: { file: path },
  })
}

function recordOf(
  path: string,
  header: string[],
  line: number,
  fields: string[],
  malformed: boolean,
): InputRecord {
  const columns: Record<string, string> = {}
  for (let index = 0; index < header.length && index < fields.length; index++)
    columns[header[index]!] = fields[index]!
  if (malformed) return bad(path, line, columns, 'csv_quotes', 'has text after a closing quote', QUOTES_HINT)
  if (fields.length !== header.length) {
    const counts = `has ${fields.length} ${fields.length === 1 ? 'field' : 'fields'}, the header ${header.length}`
    return bad(path, line, columns, 'csv_ragged', counts, `put quotes around a field that holds a delimiter`)
  }
  return { kind: 'record', line, columns, ownId: null }
}

const QUOTES_HINT = 'write a quote inside a quoted field twice: ""'

function bad(
  path: string,
  line: number,
  columns: JsonObject,
  code: string,
  what: string,
  hint: string,
): InputRecord {
  const message = `line ${line} of ${path} ${what}`
  return {
    kind: 'bad',
    line,
    columns,
    problem: problem(code, message, { hint, where: { file: path, line } }),
  }
}

interface CsvRow {
  readonly line: number
  readonly fields: string[]
  readonly malformed: boolean
}

async function* readCsvRows(path: string, delimiter: string, recordBytesMax: number): AsyncGenerator<CsvRow> {
  let parser: Parser | null = null
  let text = ''
  let line = 1
  let parseAt = 0
  const take = function* (rest: string, atEnd: boolean): Generator<CsvRow> {
    parser ??= new Parser({ delimiter, newline: rest.includes('\n') || !rest.includes('\r') ? '\n' : '\r' })
    const parsed = parser.parse(rest, 0, !atEnd)
    const malformed = new Set<number>()
    for (const { code, row } of parsed.errors) {
      if (code === 'MissingQuotes') throw unclosed(path, line + lineBreaks(parsed.data.slice(0, row)))
      malformed.add(row)
    }
    for (const [index, fields] of parsed.data.entries()) {
      const last = fields.at(-1)!
      if (last.endsWith('\r')) fields[fields.length - 1] = last.slice(0, -1)
      const blank = fields.length === 1 && fields[0] === ''
      if (!blank) yield { line, fields, malformed: malformed.has(index) }
      line += lineBreaks([fields])
    }
    text = atEnd ? '' : rest.slice(parsed.meta.cursor)
  }
  for await (const chunk of readText(path)) {
    text += chunk
    // A record longer than a chunk is parsed again only when its text has doubled, so the work stays linear.
    if (text.length < parseAt) continue
    yield* take(text, false)
    if (text.length > recordBytesMax) throw unclosed(path, line)
    parseAt = text.length * 2
  }
  yield* take(text, true)
}

/** Lines that rows take up: one each, and one more for every line break inside a quoted field. */
function lineBreaks(rows: readonly string[][]): number {
  let count = rows.length
  for (const fields of rows) {
    for (const field of fields) {
      for (let at = field.indexOf('\n'); at !== -1; at = field.indexOf('\n', at + 1)) count += 1
    }
  }
  return count
}

function unclosed(path: string, line: number): TitheError {
  return new TitheError('csv_quotes', `line ${line} of ${path} opens a quote that is never closed`, {
    hint: QUOTES_HINT,
    where: { file: path, line },
  })
}

/** The synchronous heart of papaparse, which its types leave out: complete rows of a text, and where the rest begins. */
interface Parser {
  parse(
    text: string,
    baseIndex: number,
    ignoreLastRow: boolean,
  ): {
    readonly data: string[][]
    readonly errors: readonly { readonly code: string; readonly row: number }[]
    readonly meta: { readonly cursor: number }
  }
}
const Parser = Papa.Parser as unknown as new (config: { delimiter: string; newline: string }) => Parser
