import { AssertionError } from '../core/assert.ts'
import { TitheError } from '../core/errors.ts'

const SQLITE_CONSTRAINT = 19

/** What went wrong, from SQLite's primary result code or the system's error code. */
const TROUBLES: readonly {
  readonly sqlite: readonly number[]
  readonly system: readonly string[]
  readonly code: 'store_unavailable' | 'store_corrupt'
  readonly what: string
  readonly hint: string
}[] = [
  {
    sqlite: [13],
    system: ['ENOSPC', 'EDQUOT', 'EFBIG'],
    code: 'store_unavailable',
    what: 'there is no space left for it',
    hint: 'Free some space there and resume: everything recorded so far is safe.',
  },
  {
    sqlite: [3, 8, 14, 23],
    system: ['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR', 'EEXIST', 'ENOENT', 'ELOOP', 'ENAMETOOLONG'],
    code: 'store_unavailable',
    what: 'it cannot be opened for writing',
    hint: 'Check that its folder exists and that you may write there, or set TITHE_HOME to another folder.',
  },
  {
    sqlite: [5, 6],
    system: ['EBUSY', 'EAGAIN'],
    code: 'store_unavailable',
    what: 'another process kept it locked for too long',
    hint: 'Wait for the other process, or end it, and run the command again.',
  },
  {
    sqlite: [11, 26],
    system: [],
    code: 'store_corrupt',
    what: 'it is damaged, or not a database of Tithe',
    hint: 'Put back a copy of the whole folder, or move the folder away and start with a new one.',
  },
  {
    sqlite: [10],
    system: ['EIO', 'EMFILE', 'ENFILE', 'EBADF'],
    code: 'store_unavailable',
    what: 'reading or writing it failed',
    hint: 'Check the disk and the limit of open files, then resume: everything recorded so far is safe.',
  },
]

/**
 * An error of SQLite or of the file system as one that says which file and what to do (exit code 3). A violated constraint
 * is a programmer's error. Anything else comes back as it is.
 */
export function storeError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || error instanceof TitheError) return error
  const { code, errcode } = error as Error & { code?: unknown; errcode?: unknown }
  // The low byte is the primary code; the rest says in more detail which operation failed.
  const sqlite = typeof errcode === 'number' ? errcode & 0xff : null
  if (sqlite === SQLITE_CONSTRAINT)
    return new AssertionError(`what is stored stays consistent: ${error.message}`)
  const trouble = TROUBLES.find(
    (each) => (sqlite !== null && each.sqlite.includes(sqlite)) || each.system.includes(String(code)),
  )
  if (trouble === undefined) return error
  return new TitheError(trouble.code, `${path}: ${trouble.what} (${error.message})`, {
    hint: trouble.hint,
    where: { file: path },
    exitCode: 3,
    cause: error,
  })
}
