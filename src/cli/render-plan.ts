import { createColors } from 'picocolors'
import { formatBytes, formatCount, formatPercent } from '../core/figures.ts'
import { DAY_MS, formatDuration, HOUR_MS, MINUTE_MS } from '../core/instant.ts'
import { certaintyText } from '../core/measured.ts'
import { formatUsd, type PicoUsd } from '../core/money.ts'
import type { Band, GroupPlan, RoutePlan, RunPlan } from '../core/run-plan.ts'
import { renderTable, wrapText } from './table.ts'

export interface PlanView {
  readonly colour: boolean
  /** Columns of the terminal. */
  readonly width: number
  /** Adds the table of other models. */
  readonly allModels: boolean
}

const WIDTH_MAX = 110
/** Groups beyond these are summed up: a job may have thousands. */
const GROUPS_SHOWN = 6
const INDENT = 2

/** A plan for the terminal. Everything that colour says is also said in words. */
export function renderPlan(plan: RunPlan, view: PlanView): string {
  const width = Math.min(view.width, WIDTH_MAX)
  const paint = createColors(view.colour)
  const section = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : ['', paint.bold(title), ...lines]
  const text = (line: string) => wrapText(line, width - INDENT).map((part) => ' '.repeat(INDENT) + part)
  const chosen = plan.routes.find((route) => route.route === plan.chosen)!

  return [
    ...wrapText(`${paint.bold(plan.job)} · ${plan.models.join(', ')} · ${settingsText(plan)}`, width),
    ...sizes(plan).flatMap(text),
    ...section('Cache marks', marks(plan).flatMap(text)),
    ...section('Template', template(plan, width)),
    ...section(`Waves, ${plural(plan.batches, 'batch', 'batches')}`, waves(plan, width)),
    ...section('Routes', [routes(plan, paint), ...routeNotes(plan).flatMap(text)]),
    ...section('Chosen', [
      ...chosenLines(plan, chosen)
        .flatMap(text)
        .map((line) => paint.green(line)),
      ...expectedParts(chosen),
    ]),
    ...section('As a marked batch, by hit rate', plan.counting === 'stated' ? hitRates(plan) : []),
    ...section('Other models', view.allModels ? models(plan, width) : []),
    ...section(
      'Problems',
      plan.problems.flatMap((problem) => {
        const hint = problem.hint === null ? '' : ` (${problem.hint})`
        const line = `${problem.severity}: ${problem.message}${hint}`
        return text(line).map((part) => (problem.severity === 'error' ? paint.red(part) : paint.yellow(part)))
      }),
    ),
  ].join('\n')
}

function settingsText(plan: RunPlan): string {
  return plan.settings
    .map(
      ({ apiVersion, betas }) => `api ${apiVersion}${betas.length === 0 ? '' : ` with ${betas.join(', ')}`}`,
    )
    .join('; ')
}

const COUNTING: Readonly<Record<RunPlan['counting'], string>> = {
  stated: 'as stated in the job',
  exact: 'every text counted',
  sampled: 'counted from a sample, so the band is wider',
}

function sizes(plan: RunPlan): string[] {
  const invalid =
    plan.invalidRows === 0 ? '' : `, and ${plural(plan.invalidRows, 'invalid row', 'invalid rows')} left out`
  const bytes = plan.requestBytes === null ? '' : ` · ${formatBytes(plan.requestBytes)} of requests`
  const output =
    plan.outputTokens.source === 'unknown'
      ? `output unknown, at most ${formatCount(plan.outputTokens.high)} tokens (max_tokens)`
      : `${bandText(plan.outputTokens)} output tokens (${plan.outputTokens.source})`
  return [
    `${plural(plan.rows, 'row', 'rows')}${invalid}${bytes}`,
    `${bandText(plan.promptTokens)} prompt tokens (${COUNTING[plan.counting]}) · ${output}`,
  ]
}

