import { parseResultLine } from '../core/answer.ts'
import { parseCustomId } from '../core/custom-id.ts'
import { TitheError } from '../core/errors.ts'
import { type Instant, MINUTE_MS, parseTimestamp } from '../core/instant.ts'
import type { SubmissionRecord } from '../stores/store.ts'
import type { MessageBatch } from '../upstreams/upstream.ts'
import type { BatchOwner, RunContext } from './run-context.ts'

const LIST_PAGE = 100
/** `Date` has whole seconds, and the servers behind one address need not agree to the second. */
const SERVER_SKEW_MS = 10 * MINUTE_MS
/** One line of ours is proof. So many that are not prove the opposite: reading all of a large file would be dear. */
const FOREIGN_LINES_MAX = 100

/** All rows of a batch, however far it is. */
export function rowsOf({ request_counts: counts }: MessageBatch): number {
  return counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
}

/**
 * The batches in the list that can have been created by a submission's call or after it, newest first: up to the one that
 * was the newest before the call, or to those that the server dates well before it.
 */
export async function* batchesSince(
  context: RunContext,
  { newestIdBefore, serverIntentAt }: Pick<SubmissionRecord, 'newestIdBefore' | 'serverIntentAt'>,
): AsyncGenerator<MessageBatch> {
  const earliest = earliestOf(serverIntentAt)
  let after: string | undefined
  for (;;) {
    const page = await context.deps.upstream.listBatches({ limit: LIST_PAGE, after_id: after })
    context.learn(page.headers)
    for (const batch of page.data) {
      if (batch.id === newestIdBefore || parseTimestamp(batch.created_at)! < earliest) return
      yield batch
    }
    if (!page.has_more || page.last_id === null) return
    after = page.last_id
  }
}

/** Whether the list's own figures allow it to be the batch of this submission's call. */
export function couldBe({ rows, serverIntentAt }: SubmissionRecord, batch: MessageBatch): boolean {
  return rowsOf(batch) === rows && parseTimestamp(batch.created_at)! >= earliestOf(serverIntentAt)
}

function earliestOf(serverIntentAt: Instant | null): number {
  return serverIntentAt === null ? Number.NEGATIVE_INFINITY : serverIntentAt - SERVER_SKEW_MS
}

/** Reads the beginning of a batch that has ended, once: what it says cannot change. */
export async function ownerOf(context: RunContext, batch: MessageBatch): Promise<BatchOwner> {
  if (batch.processing_status !== 'ended') return 'unknown'
  if (batch.archived_at !== null) return 'gone'
  const known = context.owners.get(batch.id)
  if (known !== undefined) return known
  const owner = await readOwner(context, batch.id)
  if (owner !== 'unknown') context.owners.set(batch.id, owner)
  return owner
}

async function readOwner(context: RunContext, batchId: string): Promise<BatchOwner> {
  const known = new Set((await context.submissions()).map((one) => one.number))
  let lines = 0
  try {
    for await (const bytes of context.deps.upstream.batchResults(batchId)) {
      const line = parseResultLine(Buffer.from(bytes).toString('utf8'))
      const id = line === null ? null : parseCustomId(line.customId)
      if (id?.run === context.run.id && known.has(id.submission)) return { submission: id.submission }
      // A line that cannot be read proves nothing.
      if (line !== null) lines += 1
      if (lines === FOREIGN_LINES_MAX) break
    }
  } catch (error) {
    // For some seconds after its end a batch has no results yet (claude-api.md 2.5).
    if (!(error instanceof TitheError) || error.code !== 'not_found_error') throw error
  }
  return lines > 0 ? 'foreign' : 'unknown'
}
