import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { withoutSlug } from '../../core/custom-id.ts'
import { TitheError } from '../../core/errors.ts'
import type { Instant } from '../../core/instant.ts'
import type { Ttl } from '../../core/request.ts'
import type {
  ServedBatch,
  ServedBatchState,
  ServedBatchStore,
  ServedResult,
  ServedRow,
} from '../../stores/served-store.ts'
import type { CacheEntry } from './cache.ts'
import type { InvoiceLine } from './invoice.ts'
import { SharedBeginning } from './shared-beginning.ts'

/** What one answered request leaves behind, besides its answer. */
export interface LocalEffects {
  /** Null when nothing is billed. */
  readonly invoiceLine: InvoiceLine | null
  readonly cacheEntries: readonly CacheEntry[]
}

// A row is found by one integer: batch × 2²⁰ + row (a batch has at most 100,000 rows). Bodies stand apart from rows, so
// that forgetting them touches nothing else; what many begin with stands in `beginnings`, under the id of the first row
// that was stored without it. Every commit carries the service's time.
const SCHEMA = `
  CREATE TABLE service (only INTEGER PRIMARY KEY CHECK (only = 1), now_ms INTEGER);
  INSERT INTO service VALUES (1, NULL);
  CREATE TABLE batches (
    number INTEGER PRIMARY KEY,
    id TEXT UNIQUE,
    workspace TEXT,
    api_version TEXT,
    betas TEXT,
    state TEXT NOT NULL,
    row_count INTEGER,
    created_at INTEGER,
    starts_at INTEGER,
    ends_not_before INTEGER,
    expires_at INTEGER,
    cancel_initiated_at INTEGER,
    ended_at INTEGER,
    succeeded INTEGER NOT NULL DEFAULT 0,
    errored INTEGER NOT NULL DEFAULT 0,
    canceled INTEGER NOT NULL DEFAULT 0,
    expired INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE rows (id INTEGER PRIMARY KEY, custom_id TEXT NOT NULL) STRICT;
  CREATE TABLE bodies (id INTEGER PRIMARY KEY, beginning INTEGER, rest BLOB NOT NULL) STRICT;
  CREATE TABLE beginnings (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
  CREATE TABLE results (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, ends_at INTEGER NOT NULL, line BLOB NOT NULL) STRICT;
  CREATE TABLE cache_entries (
    key TEXT PRIMARY KEY, ttl TEXT NOT NULL, readable_at INTEGER NOT NULL, expires_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE invoice_lines (
    number INTEGER PRIMARY KEY,
    batch_id TEXT NOT NULL,
    custom_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    model TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    cache_write_5m_tokens INTEGER NOT NULL,
    cache_write_1h_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    web_search_requests INTEGER NOT NULL,
    tier TEXT NOT NULL,
    inference_geo TEXT NOT NULL,
    speed TEXT NOT NULL,
    cost_pico_usd INTEGER,
    UNIQUE (batch_id, custom_id)
  ) STRICT;
  PRAGMA user_version = 1;
`
const SCHEMA_VERSION = 1
const BATCH_SPAN = 2 ** 20
const INVOICE_PAGE_LINES = 1_000

type Sql = Record<string, string | number | bigint | null | Uint8Array>

/** Everything that the local service remembers, in one SQLite file that one process at a time may use. */
export class LocalStore implements ServedBatchStore<LocalEffects | null> {
  readonly #db: DatabaseSync
  readonly #groupRows: number
  readonly #statements = new Map<string, StatementSync>()
  /** Of the batch that is being received. */
  #received: { readonly batch: number; readonly shared: SharedBeginning } | null = null
  /** The beginning that was read last. */
  #beginning: { readonly id: number; readonly bytes: Uint8Array } | null = null
  #pending: { id: number; result: ServedResult; effects: LocalEffects | null; at: Instant }[] = []

