import { closeSync, openSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { withoutSlug } from '../../core/custom-id.ts'
import { TitheError } from '../../core/errors.ts'
import { storeError } from '../store-error.ts'

export type Parameter = string | number | bigint | null

/** How long a transaction waits for another process. Writers of one home are few and their transactions short. */
const BUSY_TIMEOUT_MS = 10_000

// WAL: readers never wait for the writer. FULL: a commit that was answered survives the loss of power. A checkpoint
// every 64 MB rather than 4: scrambled results change the same pages again and again, and each checkpoint writes them.
const SETTINGS = `
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
PRAGMA wal_autocheckpoint = 16000;
PRAGMA cache_size = -16000;
PRAGMA temp_store = MEMORY;
`

/** One open database: statements prepared once, transactions, and errors that name the file. */
export class Connection {
  readonly path: string
  readonly #database: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  /** Creates the file, readable by its owner only, when there is none. */
  constructor(path: string) {
    this.path = path
    this.#database = this.#guarded(() => {
      createPrivately(path)
      return new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS })
    })
    try {
      this.#useWal()
      this.exec(SETTINGS)
      this.#database.function('without_slug', { deterministic: true }, (id) => withoutSlug(String(id)))
    } catch (error) {
      this.#database.close()
      throw error
    }
  }

  #useWal(): void {
    const mode = this.get<{ journal_mode: string }>('PRAGMA journal_mode = WAL')?.journal_mode
    if (mode !== 'wal') {
      throw new TitheError(
        'store_unavailable',
        `${this.path}: the file system has no shared memory for SQLite's WAL`,
        {
          hint: 'Set TITHE_HOME to a folder on a local disk.',
          where: { file: this.path },
          exitCode: 3,
        },
      )
    }
  }

  get<Row>(sql: string, ...parameters: Parameter[]): Row | undefined {
    return this.#guarded(() => this.#prepared(sql).get(...parameters) as Row | undefined)
  }

  all<Row>(sql: string, ...parameters: Parameter[]): Row[] {
    return this.#guarded(() => this.#prepared(sql).all(...parameters) as Row[])
  }

  /** Row by row, for answers that are too many to be held. `take` may not use the connection. */
  each<Row>(sql: string, take: (row: Row) => void): void {
    this.#guarded(() => {
      for (const row of this.#prepared(sql).iterate()) take(row as Row)
    })
  }

  /** Every integer as a bigint: money passes 2⁵³, where node:sqlite throws rather than round. */
  allBigInts<Row>(sql: string, ...parameters: Parameter[]): Row[] {
    return this.#guarded(() => {
      const statement = this.#prepared(sql)
      statement.setReadBigInts(true)
      return statement.all(...parameters) as Row[]
    })
  }

  /** The number of rows changed. */
  run(sql: string, ...parameters: Parameter[]): number {
    return this.#guarded(() => Number(this.#prepared(sql).run(...parameters).changes))
  }

  /** The rowid of the row that was inserted; null when none was. */
  insert(sql: string, ...parameters: Parameter[]): number | null {
    return this.#guarded(() => {
      const { changes, lastInsertRowid } = this.#prepared(sql).run(...parameters)
      return changes === 0 ? null : Number(lastInsertRowid)
    })
  }

  exec(sql: string): void {
    this.#guarded(() => this.#database.exec(sql))
  }

  /** One transaction under the write lock from its start: a lock taken midway could not wait for another writer. */
  write<T>(body: () => T, keep: (answer: T) => boolean = () => true): T {
    return this.#transaction('BEGIN IMMEDIATE', body, keep)
  }

  /** Several reads of one and the same state. */
  read<T>(body: () => T): T {
    return this.#transaction('BEGIN', body, () => true)
  }

  /** Rewrites the whole file without what was deleted, and empties the WAL: the bytes are gone from both. */
  scrub(): void {
    // Also where pages are only in part used: a new page would keep what stood in its memory before.
    this.exec('PRAGMA secure_delete = ON')
    this.exec('VACUUM')
    const { busy } = this.get<{ busy: number }>('PRAGMA wal_checkpoint(TRUNCATE)')!
    if (busy !== 0) {
      throw new TitheError(
        'store_busy',
        `${this.path}: another process is reading, so its WAL keeps what was deleted`,
        {
          hint: 'do the same again once that process has ended',
          where: { file: this.path },
          retry: 'safe',
          exitCode: 3,
        },
      )
    }
  }

  close(): void {
    if (this.#database.isOpen) this.#guarded(() => this.#database.close())
  }

  #transaction<T>(begin: string, body: () => T, keep: (answer: T) => boolean): T {
    this.exec(begin)
    try {
      const answer = body()
      this.exec(keep(answer) ? 'COMMIT' : 'ROLLBACK')
      return answer
    } catch (error) {
      // A full disk has already rolled back.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      throw error
    }
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#database.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }

  #guarded<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw storeError(error, this.path)
    }
  }
}

/** SQLite gives its WAL the mode of the main file. An existing file is left alone: closing it here would drop SQLite's locks. */
function createPrivately(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}
