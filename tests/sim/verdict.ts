import { parseCustomId } from '../../src/core/custom-id.ts'
import { type Instant, plusMs } from '../../src/core/instant.ts'
import type { JobSettings } from '../../src/core/job.ts'
import { ledgerOf } from '../../src/runs/report-run.ts'
import type { AttemptRecord, RunRecord } from '../../src/stores/store.ts'
import type { InvoiceLine } from '../../src/upstreams/local/invoice.ts'
import type { World } from './harness.ts'
import type { Watch } from './watch.ts'

// What must hold when everything is over, whatever happened on the way.

export interface RunToJudge {
  readonly id: string
  readonly rows: number
  readonly settings: JobSettings
  /** Whether a user canceled it. */
  readonly isCanceled: boolean
  /** Whether it waits for a human for good: what is done must be right, and not everything is done. */
  readonly isStuck: boolean
  /** When its last driver said that it is over, by the upstream's clock. */
  readonly overAt: Instant | null
}

export interface Circumstances {
  /** Realtime answers of all runs that may be invoiced and in no ledger: lost ones, and those under way in a crash. */
  readonly lostMax: number
  /** Batches whose results could not be read any more. */
  readonly gone: ReadonlySet<string>
  /**
   * Whether the upstream did not say whose batches it shows, and for a while showed another workspace's: a human who goes on
   * then gives up batches that are there.
   */
  readonly isBlind: boolean
  /** Whether a create landed after it may be presumed lost: nothing else makes an answer be paid for twice unasked. */
  readonly landedTooLate: boolean
}

export interface Verdict {
  readonly violations: readonly string[]
  /** Ledger entries of answers that were paid for a second time. */
  readonly duplicates: number
  /** Further answers to a row that a policy of the job has asked for. */
  readonly furtherAnswers: number
  /** Batches that landed after the run that sent them was over. */
  readonly tooLate: number
}

export async function judge(
  world: World,
  runs: readonly RunToJudge[],
  watch: Watch,
  circumstances: Circumstances,
): Promise<Verdict> {
  const violations: string[] = []
  let duplicates = 0
  let furtherAnswers = 0
  const invoice = await invoiceOf(world)
  for (const run of runs) {
    const record = (await world.store.runs.findRuns(run.id))[0]!
    const found = await judgeRun(world, run, record, invoice, watch, circumstances)
    violations.push(...found.violations.map((violation) => `${run.id}: ${violation}`))
    duplicates += found.duplicates
    furtherAnswers += found.furtherAnswers
  }

  const tooLate = new Set<string>()
  for (const line of invoice.batchLines.values()) {
    const batchId = line.batchId!
    const run = runs.find((one) => one.id === parseCustomId(line.customId)?.run)
    // What a run that waits for a human has not read yet is in no ledger yet.
    if (run === undefined || run.isStuck) continue
    const givenUp = (await world.store.runs.submissions(run.id)).some(
      (one) => one.state === 'lost' && one.upstreamBatchId === batchId,
    )
    if (circumstances.isBlind && givenUp) continue
    const createdAt = Date.parse((await world.local.retrieveBatch(batchId))?.batch.created_at ?? '')
    if (run.overAt !== null && createdAt > run.overAt) tooLate.add(batchId)
    else if (!circumstances.gone.has(batchId)) {
      violations.push(`invoiced without a ledger entry: ${batchId} ${line.customId}`)
    }
  }
  const lost = [...invoice.realtimeLines.values()].reduce((sum, count) => sum + count, 0)
  if (lost > circumstances.lostMax) {
    violations.push(`${lost} realtime answers were lost; at most ${circumstances.lostMax} could be`)
  }
  return { violations, duplicates, furtherAnswers, tooLate: tooLate.size }
}

/** Lines are taken out as ledger entries are found for them; what remains has none. */
interface Invoice {
  readonly batchLines: Map<string, InvoiceLine>
  /** Realtime calls are invoiced by the id of their message: their figures are what can be matched. */
  readonly realtimeLines: Map<string, number>
}

