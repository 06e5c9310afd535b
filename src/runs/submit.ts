import { createHash } from 'node:crypto'
import { accountTrouble } from '../core/account-error.ts'
import { assert } from '../core/assert.ts'
import type { SubmissionEvent } from '../core/batch-state.ts'
import { customIdFor } from '../core/custom-id.ts'
import { sha256Hex } from '../core/digest.ts'
import { type Instant, MINUTE_MS, parseTimestamp, plusMs, SECOND_MS } from '../core/instant.ts'
import { recoveryOf } from '../core/recovery.ts'
import type { ResultToRecord, RowToSend, SubmissionChange, SubmissionRecord } from '../stores/store.ts'
import type { BatchBody, CreateAnswer, MessageBatch } from '../upstreams/upstream.ts'
import { submissionElements } from './render-rows.ts'
import { type MarksByGroup, type RunContext, unfenced } from './run-context.ts'

const ENVELOPE_BYTES = Buffer.byteLength('{"requests":[]}')
const BACK_OFF_MS = MINUTE_MS
/** From an intent to the last bytes of its create; longer, and the intent is dated anew. */
const LONG_CREATE_MS = MINUTE_MS
/** A `retry-after` of nothing would be asking without end. */
const WAIT_MIN_MS = SECOND_MS / 10

/** When to ask again: what the server said, or else the given wait. */
export function askAgainAt(now: Instant, retryAfterMs: number | null, otherwiseMs: number): Instant {
  return plusMs(now, Math.max(WAIT_MIN_MS, retryAfterMs ?? otherwiseMs))
}

/** Why the driver must stop for a human; null when it may go on. */
export type StopReason = string | null

/**
 * Sends a planned submission: its rows are rendered once to count and digest them, the intent is recorded, then the
 * create is called, once. Whatever ends this function early leaves a recorded intent behind, which `reconcile` clears up.
 */
