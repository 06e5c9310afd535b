import { extname } from 'node:path'
import { isCollection, isMap, isPair, isScalar, LineCounter, type Node, parseDocument, visit } from 'yaml'
import { type Problem, problem, type Where } from '../core/errors.ts'

/** Keys and indices from the top of the job to a value. */
export type JobPath = readonly (string | number)[]

/** `prompt[0].text` */
export function pathText(path: JobPath): string {
  return path
    .map((step, index) => (typeof step === 'number' ? `[${step}]` : index === 0 ? step : `.${step}`))
    .join('')
}

/** A parsed job file that still knows where everything stands in it. */
export interface JobText {
  readonly value: unknown
  readonly problems: readonly Problem[]
  /** Line and column of a value, or of its key; of the nearest thing around it when it does not exist. */
  where(path: JobPath, part?: 'key' | 'value'): Where
}

const QUOTES_HINT = 'put quotes around a text that holds ": ", "#" or begins with { or ['

const SYNTAX_HINTS: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'the key stands there twice: keep one',
  TAB_AS_INDENT: 'indent with spaces',
  BLOCK_AS_IMPLICIT_KEY: `${QUOTES_HINT}; a file is named as {file: path}`,
}

/** Parses YAML, and JSON, which is YAML as well: one parser, so that every error has its line and column. */
export function parseJobText(text: string, file: string): JobText {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const at = (offset: number | undefined): Where => {
    if (offset === undefined) return { file }
    const { line, col } = lines.linePos(offset)
    return { file, line, column: col }
  }
  const where = (path: JobPath, part: 'key' | 'value' = 'value'): Where => {
    let node: unknown = document.contents
    let offset = (document.contents as Node | null)?.range?.[0]
    for (const [index, step] of path.entries()) {
      const inside = stepInto(node, step)
      if (inside === null) break
      const isLast = index === path.length - 1
      offset =
        (isLast && part === 'key' ? inside.keyOffset : inside.valueOffset) ?? inside.keyOffset ?? offset
      node = inside.value
    }
    return { ...at(offset), ...(path.length === 0 ? {} : { path: pathText(path) }) }
  }
  const kind = extname(file).toLowerCase() === '.json' ? 'JSON' : 'YAML'
  const problems = document.errors.map((error) =>
    problem('bad_job_syntax', `${file} is not valid ${kind}: ${lowerFirst(error.message)}`, {
      hint: SYNTAX_HINTS[error.code] ?? (kind === 'YAML' ? QUOTES_HINT : 'mend the JSON'),
      where: at(error.pos[0]),
    }),
  )
  visit(document, {
    Pair(_, { key }) {
      // `prompt: {{text}}` is a map in a map to YAML: the commonest slip in a file full of placeholders.
      if (!isCollection(key)) return
      problems.push(
        problem('bad_job_syntax', `${file} has braces where a text was meant`, {
          hint: 'put quotes around a text that begins with a placeholder: "{{column}}"',
          where: at(key.range?.[0]),
        }),
      )
    },
  })
  return { value: problems.length === 0 ? document.toJS() : undefined, problems, where }
}

function stepInto(
  node: unknown,
  step: string | number,
): { value: unknown; keyOffset: number | undefined; valueOffset: number | undefined } | null {
  if (isMap(node)) {
    const pair = node.items.find(
      (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(step),
    )
    if (!pair) return null
    const value = pair.value as Node | null
    return { value, keyOffset: (pair.key as Node).range?.[0], valueOffset: value?.range?.[0] }
  }
  const item = (node as { items?: unknown[] } | null)?.items?.[step as number] as Node | undefined
  return item === undefined ? null : { value: item, keyOffset: item.range?.[0], valueOffset: item.range?.[0] }
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}
