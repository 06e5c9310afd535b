import { budgetName } from '../core/budget.ts'
import type { InvoiceComparison } from '../core/compare-invoice.ts'
import { formatCount, formatPercent } from '../core/figures.ts'
import { type ForecastComparison, forecastText } from '../core/forecast.ts'
import { formatUsd } from '../core/money.ts'
import type { Bill, Report } from '../core/report.ts'
import type { RunPlan } from '../core/run-plan.ts'
import type { BudgetReport } from '../runs/report-run.ts'
import type { RunRecord } from '../stores/store.ts'
import { routeText } from './render-plan.ts'
import { renderTable } from './table.ts'

/** A report for a person: what was done, what it cost and saved, how true the forecast was. */
export function renderReport(
  run: RunRecord,
  report: Report,
  plan: RunPlan,
  compared: ForecastComparison,
  invoice: InvoiceComparison | null,
  budget: BudgetReport | null,
): string {
  const { rows } = report
  const parts = [
    `run ${run.id} · ${run.name} · ${run.state} · ${run.upstream}`,
    `${formatCount(rows.rows)} ${rows.rows === 1 ? 'row' : 'rows'}: ${outcomes(report)}`,
  ]
  if (report.accuracy !== null) {
    const chance = run.upstreamKind === 'local' ? '; the answers are simulated, so this is chance' : ''
    parts.push(`${accuracyLine(report)}${chance}`)
  }
  for (const bill of report.bills) parts.push('', renderBill(bill, plan))
  if (report.forecast !== null) {
    const { forecast, actualPicoUsd, error, within } = report.forecast
    const band = `${formatUsd(forecast.low)} to ${formatUsd(forecast.high)}`
    parts.push(
      `forecast ${formatUsd(forecast.best)} (${band}), paid ${formatUsd(actualPicoUsd)}${error === null ? '' : `: ${signed(error)}`}, ${within ? 'inside' : 'outside'} the band`,
    )
  }
  parts.push(`${report.bills[0]?.certainty ?? 'measured'}: ${forecastText(compared)}`)
  if (budget !== null) parts.push(...budgetLines(budget))
  if (invoice !== null) {
    parts.push(
      invoice.equal
        ? `the ledger equals the upstream's invoice: ${formatCount(invoice.lines)} rows, every token class`
        : `the ledger DIFFERS from the upstream's invoice: ${invoice.differences.join('; ')}`,
    )
  }
  parts.push(`computed from usage with price book ${report.priceBook}`)
  return parts.join('\n')
}

function outcomes(report: Report): string {
  const { rows } = report
  const named = [
    [rows.succeeded, 'succeeded'],
    [rows.errored, 'errored'],
    [rows.canceled, 'canceled'],
    [rows.expired, 'expired'],
    [rows.invalid, 'invalid'],
    [rows.unretrievable, 'unretrievable (cost unknown)'],
    [rows.refused, 'of them refused'],
    [rows.truncated, 'of them truncated'],
    [rows.schemaInvalid, 'of them not valid under the schema'],
    [rows.unfinished, 'of them unfinished (paused in a server tool)'],
  ] as const
  return named
    .filter(([rowCount]) => rowCount > 0)
    .map(([rowCount, what]) => `${formatCount(rowCount)} ${what}`)
    .join(', ')
}

function budgetLines({
  limit,
  spentPicoUsd,
  overshootPicoUsd,
  byDuplicatesPicoUsd,
  byBoundsPicoUsd,
  lost,
}: BudgetReport): string[] {
  const causes = [
    [byDuplicatesPicoUsd, 'by answers to submissions that should not have existed'],
    [byBoundsPicoUsd, 'by answers that cost more than was set aside for them'],
  ] as const
  const why = causes
    .filter(([amount]) => amount > 0n)
    .map(([amount, cause]) => `${formatUsd(amount)} ${cause}`)
    .join(', ')
  const lines = [
    `${budgetName(limit)}: ${formatUsd(spentPicoUsd)} spent, overshoot ${formatUsd(overshootPicoUsd)}${why === '' ? '' : `: ${why}`}`,
  ]
  if (lost.rows > 0) {
    const most = lost.unbounded === null ? `; ${formatUsd(lost.picoUsd)} stay set aside for them` : ''
    lines.push(`${formatCount(lost.rows)} rows were sent and lost: what they cost is unknown${most}`)
  }
  return lines
}

function accuracyLine(report: Report): string {
  const of = (accuracy: NonNullable<Report['accuracy']>) =>
    `${formatPercent(accuracy.mean)} (${formatCount(accuracy.right)} of ${formatCount(accuracy.scored)} wholly right)`
  const byModel =
    report.models.length < 2
      ? ''
      : ` · ${report.models.map((model) => `${model.model} ${model.accuracy === null ? '–' : formatPercent(model.accuracy.mean)}`).join(' · ')}`
  return `accuracy ${of(report.accuracy!)}${byModel}`
}

function renderBill(bill: Bill, plan: RunPlan): string {
  const lines = bill.lines.filter((line) => line.quantity > 0)
  const table = renderTable(
    [
      { header: 'model' },
      { header: 'tier' },
      { header: 'class' },
      { header: 'tokens', align: 'right' },
      { header: 'cost', align: 'right' },
    ],
    lines.map((line) => [
      line.model,
      line.tier,
      line.class,
      formatCount(line.quantity),
      line.costPicoUsd === null ? 'unpriced' : formatUsd(line.costPicoUsd),
    ]),
  )
  const total = bill.costPicoUsd === null ? 'unpriced' : formatUsd(bill.costPicoUsd)
  const realtime =
    bill.realtimePicoUsd === null || bill.savings === null
      ? ''
      : `; in realtime without a cache ${formatUsd(bill.realtimePicoUsd)}: saved ${formatPercent(bill.savings)}`
  const hits =
    bill.cache.hitRate === null
      ? 'nothing was marked'
      : `${formatPercent(bill.cache.hitRate)} of ${formatCount(bill.cache.marked)} marked rows read the cache`
  const unpriced =
    bill.unpriced.entries === 0
      ? []
      : [`unpriced: ${formatCount(bill.unpriced.entries)} answers of ${bill.unpriced.models.join(', ')}`]
  const further = bill.further.map(
    ({ after, attempts, costPicoUsd }) =>
      `${formatUsd(costPicoUsd)} for ${formatCount(attempts)} ${AFTER[after]}`,
  )
  return [
    table,
    `${bill.certainty}: ${total}${realtime}`,
    ...(further.length === 0 ? [] : [`of it for further attempts: ${further.join(', ')}`]),
    `cache: ${hits} (route: ${routeText(plan.chosen)})`,
    ...unpriced,
  ].join('\n')
}

const AFTER: Readonly<Record<Bill['further'][number]['after'], string>> = {
  truncated: 'after truncated answers',
  refused: 'after refusals',
  schema_invalid: 'after answers not valid under the schema',
  unfinished: 'that continued a pause',
}

function signed(error: number): string {
  return `${error >= 0 ? '+' : '−'}${formatPercent(Math.abs(error))}`
}
