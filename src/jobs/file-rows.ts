import { glob, stat } from 'node:fs/promises'
import { basename, extname, relative, resolve, sep } from 'node:path'
import { problem, TitheError } from '../core/errors.ts'
import type { InputRecord, RecordSource } from './record-source.ts'
import { fileSize, readBytes, readWholeText } from './text-file.ts'

/**
 * Files as rows. Columns: `path` (as the pattern found it, relative to the job file), `name`, `stem` (the name without
 * its extension) and, read only when the job uses it, `text`. The id is the path below the pattern's fixed part.
 * @param textBytesMax a larger file is no text for a prompt.
 * @throws TitheError `empty_input` when nothing matches.
 */
export async function openFiles(
  patterns: readonly string[],
  baseDirectory: string,
  textBytesMax: number,
): Promise<RecordSource> {
  const description = patterns.join(', ')
  const found = new Map<string, string>()
  for (const pattern of patterns) {
    const root = resolve(baseDirectory, fixedPart(pattern))
    for await (const entry of glob(pattern, { cwd: baseDirectory, withFileTypes: true })) {
      const path = resolve(entry.parentPath, entry.name)
      if (!entry.isFile() && !(entry.isSymbolicLink() && (await stat(path)).isFile())) continue
      if (!found.has(path)) found.set(path, slashes(relative(root, path)))
    }
  }
  if (found.size === 0) {
    throw new TitheError('empty_input', `no file matches ${description}`, {
      hint: `patterns are relative to the job file: ${baseDirectory}`,
      where: { file: resolve(baseDirectory, patterns[0] ?? '') },
    })
  }
  const files = [...found].sort(([a], [b]) => naturalOrder(a, b))
  // Two patterns may find files of the same name below different fixed parts; then the path tells them apart.
  const namesDiffer = new Set(found.values()).size === files.length
  const shownPath = (path: string): string => slashes(relative(baseDirectory, path))

  return {
    description,
    file: null,
    columns: ['path', 'name', 'stem', 'text'],
    bulky: ['text'],
    async *records(wanted) {
      for (const [path, name] of files) {
        const columns = { path: shownPath(path), name: basename(path), stem: basename(path, extname(path)) }
        const ownId = namesDiffer ? name : columns.path
        if (!wanted.has('text')) yield { kind: 'record', line: null, columns, ownId }
        else yield await textRecord(path, columns, ownId, textBytesMax)
      }
    },
    async *contents(wanted) {
      for (const [path, name] of files) {
        yield `${namesDiffer ? name : shownPath(path)}\n`
        if (!wanted.has('text')) continue
        yield `${await fileSize(path)}\n`
        yield* readBytes(path)
      }
    },
  }
}

async function textRecord(
  path: string,
  columns: { readonly path: string; readonly name: string; readonly stem: string },
  ownId: string,
  textBytesMax: number,
): Promise<InputRecord> {
  try {
    const sizeBytes = await fileSize(path)
    if (sizeBytes <= textBytesMax) {
      return { kind: 'record', line: null, columns: { ...columns, text: await readWholeText(path) }, ownId }
    }
    const message = `${path} is too large for a prompt: ${sizeBytes} bytes`
    const hint = `split it; a request holds at most ${textBytesMax} bytes`
    return {
      kind: 'bad',
      line: null,
      columns,
      problem: problem('file_too_large', message, { hint, where: { file: path } }),
    }
  } catch (error) {
    if (!(error instanceof TitheError)) throw error
    const hint = `{{text}} reads text files; to send this one as it is, list it under attachments: [path]`
    return {
      kind: 'bad',
      line: null,
      columns,
      problem: problem(error.code, error.message, { hint, where: { file: path } }),
    }
  }
}

/** The directories of a pattern before its first wildcard: `invoices/2026/` of `invoices/2026/*.pdf`. */
function fixedPart(pattern: string): string {
  const parts = pattern.split('/')
  const wild = parts.findIndex(isPattern)
  return parts.slice(0, wild === -1 ? -1 : wild).join('/') || (pattern.startsWith('/') ? '/' : '.')
}

export function isPattern(path: string): boolean {
  return /[*?[\]{}]/.test(path)
}

function slashes(path: string): string {
  return path.split(sep).join('/')
}

const collator = new Intl.Collator('en', { numeric: true })

/** `page-2` before `page-10`; names that differ only in what the collation ignores keep one order everywhere. */
function naturalOrder(a: string, b: string): number {
  return collator.compare(a, b) || (a < b ? -1 : a > b ? 1 : 0)
}
