import { flawOf } from '../core/answer.ts'
import { type RowToReserve, reservationOf } from '../core/budget.ts'
import { groupOf } from '../core/cache-plan.ts'
import type { RowDescriber, RowDescription } from '../core/describe-row.ts'
import { type Problem, TitheError } from '../core/errors.ts'
import { type Instant, instant } from '../core/instant.ts'
import { type JobSettings, settingsFromJson, settingsToJson } from '../core/job.ts'
import type { Catalogue } from '../core/models.ts'
import { type PicoUsd, picoUsd } from '../core/money.ts'
import { parsePlanJson } from '../core/plan-json.ts'
import { type InputRow, type InvalidRow, nameOf } from '../core/rows.ts'
import type { RunPlan } from '../core/run-plan.ts'
import type { Clock } from '../runtime/runtime.ts'
import type {
  NewRow,
  PendingRow,
  ReopenedRow,
  ResultRecord,
  RunRecord,
  RunState,
  Store,
} from '../stores/store.ts'
import { refuseForgotten } from './forgotten.ts'
import { holdRun, type LeaseDeps } from './lease.ts'
import type { PlannableJob } from './plan-run.ts'
import { StoreSink, sizesOf } from './prepare.ts'
import { isRecovering } from './recovery-events.ts'
import { isWanted, resultRecords } from './result-rows.ts'
import { RETRY_EVENT } from './retry-events.ts'
import { termsOf } from './run-budget.ts'
import { unfenced } from './run-context.ts'
import { timeOfRun } from './steady-clock.ts'

// A person has rows of a run sent again: within the run, by the job as it is now. They become pending, and whoever drives
// the run sends them; what their earlier attempts answered and cost stays.

const CHUNK_ROWS = 1_000
const PROBLEMS_SHOWN = 20
const FROM_STATES: readonly RunState[] = ['finished', 'canceled', 'stopped']

/** Which rows, and what they are rendered from. */
export interface RetryOrder {
  readonly run: RunRecord
  /** As `results --only`; null: all without a usable answer, but unretrievable ones, for these may have been paid for. */
  readonly only: string | null
  /** null: they go out as they are stored. */
  readonly job: Pick<PlannableJob, 'settings' | 'rows'> | null
}

/** What would be sent again. */
export interface RetrySurvey {
  readonly rows: number
  /** By what they ended as, in the words of `only`. */
  readonly kinds: ReadonlyMap<string, number>
  /** Chosen, and as little to be sent as before. */
  readonly stillInvalid: number
  /** Left alone, for they may have been paid for. */
  readonly unretrievable: number
  /** Of a run that was stopped: rows that were not sent yet, and go out with them. */
  readonly pending: number
  /** For one answer each, pending ones included; null when one of them has no upper bound. */
  readonly worstPicoUsd: PicoUsd | null
}

/** @throws `not_over`, `forgotten`, `half_recovered`: no row of this run can be sent again. */
export async function checkRetryable(run: RunRecord, store: Store): Promise<void> {
  refuseForgotten(run)
  if (!FROM_STATES.includes(run.state)) {
    throw new TitheError('not_over', `run ${run.id} is ${run.state}: its rows are not sent again yet`, {
      hint: run.state === 'running' ? `'tithe resume ${run.id}' ends it` : 'begin it again',
    })
  }
  const kinds = new Set((await store.runs.events(run.id)).map((event) => event.kind))
  if (isRecovering(kinds)) {
    throw new TitheError('half_recovered', `the batches of run ${run.id} are not all known`, {
      hint: "'tithe recover' goes on where it stopped",
    })
  }
}

/**
 * Reads the job and looks at every row that was chosen. Changes nothing.
 * @throws `row_gone`: the job has one of them no longer. `invalid_rows`: one of them cannot be sent any more.
 */