async function invoiceOf(world: World): Promise<Invoice> {
  const batchLines = new Map<string, InvoiceLine>()
  const realtimeLines = new Map<string, number>()
  for await (const line of world.local.invoice()) {
    if (line.batchId !== null) batchLines.set(`${line.batchId} ${line.customId}`, line)
    else realtimeLines.set(figuresOf(line), (realtimeLines.get(figuresOf(line)) ?? 0) + 1)
  }
  return { batchLines, realtimeLines }
}

async function judgeRun(
  world: World,
  run: RunToJudge,
  record: RunRecord,
  invoice: Invoice,
  watch: Watch,
  { gone, isBlind, landedTooLate }: Circumstances,
) {
  const violations: string[] = []
  const { runs } = world.store
  const submissions = await runs.submissions(run.id)
  const records = await runs.rowsPage(run.id, -1, run.rows + 1)
  if (records.length !== run.rows) violations.push(`${records.length} rows of ${run.rows}`)

  for (const { number, state, upstreamBatchId } of submissions) {
    if (!run.isStuck && !['ingested', 'refused', 'lost'].includes(state))
      violations.push(`submission ${number} is ${state}`)
    const owner = upstreamBatchId === null ? run.id : watch.owners.get(upstreamBatchId)
    if (owner !== run.id)
      violations.push(`submission ${number} has taken batch ${upstreamBatchId} of ${owner}`)
    if (state === 'lost' && upstreamBatchId !== null && !gone.has(upstreamBatchId) && !isBlind) {
      violations.push(`submission ${number} was given up, and the results of its batch are there`)
    }
  }

  const duplicateSubmissions = new Set(submissions.filter((one) => one.isDuplicate).map((one) => one.number))
  const attempts = new Map<number, AttemptRecord[]>()
  for (const attempt of watch.attempts) {
    if (attempt.run !== run.id || duplicateSubmissions.has(attempt.submission)) continue
    attempts.set(attempt.ordinal, [...(attempts.get(attempt.ordinal) ?? []), attempt])
  }
  let furtherAnswers = 0
  for (const row of records) {
    const { ordinal, state, outcome } = row
    const own = attempts.get(ordinal) ?? []
    if (!run.isStuck && (state !== 'done' || outcome === null))
      violations.push(`row ${ordinal} is ${state}, ${outcome}`)
    if (!run.isCanceled && outcome === 'canceled') violations.push(`row ${ordinal} is canceled, unasked`)
    let used = 0
    for (const [index, attempt] of own.entries()) {
      const isLast = index === own.length - 1
      // A pause is continued, and no failure.
      const isPaused = attempt.stopReason === 'pause_turn'
      if (!isPaused) used += 1
      const next = isPaused ? 'may' : nextOf(attempt, used, run.settings)
      if (!isLast && next === 'never') {
        violations.push(
          `row ${ordinal} was sent again after ${attempt.outcome} ${attempt.stopReason ?? attempt.errorType}`,
        )
      }
      if (!isLast && attempt.outcome === 'succeeded') furtherAnswers += 1
      const isOver = run.isCanceled || run.isStuck || outcome === 'unretrievable'
      if (isLast && next === 'must' && !isOver) {
        violations.push(`row ${ordinal} is ${outcome} after ${used} attempts of ${run.settings.maxAttempts}`)
      }
    }
  }

  const events = await runs.events(run.id)
  const { withinMs } = run.settings
  const firstIntentAt = submissions.find((one) => one.intentAt !== null)?.intentAt ?? null
  if (withinMs !== null && firstIntentAt !== null && !record.planJson.includes('"chosen":"realtime')) {
    const deadlineAt = plusMs(firstIntentAt, withinMs)
    const late = records.filter(
      ({ ordinal }) => (attempts.get(ordinal)?.at(-1)?.at ?? deadlineAt) > deadlineAt,
    )
    const isAnnounced = events.some((event) => event.kind === 'deadline_missed')
    if (late.length > 0 && !isAnnounced && !run.isCanceled) {
      violations.push(`${late.length} rows came after the deadline, and nobody was told`)
    }
  }

  let duplicates = 0
  const paid = new Set<string>()
  for await (const entry of ledgerOf(run.id, runs)) {
    const figures = figuresOf({ ...entry.usage, model: entry.model })
    if (entry.kind === 'duplicate') duplicates += 1
    if (entry.upstreamBatchId === null) {
      const left = invoice.realtimeLines.get(figures) ?? 0
      if (left === 0)
        violations.push(`${entry.customId} is in the ledger without its invoice line: ${figures}`)
      else invoice.realtimeLines.set(figures, left - 1)
    } else {
      const key = `${entry.upstreamBatchId} ${entry.customId}`
      const line = invoice.batchLines.get(key)
      invoice.batchLines.delete(key)
      if (line === undefined) violations.push(`${key} is in the ledger without its invoice line`)
      else if (figuresOf(line) !== figures)
        violations.push(`${key}: ${figures} is invoiced as ${figuresOf(line)}`)
    }
    // An attempt is one row of one intent; its custom_id says which.
    const attempt = entry.customId
    if (entry.kind === 'paid' && paid.has(attempt)) violations.push(`${attempt} was paid for twice`)
    if (entry.kind === 'paid') paid.add(attempt)
  }
  const isAsked = run.settings.withinMs !== null && run.settings.onDeadline === 'pay_twice'
  if (duplicates > 0 && !landedTooLate && !isAsked) {
    violations.push(`${duplicates} answers were paid for twice without need`)
  }
  const succeeded = [...attempts.values()].flat().filter((attempt) => attempt.outcome === 'succeeded').length
  if (paid.size !== succeeded) violations.push(`${paid.size} paid entries for ${succeeded} answers`)
  if (record.finishedAt === null && !run.isStuck) violations.push(`the run is ${record.state}`)
  return { violations, duplicates, furtherAnswers }
}

