import { TitheError } from '../core/errors.ts'
import { type JsonText, jsonSource } from './jsonl.ts'
import type { RecordSource } from './record-source.ts'
import { readText } from './text-file.ts'

/** A JSON file that holds an array of objects, or an object with that array under `rows`. Read element by element. */
export function openJson(path: string, description: string): RecordSource {
  return jsonSource(path, description, readElements)
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const NEWLINE = 0x0a
const COMMA = 0x2c
const OPENERS = new Set([0x5b, 0x7b])
const CLOSERS = new Set([0x5d, 0x7d])

/**
 * The texts of the array's elements. Looks only at strings, brackets and commas: whether an element is JSON is judged
 * when it is parsed. Not JSON.parse of the whole: a file of 500 MB would not even fit a string.
 */
async function* readElements(path: string): AsyncGenerator<JsonText> {
  let line = 1
  let depth = 0
  let inString = false
  let escaped = false
  /** Depth inside the array of rows; null before it begins and after it has ended. */
  let arrayDepth: number | null = null
  let found = false
  /** Text of a string at depth 1 of an enclosing object: the key that a `[` may follow. */
  let key: string | null = null
  let keyParts: string[] | null = null
  let element: string[] | null = null
  let elementLine = 0

  for await (const chunk of readText(path)) {
    let start = 0
    for (let at = 0; at < chunk.length; at++) {
      const code = chunk.charCodeAt(at)
      if (code === NEWLINE) line += 1
      if (inString) {
        if (escaped) escaped = false
        else if (code === BACKSLASH) escaped = true
        else if (code === QUOTE) {
          inString = false
          if (keyParts !== null) {
            key = keyParts.join('') + chunk.slice(start, at)
            keyParts = null
          }
        }
        continue
      }
      if (code <= 0x20) continue
      const ends = arrayDepth === depth && (code === COMMA || CLOSERS.has(code))
      if (ends) {
        if (element !== null) {
          element.push(chunk.slice(start, at))
          yield { line: elementLine, text: element.join('') }
          element = null
        }
      } else if (arrayDepth === depth && element === null) {
        element = []
        elementLine = line
        start = at
      }
      if (code === QUOTE) {
        inString = true
        if (depth === 1 && arrayDepth === null) {
          keyParts = []
          start = at + 1
        }
      } else if (OPENERS.has(code)) {
        depth += 1
        const isRows = !found && code === 0x5b && (depth === 1 || (depth === 2 && key === 'rows'))
        if (isRows) {
          arrayDepth = depth
          found = true
        }
      } else if (CLOSERS.has(code)) {
        if (arrayDepth === depth) arrayDepth = null
        depth -= 1
      }
    }
    if (element !== null) element.push(chunk.slice(start))
    if (keyParts !== null) keyParts.push(chunk.slice(start))
    // Both continue at the beginning of the next chunk.
  }
  if (!found) {
    throw new TitheError('bad_json', `${path} holds no rows`, {
      hint: 'a JSON input is an array of objects, or {"rows": [ … ]}; one object a line is JSONL: name it .jsonl',
      where: { file: path, line: 1 },
    })
  }
  if (depth !== 0 || inString) {
    throw new TitheError('bad_json', `${path} ends in the middle of its rows, at line ${line}`, {
      hint:
        element === null
          ? 'the closing bracket is missing'
          : `the row that begins at line ${elementLine} is not closed`,
      where: { file: path, line: element === null ? line : elementLine },
    })
  }
}
