import type { Json, JsonObject } from '../core/json.ts'

/** A text as its literal pieces and the columns between them. */
export type TextPieces = readonly (string | { readonly column: string })[]

export type ParsedText =
  | { readonly kind: 'text'; readonly pieces: TextPieces }
  /** `offset` of two braces that begin no placeholder. */
  | { readonly kind: 'bad_braces'; readonly offset: number }

const PLACEHOLDER = /\{\{[ \t]*([^{}\r\n]*[^{}\r\n\s])[ \t]*\}\}/y

/** `{{column}}` and `{{ column }}` are placeholders, `\{{` is two literal braces; all else is kept as it stands. */
export function parsePlaceholders(text: string): ParsedText {
  const pieces: (string | { column: string })[] = []
  let literal = ''
  let from = 0
  for (let at = text.indexOf('{{'); at !== -1; at = text.indexOf('{{', from)) {
    if (text[at - 1] === '\\' && at > from) {
      literal += `${text.slice(from, at - 1)}{{`
      from = at + 2
      continue
    }
    PLACEHOLDER.lastIndex = at
    const match = PLACEHOLDER.exec(text)
    if (match === null) return { kind: 'bad_braces', offset: at }
    literal += text.slice(from, at)
    if (literal !== '') pieces.push(literal)
    literal = ''
    pieces.push({ column: match[1]! })
    from = PLACEHOLDER.lastIndex
  }
  literal += text.slice(from)
  if (literal !== '') pieces.push(literal)
  return { kind: 'text', pieces }
}

export function columnsOf(pieces: TextPieces): string[] {
  return pieces.flatMap((piece) => (typeof piece === 'string' ? [] : [piece.column]))
}

/** The text of a row. Columns that the row lacks are added to `missing` and stand as nothing. */
export function fillPieces(pieces: TextPieces, row: JsonObject, missing: string[]): string {
  let text = ''
  for (const piece of pieces) {
    if (typeof piece === 'string') text += piece
    else {
      const value = row[piece.column]
      if (value === undefined) missing.push(piece.column)
      else text += valueText(value)
    }
  }
  return text
}

/** How a value stands in a prompt: texts as they are, null as nothing, objects and lists as JSON. */
export function valueText(value: Json): string {
  if (typeof value === 'string') return value
  if (value === null) return ''
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
