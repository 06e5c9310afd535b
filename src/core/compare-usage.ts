import { USAGE_CLASSES, type UsageCell, type UsageClass } from './usage-export.ts'

// The ledger against the provider's own account, by day, model, tier and class. Rows of a batch are worked on between its
// creation and its end; the ledger enters them on the day of its end. So what the ledger has on one day may stand in the
// export on the day before: such a difference is a shift and no difference.

/**
 * more_in_ledger is the alarming one: usage that we entered and the provider does not know. more_in_export is normal where
 * others use the same workspace. outside: the export does not reach that day.
 */
export type UsageVerdict = 'equal' | 'shifted' | 'more_in_export' | 'more_in_ledger' | 'outside'

export interface UsageLine {
  readonly day: string
  readonly model: string
  readonly tier: UsageCell['tier']
  readonly class: UsageClass
  readonly ledger: number
  readonly exported: number
  readonly verdict: UsageVerdict
}

export interface UsageComparison {
  /** By model, tier, class and day; where both have nothing there is no line. */
  readonly lines: readonly UsageLine[]
  /** The first and last day of the export; null when it is empty. */
  readonly days: { readonly first: string; readonly last: string } | null
  readonly counts: Readonly<Record<UsageVerdict, number>>
}

/** @param exported with the days that the export covers, also those without usage. */
export function compareUsage(ledger: readonly UsageCell[], exported: readonly UsageCell[]): UsageComparison {
  const days = exported.map((cell) => cell.day).sort()
  const [first, last] = [days[0], days.at(-1)]
  const lines: UsageLine[] = []
  for (const series of seriesOf(ledger, exported)) {
    let surplus = { day: '', left: 0, line: -1 }
    for (const point of series.points) {
      const isOutside = first === undefined || last === undefined || point.day < first || point.day > last
      const missing = point.ledger - point.exported
      const covered = missing > 0 && surplus.day === dayBefore(point.day) && surplus.left >= missing
      const verdict: UsageVerdict = isOutside
        ? 'outside'
        : missing === 0
          ? 'equal'
          : missing < 0
            ? 'more_in_export'
            : covered
              ? 'shifted'
              : 'more_in_ledger'
      if (covered && !isOutside && surplus.left === missing) {
        lines[surplus.line] = { ...lines[surplus.line]!, verdict: 'shifted' }
      }
      lines.push({ ...series.of, ...point, verdict })
      surplus = { day: point.day, left: Math.max(0, -missing), line: lines.length - 1 }
    }
  }
  const counts = { equal: 0, shifted: 0, more_in_export: 0, more_in_ledger: 0, outside: 0 }
  for (const { verdict } of lines) counts[verdict] += 1
  return { lines, days: first === undefined || last === undefined ? null : { first, last }, counts }
}

interface Series {
  readonly of: Pick<UsageLine, 'model' | 'tier' | 'class'>
  readonly points: readonly Pick<UsageLine, 'day' | 'ledger' | 'exported'>[]
}

function seriesOf(ledger: readonly UsageCell[], exported: readonly UsageCell[]): Series[] {
  const sums = new Map<
    string,
    { of: Series['of']; days: Map<string, { ledger: number; exported: number }> }
  >()
  const add = (cells: readonly UsageCell[], side: 'ledger' | 'exported') => {
    for (const { day, model, tier, quantities } of cells) {
      for (const name of USAGE_CLASSES) {
        if (quantities[name] === 0) continue
        const key = `${model}\n${tier}\n${USAGE_CLASSES.indexOf(name)}`
        let sum = sums.get(key)
        if (sum === undefined) {
          sum = { of: { model, tier, class: name }, days: new Map() }
          sums.set(key, sum)
        }
        const at = sum.days.get(day) ?? { ledger: 0, exported: 0 }
        at[side] += quantities[name]
        sum.days.set(day, at)
      }
    }
  }
  add(ledger, 'ledger')
  add(exported, 'exported')
  return [...sums]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { of, days }]) => ({
      of,
      points: [...days]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([day, { ledger: entered, exported: told }]) => ({ day, ledger: entered, exported: told })),
    }))
}

function dayBefore(day: string): string {
  const at = new Date(`${day}T00:00:00Z`)
  at.setUTCDate(at.getUTCDate() - 1)
  return at.toISOString().slice(0, 10)
}
