import { TitheError } from '../../core/errors.ts'
import type { Connection } from './connection.ts'
import { MIGRATION_000001 } from './migrations/000001.ts'
import { MIGRATION_000002 } from './migrations/000002.ts'
import { MIGRATION_000003 } from './migrations/000003.ts'

/** In order; the first has number 1. Modules rather than .sql files, so that a bundle carries them. */
export const MIGRATIONS: readonly string[] = [MIGRATION_000001, MIGRATION_000002, MIGRATION_000003]

const CREATE_MIGRATIONS = 'CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY) STRICT'
const HAS_MIGRATIONS = "SELECT count(*) AS tables FROM sqlite_schema WHERE name = 'migrations'"
const NEWEST_MIGRATION = 'SELECT max(number) AS number FROM migrations'
const INSERT_MIGRATION = 'INSERT INTO migrations (number) VALUES (?)'

/**
 * Brings the schema up to date, forward only. The number is inserted before the migration's own statements, under the
 * write lock, so that of two processes that start together one migrates and the other finds it done.
 */
export function migrate(connection: Connection, migrations: readonly string[] = MIGRATIONS): void {
  if (schemaVersion(connection, migrations) === migrations.length) return
  for (const [index, sql] of migrations.entries()) {
    connection.write(() => {
      connection.exec(CREATE_MIGRATIONS)
      if (schemaVersion(connection, migrations) > index) return
      connection.run(INSERT_MIGRATION, index + 1)
      connection.exec(sql)
    })
  }
}

function schemaVersion(connection: Connection, migrations: readonly string[]): number {
  if (connection.get<{ tables: number }>(HAS_MIGRATIONS)?.tables === 0) return 0
  const newest = connection.get<{ number: number | null }>(NEWEST_MIGRATION)?.number ?? 0
  if (newest > migrations.length) {
    throw new TitheError(
      'store_too_new',
      `${connection.path} was written by a newer Tithe: its schema is ${newest}, this version knows ${migrations.length}`,
      {
        hint: 'Update Tithe, or set TITHE_HOME to another folder.',
        where: { file: connection.path },
        exitCode: 3,
      },
    )
  }
  return newest
}
