import { problem } from '../core/errors.ts'
import { isObject, type JsonObject } from '../core/json.ts'
import type { InputRecord, RecordSource } from './record-source.ts'
import { readBytes, readText } from './text-file.ts'

/** A file with one JSON object a line. A bad line is a bad record and stops nobody else. */
export function openJsonl(path: string, description: string): RecordSource {
  return jsonSource(path, description, readLines)
}

/** The text of one JSON value, and the line on which it begins. */
export interface JsonText {
  readonly line: number
  readonly text: string
}

/** A file of JSON objects, told apart by `read`; blank texts are passed over. */
export function jsonSource(
  path: string,
  description: string,
  read: (path: string) => AsyncIterable<JsonText>,
): RecordSource {
  return {
    description,
    file: path,
    columns: null,
    bulky: [],
    async *records() {
      for await (const { line, text } of read(path)) {
        if (text.trim() !== '') yield jsonRecord(path, line, text)
      }
    },
    contents: () => readBytes(path),
  }
}

/** Lines of a UTF-8 text, numbered from 1, without their line breaks. */
async function* readLines(path: string): AsyncGenerator<JsonText> {
  let line = 1
  let carried: string[] = []
  for await (const chunk of readText(path)) {
    let start = 0
    for (let end = chunk.indexOf('\n'); end !== -1; end = chunk.indexOf('\n', start)) {
      const text = carried.join('') + chunk.slice(start, end)
      carried = []
      yield { line, text }
      line += 1
      start = end + 1
    }
    if (start < chunk.length) carried.push(chunk.slice(start))
  }
  if (carried.length > 0) yield { line, text: carried.join('') }
}

function jsonRecord(path: string, line: number, text: string): InputRecord {
  const where = { file: path, line }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    return {
      kind: 'bad',
      line,
      columns: {},
      problem: problem('bad_json', `line ${line} of ${path} is not JSON: ${jsonFault(cause)}`, {
        hint: 'mend the line, or leave it out with --skip-invalid',
        where,
      }),
    }
  }
  if (!isObject(value)) {
    return {
      kind: 'bad',
      line,
      columns: {},
      problem: problem('bad_json', `line ${line} of ${path} is not a JSON object`, {
        hint: 'every row is an object: {"column": "value", …}',
        where,
      }),
    }
  }
  return { kind: 'record', line, columns: value as JsonObject, ownId: null }
}

/** What JSON.parse found, without the piece of the text that it quotes: prompts stay out of messages and logs. */
export function jsonFault(cause: unknown): string {
  const message = String((cause as Error).message)
  const found =
    /^[^,]*?(?=,? (?:\.\.\.)?"| in JSON| is not valid)/.exec(message)?.[0] ?? 'it cannot be parsed'
  const position = /at position (\d+)/.exec(message)?.[1]
  return position === undefined ? found : `${found}, character ${Number(position) + 1}`
}