export async function surveyRetry(
  store: Store,
  order: RetryOrder,
  describer: RowDescriber,
  catalogue: Catalogue,
  at: Instant,
): Promise<RetrySurvey> {
  const plan = parsePlanJson(order.run.planJson)
  const { withinMs, onDeadline } = settingsFromJson(order.run.settingsJson)
  // A deadline may turn any of them into a realtime call.
  const isRealtime = plan.chosen.startsWith('realtime') || (withinMs !== null && onDeadline !== 'announce')
  const kinds = new Map<string, number>()
  const problems: Problem[] = []
  let rows = 0
  let stillInvalid = 0
  let unsendable = 0
  let worst: bigint | null = 0n
  const add = (row: RowToReserve, group: string | null): void => {
    const marks = plan.groups.find((one) => one.group === group)?.marks ?? []
    const reservation = reservationOf(row, termsOf(isRealtime, marks), null, catalogue, at)
    worst = worst === null || reservation.kind === 'unbounded' ? null : worst + reservation.picoUsd
  }
  for await (const { record, look } of chosenRows(store, order, describer)) {
    if (look.kind === 'unsendable') {
      if (record.row.invalidProblem !== null) stillInvalid += 1
      else {
        unsendable += 1
        if (unsendable <= PROBLEMS_SHOWN) problems.push(...look.problems)
      }
      continue
    }
    rows += 1
    const kind = kindOf(record)
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    if (look.kind === 'stored') add({ ...record.row, revision: null }, record.row.group)
    else add({ ...sizesOf(look.described), revision: null }, groupIn(plan, prefixesOf(look.described)))
  }
  if (unsendable > 0) {
    throw new TitheError('invalid_rows', `${unsendable} rows that were chosen can no longer be sent`, {
      hint: 'mend the job; nothing was changed',
      problems,
    })
  }
  let pending = 0
  for await (const row of pendingRows(store, order.run.id)) {
    pending += 1
    add(row, row.group)
  }
  const unretrievable = order.only === null ? (await store.runs.counts(order.run.id)).unretrievable : 0
  const worstPicoUsd = worst === null ? null : picoUsd(worst)
  return { rows, kinds, stillInvalid, unretrievable, pending, worstPicoUsd }
}

/** Also those that wait for their next attempt. */
async function* pendingRows({ runs }: Store, run: string): AsyncGenerator<PendingRow> {
  let after: PendingRow | null = null
  for (;;) {
    const page: PendingRow[] = await runs.pendingRows(
      run,
      instant(Number.MAX_SAFE_INTEGER),
      after,
      CHUNK_ROWS,
    )
    if (page.length === 0) return
    yield* page
    after = page.at(-1)!
  }
}

/**
 * Makes the chosen rows pending and the run one that can be driven. A crash in the middle leaves a run that `resume` ends,
 * with the rows that were reached. Answers how many there are.
 * @throws as `checkRetryable` and `surveyRetry`; `run_held`.
 */
export async function reopenRows(
  deps: LeaseDeps & { readonly clock: Clock },
  order: RetryOrder,
  describer: RowDescriber,
): Promise<number> {
  const { store } = deps
  const { runs } = store
  const { id } = order.run
  return holdRun(id, deps, async (fence) => {
    const run = (await runs.findRuns(id)).find((one) => one.id === id)!
    await checkRetryable(run, store)
    const plan = parsePlanJson(run.planJson)
    const at = await timeOfRun(id, store, deps.clock)
    const detail = order.only === null ? 'rows without a usable answer' : `rows that are ${order.only}`
    await runs.addEvent({ run: id, at, submission: 0, kind: RETRY_EVENT, detail })
    unfenced(
      await runs.setRunState(id, fence, { from: FROM_STATES, to: 'running', stopReason: null, at }),
      id,
    )
    if (order.job !== null) {
      const settings = askedBy(order.job.settings, settingsFromJson(run.settingsJson))
      unfenced(await runs.saveSettings(id, fence, settingsToJson(settings)), id)
    }
    let reopened = 0
    const reopen = async (rows: readonly ReopenedRow[]) => {
      const answer = unfenced(await runs.reopenRows(id, fence, rows), id)
      reopened += answer
      return 'ok' as const
    }
    const replaced = (row: NewRow): ReopenedRow => ({
      ordinal: row.ordinal,
      replacement: { row, group: groupIn(plan, JSON.parse(row.prefixesJson) as string[]) },
    })
    const sink = new StoreSink(store, id, fence, (rows) => reopen(rows.map(replaced)))
    let stored: ReopenedRow[] = []
    for await (const { record, look } of chosenRows(store, order, describer)) {
      if (look.kind === 'rendered') await sink.add(look.input, look.described, null)
      if (look.kind !== 'stored') continue
      stored.push({ ordinal: record.row.ordinal, replacement: null })
      if (stored.length < CHUNK_ROWS) continue
      await reopen(stored)
      stored = []
    }
    await sink.end()
    await reopen(stored)
    return reopened
  })
}

/** What is asked and how answers are judged is the job's as it is now; money, time and place are the run's. */
function askedBy(job: JobSettings, run: JobSettings): JobSettings {
  const { models, apiVersion, betas, outputSchema, expect } = job
  const { maxAttempts, onTruncated, onRefused, onSchemaInvalid } = job
  const asked = { models, apiVersion, betas, outputSchema, expect }
  return { ...run, ...asked, maxAttempts, onTruncated, onRefused, onSchemaInvalid }
}

type Look =
  | { readonly kind: 'stored' }
  | { readonly kind: 'rendered'; readonly input: InputRow; readonly described: RowDescription }
  | { readonly kind: 'unsendable'; readonly problems: readonly Problem[] }

/**
 * The chosen rows, each with what the job makes of it. Rows are found by their id, wherever they stand in the job now.
 * @throws `row_gone`, at the end, when the job has one no longer that was sent before.
 */
