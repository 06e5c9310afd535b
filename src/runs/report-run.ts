import { type BudgetOutcome, budgetOutcome } from '../core/budget.ts'
import type { Instant } from '../core/instant.ts'
import type { LedgerEntry } from '../core/ledger.ts'
import type { Catalogue } from '../core/models.ts'
import { picoUsd } from '../core/money.ts'
import { type Bill, type Report, ReportFold } from '../core/report.ts'
import type { RunPlan } from '../core/run-plan.ts'
import type { RunRecord, RunStore } from '../stores/store.ts'
import { budgetInForce, isLost, type Unsettled, unsettled } from './run-budget.ts'

const PAGE_ROWS = 1_000

/** Everything that a run paid for and what became of its rows, against what its plan said. */
export async function reportRun(
  run: string,
  plan: RunPlan,
  runs: RunStore,
  catalogue: Catalogue,
): Promise<Report> {
  const fold = new ReportFold(catalogue)
  let after = -1
  for (;;) {
    const page = await runs.resultsPage(run, after, PAGE_ROWS)
    if (page.length === 0) break
    const again = page.flatMap(({ row }) => (row.attempts > 1 ? [row.ordinal] : []))
    const attempts = Map.groupBy(
      again.length === 0 ? [] : await runs.attemptsOf(run, again),
      (attempt) => attempt.ordinal,
    )
    for (const { row, attempt, entries } of page) {
      fold.addAttempts(
        (attempts.get(row.ordinal) ?? []).map((one) => ({
          ...one,
          entry: entries.find((entry) => entry.submission === one.submission) ?? null,
        })),
      )
      if (row.outcome === null) continue
      fold.addRow({
        model: row.model,
        outcome: row.outcome,
        stopReason: attempt?.stopReason ?? null,
        schemaValid: attempt?.schemaValid ?? null,
        score: attempt?.score ?? null,
      })
    }
    after = page.at(-1)!.row.ordinal
  }
  for await (const entry of ledgerOf(run, runs)) fold.addEntry(entry)
  return fold.report(plan.routes.find((route) => route.route === plan.chosen)?.cost ?? null)
}

/** The ledger of a run, by submission and row. */
export async function* ledgerOf(run: string, runs: RunStore): AsyncGenerator<LedgerEntry> {
  let after: { submission: number; ordinal: number } | null = null
  for (;;) {
    const page: LedgerEntry[] = await runs.ledgerPage(run, after, PAGE_ROWS)
    if (page.length === 0) return
    yield* page
    after = page.at(-1)!
  }
}

/** How the run's budget was kept, and what is set aside for what was lost on the way; null without a budget. */
export async function reportBudget(
  run: RunRecord,
  plan: RunPlan,
  runs: RunStore,
  catalogue: Catalogue,
  { bills }: Report,
  at: Instant,
): Promise<BudgetReport | null> {
  const limit = await budgetInForce(runs, run)
  if (limit === null) return null
  const sum = (amount: (bill: Bill) => bigint | null) =>
    picoUsd(bills.reduce((total, bill) => total + (amount(bill) ?? 0n), 0n))
  const outcome = budgetOutcome(
    limit,
    sum((bill) => bill.costPicoUsd),
    sum((bill) => bill.duplicatesPicoUsd),
  )
  return { ...outcome, lost: await unsettled({ runs, run: run.id, catalogue, plan, limit, at }, isLost) }
}

export interface BudgetReport extends BudgetOutcome {
  /** Rows that were sent and whose cost will never be known. */
  readonly lost: Unsettled
}
