import { compareUsage, type UsageComparison, type UsageLine } from '../../core/compare-usage.ts'
import { costOf } from '../../core/cost.ts'
import { TitheError } from '../../core/errors.ts'
import { formatCount } from '../../core/figures.ts'
import { instant } from '../../core/instant.ts'
import { type Catalogue, findModel, priceAt } from '../../core/models.ts'
import { formatUsd, moneyFields, type PicoUsd, picoUsd } from '../../core/money.ts'
import type { Usage } from '../../core/usage.ts'
import type { ExportedUsage, UsageCell, UsageClass } from '../../core/usage-export.ts'
import { readUsageExport } from '../../jobs/usage-export-file.ts'
import { catalogueFor } from '../../wiring.ts'
import type { Flags } from '../flags.ts'
import type { Session } from '../session.ts'
import { renderTable } from '../table.ts'

export async function run(session: Session, args: readonly string[], flags: Flags): Promise<number> {
  const file = args[0]!
  const exported = chosen(await readUsageExport(file), flags, file)
  const home = await session.existingHome()
  const certainty = flags['simulated'] === true ? 'simulated' : 'measured'
  const ledger = (await home?.store.runs.usageByDay(certainty)) ?? []
  const catalogue = catalogueFor(null)
  const named = (cells: readonly UsageCell[]) =>
    cells.map((cell) => ({ ...cell, model: findModel(catalogue, cell.model)?.id ?? cell.model }))
  const comparison = compareUsage(named(ledger), named(exported))
  const { terminal } = session
  await terminal.out(
    terminal.json
      ? `${JSON.stringify(comparisonJson(comparison, certainty, catalogue), null, 2)}\n`
      : `${renderComparison(comparison, certainty, catalogue)}\n`,
  )
  const { more_in_ledger: unknown, more_in_export: beyond } = comparison.counts
  return unknown > 0 || (flags['exclusive'] === true && beyond > 0) ? 1 : 0
}

function chosen(exported: readonly ExportedUsage[], flags: Flags, file: string): ExportedUsage[] {
  const { workspace, apiKey } = flags
  const found = exported.filter(
    (one) =>
      (workspace === undefined || one.workspace === workspace) &&
      (apiKey === undefined || one.apiKey === apiKey),
  )
  if (found.length === 0 && exported.length > 0) {
    const names = (of: 'workspace' | 'apiKey') =>
      [...new Set(exported.map((one) => one[of] ?? 'none'))].slice(0, 8).join(', ')
    throw new TitheError('empty_export', `${file} has nothing of that workspace and API key`, {
      hint: `it names the workspaces ${names('workspace')} and the keys ${names('apiKey')}`,
      where: { file },
    })
  }
  return found
}

const WORDS: Readonly<Record<UsageLine['verdict'], string>> = {
  equal: 'equal',
  shifted: 'equal, a day apart',
  more_in_export: 'more in the export',
  more_in_ledger: 'MORE IN THE LEDGER',
  outside: 'not in the export',
}

function renderComparison(comparison: UsageComparison, certainty: string, catalogue: Catalogue): string {
  const { lines, days, counts } = comparison
  if (days === null) return 'the export is empty: nothing to compare'
  const table = renderTable(
    [
      { header: 'day' },
      { header: 'model' },
      { header: 'tier' },
      { header: 'class' },
      { header: 'ledger', align: 'right' },
      { header: 'export', align: 'right' },
      { header: 'difference', align: 'right' },
      { header: '' },
    ],
    lines.map((line) => [
      line.day,
      line.model,
      line.tier,
      line.class,
      formatCount(line.ledger),
      formatCount(line.exported),
      worthText(line, catalogue),
      WORDS[line.verdict],
    ]),
  )
  const compared = lines.length - counts.outside
  const summary = [
    `${certainty}: ${formatCount(counts.equal + counts.shifted)} of ${formatCount(compared)} figures from ${days.first} to ${days.last} are equal${counts.shifted > 0 ? `, ${formatCount(counts.shifted)} of them a day apart (a batch that ran past midnight)` : ''}`,
  ]
  if (counts.more_in_export > 0) {
    summary.push(
      `${formatCount(counts.more_in_export)} are larger in the export: others that use the same workspace, or usage that this home does not know`,
    )
  }
  if (counts.more_in_ledger > 0) {
    summary.push(
      `${formatCount(counts.more_in_ledger)} ARE LARGER IN THE LEDGER: the export is of another workspace or not complete yet, or the ledger is wrong`,
    )
  }
  if (counts.outside > 0)
    summary.push(`${formatCount(counts.outside)} are of days that the export does not reach`)
  return [table, '', ...summary].join('\n')
}

function worthText(line: UsageLine, catalogue: Catalogue): string {
  if (line.verdict !== 'more_in_export' && line.verdict !== 'more_in_ledger') return ''
  const worth = worthOf(line, catalogue)
  return worth === null ? 'unpriced' : formatUsd(worth)
}

const USAGE_FIELDS: Readonly<Record<UsageClass, keyof Usage>> = {
  input: 'inputTokens',
  cache_write_5m: 'cacheWrite5mTokens',
  cache_write_1h: 'cacheWrite1hTokens',
  cache_read: 'cacheReadTokens',
  output: 'outputTokens',
  web_search: 'webSearchRequests',
}

/** What the difference costs at the published price of that day, as small prompts; null without a price. */
function worthOf(line: UsageLine, catalogue: Catalogue): PicoUsd | null {
  const model = findModel(catalogue, line.model)
  const price = model && priceAt(model, instant(Date.parse(line.day)))
  if (!price) return null
  const one: Usage = {
    inputTokens: 0,
    cacheWrite5mTokens: 0,
    cacheWrite1hTokens: 0,
    cacheReadTokens: 0,
    outputTokens: 0,
    webSearchRequests: 0,
    serviceTier: line.tier === 'other' ? 'standard' : line.tier,
    inferenceGeo: null,
    speed: 'standard',
    [USAGE_FIELDS[line.class]]: 1,
  }
  const unit = costOf(one, price, catalogue).totalPicoUsd
  return picoUsd(unit * BigInt(Math.abs(line.ledger - line.exported)))
}

function comparisonJson(comparison: UsageComparison, certainty: string, catalogue: Catalogue) {
  return {
    schema: 'tithe.reconcile/1',
    certainty,
    days: comparison.days,
    counts: comparison.counts,
    lines: comparison.lines.map((line) => ({
      day: line.day,
      model: line.model,
      tier: line.tier,
      class: line.class,
      ledger: line.ledger,
      exported: line.exported,
      verdict: line.verdict,
      ...moneyFields('difference', worthOf(line, catalogue)),
    })),
    price_book: catalogue.version,
  }
}