function marks(plan: RunPlan): string[] {
  const distinct = plural(plan.sharedPrefixes, 'distinct shared prefix', 'distinct shared prefixes')
  const largest = [...plan.groups].sort((a, b) => b.rows - a.rows)
  const shown = largest.slice(0, GROUPS_SHOWN).map(groupText)
  const rest = largest.slice(GROUPS_SHOWN)
  const more = rest.reduce((sum, group) => sum + group.rows, 0)
  return [
    distinct,
    ...shown,
    ...(rest.length === 0
      ? []
      : [`and ${formatCount(rest.length)} more groups with ${formatCount(more)} rows`]),
  ]
}

function groupText(group: GroupPlan): string {
  const at = group.marks.map((mark) => `${mark.path} (${mark.ttl})`).join(' and ')
  const what = group.marks.length === 0 ? 'no mark of ours' : `mark ${at}${group.prime ? ', primed' : ''}`
  return `${plural(group.rows, 'row', 'rows')} of ${group.model}: ${what}: ${withRouteTexts(group.because)}`
}

function template(plan: RunPlan, width: number): string[] {
  if (plan.template === null) return []
  return [
    renderTable(
      [{ header: 'part' }, { header: 'is' }, { header: 'bytes', align: 'right' }, { header: '' }],
      plan.template.parts.map((part) => [
        part.path,
        part.kind,
        part.bytes === null ? '' : formatCount(part.bytes),
        part.note ?? '',
      ]),
      { width, indent: INDENT },
    ),
  ]
}

function waves(plan: RunPlan, width: number): string[] {
  if (plan.waves.length === 0) return []
  return [
    renderTable(
      [{ header: 'wave' }, { header: 'rows', align: 'right' }, { header: '' }],
      plan.waves.map((wave, i) => [`${i + 1} ${wave.kind}`, formatCount(wave.rows), wave.because]),
      { width, indent: INDENT },
    ),
  ]
}

function routes(plan: RunPlan, paint: ReturnType<typeof createColors>): string {
  const atMost = plan.outputTokens.source === 'unknown' ? '≤ ' : ''
  return renderTable(
    [
      { header: '' },
      { header: 'route' },
      { header: 'expected', align: 'right' },
      { header: 'saved', align: 'right' },
      { header: 'hits', align: 'right' },
      { header: 'if all/none read', align: 'right' },
      { header: 'median', align: 'right' },
      { header: 'p95', align: 'right' },
      { header: 'latest', align: 'right' },
      { header: 'worst', align: 'right' },
    ],
    plan.routes.map((route) => {
      const chosen = route.route === plan.chosen
      const cells = [
        chosen ? '→' : route.refused === null ? '' : '✗',
        routeText(route.route),
        route.cost === null ? 'unpriced' : atMost + formatUsd(route.cost.best),
        route.savings === null ? '–' : formatPercent(route.savings),
        route.hitRate === null ? '–' : formatPercent(route.hitRate.expected),
        extremeText(route),
        shortDuration(route.finishMs.median),
        shortDuration(route.finishMs.p95),
        shortDuration(route.finishMs.latest),
        moneyText(route.worstCase),
      ]
      const style = chosen ? paint.green : route.refused === null ? (cell: string) => cell : paint.dim
      return cells.map((cell) => (cell === '' ? cell : style(cell)))
    }),
  )
}

function extremeText(route: RoutePlan): string {
  if (route.extreme === null || route.costAtExtreme === null || route.hitRate === null) return '–'
  return `${route.extreme === 'every row reads' ? 'all' : 'none'} ${formatUsd(route.costAtExtreme)}`
}

function routeNotes(plan: RunPlan): string[] {
  const hits = plan.routes.flatMap(({ hitRate }) => (hitRate === null ? [] : certaintyText(hitRate)))
  const notes = [
    'saved: against realtime without a cache, at the expected cost; worst: nothing is read, every prompt at its upper estimate, answers up to max_tokens',
  ]
  if (hits.length > 0)
    notes.push(
      `hits: share of the rows that read from the cache, ${[...new Set(hits)].join(' or ')} until this job has been measured`,
    )
  for (const [bottleneck, names] of Map.groupBy(plan.routes, (route) => route.bottleneck)) {
    notes.push(`limited by ${bottleneck}: ${names.map(({ route }) => routeText(route)).join(', ')}`)
  }
  if (/measured|simulated/.test(plan.batchLatencies))
    notes.push(`finish times of batches: by ${plan.batchLatencies}`)
  if (plan.routes.some((route) => !route.zeroDataRetention)) {
    notes.push('any batch: not eligible for zero data retention')
  }
  for (const [reason, names] of Map.groupBy(plan.routes, (route) => route.refused)) {
    if (reason !== null) notes.push(`✗ ${names.map(({ route }) => routeText(route)).join(', ')}: ${reason}`)
  }
  return notes
}

