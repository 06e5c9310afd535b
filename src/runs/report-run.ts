import type { LedgerEntry } from '../core/ledger.ts'
import type { Catalogue } from '../core/models.ts'
import { type Report, ReportFold } from '../core/report.ts'
import type { RunPlan } from '../core/run-plan.ts'
import type { RunStore } from '../stores/store.ts'

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
    for (const { row, attempt } of page) {
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
