import { type Problem, problem, type Where } from '../core/errors.ts'
import type { TemplateOutline, TemplatePart } from '../core/job.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { nearest } from '../core/nearest.ts'
import { columnsOf, fillPieces, parsePlaceholders, type TextPieces } from './placeholder.ts'

/** A piece of the job's prompt, its file read, with the place where it was written. */
export type TemplateSourcePart =
  | { readonly kind: 'text'; readonly text: string; readonly literal: boolean; readonly origin: Origin }
  | { readonly kind: 'attachment'; readonly path: string; readonly origin: Origin }
  | { readonly kind: 'block'; readonly block: JsonObject; readonly origin: Origin }

export interface Origin {
  readonly where: Where
  /** The file whose text this is, when it was not written in the job itself. */
  readonly file: string | null
}

/** The columns of the input; not `complete` when rows may bring others (JSON, JSONL). */
export interface KnownColumns {
  readonly names: ReadonlySet<string>
  readonly complete: boolean
}

export interface TemplateSource {
  readonly tools: readonly JsonObject[]
  readonly system: readonly TemplateSourcePart[]
  readonly messages: readonly { readonly role: string; readonly parts: readonly TemplateSourcePart[] }[]
}

/** Which files a row's attachments are: one list per place in the template, in the order of the prompt. */
export interface AttachmentPaths {
  readonly paths: readonly string[]
  /** Set when the row names no file where it must. */
  readonly missing: string | null
}

export interface RenderedPrompt {
  readonly system: readonly JsonObject[]
  readonly messages: readonly JsonObject[]
  /** Columns that the row lacks. */
  readonly missing: readonly string[]
  /** True when a text came out with nothing but white space and was left out: the API refuses empty text blocks. */
  readonly leftOut: boolean
}

/** A compiled prompt. Rendering is the same for every route, so that prices compare like with like. */
export interface Template {
  readonly outline: TemplateOutline
  readonly tools: readonly JsonObject[]
  /** Blocks at the beginning of the prompt that are the same object in every rendering. */
  readonly sharedBlocks: number
  /** Columns that rendering needs. */
  readonly columns: ReadonlySet<string>
  readonly hasAttachments: boolean
  attachmentPaths(row: JsonObject): AttachmentPaths[]
  /** @param attachments the blocks of each place, as `attachmentPaths` named them. */
  render(row: JsonObject, attachments: readonly (readonly JsonObject[])[]): RenderedPrompt
}

type Item =
  | { readonly kind: 'constant'; readonly block: JsonObject }
  | { readonly kind: 'text'; readonly pieces: TextPieces }
  | { readonly kind: 'block'; readonly fill: (row: JsonObject, missing: string[]) => JsonObject }
  | { readonly kind: 'attachment'; readonly index: number }

interface AttachmentPlace {
  readonly pieces: TextPieces
  readonly optional: boolean
}

/**
 * Shared text after the first value, in bytes, from which a warning is due: no model caches a prefix much shorter than
 * this (claude-api.md 3.3: 512 tokens), so less is not worth anybody's attention. `plan` shows every byte regardless.
 */
const UNCACHEABLE_WARNING_BYTES = 2_000

/**
 * Compiles the prompt of a job: text is split once, at the first placeholder of the whole prompt, so that all before it
 * is made of blocks of its own on which a mark may stand.
 * @param known what the rows have, to tell a column from a path and a typing error from a placeholder.
 */
export function compileTemplate(
  source: TemplateSource,
  known: KnownColumns,
): { readonly template: Template; readonly problems: readonly Problem[] } {
  const compiler = new TemplateCompiler(known)
  compiler.addTools(source.tools)
  const system = compiler.addParts(source.system, 'system')
  compiler.endSystem(source.system)
  const messages = source.messages.map(({ role, parts }, index) => ({
    role,
    items: compiler.addParts(parts, `messages[${index}].content`),
  }))
  compiler.end()
  const { parts, sharedBlocks, used, places, problems } = compiler
  return {
    problems,
    template: {
      outline: { parts },
      tools: source.tools,
      sharedBlocks,
      columns: used,
      hasAttachments: places.length > 0,
      attachmentPaths: (row) => places.map((place) => pathsOf(place, row)),
      render: rendererOf(system, messages),
    },
  }
}

