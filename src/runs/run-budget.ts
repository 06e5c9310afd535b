import { isOpen } from '../core/batch-state.ts'
import {
  type BudgetAccount,
  type BudgetLimit,
  budgetFor,
  budgetName,
  budgetText,
  expectationOf,
  parseBudget,
  type Reservation,
  type RowToReserve,
  remainingPicoUsd,
  reservationOf,
  reserve,
  type SendingTerms,
} from '../core/budget.ts'
import type { Instant } from '../core/instant.ts'
import { settingsFromJson } from '../core/job.ts'
import type { Catalogue } from '../core/models.ts'
import { formatUsd } from '../core/money.ts'
import type { RunPlan } from '../core/run-plan.ts'
import type { PendingRow, RunRecord, RunStore, SubmissionRecord } from '../stores/store.ts'
import type { MarksByGroup, RunContext } from './run-context.ts'

const PAGE_ROWS = 2_000
/** Of the run's events: a budget that a person set after the job was planned, as `budgetText` writes it. */
export const BUDGET_EVENT = 'budget'

/** The budget that holds for a run: the last that a person set, else the job's; null without one. */
export async function budgetInForce(
  runs: RunStore,
  run: Pick<RunRecord, 'id' | 'settingsJson'>,
): Promise<BudgetLimit | null> {
  const set = (await runs.events(run.id)).findLast(({ kind }) => kind === BUDGET_EVENT)
  if (set !== undefined) return parseBudget(set.detail)
  const { budgetPicoUsd, budgetMode } = settingsFromJson(run.settingsJson)
  return budgetPicoUsd === null ? null : { picoUsd: budgetPicoUsd, mode: budgetMode }
}

/** Puts another budget into force, for this driver and those after it. */
export async function setBudget(runs: RunStore, run: string, limit: BudgetLimit, at: Instant): Promise<void> {
  await runs.addEvent({ run, at, submission: 0, kind: BUDGET_EVENT, detail: budgetText(limit) })
}

/** What a reservation is computed from. */
export interface BudgetScope {
  readonly runs: RunStore
  readonly run: string
  readonly catalogue: Catalogue
  readonly plan: RunPlan
  readonly limit: BudgetLimit
  readonly at: Instant
}

/** Rows that were sent and whose cost is not known. */
export interface Unsettled {
  readonly rows: number
  readonly picoUsd: bigint
  /** Set when one of them has no upper bound. */
  readonly unbounded: Unbounded | null
}

interface Unbounded {
  readonly what: (Reservation & { kind: 'unbounded' })['what']
  readonly row: Pick<PendingRow, 'ordinal' | 'model'>
}

/**
 * What is set aside for the rows of submissions that have no result in them: of those that may still be answered, and, as
 * long as the run lives, of those that are lost. Nobody can know what a lost one cost.
 */
export async function unsettled(
  scope: BudgetScope,
  isMeant: (submission: SubmissionRecord) => boolean,
): Promise<Unsettled> {
  let rows = 0
  let picoUsd = 0n
  let unbounded: Unbounded | null = null
  for (const submission of await scope.runs.submissions(scope.run)) {
    if (!isMeant(submission)) continue
    const { number, kind, marksJson } = submission
    const marks = JSON.parse(marksJson) as MarksByGroup
    const missing = await scope.runs.missingResults(scope.run, number, submission.rows)
    for (let start = 0; start < missing.length; start += PAGE_ROWS) {
      for (const row of await scope.runs.rowsByOrdinal(scope.run, missing.slice(start, start + PAGE_ROWS))) {
        const terms = termsOf(kind === 'realtime', row.group === null ? [] : (marks[row.group] ?? []))
        const reservation = reservationIn(scope, row, terms)
        if (reservation.kind === 'bounded') picoUsd += reservation.picoUsd
        else unbounded ??= { what: reservation.what, row }
        rows += 1
      }
    }
  }
  return { rows, picoUsd, unbounded }
}

export function isLost({ state }: SubmissionRecord): boolean {
  return state === 'lost'
}

export function termsOf(isRealtime: boolean, marks: SendingTerms['marks']): SendingTerms {
  return { tier: isRealtime ? 'standard' : 'batch', marks }
}

function reservationIn(scope: BudgetScope, row: RowToReserve, terms: SendingTerms): Reservation {
  const expected = scope.limit.mode === 'soft' ? expectationOf(scope.plan, terms.tier) : null
  return reservationOf(row, terms, expected, scope.catalogue, scope.at)
}

