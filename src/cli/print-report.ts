import { parseResultLine } from '../core/answer.ts'
import { InvoiceCheck, type InvoiceComparison } from '../core/compare-invoice.ts'
import { parseCustomId, withoutSlug } from '../core/custom-id.ts'
import { TitheError } from '../core/errors.ts'
import { compareForecast, type ForecastComparison, forecastJson, type Measured } from '../core/forecast.ts'
import type { Catalogue } from '../core/models.ts'
import { moneyFields } from '../core/money.ts'
import { parsePlanJson } from '../core/plan-json.ts'
import { type Report, reportJson } from '../core/report.ts'
import { type BudgetReport, ledgerOf, reportBudget, reportRun } from '../runs/report-run.ts'
import { resultRecords } from '../runs/result-rows.ts'
import type { RunRecord, Store } from '../stores/store.ts'
import { localInvoice, type OpenUpstream } from '../wiring.ts'
import { renderReport } from './render-report.ts'
import type { Session } from './session.ts'

/** Prints what a run cost: as `tithe.report/1` under `--json`, else for a person. Both are data and go to stdout. */
export async function printReport(
  session: Session,
  runId: string,
  catalogue: Catalogue,
  local: OpenUpstream['local'],
): Promise<void> {
  const { store, dir, clock } = await session.home()
  const run = (await store.runs.findRuns(runId)).find((one) => one.id === runId)!
  const plan = parsePlanJson(run.planJson)
  const report = await reportRun(run.id, plan, store.runs, catalogue)
  const compared = compareForecast(plan, measuredOf(report))
  const invoice =
    run.upstreamKind === 'local'
      ? await compareInvoice(run, store, local?.invoice() ?? localInvoice(dir))
      : null
  const budget = await reportBudget(run, plan, store.runs, catalogue, report, clock.now())
  const { terminal } = session
  await terminal.out(
    terminal.json
      ? `${JSON.stringify(runReportJson(run, report, plan.chosen, compared, invoice, budget), null, 2)}\n`
      : `${renderReport(run, report, plan, compared, invoice, budget)}\n`,
  )
}

/**
 * The lines of this run, by their custom_ids: the local service keeps one invoice for all that was ever asked of it. A
 * batch of the run that its ledger does not know, such as one presumed lost, was paid for all the same. A realtime call
 * is invoiced under its message's id, which the stored answer has: of a forgotten run it cannot be told. Slugs are left
 * out: they are decoration, and forgotten first.
 */
export async function compareInvoice(
  run: RunRecord,
  store: Store,
  lines: ReturnType<NonNullable<OpenUpstream['local']>['invoice']>,
): Promise<InvoiceComparison | null> {
  const submissions = await store.runs.submissions(run.id)
  const realtime = new Set(submissions.filter((one) => one.kind === 'realtime').map((one) => one.number))
  if (run.forgottenAt !== null && realtime.size > 0) return null
  const messageIds = await realtimeMessageIds(run.id, store, realtime)
  const ofRun = new Set(messageIds.values())
  const check = new InvoiceCheck()
  try {
    for await (const line of lines) {
      if (ofRun.has(line.customId) || parseCustomId(line.customId)?.run === run.id) {
        check.addLine({ ...line, customId: withoutSlug(line.customId) })
      }
    }
  } catch (error) {
    // A run in another process has the local service open: the report comes without the comparison.
    if (error instanceof TitheError && error.code === 'local_file_in_use') return null
    throw error
  }
  for await (const entry of ledgerOf(run.id, store.runs)) {
    const customId = entry.upstreamBatchId === null ? messageIds.get(entry.customId) : undefined
    check.addEntry({ ...entry, customId: customId ?? withoutSlug(entry.customId) })
  }
  return check.comparison()
}

/** The ids of the messages that answered realtime calls, by the custom_id of their row. */
async function realtimeMessageIds(
  run: string,
  store: Store,
  realtime: ReadonlySet<number>,
): Promise<Map<string, string>> {
  const ids = new Map<string, string>()
  if (realtime.size === 0) return ids
  for await (const { attempt } of resultRecords(store, run)) {
    if (attempt === null || attempt.result === null || !realtime.has(attempt.submission)) continue
    const bytes = await store.bodies.read(attempt.result)
    const id = parseResultLine(Buffer.from(bytes).toString('utf8'))?.message?.['id']
    if (typeof id === 'string') ids.set(attempt.customId, id)
  }
  return ids
}

/** A run has answers of one certainty only. */
function measuredOf({ bills: [bill] }: Report): Measured {
  if (bill === undefined)
    return { rows: 0, rowsThatRead: 0, promptTokens: 0, outputTokens: 0, costPicoUsd: null }
  const { input, cache_write_5m, cache_write_1h, cache_read, output } = bill.quantities
  return {
    rows: bill.entries,
    rowsThatRead: bill.cache.read,
    promptTokens: input + cache_write_5m + cache_write_1h + cache_read,
    outputTokens: output,
    costPicoUsd: bill.unpriced.entries > 0 ? null : bill.costPicoUsd,
  }
}

function runReportJson(
  run: RunRecord,
  report: Report,
  route: string,
  compared: ForecastComparison,
  invoice: InvoiceComparison | null,
  budget: BudgetReport | null,
) {
  return {
    ...reportJson(report),
    run: run.id,
    job: run.name,
    state: run.state,
    upstream: run.upstream,
    route,
    budget: budget && {
      mode: budget.limit.mode,
      ...moneyFields('limit', budget.limit.picoUsd),
      ...moneyFields('spent', budget.spentPicoUsd),
      ...moneyFields('overshoot', budget.overshootPicoUsd),
      ...moneyFields('overshoot_by_duplicates', budget.byDuplicatesPicoUsd),
      ...moneyFields('overshoot_by_bounds', budget.byBoundsPicoUsd),
      rows_of_unknown_cost: budget.lost.rows,
      ...moneyFields('unknown_cost_reserved', budget.lost.unbounded === null ? budget.lost.picoUsd : null),
    },
    against_plan: forecastJson(compared, report.bills[0]?.certainty ?? null),
    cache_hit_rate: report.bills[0]?.cache.hitRate ?? null,
    ledger_equals_invoice: invoice?.equal ?? null,
    invoice: invoice && { entries: invoice.entries, lines: invoice.lines, differences: invoice.differences },
  }
}
