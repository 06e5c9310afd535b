import { compareUsage, type UsageComparison, type UsageFigure, type Worth } from '../../core/compare-usage.ts'
import { TitheError } from '../../core/errors.ts'
import { formatCount } from '../../core/figures.ts'
import { formatUsd, moneyFields } from '../../core/money.ts'
import { rowsOf, type UsageExport } from '../../core/usage-export.ts'
import { readUsageExport } from '../../jobs/usage-export-file.ts'
import { catalogueFor } from '../../wiring.ts'
import type { Flags } from '../flags.ts'
import type { Session } from '../session.ts'
import { renderTable } from '../table.ts'

interface Reconciled {
  readonly file: string
  readonly exported: UsageExport
  readonly only: { readonly workspace: string | null; readonly apiKey: string | null }
  readonly certainty: 'measured' | 'simulated'
  readonly exclusive: boolean
  /** Entries of another certainty. */
  readonly leftOut: number
  readonly compared: UsageComparison
}

export async function run(session: Session, [file]: readonly string[], flags: Flags): Promise<number> {
  const named = (flag: string) => (typeof flags[flag] === 'string' ? flags[flag] : null)
  const only = { workspace: named('workspace'), apiKey: named('apiKey') }
  const exclusive = flags['exclusive'] === true
  const certainty = flags['simulated'] === true ? 'simulated' : 'measured'
  const exported = rowsOf(await readUsageExport(file!), only, { file: file! })
  const home = await session.existingHome()
  const all = home === null ? [] : await home.store.runs.ledgerUsage()
  const ledger = all.filter((one) => one.certainty === certainty)
  const leftOut = all.reduce((sum, one) => sum + (one.certainty === certainty ? 0 : one.entries), 0)
  const compared = compareUsage(ledger, exported, catalogueFor(null))
  if (compared.entries === 0) throw nothingToCompare(exported, certainty, compared.outside.entries, leftOut)
  const reconciled: Reconciled = { file: file!, exported, only, certainty, exclusive, leftOut, compared }
  const { terminal } = session
  await terminal.out(
    terminal.json
      ? `${JSON.stringify(reconciledJson(reconciled), null, 2)}\n`
      : `${renderReconciled(reconciled)}\n`,
  )
  return isAgreed(reconciled) ? 0 : 1
}

function isAgreed({ compared: { days }, exclusive }: Reconciled): boolean {
  return !days.some(({ result }) => result === 'more_in_ledger' || (exclusive && result === 'more_in_export'))
}

function nothingToCompare(
  { firstDay, lastDay }: UsageExport,
  certainty: string,
  outside: number,
  leftOut: number,
): TitheError {
  if (outside > 0) {
    return new TitheError(
      'nothing_to_compare',
      `all ${formatCount(outside)} ${certainty} entries of the ledger lie outside ${firstDay} to ${lastDay}, which the export covers`,
      { hint: 'export the days of your runs' },
    )
  }
  return new TitheError('nothing_to_compare', `the ledger of this home has no ${certainty} entries`, {
    hint:
      certainty === 'measured' && leftOut > 0
        ? `${formatCount(leftOut)} are of the local upstream, which nobody bills: --simulated compares them all the same`
        : 'choose the home of your runs with --home',
  })
}

const RESULT_TEXT = {
  agrees: 'agrees',
  shifted: 'shifted',
  more_in_ledger: 'more in the ledger',
  more_in_export: 'more in the export',
} as const

const FIGURES = [
  { header: 'model' },
  { header: 'tier' },
  { header: 'class' },
  { header: 'ledger', align: 'right' },
  { header: 'export', align: 'right' },
  { header: 'worth', align: 'right' },
  { header: '' },
] as const

