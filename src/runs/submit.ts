import { createHash } from 'node:crypto'
import { assert } from '../core/assert.ts'
import { customIdFor } from '../core/custom-id.ts'
import { sha256Hex } from '../core/digest.ts'
import { type Instant, MINUTE_MS, parseTimestamp, plusMs } from '../core/instant.ts'
import type { ResultToRecord, SubmissionRecord } from '../stores/store.ts'
import type { BatchBody, CreateAnswer, MessageBatch } from '../upstreams/upstream.ts'
import { batchElement, RowRenderer, submissionRows } from './render-rows.ts'
import { type MarksByGroup, type RunContext, unfenced } from './run-context.ts'

const ENVELOPE_BYTES = Buffer.byteLength('{"requests":[]}')
const BACK_OFF_MS = MINUTE_MS

/** Why the driver must stop for a human after a create; null when it may go on. */
export type StopReason = string | null

/**
 * Sends a planned submission: its rows are rendered once to count and digest them, the intent is recorded, then the
 * create is called, once. Whatever ends this function early leaves a recorded intent behind, which `reconcile` clears up.
 */
export async function submit(context: RunContext, submission: SubmissionRecord): Promise<StopReason> {
  const { deps, run, fence } = context
  const counted = await countBody(context, submission)
  if (counted.rows === 0) {
    await record(context, submission, 'intent_recorded', 'no row of it can be sent', {
      rows: 0,
      intentAt: context.now(),
    })
    await record(context, { ...submission, state: 'submitting' }, 'refused', 'no row of it could be sent', {})
    return null
  }
  const newest = await deps.upstream.listBatches({ limit: 1 })
  const intent = {
    fingerprint: counted.fingerprint,
    sizeBytes: counted.sizeBytes,
    rows: counted.rows,
    intentAt: context.now(),
    newestIdBefore: newest.first_id,
    because: 'the create was sent',
  }
  // Recorded before the call: if we die after sending, the next driver must know that money may be spent.
  await record(
    context,
    submission,
    'intent_recorded',
    `${counted.rows} rows, ${counted.sizeBytes} bytes`,
    intent,
  )
  const submitting: SubmissionRecord = { ...submission, ...intent, state: 'submitting' }
  context.calling.add(submission.number)
  let answer: CreateAnswer
  try {
    answer = await deps.upstream.createBatch(
      bodyOf(context, submitting, counted),
      context.callContext(submission.variant, 'batch'),
    )
  } catch (error) {
    // Thrown only when the body's end never left this process: nothing can have been created.
    await record(context, submitting, 'refused', 'the create never left', {
      because: 'the upstream could not be reached',
    })
    await returnRows(context, submission.number, null)
    throw error
  } finally {
    context.calling.delete(submission.number)
  }
  switch (answer.kind) {
    case 'accepted': {
      context.learnServerTime(answer.headers)
      const ids = { organizationId: answer.headers.organizationId, workspaceId: answer.headers.workspaceId }
      await acceptAs(context, submitting, 'accepted', answer.batch, answer.headers.retryAfterMs)
      if (unfenced(await deps.store.runs.recordWorkspace(run.id, fence, ids), run.id) === 'mismatch') {
        return `batch ${answer.batch.id} was created in another organisation or workspace than the run's earlier ones`
      }
      return null
    }
    case 'refused': {
      const waits = answer.error.status === 429
      const notBefore = waits ? plusMs(context.now(), answer.headers.retryAfterMs ?? BACK_OFF_MS) : null
      const why = `${answer.error.status} ${answer.error.type}: ${answer.error.message}`
      await record(context, submitting, 'refused', why, { because: why })
      await returnRows(context, submission.number, notBefore)
      if (!waits) return `the upstream refused a batch of ${counted.rows} rows: ${why}`
      deps.emit({
        kind: 'note',
        message: `the upstream asks to wait before the next batch: ${answer.error.message}`,
      })
      return null
    }
    case 'ambiguous':
      unfenced(
        await deps.store.runs.touchSubmission(run.id, fence, submission.number, {
          because: `whether the create was accepted is not known: ${answer.reason}`,
          nextPollAt: null,
        }),
        run.id,
      )
      deps.emit({
        kind: 'note',
        message: `a create went unanswered (${answer.reason}); looking for the batch before anything is sent again`,
      })
      return null
  }
}