function chosenLines(plan: RunPlan, chosen: RoutePlan): string[] {
  const lines = [`${routeText(plan.chosen)}: ${withRouteTexts(plan.chosenBecause)}`]
  if (chosen.cost !== null && chosen.cost.low !== chosen.cost.high) {
    lines.push(
      `${formatUsd(chosen.cost.low)} to ${formatUsd(chosen.cost.high)} over the bands of tokens, output and hits together`,
    )
  }
  if (chosen.hitRate !== null)
    lines.push(
      `hits ${formatPercent(chosen.hitRate.expected)} (${certaintyText(chosen.hitRate)}): ${chosen.hitRate.why}`,
    )
  return lines
}

/** What the expected cost is the mean of; nothing when only one thing can happen. */
function expectedParts({ expectedParts: parts }: RoutePlan): string[] {
  if (parts.length < 2) return []
  return [
    renderTable(
      [
        { header: 'share', align: 'right' },
        { header: 'if all did', align: 'right' },
        { header: 'the mean of' },
      ],
      parts.map(({ what, share, cost }) => [formatPercent(share), formatUsd(cost), what]),
      { indent: INDENT },
    ),
  ]
}

function hitRates(plan: RunPlan): string[] {
  if (plan.hitRates.length === 0) return []
  return [
    renderTable(
      [
        { header: 'hits', align: 'right' },
        { header: '5m', align: 'right' },
        { header: '1h', align: 'right' },
      ],
      plan.hitRates.map(({ hitRate, cost5m, cost1h }) => [
        `${Math.round(hitRate * 100)} %`,
        formatUsd(cost5m),
        formatUsd(cost1h),
      ]),
      { indent: INDENT },
    ),
  ]
}

function models(plan: RunPlan, width: number): string[] {
  return [
    renderTable(
      [
        { header: 'model' },
        { header: 'best route' },
        { header: 'expected', align: 'right' },
        { header: 'prompt tokens', align: 'right' },
        { header: '' },
      ],
      plan.alternatives.map((other) => [
        other.model,
        routeText(other.route),
        moneyText(other.cost?.best ?? null),
        formatCount(other.promptTokens.best),
        [other.note, ...other.wouldRefuse.map((reason) => `would refuse: ${reason}`)]
          .filter(Boolean)
          .join('; '),
      ]),
      { width, indent: INDENT },
    ),
  ]
}

export function routeText(route: string): string {
  return route.replace('realtime_cache', 'realtime + cache').replaceAll('_', ' ')
}

/** Reasons name routes as data does. */
function withRouteTexts(reason: string): string {
  return reason.replace(/\b(realtime|batch)_\w+/g, routeText)
}

function moneyText(amount: PicoUsd | null): string {
  return amount === null ? 'unpriced' : formatUsd(amount)
}

function bandText({ low, best, high }: Band<number>): string {
  return low === high
    ? formatCount(best)
    : `${formatCount(best)} (${formatCount(low)} to ${formatCount(high)})`
}

/** `45s`, `7m`, `2h40m`, `3d`: columns are narrow. */
function shortDuration(ms: number): string {
  if (ms >= 2 * DAY_MS && ms % DAY_MS < HOUR_MS) return `${Math.floor(ms / DAY_MS)}d`
  return formatDuration(ms < MINUTE_MS ? ms : Math.ceil(ms / MINUTE_MS) * MINUTE_MS)
    .replaceAll(' ', '')
    .replace('min', 'm')
}

function plural(value: number, one: string, many: string): string {
  return `${formatCount(value)} ${value === 1 ? one : many}`
}