function renderReconciled(reconciled: Reconciled): string {
  const { file, exported, only, certainty, leftOut, compared } = reconciled
  const { totals, days, outside } = compared
  const told = days.filter((figure) => figure.result !== 'agrees')
  const workspace = only.workspace === null ? '' : `, workspace ${only.workspace}`
  const key = only.apiKey === null ? '' : `, API key ${only.apiKey}`
  const lines = [
    `${file}: ${exported.firstDay} to ${exported.lastDay} (UTC)${workspace}${key}`,
    `ledger: ${formatCount(compared.entries)} ${certainty} entries${certainty === 'simulated' ? ', which nobody bills' : ''}`,
    '',
    renderTable(FIGURES, totals.map(figureCells)),
  ]
  if (told.length > 0) {
    const columns = [{ header: 'day' }, ...FIGURES]
    const rows = told.map((figure) => [figure.day!, ...figureCells(figure)])
    lines.push('', 'days that do not agree at once:', renderTable(columns, rows, { indent: 2 }))
  }
  lines.push('')
  if (told.some((figure) => figure.result === 'shifted')) {
    lines.push(
      'shifted: batches ran across midnight, so their rows may count on either day; together the days agree',
    )
  }
  if (leftOut > 0) {
    const others = certainty === 'measured' ? 'that nobody billed' : 'that were measured or assumed'
    lines.push(`left out: ${formatCount(leftOut)} entries ${others}`)
  }
  if (outside.entries > 0 || outside.tokens > 0) {
    lines.push(
      `not compared: ${formatCount(outside.entries)} entries before or after the export, and what may stand there: ${formatCount(outside.tokens)} tokens`,
    )
  }
  return [...lines, ...verdict(reconciled)].join('\n')
}

function figureCells({
  model,
  tier,
  class: name,
  ledger,
  export: counted,
  worth,
  result,
}: UsageFigure): string[] {
  const differs = result === 'more_in_ledger' || result === 'more_in_export'
  // A total in which one day makes up for another.
  const isEvened = differs && (result === 'more_in_ledger' ? ledger <= counted : ledger >= counted)
  return [
    model,
    tier,
    name.replaceAll('_', ' '),
    formatCount(ledger),
    formatCount(counted),
    differs ? worthText(worth) : '',
    isEvened ? `${RESULT_TEXT[result]} on some days` : RESULT_TEXT[result],
  ]
}

function verdict({ compared, exported, exclusive }: Reconciled): string[] {
  const { days, moreInLedger, moreInExport } = compared
  const lacking = days.filter((figure) => figure.result === 'more_in_ledger')
  const others = days.filter((figure) => figure.result === 'more_in_export')
  const lines: string[] = []
  if (lacking.length > 0) {
    lines.push(
      `more in the ledger: ${figures(lacking.length)}, worth ${worthText(moreInLedger)}: the export lacks what the ledger claims`,
    )
    if (lacking.some((figure) => figure.day === exported.lastDay)) {
      lines.push(`  ${exported.lastDay} is the last day of the export and may be incomplete: export it again`)
    }
  }
  if (others.length > 0) {
    const meaning = exclusive
      ? 'the ledger lacks what was counted'
      : 'other programs, or answers that the ledger lacks'
    lines.push(`more in the export: ${figures(others.length)}, worth ${worthText(moreInExport)}: ${meaning}`)
  }
  return lines.length === 0 ? ['every figure agrees'] : lines
}

function figures(count: number): string {
  return `${formatCount(count)} ${count === 1 ? 'figure' : 'figures'}`
}

function worthText(worth: Worth | null): string {
  if (worth === null) return 'unpriced'
  const { lowPicoUsd, highPicoUsd } = worth
  return lowPicoUsd === highPicoUsd
    ? formatUsd(lowPicoUsd)
    : `${formatUsd(lowPicoUsd)} to ${formatUsd(highPicoUsd)}`
}

function reconciledJson(reconciled: Reconciled) {
  const { file, exported, only, certainty, exclusive, leftOut, compared } = reconciled
  const worthJson = <Name extends string>(name: Name, worth: Worth | null) => ({
    ...moneyFields(`${name}_low`, worth?.lowPicoUsd ?? null),
    ...moneyFields(`${name}_high`, worth?.highPicoUsd ?? null),
  })
  const figureJson = ({ worth, day, ...figure }: UsageFigure) => ({
    ...(day === null ? {} : { day }),
    ...figure,
    ...worthJson('worth', worth),
  })
  return {
    schema: 'tithe.reconcile/1',
    file,
    format: exported.format,
    first_day: exported.firstDay,
    last_day: exported.lastDay,
    workspace: only.workspace,
    api_key: only.apiKey,
    exclusive,
    certainty,
    agrees: isAgreed(reconciled),
    result: compared.result,
    entries: compared.entries,
    left_out_entries: leftOut,
    outside_entries: compared.outside.entries,
    outside_tokens: compared.outside.tokens,
    ...worthJson('more_in_ledger', compared.moreInLedger),
    ...worthJson('more_in_export', compared.moreInExport),
    totals: compared.totals.map(figureJson),
    days: compared.days.map(figureJson),
  }
}