/** Records that a submission is a batch of the upstream. */
export async function acceptAs(
  context: RunContext,
  submission: SubmissionRecord,
  event: 'accepted' | 'adopted',
  batch: MessageBatch,
  retryAfterMs: number | null,
): Promise<void> {
  const change = {
    upstreamBatchId: batch.id,
    createdAt: parseTimestamp(batch.created_at),
    expiresAt: parseTimestamp(batch.expires_at),
    nextPollAt: plusMs(context.now(), retryAfterMs ?? 0),
    because: event === 'adopted' ? 'its results carry our custom_ids' : 'the upstream accepted it',
  }
  await record(context, submission, event, batch.id, change)
  context.deps.emit({ kind: 'submitted', submission: { ...submission, ...change, state: 'in_progress' } })
}

/** Rows of a submission that will not be answered go into a later one, not before the given instant. */
export async function returnRows(
  context: RunContext,
  submission: number,
  notBefore: Instant | null,
): Promise<void> {
  const { deps, run, fence } = context
  unfenced(
    await deps.store.runs.returnRows(run.id, fence, submission, { kind: 'pending', notBefore }),
    run.id,
  )
}

/** One step of a submission's state, with its event. */
export async function record(
  context: RunContext,
  submission: SubmissionRecord,
  kind: Parameters<RunContext['deps']['store']['runs']['recordEvent']>[3]['kind'],
  detail: string,
  change: Parameters<RunContext['deps']['store']['runs']['recordEvent']>[4],
): Promise<void> {
  const { deps, run, fence } = context
  const event = { kind, from: submission.state, at: context.now(), detail }
  const answer = await deps.store.runs.recordEvent(run.id, fence, submission.number, event, change)
  assert(
    unfenced(answer, run.id) === 'ok',
    `submission ${submission.number} is in the state ${submission.state}`,
  )
}

interface CountedBody {
  readonly rows: number
  readonly sizeBytes: number
  readonly fingerprint: string
  readonly skipped: ReadonlySet<number>
}

/** Rendering twice costs CPU; keeping a rendered batch of 256 MB would cost memory or disk. */
async function countBody(context: RunContext, submission: SubmissionRecord): Promise<CountedBody> {
  const { deps, run } = context
  const digest = createHash('sha256')
  const skipped = new Set<number>()
  const invalid: ResultToRecord[] = []
  let rows = 0
  let sizeBytes = ENVELOPE_BYTES
  for await (const rendered of renderSubmission(context, submission)) {
    if (rendered.kind === 'rendered') {
      const element = batchElement(run.id, submission.number, rendered)
      digest.update(element)
      sizeBytes += Buffer.byteLength(element) + (rows > 0 ? 1 : 0)
      rows += 1
      continue
    }
    skipped.add(rendered.row.ordinal)
    invalid.push(
      invalidResult(
        context,
        submission.number,
        rendered.row.ordinal,
        rendered.row.userId,
        rendered.problem,
        context.now(),
      ),
    )
  }
  if (invalid.length > 0) {
    unfenced(await deps.store.runs.recordResults(run.id, context.fence, submission.number, invalid), run.id)
    deps.emit({
      kind: 'note',
      message: `${invalid.length} rows cannot be sent: ${invalid[0]!.attempt.errorMessage}`,
    })
  }
  return { rows, sizeBytes, fingerprint: digest.digest('hex'), skipped }
}

function invalidResult(
  context: RunContext,
  submission: number,
  ordinal: number,
  userId: string,
  problem: string,
  at: Instant,
): ResultToRecord {
  return {
    attempt: {
      run: context.run.id,
      submission,
      ordinal,
      customId: customIdFor({ run: context.run.id, submission, ordinal, userId }),
      at,
      outcome: 'invalid',
      stopReason: null,
      errorType: 'invalid_row',
      errorMessage: problem,
      result: null,
      resultDigest: sha256Hex(problem),
      schemaValid: null,
      schemaProblem: null,
      score: null,
    },
    entry: null,
    next: { kind: 'done' },
  }
}

function bodyOf(context: RunContext, submission: SubmissionRecord, counted: CountedBody): BatchBody {
  return {
    rows: counted.rows,
    sizeBytes: counted.sizeBytes,
    async *elements() {
      for await (const rendered of renderSubmission(context, submission)) {
        if (rendered.kind === 'rendered' && !counted.skipped.has(rendered.row.ordinal)) {
          yield Buffer.from(batchElement(context.run.id, submission.number, rendered))
        }
      }
    },
  }
}

async function* renderSubmission(context: RunContext, submission: SubmissionRecord) {
  const renderer = new RowRenderer(context.run.id, context.deps)
  const marks = JSON.parse(submission.marksJson) as MarksByGroup
  for await (const row of submissionRows(context.deps.store, context.run.id, submission.number)) {
    // A row that could not be rendered the first time has its outcome already.
    if (row.state === 'submitted')
      yield await renderer.render(row, (row.group === null ? null : marks[row.group]) ?? [])
  }
}