export async function submit(context: RunContext, planned: SubmissionRecord): Promise<StopReason> {
  const { deps, run, fence } = context
  // Entries may have died between the plan and now: a crash, a wait for the queue, the upload of the batches before.
  const submission = { ...planned, marksJson: JSON.stringify(livingMarks(context, planned)) }
  const counted = await countBody(context, submission)
  if (counted.rows === 0) {
    const why = 'no row of it can be sent'
    await record(context, submission, 'refused', why, { rows: 0, because: why })
    return null
  }
  const newest = await deps.upstream.listBatches({ limit: 1 })
  context.learn(newest.headers)
  const problem = await workspaceProblem(context)
  if (problem !== null) return problem
  const { organizationId, workspaceId } = context.workspace
  const intent = {
    marksJson: submission.marksJson,
    fingerprint: counted.fingerprint,
    sizeBytes: counted.sizeBytes,
    rows: counted.rows,
    intentAt: context.now(),
    newestIdBefore: newest.first_id,
    serverIntentAt: newest.headers.date,
    organizationId,
    workspaceId,
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
  let answer: CreateAnswer
  try {
    answer = await deps.upstream.createBatch(
      bodyOf(context, submitting, counted),
      context.callContext(submission.variant, 'batch'),
    )
  } catch (error) {
    // Thrown only when the body's end never left this process: nothing can have been created.
    await putOff(context, submitting, null, 'the upstream could not be reached')
    throw error
  }
  switch (answer.kind) {
    case 'accepted': {
      context.learn(answer.headers)
      await acceptAs(context, submitting, 'accepted', answer.batch, answer.headers.retryAfterMs)
      return await workspaceProblem(context)
    }
    case 'refused': {
      const why = `${answer.error.status} ${answer.error.type}: ${answer.error.message}`
      const trouble = accountTrouble(
        { ...answer.error, code: answer.error.code ?? null },
        context.accountErrors,
      )
      if (answer.error.status !== 429 || trouble !== null) {
        await record(context, submitting, 'refused', why, { because: why })
        await returnRows(context, submission.number)
        const mend = trouble === null ? '' : `; ${trouble.mend}, then 'tithe resume ${run.id}': its rows wait`
        return `the upstream refused a batch of ${counted.rows} rows: ${why}${mend}`
      }
      const at = askAgainAt(context.now(), answer.headers.retryAfterMs, BACK_OFF_MS)
      await putOff(context, submitting, at, why)
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

/**
 * Holds the upstream's last answer against the organisation and workspace of the run, which are recorded with the first
 * answer. Null when they are the same, or when the upstream never said.
 */
export async function workspaceProblem(context: RunContext): Promise<StopReason> {
  const { deps, run, fence } = context
  const evidence = {
    local: 'accepted',
    found: 'one',
    revealed: 'nothing',
    age: 'fresh',
    human: 'not_asked',
  } as const
  const workspace = context.workspaceSeen(context.workspace)
  if (workspace !== 'same') {
    const { organizationId, workspaceId } = context.workspace
    const { because } = recoveryOf({ ...evidence, workspace })
    return `${because}. The batches of this run are in organisation ${organizationId ?? 'unknown'}, workspace ${workspaceId ?? 'unknown'}: use a key of that workspace`
  }
  if (context.learnWorkspace()) {
    const answer = await deps.store.runs.recordWorkspace(run.id, fence, context.workspace)
    assert(unfenced(answer, run.id) === 'ok', 'what is recorded of a workspace only grows')
  }
  return null
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

/** Nothing was created, and the same may be asked again: the submission is as if it had not been sent. */
async function putOff(
  context: RunContext,
  submission: SubmissionRecord,
  until: Instant | null,
  because: string,
): Promise<void> {
  const unsent = { fingerprint: null, intentAt: null, newestIdBefore: null, serverIntentAt: null }
  await record(context, submission, 'put_off', because, { ...unsent, nextPollAt: until, because })
}

/** The marks that a submission was planned with, without those of entries that are no longer known to live. */
function livingMarks(context: RunContext, submission: SubmissionRecord): MarksByGroup {
  const planned = Object.entries(JSON.parse(submission.marksJson) as MarksByGroup)
  if (submission.kind === 'primer') return Object.fromEntries(planned)
  return Object.fromEntries(planned.filter(([group]) => context.releasedMarks(group).length > 0))
}

/** Rows of a submission that will not be answered may go into a later one. */
export async function returnRows(context: RunContext, submission: number): Promise<number> {
  const { deps, run, fence } = context
  const then = { kind: 'pending', notBefore: null } as const
  return unfenced(await deps.store.runs.returnRows(run.id, fence, submission, then), run.id)
}

/** One step of a submission's state, with its event. */
export async function record(
  context: RunContext,
  submission: SubmissionRecord,
  kind: SubmissionEvent,
  detail: string,
  change: SubmissionChange,
): Promise<void> {
  const { deps, run, fence } = context
  const event = { kind, from: submission.state, at: context.now(), detail }
  const answer = await deps.store.runs.recordEvent(run.id, fence, submission.number, event, change)
  assert(
    unfenced(answer, run.id) === 'ok',
    `submission ${submission.number} is in the state ${submission.state}`,
  )
  context.steps += 1
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
    if (rendered.kind === 'element') {
      for (const piece of rendered.pieces) {
        digest.update(piece)
        sizeBytes += piece.length
      }
      if (rows > 0) sizeBytes += 1
      rows += 1
      continue
    }
    skipped.add(rendered.row.ordinal)
    invalid.push(invalidResult(context, submission.number, rendered.row, rendered.problem))
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

/** The attempt of a row that could not be rendered: its own outcome, nothing sent, nothing paid. */
export function invalidResult(
  context: RunContext,
  submission: number,
  { ordinal, userId }: RowToSend,
  problem: string,
): ResultToRecord {
  return {
    attempt: {
      run: context.run.id,
      submission,
      ordinal,
      customId: customIdFor({ run: context.run.id, submission, ordinal, userId }),
      at: context.now(),
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
        if (rendered.kind === 'element' && !counted.skipped.has(rendered.row.ordinal))
          yield Buffer.concat(rendered.pieces)
      }
      await dateAnew(context, submission)
      // Asked last, before the last bytes leave: a driver that slept on the way may have been taken for dead, and another
      // may have sent these rows by now. Without them nothing is created.
      await context.renewLease()
    },
  }
}

/**
 * A batch cannot exist before the last bytes of its create have left. Where that took long, by a slow upload or a machine that
 * slept, the intent is dated anew just before: when a create was sent decides when it is presumed lost.
 */
async function dateAnew(context: RunContext, submission: SubmissionRecord): Promise<void> {
  const { deps, run, fence } = context
  const now = context.now()
  const takenMs = now - (submission.intentAt ?? now)
  if (takenMs >= 0 && takenMs <= LONG_CREATE_MS) return
  const newest = await deps.upstream.listBatches({ limit: 1 })
  const { date } = newest.headers
  const change = {
    newestIdBefore: newest.first_id,
    serverIntentAt: date,
    // Without the server's time, ours is what its age is reckoned by.
    ...(date === null ? { intentAt: now } : {}),
  }
  unfenced(await deps.store.runs.touchSubmission(run.id, fence, submission.number, change), run.id)
}

/** A row that could not be rendered the first time has its outcome already, and is left out. */
function renderSubmission(context: RunContext, submission: SubmissionRecord) {
  const marks = JSON.parse(submission.marksJson) as MarksByGroup
  const marksOf = (row: RowToSend) => (row.group === null ? null : marks[row.group]) ?? []
  return submissionElements(context.deps, context.run.id, submission.number, marksOf)
}