const HOPELESS = ['invalid_request_error', 'not_found_error', 'request_too_large']
/** Sent again once a person has mended the account. */
const OF_THE_ACCOUNT = ['authentication_error', 'permission_error', 'billing_error']

/** Whether a row goes into a later batch after this attempt, by the job's own policy: written apart from the driver's. */
function nextOf(attempt: AttemptRecord, attempts: number, settings: JobSettings): 'must' | 'may' | 'never' {
  if (OF_THE_ACCOUNT.includes(attempt.errorType ?? '')) return 'may'
  // What a batch has not done because it was canceled for the deadline, or ran out of time then, is no failure of the row.
  const isNotDone = attempt.outcome === 'canceled' || attempt.outcome === 'expired'
  if (isNotDone && settings.withinMs !== null) return 'may'
  if (attempts >= settings.maxAttempts) return 'never'
  switch (attempt.outcome) {
    case 'expired':
      return 'must'
    case 'errored':
      return HOPELESS.includes(attempt.errorType ?? '') ? 'never' : 'must'
    case 'succeeded': {
      const policy =
        attempt.stopReason === 'max_tokens'
          ? settings.onTruncated
          : attempt.stopReason === 'refusal'
            ? settings.onRefused
            : attempt.schemaValid === false
              ? settings.onSchemaInvalid
              : 'keep'
      return policy === 'retry' ? 'may' : 'never'
    }
    default:
      return 'never'
  }
}

function figuresOf(of: {
  readonly model: string
  readonly inputTokens: number
  readonly cacheWrite5mTokens: number
  readonly cacheWrite1hTokens: number
  readonly cacheReadTokens: number
  readonly outputTokens: number
}): string {
  const { model, inputTokens, cacheWrite5mTokens, cacheWrite1hTokens, cacheReadTokens, outputTokens } = of
  return JSON.stringify([
    model,
    inputTokens,
    cacheWrite5mTokens,
    cacheWrite1hTokens,
    cacheReadTokens,
    outputTokens,
  ])
}