/** Goes through the prompt in its order and notes what is shared, what varies and what varies first. */
class TemplateCompiler {
  readonly #known: KnownColumns
  readonly problems: Problem[] = []
  readonly parts: TemplatePart[] = []
  readonly used = new Set<string>()
  readonly places: AttachmentPlace[] = []
  sharedBlocks = 0
  /** What varied first: a placeholder, or an attachment. Null while everything is shared. */
  #firstOwn: string | null = null
  #uncacheableBytes = 0

  constructor(known: KnownColumns) {
    this.#known = known
  }

  addTools(tools: readonly JsonObject[]): void {
    if (tools.length === 0) return
    this.sharedBlocks += tools.length
    const bytes = Buffer.byteLength(JSON.stringify(tools))
    this.parts.push({ path: `tools[0…${tools.length - 1}]`, kind: 'shared', bytes, note: null })
  }

  addParts(sourceParts: readonly TemplateSourcePart[], path: string): Item[] {
    const items: Item[] = []
    for (const part of sourceParts) {
      const here = (offset: number): string => `${path}[${items.length + offset}]`
      if (part.kind === 'attachment') {
        items.push(this.#addAttachment(part.path, here(0), part.origin))
        continue
      }
      const text = part.kind === 'text' ? part : plainText(part.block, part.origin)
      if (text !== null) {
        if (text.text.trim() === '') this.problems.push(emptyText(part.origin))
        items.push(...this.#addText(this.#parse(text.text, text.literal, text.origin), here))
        continue
      }
      items.push(this.#addBlock((part as { block: JsonObject }).block, here(0), part.origin))
    }
    return items
  }

  /** Says so when nothing after the system prompt can be shared any more. */
  endSystem(system: readonly TemplateSourcePart[]): void {
    if (this.#firstOwn === null) return
    this.problems.push(
      problem('varying_system', `\`system\` differs from row to row: it holds ${this.#firstOwn}`, {
        severity: 'warning',
        hint: 'nothing after the first value can be cached; move the value into `prompt`',
        where: system[0]!.origin.where,
      }),
    )
  }

  end(): void {
    if (this.#uncacheableBytes < UNCACHEABLE_WARNING_BYTES) return
    this.problems.push(
      problem(
        'uncacheable_text',
        `${this.#uncacheableBytes} bytes of the prompt are the same in every row but follow ${this.#firstOwn}, where no cache reaches them`,
        { severity: 'warning', hint: MOVE },
      ),
    )
  }

  #parse(text: string, literal: boolean, origin: Origin): TextPieces {
    const parsed = literal ? ({ kind: 'text', pieces: [text] } as const) : parsePlaceholders(text)
    if (parsed.kind === 'bad_braces') {
      this.problems.push(badBraces(text, parsed.offset, origin))
      return []
    }
    for (const column of columnsOf(parsed.pieces)) {
      this.used.add(column)
      if (!this.#known.names.has(column)) {
        this.problems.push(unknownColumn(column, this.#known.names, origin))
      }
    }
    return parsed.pieces
  }

  #addConstant(block: JsonObject, path: string): Item {
    const bytes = blockBytes(block)
    if (this.#firstOwn === null) {
      this.sharedBlocks += 1
      this.parts.push({ path, kind: 'shared', bytes, note: null })
    } else {
      this.#uncacheableBytes += bytes
      const note = `the same in every row, but it follows ${this.#firstOwn}: ${MOVE}`
      this.parts.push({ path, kind: 'uncacheable', bytes, note })
    }
    return { kind: 'constant', block }
  }

  #addText(pieces: TextPieces, path: (offset: number) => string): Item[] {
    const names = columnsOf(pieces)
    if (names.length === 0) return [this.#addConstant({ type: 'text', text: pieces.join('') }, path(0))]
    const items: Item[] = []
    let own = pieces
    const head = pieces[0]
    // White space alone cannot be a block: the API refuses a text block without text.
    if (this.#firstOwn === null && typeof head === 'string' && head.trim() !== '') {
      items.push(this.#addConstant({ type: 'text', text: head }, path(0)))
      own = pieces.slice(1)
    }
    const firstValue = own.findIndex((piece) => typeof piece !== 'string')
    const after = this.#firstOwn === null ? own.slice(firstValue + 1) : own
    const tail = after.filter((piece) => typeof piece === 'string').join('')
    // The line break that ends a text block of YAML is nobody's to move.
    const tailBytes = tail.trim() === '' ? 0 : Buffer.byteLength(tail)
    this.#firstOwn ??= `{{${names[0]}}}`
    this.#uncacheableBytes += tailBytes
    const note =
      tailBytes === 0
        ? null
        : `${tailBytes} bytes in it are the same in every row, but follow ${this.#firstOwn}: ${MOVE}`
    this.parts.push({ path: path(items.length), kind: 'own', bytes: null, note })
    items.push({ kind: 'text', pieces: own })
    return items
  }

  #addBlock(block: JsonObject, path: string, origin: Origin): Item {
    const fill = compileJson(block, (text) => this.#parse(text, false, origin))
    if (typeof fill !== 'function') return this.#addConstant(fill as JsonObject, path)
    this.#firstOwn ??= `a ${String(block['type'])} block with a value of the row`
    this.parts.push({ path, kind: 'own', bytes: null, note: null })
    return { kind: 'block', fill: fill as (row: JsonObject, missing: string[]) => JsonObject }
  }

  #addAttachment(written: string, path: string, origin: Origin): Item {
    const { names, complete } = this.#known
    const optional = written.endsWith('?')
    const text = optional ? written.slice(0, -1) : written
    // `photo?` can only be a column: a path that may or may not be there is not worth a meaning.
    const isColumn = names.has(text) || (optional && !text.includes('{{'))
    if (isColumn && complete && !names.has(text)) this.problems.push(unknownColumn(text, names, origin))
    const pieces: TextPieces = isColumn ? [{ column: text }] : this.#parse(text, false, origin)
    if (isColumn) this.used.add(text)
    this.places.push({ pieces, optional })
    if (columnsOf(pieces).length === 0) {
      const kind = this.#firstOwn === null ? 'shared' : 'uncacheable'
      this.parts.push({ path, kind, bytes: null, note: `the file ${text}` })
      // The file is not read here: the rendering repeats the same block, and nothing tells how many stand before it.
      if (this.#firstOwn === null) this.sharedBlocks += 1
    } else {
      const note = `${optional ? 'may be' : 'is'} a file of the row: ${text}`
      this.parts.push({ path, kind: 'attachment', bytes: null, note })
      this.#firstOwn ??= 'an attachment of the row'
    }
    return { kind: 'attachment', index: this.places.length - 1 }
  }
}

function rendererOf(
  system: readonly Item[],
  messages: readonly { readonly role: string; readonly items: readonly Item[] }[],
): Template['render'] {
  const constantSystem = constantBlocks(system)
  const constantMessages = messages.map(({ role, items }) => {
    const content = constantBlocks(items)
    return content === null ? null : { role, content }
  })
  return (row, attachments) => {
    const missing: string[] = []
    let leftOut = false
    const blocks = (items: readonly Item[]): JsonObject[] => {
      const rendered: JsonObject[] = []
      for (const item of items) {
        if (item.kind === 'constant') rendered.push(item.block)
        else if (item.kind === 'attachment') rendered.push(...(attachments[item.index] ?? []))
        else if (item.kind === 'block') rendered.push(item.fill(row, missing))
        else {
          const text = fillPieces(item.pieces, row, missing)
          if (text.trim() === '') leftOut = true
          else rendered.push({ type: 'text', text })
        }
      }
      return rendered
    }
    const renderedSystem = constantSystem ?? blocks(system)
    const renderedMessages = messages.map(
      ({ role, items }, index) => constantMessages[index] ?? { role, content: blocks(items) },
    )
    return { system: renderedSystem, messages: renderedMessages, missing, leftOut }
  }
}

const MOVE = 'move it before the first value, best of all into `system`'

/** The blocks of a list that no row changes, as one object for all rows; null when rows change it. */
function constantBlocks(items: readonly Item[]): readonly JsonObject[] | null {
  const blocks = items.flatMap((item) => (item.kind === 'constant' ? [item.block] : []))
  return blocks.length === items.length ? blocks : null
}

/** A text block with nothing but its text may be split like a text; one with a mark or citations stays as it is. */
function plainText(
  block: JsonObject,
  origin: Origin,
): { readonly text: string; readonly literal: boolean; readonly origin: Origin } | null {
  const isPlain =
    block['type'] === 'text' && typeof block['text'] === 'string' && Object.keys(block).length === 2
  return isPlain ? { text: block['text'] as string, literal: false, origin } : null
}

/** The value itself when no string in it holds a placeholder, otherwise a function that fills it. */
function compileJson(
  value: Json,
  parse: (text: string) => TextPieces,
): Json | ((row: JsonObject, missing: string[]) => Json) {
  if (typeof value === 'string') {
    const pieces = parse(value)
    return columnsOf(pieces).length === 0
      ? pieces.join('')
      : (row, missing) => fillPieces(pieces, row, missing)
  }
  if (typeof value !== 'object' || value === null) return value
  const compiled = Object.entries(value).map(
    ([key, item]) => [key, compileJson(item as Json, parse)] as const,
  )
  if (compiled.every(([, item]) => typeof item !== 'function')) {
    const constant = Object.fromEntries(compiled)
    return (Array.isArray(value) ? Object.values(constant) : constant) as Json
  }
  return (row, missing) => {
    const filled = compiled.map(
      ([key, item]) => [key, typeof item === 'function' ? item(row, missing) : item] as const,
    )
    return (Array.isArray(value) ? filled.map(([, item]) => item) : Object.fromEntries(filled)) as Json
  }
}

function pathsOf(place: AttachmentPlace, row: JsonObject): AttachmentPaths {
  const single = place.pieces.length === 1 ? place.pieces[0] : undefined
  const column = typeof single === 'object' ? single.column : null
  const value = column === null ? undefined : row[column]
  const missing: string[] = []
  const paths = Array.isArray(value)
    ? value.filter((item): item is string => typeof item === 'string' && item !== '')
    : [fillPieces(place.pieces, row, missing)]
  const named = missing.length > 0 ? [] : paths.filter((path) => path.trim() !== '')
  if (named.length > 0 || place.optional) return { paths: named, missing: null }
  return { paths: [], missing: column ?? columnsOf(place.pieces).join(', ') }
}

/** Text bytes of a text block, bytes of the JSON of any other: what `plan` shows. */
function blockBytes(block: JsonObject): number {
  const text = block['type'] === 'text' ? block['text'] : undefined
  return Buffer.byteLength(typeof text === 'string' ? text : JSON.stringify(block))
}

function unknownColumn(column: string, columns: ReadonlySet<string>, origin: Origin): Problem {
  const meant = nearest(column, columns)
  return problem('unknown_column', `{{${column}}} names no column of the input`, {
    hint:
      delimiterHint(columns) ??
      `${meant === null ? '' : `did you mean {{${meant}}}? `}columns: ${listed(columns)}; literal braces are written \\{{`,
    where: whereOf(origin),
  })
}

/** A header of one column that holds a usual delimiter was most likely not meant to be one column. */
function delimiterHint(columns: ReadonlySet<string>): string | null {
  const [only = ''] = columns
  const delimiter = columns.size === 1 ? /[;\t|]/.exec(only)?.[0] : undefined
  if (delimiter === undefined) return null
  const written = delimiter === '\t' ? '"\\t"' : `"${delimiter}"`
  return `the header is one column, "${only}": if ${written} divides it, say so: input: {file: …, delimiter: ${written}}`
}

function listed(columns: ReadonlySet<string>): string {
  const names = [...columns]
  return names.length === 0 ? 'none' : names.slice(0, 20).join(', ') + (names.length > 20 ? ', …' : '')
}

function badBraces(text: string, offset: number, origin: Origin): Problem {
  const line = text.slice(0, offset).split('\n').length
  return problem('bad_placeholder', `"{{" begins no placeholder (line ${line} of the text)`, {
    hint: 'a placeholder is {{column}}; two literal braces are written \\{{, and a file is taken as it is with literal: true',
    where: origin.file === null ? origin.where : { file: origin.file, line },
  })
}

function emptyText(origin: Origin): Problem {
  return problem('empty_text', 'a text of the prompt is empty', {
    hint: 'the API refuses text without anything but white space: leave it out',
    where: whereOf(origin),
  })
}

function whereOf(origin: Origin): Where {
  return origin.file === null ? origin.where : { ...origin.where, file: origin.file }
}