async function* chosenRows(
  store: Store,
  { run, only, job }: RetryOrder,
  describer: RowDescriber,
): AsyncGenerator<{ readonly record: ResultRecord; readonly look: Look }> {
  if (job === null) {
    for await (const record of resultRecords(store, run.id)) {
      if (isChosen(record, only)) yield { record, look: lookAtStored(record) }
    }
    return
  }
  const recordOf = async (ordinal: number) => (await store.runs.resultsPage(run.id, ordinal - 1, 1))[0]!
  const places = await ChosenPlaces.of(store, run.id, only)
  for await (const input of job.rows()) {
    const ordinal = places.take(input)
    if (ordinal === null) continue
    yield { record: await recordOf(ordinal), look: lookAt({ ...input, ordinal }, describer) }
  }
  for (const ordinal of places.left()) {
    const record = await recordOf(ordinal)
    if (record.row.invalidProblem === null) throw rowGone(record)
    yield { record, look: { kind: 'unsendable', problems: [] } }
  }
}

function rowGone({ row }: ResultRecord): TitheError {
  return new TitheError(
    'row_gone',
    `row ${row.ordinal + 1}, '${row.userId}', was chosen, and the job has no such row any more`,
    { hint: 'rows are found by their ids: put it back, or choose others with --only' },
  )
}

export function isChosen(record: ResultRecord, only: string | null): boolean {
  if (only !== null) return isWanted(record, only)
  const kind = kindOf(record)
  return kind !== 'succeeded' && kind !== 'unretrievable'
}

function kindOf({ row, attempt }: ResultRecord): string {
  return (attempt === null ? null : flawOf(attempt)) ?? row.outcome!
}

/** A row that never could be rendered has nothing that could be sent. */
function lookAtStored({ row }: ResultRecord): Look {
  return row.invalidProblem === null ? { kind: 'stored' } : { kind: 'unsendable', problems: [] }
}

function lookAt(input: InputRow | InvalidRow, describer: RowDescriber): Look {
  if (input.kind === 'invalid') return { kind: 'unsendable', problems: input.problems }
  const described = describer.describe(input)
  const errors = described.problems.filter((one) => one.severity === 'error')
  return errors.length > 0 ? { kind: 'unsendable', problems: errors } : { kind: 'rendered', input, described }
}

function prefixesOf(described: RowDescription): string[] {
  return described.profile.prefixes.map((prefix) => prefix.hash)
}

/** Null where the prefix is none of those that the plan has marks for: the row goes out unmarked. */
function groupIn(plan: RunPlan, prefixes: readonly string[]): string | null {
  return groupOf(plan, prefixes)?.group ?? null
}

/** Where chosen rows stand in the run, by their ids. A job over several models has a row of the same id for each. */
class ChosenPlaces {
  /** How many rows of the run have an id, chosen or not. */
  readonly #rowsOfId = new Map<string, number>()
  readonly #chosen = new Map<string, number>()
  /** Chosen rows whose id could not be read, by their place. */
  readonly #unnamed = new Map<number, string>()
  readonly #seen = new Map<string, number>()

  static async of(store: Store, run: string, only: string | null): Promise<ChosenPlaces> {
    const places = new ChosenPlaces()
    for (let after = -1; ; ) {
      const page = await store.runs.resultsPage(run, after, CHUNK_ROWS)
      if (page.length === 0) return places
      for (const record of page) places.#add(record, record.row.outcome !== null && isChosen(record, only))
      after = page.at(-1)!.row.ordinal
    }
  }

  #add({ row }: ResultRecord, isChosen: boolean): void {
    const { ordinal, userId, invalidProblem } = row
    const key = nextKey(this.#rowsOfId, userId)
    if (!isChosen) return
    this.#chosen.set(key, ordinal)
    if (invalidProblem !== null && userId === nameOf({ userId: null, ordinal }))
      this.#unnamed.set(ordinal, key)
  }

  /** The ordinal in the run of a row of the job, once; null for one that was not chosen. Rows come in the job's order. */
  take(input: InputRow | InvalidRow): number | null {
    const id = nameOf(input)
    const named = nextKey(this.#seen, id)
    // One that had no id is the row in its place now, if that is no other row of the run.
    const key = this.#rowsOfId.has(id) ? named : (this.#unnamed.get(input.ordinal) ?? named)
    const ordinal = this.#chosen.get(key) ?? null
    this.#chosen.delete(key)
    return ordinal
  }

  left(): Iterable<number> {
    return this.#chosen.values()
  }
}

/** Tells rows of one id apart by their order. */
function nextKey(counts: Map<string, number>, id: string): string {
  const nth = counts.get(id) ?? 0
  counts.set(id, nth + 1)
  return `${nth} ${id}`
}