/** The budget of a run while it chooses what goes next. Without one, everything fits. */
export class RunBudget {
  readonly #context: RunContext
  readonly #scope: BudgetScope | null
  #account: BudgetAccount
  #unbounded: Unbounded | null = null
  /** What the first row that did not fit asked for. */
  #askedPicoUsd = 0n

  private constructor(context: RunContext, scope: BudgetScope | null, account: BudgetAccount) {
    this.#context = context
    this.#scope = scope
    this.#account = account
  }

  /** Sets aside what is under way, and what may have been paid and never will be known. */
  static async open(context: RunContext): Promise<RunBudget> {
    const { deps, run, settings, plan } = context
    const { budgetPicoUsd, budgetMode: mode } = settings
    const account = {
      limitPicoUsd: budgetPicoUsd ?? 0n,
      spentPicoUsd: context.spentPicoUsd,
      reservedPicoUsd: 0n,
    }
    if (budgetPicoUsd === null) return new RunBudget(context, null, account)
    const scope: BudgetScope = {
      runs: deps.store.runs,
      run: run.id,
      catalogue: deps.catalogue,
      plan,
      limit: { picoUsd: budgetPicoUsd, mode },
      at: context.now(),
    }
    const sent = await unsettled(scope, (submission) => isOpen(submission.state) || isLost(submission))
    const budget = new RunBudget(context, scope, { ...account, reservedPicoUsd: sent.picoUsd })
    budget.#unbounded = sent.unbounded
    return budget
  }

  /** Whether the budget bears the row too, with everything before it; then what it may cost is set aside. */
  reserve(row: PendingRow, terms: SendingTerms): boolean {
    if (this.#scope === null) return true
    if (this.#unbounded !== null || this.#context.unpricedRows > 0) return false
    const reservation = reservationIn(this.#scope, row, terms)
    if (reservation.kind === 'unbounded') {
      this.#unbounded = { what: reservation.what, row }
      return false
    }
    const account = reserve(this.#account, reservation.picoUsd)
    if (account === null) this.#askedPicoUsd = reservation.picoUsd
    else this.#account = account
    return account !== null
  }

  /**
   * Why not even one row more can go, and the command that lets the run go on; null without a budget.
   * @param rest every row that is left, to name a budget that is enough for all.
   */
  async refusal(
    rest: AsyncIterable<{ readonly row: PendingRow; readonly terms: SendingTerms }>,
  ): Promise<string | null> {
    const scope = this.#scope
    if (scope === null) return null
    const { run, unpricedRows } = this.#context
    const resume = (limit: BudgetLimit) => {
      const text = budgetText(limit)
      return `'tithe resume ${run.id} --budget ${text.includes(' ') ? `"${text}"` : text}'`
    }
    if (unpricedRows > 0) return `the budget cannot be kept: ${unpricedRows} answers without a price`
    if (this.#unbounded?.what === 'price') {
      return `the budget cannot be kept: ${this.#unbounded.row.model} without a price`
    }
    if (this.#unbounded?.what === 'web_searches') {
      const soft = resume({ ...scope.limit, mode: 'soft' })
      return `the budget cannot be kept: row ${this.#unbounded.row.ordinal + 1} may search the web without max_uses, at a price for each search. Give the tool max_uses and begin again, or let the budget be one of what is expected: ${soft}`
    }
    let rows = 0
    let neededPicoUsd = this.#account.spentPicoUsd + this.#account.reservedPicoUsd
    for await (const { row, terms } of rest) {
      const reservation = reservationIn(scope, row, terms)
      if (reservation.kind === 'unbounded') continue
      rows += 1
      neededPicoUsd += reservation.picoUsd
    }
    const { spentPicoUsd, reservedPicoUsd } = this.#account
    const usually = scope.limit.mode === 'soft' ? 'is expected to cost up to' : 'could cost up to'
    const kept =
      reservedPicoUsd === 0n
        ? ''
        : ` and ${formatUsd(reservedPicoUsd)} kept for rows that were sent and have no result`
    return `the ${budgetName(scope.limit)} is reached: ${formatUsd(spentPicoUsd)} spent${kept}, and the next row ${usually} ${formatUsd(this.#askedPicoUsd)} more, with ${formatUsd(remainingPicoUsd(this.#account))} left; enough for all of the ${rows} rows that remain: ${resume(budgetFor(neededPicoUsd, scope.limit.mode))}`
  }
}