  /** `groupRows`: results that may be lost together in a crash; they are executed again. */
  constructor(file: string, options: { groupRows: number }) {
    this.#db = openDatabase(file)
    this.#groupRows = options.groupRows
    this.#transaction(() => {
      for (const { number } of this.#all(`SELECT number FROM batches WHERE state = 'receiving'`)) {
        this.#forget(number as number)
      }
    })
  }

  /** The service's time at the last commit; null in a new file. */
  savedNow(): Instant | null {
    return this.#get('SELECT now_ms FROM service')!['now_ms'] as Instant | null
  }

  hasOpenBatch(): boolean {
    return this.#get(`SELECT 1 FROM batches WHERE state IN ('in_progress', 'canceling')`) !== undefined
  }

  close(): void {
    this.#flush()
    this.#db.close()
  }

  // -- batches --

  async receiveBatch(): Promise<number> {
    return Number(this.#run(`INSERT INTO batches (state) VALUES ('receiving')`).lastInsertRowid)
  }

  async addRows(batch: number, rows: readonly ServedRow[]): Promise<void> {
    if (this.#received?.batch !== batch) this.#received = { batch, shared: new SharedBeginning() }
    const { shared } = this.#received
    this.#transaction(() => {
      for (const { row, customId, params } of rows) {
        const id = batch * BATCH_SPAN + row
        const { beginning, fresh, rest } = shared.split(id, params)
        if (fresh !== null) this.#run('INSERT INTO beginnings (id, bytes) VALUES (?, ?)', id, fresh)
        this.#run('INSERT INTO rows (id, custom_id) VALUES (?, ?)', id, customId)
        this.#run('INSERT INTO bodies (id, beginning, rest) VALUES (?, ?, ?)', id, beginning, rest)
      }
    })
  }

  async acceptBatch(batch: ServedBatch): Promise<void> {
    this.#flush()
    this.#transaction(() => {
      this.#run(
        `UPDATE batches SET id = ?, workspace = ?, api_version = ?, betas = ?, state = ?, row_count = ?, created_at = ?,
           starts_at = ?, ends_not_before = ?, expires_at = ?
         WHERE number = ?`,
        batch.id,
        batch.workspace,
        batch.apiVersion,
        JSON.stringify(batch.betas),
        batch.state,
        batch.rows,
        batch.createdAt,
        batch.startsAt,
        batch.endsNotBefore,
        batch.expiresAt,
        batch.number,
      )
      this.#saveNow(batch.createdAt)
    })
  }

  async discardBatch(batch: number): Promise<void> {
    this.#transaction(() => this.#forget(batch))
  }

  async findBatch(workspace: string, id: string): Promise<ServedBatch | null> {
    const found = this.#get('SELECT * FROM batches WHERE id = ? AND workspace = ?', id, workspace)
    return found === undefined ? null : batchOf(found)
  }

  async listBatches(
    workspace: string,
    page: { olderThan: number | null; newerThan: number | null; limit: number },
  ): Promise<ServedBatch[]> {
    const { olderThan, newerThan, limit } = page
    const order = newerThan === null ? 'DESC' : 'ASC'
    const found = this.#all(
      `SELECT * FROM batches WHERE workspace = ? AND state <> 'receiving' AND number < ? AND number > ?
       ORDER BY number ${order} LIMIT ?`,
      workspace,
      olderThan ?? Number.MAX_SAFE_INTEGER,
      newerThan ?? 0,
      limit,
    ).map(batchOf)
    return newerThan === null ? found : found.reverse()
  }

  async openBatches(workspace: string): Promise<ServedBatch[]> {
    return this.#all(
      `SELECT * FROM batches WHERE workspace = ? AND state IN ('in_progress', 'canceling') ORDER BY number`,
      workspace,
    ).map(batchOf)
  }

  async startCancel(batch: number, at: Instant): Promise<boolean> {
    this.#flush()
    return this.#transaction(() => {
      const { changes } = this.#run(
        `UPDATE batches SET state = 'canceling', cancel_initiated_at = ? WHERE number = ? AND state = 'in_progress'`,
        at,
        batch,
      )
      this.#saveNow(at)
      return changes === 1
    })
  }

  async endBatch(batch: number, at: Instant, unfinished: 'canceled' | 'expired'): Promise<void> {
    this.#flush()
    const span = spanOf(batch)
    this.#transaction(() => {
      const counts = this.#get(
        `SELECT count(*) FILTER (WHERE kind = 'succeeded') AS succeeded,
                count(*) FILTER (WHERE kind = 'errored') AS errored FROM results WHERE id BETWEEN ? AND ?`,
        ...span,
      )!
      this.#run(
        `UPDATE batches SET state = 'ended', ended_at = ?, succeeded = ?, errored = ?,
           ${unfinished} = row_count - ? WHERE number = ?`,
        at,
        counts['succeeded']!,
        counts['errored']!,
        Number(counts['succeeded']) + Number(counts['errored']),
        batch,
      )
      this.#forgetBodies(batch)
      this.#saveNow(at)
    })
  }

  async deleteBatch(batch: number): Promise<void> {
    this.#transaction(() => this.#forget(batch))
  }

  // -- rows --

  async waitingRows(
    batch: number,
    afterRow: number,
    limit: { rows: number; sizeBytes: number },
  ): Promise<ServedRow[]> {
    this.#flush()
    const waiting: ServedRow[] = []
    let sizeBytes = 0
    const found = this.#prepare(
      `SELECT rows.id, custom_id, beginning, rest FROM rows JOIN bodies USING (id)
       WHERE rows.id > ? AND rows.id <= ? AND NOT EXISTS (SELECT 1 FROM results WHERE results.id = rows.id)
       ORDER BY rows.id LIMIT ?`,
    ).iterate(batch * BATCH_SPAN + afterRow, spanOf(batch)[1], limit.rows)
    for (const { id, custom_id, beginning, rest } of found) {
      const params = this.#joined(beginning as number | null, rest as Uint8Array)
      sizeBytes += params.byteLength
      if (waiting.length > 0 && sizeBytes > limit.sizeBytes) break
      const row = (id as number) - batch * BATCH_SPAN
      waiting.push({ row, customId: custom_id as string, params })
    }
    return waiting
  }

  #joined(beginning: number | null, rest: Uint8Array): Uint8Array {
    if (beginning === null) return rest
    if (this.#beginning?.id !== beginning) {
      const { bytes } = this.#get('SELECT bytes FROM beginnings WHERE id = ?', beginning)!
      this.#beginning = { id: beginning, bytes: bytes as Uint8Array }
    }
    return Buffer.concat([this.#beginning.bytes, rest])
  }

  async unendedRows(batch: number, at: Instant): Promise<Instant[]> {
    this.#flush()
    const found = this.#all(
      'SELECT ends_at FROM results WHERE id BETWEEN ? AND ? AND ends_at > ? ORDER BY id',
      ...spanOf(batch),
      at,
    )
    return found.map((row) => row['ends_at'] as Instant)
  }

  async recordResult(
    batch: number,
    result: ServedResult,
    effects: LocalEffects | null,
    at: Instant,
  ): Promise<void> {
    this.#pending.push({ id: batch * BATCH_SPAN + result.row, result, effects, at })
    if (this.#pending.length >= this.#groupRows) this.#flush()
  }

  async resultLines(
    batch: number,
    rows: readonly number[],
  ): Promise<{ customId: string; line: Uint8Array | null }[]> {
    const select = this.#prepare('SELECT custom_id, line FROM rows LEFT JOIN results USING (id) WHERE id = ?')
    const lines: { customId: string; line: Uint8Array | null }[] = []
    for (const row of rows) {
      const found = select.get(batch * BATCH_SPAN + row)
      if (found === undefined) continue
      lines.push({ customId: found['custom_id'] as string, line: found['line'] as Uint8Array | null })
    }
    return lines
  }

  // -- cache, invoice --

  /** A realtime call's invoice line and cache changes. */
  recordCall(effects: LocalEffects, at: Instant): void {
    this.#flush()
    this.#transaction(() => {
      this.#saveEffects(effects)
      this.#saveNow(at)
    })
  }

  liveCacheEntries(at: Instant): CacheEntry[] {
    this.#run('DELETE FROM cache_entries WHERE expires_at <= ?', at)
    return this.#all('SELECT * FROM cache_entries').map((row) => ({
      key: row['key'] as string,
      ttl: row['ttl'] as Ttl,
      readableAt: row['readable_at'] as Instant,
      expiresAt: row['expires_at'] as Instant,
    }))
  }

  async *invoice(): AsyncIterable<InvoiceLine> {
    this.#flush()
    const select = this.#prepare('SELECT * FROM invoice_lines WHERE number > ? ORDER BY number LIMIT ?')
    // One line may cost more than 2⁵³ picodollars, which is $9,007.
    select.setReadBigInts(true)
    for (let last = 0n; ; ) {
      const page = select.all(last, INVOICE_PAGE_LINES) as Sql[]
      for (const row of page) yield invoiceLineFrom(row)
      if (page.length < INVOICE_PAGE_LINES) return
      last = page.at(-1)!['number'] as bigint
    }
  }

  /** Invoice lines stay; the custom_ids of deleted batches lose their slugs, which are the client's. */
  scrub(): void {
    this.#flush()
    this.#run(
      `UPDATE invoice_lines SET custom_id = without_slug(custom_id)
       WHERE batch_id <> '' AND batch_id NOT IN (SELECT id FROM batches WHERE id IS NOT NULL)`,
    )
    // Also what stands in pages that are only in part used.
    this.#db.exec('PRAGMA secure_delete = ON')
    this.#db.exec('VACUUM')
    this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  }

  // -- writing --

  #flush(): void {
    if (this.#pending.length === 0) return
    const pending = this.#pending
    this.#pending = []
    this.#transaction(() => {
      const touched = new Map<string, CacheEntry>()
      for (const { id, result, effects } of pending) {
        this.#run(
          'INSERT INTO results (id, kind, ends_at, line) VALUES (?, ?, ?, ?)',
          id,
          result.kind,
          result.endsAt,
          result.line,
        )
        if (effects?.invoiceLine) this.#saveInvoiceLine(effects.invoiceLine)
        for (const entry of effects?.cacheEntries ?? []) touched.set(entry.key, entry)
      }
      for (const entry of touched.values()) this.#saveCacheEntry(entry)
      this.#saveNow(pending.at(-1)!.at)
    })
  }

  #saveEffects({ invoiceLine, cacheEntries }: LocalEffects): void {
    if (invoiceLine !== null) this.#saveInvoiceLine(invoiceLine)
    for (const entry of cacheEntries) this.#saveCacheEntry(entry)
  }

  #saveCacheEntry(entry: CacheEntry): void {
    this.#run(
      'INSERT OR REPLACE INTO cache_entries (key, ttl, readable_at, expires_at) VALUES (?, ?, ?, ?)',
      entry.key,
      entry.ttl,
      entry.readableAt,
      entry.expiresAt,
    )
  }

  /** A second line for the same row breaks the unique key and with it the whole commit: nothing is billed twice. */
  #saveInvoiceLine(line: InvoiceLine): void {
    this.#run(
      `INSERT INTO invoice_lines (batch_id, custom_id, at, model, input_tokens, cache_write_5m_tokens,
         cache_write_1h_tokens, cache_read_tokens, output_tokens, web_search_requests, tier, inference_geo, speed,
         cost_pico_usd)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      line.batchId ?? '',
      line.customId,
      line.at,
      line.model,
      line.inputTokens,
      line.cacheWrite5mTokens,
      line.cacheWrite1hTokens,
      line.cacheReadTokens,
      line.outputTokens,
      line.webSearchRequests,
      line.tier,
      line.inferenceGeo,
      line.speed,
      line.costPicoUsd,
    )
  }

  #saveNow(at: Instant): void {
    this.#run('UPDATE service SET now_ms = ?', at)
  }

  #forget(batch: number): void {
    this.#forgetBodies(batch)
    this.#forgetSpan('rows', batch)
    this.#forgetSpan('results', batch)
    this.#run('DELETE FROM batches WHERE number = ?', batch)
  }

  #forgetBodies(batch: number): void {
    // Numbers of batches that were discarded come again.
    this.#received = null
    this.#beginning = null
    this.#forgetSpan('bodies', batch)
    this.#forgetSpan('beginnings', batch)
  }

  #forgetSpan(table: 'rows' | 'results' | 'bodies' | 'beginnings', batch: number): void {
    this.#run(`DELETE FROM ${table} WHERE id BETWEEN ? AND ?`, ...spanOf(batch))
  }

  #transaction<T>(work: () => T): T {
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      const done = work()
      this.#db.exec('COMMIT')
      return done
    } catch (error) {
      // A full disk has already rolled back.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw error
    }
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#db.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }

  #run(sql: string, ...values: (string | number | bigint | null | Uint8Array)[]) {
    return this.#prepare(sql).run(...values)
  }

  #get(sql: string, ...values: (string | number)[]): Sql | undefined {
    return this.#prepare(sql).get(...values) as Sql | undefined
  }

  #all(sql: string, ...values: (string | number)[]): Sql[] {
    return this.#prepare(sql).all(...values) as Sql[]
  }
}

/**
 * Where a virtual clock begins. While a batch is open: exactly where the service stopped, so that its rows find the
 * cache as an uninterrupted run would have; otherwise at the wall clock's time, and never in the service's past.
 */
export function serviceStartOf(file: string, wallNow: Instant): Instant {
  const store = new LocalStore(file, { groupRows: 1 })
  try {
    const savedNow = store.savedNow()
    if (savedNow === null || (savedNow < wallNow && !store.hasOpenBatch())) return wallNow
    return savedNow
  } finally {
    store.close()
  }
}

function openDatabase(file: string): DatabaseSync {
  const db = new DatabaseSync(file)
  try {
    // Exclusive: a second process would run the same batches once more. A killed process loses its lock with its life.
    db.exec('PRAGMA locking_mode = EXCLUSIVE')
    db.exec('PRAGMA journal_mode = WAL')
    // A killed process loses nothing; a power cut may lose the last commits, which a simulation executes again.
    db.exec('PRAGMA synchronous = NORMAL')
    db.exec('BEGIN IMMEDIATE')
    const version = (db.prepare('PRAGMA user_version').get() as Sql)['user_version'] as number
    if (version > SCHEMA_VERSION) {
      throw new TitheError('local_file_newer', `${file} was written by a newer version of Tithe.`, {
        hint: 'Use that version, or remove the file: the local service forgets its batches and its invoice.',
        where: { file },
      })
    }
    if (version === 0) db.exec(SCHEMA)
    db.exec('COMMIT')
    db.function('without_slug', { deterministic: true }, (id) => withoutSlug(String(id)))
    return db
  } catch (error) {
    db.close()
    if (error instanceof Error && /locked|busy/.test(error.message)) {
      throw new TitheError(
        'local_file_in_use',
        `The local service in ${file} is running in another process.`,
        {
          hint: 'Wait for that process, or give this one its own home (TITHE_HOME).',
          where: { file },
          retry: 'safe',
          cause: error,
        },
      )
    }
    throw error
  }
}

function spanOf(batch: number): [first: number, last: number] {
  return [batch * BATCH_SPAN, (batch + 1) * BATCH_SPAN - 1]
}

function batchOf(row: Sql): ServedBatch {
  return {
    number: row['number'] as number,
    id: row['id'] as string,
    workspace: row['workspace'] as string,
    apiVersion: row['api_version'] as string,
    betas: JSON.parse(row['betas'] as string) as string[],
    state: row['state'] as ServedBatchState,
    rows: row['row_count'] as number,
    createdAt: row['created_at'] as Instant,
    startsAt: row['starts_at'] as Instant,
    endsNotBefore: row['ends_not_before'] as Instant,
    expiresAt: row['expires_at'] as Instant,
    cancelInitiatedAt: row['cancel_initiated_at'] as Instant | null,
    endedAt: row['ended_at'] as Instant | null,
    counts: {
      succeeded: row['succeeded'] as number,
      errored: row['errored'] as number,
      canceled: row['canceled'] as number,
      expired: row['expired'] as number,
    },
  }
}

function invoiceLineFrom(row: Sql): InvoiceLine {
  return {
    batchId: row['batch_id'] === '' ? null : (row['batch_id'] as string),
    customId: row['custom_id'] as string,
    at: Number(row['at']) as Instant,
    model: row['model'] as string,
    inputTokens: Number(row['input_tokens']),
    cacheWrite5mTokens: Number(row['cache_write_5m_tokens']),
    cacheWrite1hTokens: Number(row['cache_write_1h_tokens']),
    cacheReadTokens: Number(row['cache_read_tokens']),
    outputTokens: Number(row['output_tokens']),
    webSearchRequests: Number(row['web_search_requests']),
    tier: row['tier'] as InvoiceLine['tier'],
    inferenceGeo: row['inference_geo'] as string,
    speed: row['speed'] as InvoiceLine['speed'],
    costPicoUsd: row['cost_pico_usd'] as bigint | null,
  }
}
