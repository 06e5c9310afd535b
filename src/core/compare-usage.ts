import { costOf } from './cost.ts'
import { DAY_MS, type Instant, instant, parseTimestamp, utcDay } from './instant.ts'
import type { Certainty } from './ledger.ts'
import { type Catalogue, findModel, priceAt } from './models.ts'
import { type PicoUsd, picoUsd, ZERO_USD } from './money.ts'
import { emptyQuantities, type Quantities, quantitiesOf } from './report.ts'
import type { BilledQuantities, Usage } from './usage.ts'
import type { UsageExport } from './usage-export.ts'

// The ledger of a home held against the provider's own count, by UTC day, model, tier and class. The row-by-row
// comparison with an invoice is compare-invoice.ts; here both sides are sums, and others may use the workspace as well.

const CLASSES = Object.keys(emptyQuantities()) as (keyof Quantities)[]

/**
 * Entries of all runs added up: those of one certainty, model and tier that the provider can have counted on the same
 * days. A row of a batch was answered at some instant between the batch's creation and its end, which one is never told;
 * a realtime answer has the instant of its entry.
 */
export interface LedgerUsage {
  readonly certainty: Certainty
  readonly model: string
  readonly tier: Usage['serviceTier']
  /** UTC days. */
  readonly firstDay: string
  readonly lastDay: string
  readonly entries: number
  readonly quantities: Readonly<Quantities>
}

/** An entry with what is known of when it was answered: the ledger alone has the instant at which it was written. */
export interface Answered extends BilledQuantities {
  readonly certainty: Certainty
  readonly model: string
  readonly serviceTier: Usage['serviceTier']
  readonly at: Instant
  /** Of its submission; null where there was no batch. */
  readonly createdAt: Instant | null
  readonly endedAt: Instant | null
}

/** Adds up a ledger of any length. */
export class UsageFold {
  readonly #sums = new Map<string, LedgerUsage & { entries: number; readonly quantities: Quantities }>()

  add(answered: Answered): void {
    const { certainty, model, serviceTier: tier, at, createdAt, endedAt } = answered
    // By two clocks: what ended after it was read ended when it was read, and began no later.
    const last = Math.min(at, endedAt ?? at)
    const lastDay = Math.floor(last / DAY_MS)
    const firstDay = Math.floor(Math.min(last, createdAt ?? at) / DAY_MS)
    const key = `${certainty} ${tier} ${firstDay} ${lastDay} ${model}`
    let sum = this.#sums.get(key)
    if (sum === undefined) {
      const days = {
        firstDay: utcDay(instant(firstDay * DAY_MS)),
        lastDay: utcDay(instant(lastDay * DAY_MS)),
      }
      sum = { certainty, model, tier, ...days, entries: 0, quantities: emptyQuantities() }
      this.#sums.set(key, sum)
    }
    sum.entries += 1
    const more = quantitiesOf(answered)
    for (const name of CLASSES) sum.quantities[name] += more[name]
  }

  sums(): LedgerUsage[] {
    return [...this.#sums.values()]
  }
}

/**
 * agrees: the same number on the day on which everything ended. shifted: the same number once batches that ran across
 * midnight are counted on the earlier of their days. more_in_ledger: the ledger claims what the export lacks, whatever
 * the days of its batches. more_in_export: others, or answers that the ledger does not know.
 */
export type UsageResult = 'agrees' | 'shifted' | 'more_in_ledger' | 'more_in_export'

/** What a difference is worth at the price book, by the price bands of the model. */
export interface Worth {
  readonly lowPicoUsd: PicoUsd
  readonly highPicoUsd: PicoUsd
}

export interface UsageFigure {
  /** UTC; null in a total. */
  readonly day: string | null
  readonly model: string
  readonly tier: string
  readonly class: keyof Quantities
  /** Tokens, or searches. */
  readonly ledger: number
  readonly export: number
  readonly result: UsageResult
  /** Of the difference; null when unpriced. */
  readonly worth: Worth | null
}

export interface UsageComparison {
  /** Entries with a day inside the export. */
  readonly entries: number
  /** Entries with all their days outside, and tokens that may stand on a day outside: neither is compared. */
  readonly outside: { readonly entries: number; readonly tokens: number }
  /** By model, tier and class, over all days. */
  readonly totals: readonly UsageFigure[]
  /** By day, model, tier and class. */
  readonly days: readonly UsageFigure[]
  readonly result: UsageResult
  /** All differences of one direction; null where one of them is unpriced. */
  readonly moreInLedger: Worth | null
  readonly moreInExport: Worth | null
}

/** Model ids meet through the catalogue: an alias in one and a snapshot in the other are the same model. */
export function compareUsage(
  ledger: readonly LedgerUsage[],
  exported: Pick<UsageExport, 'firstDay' | 'lastDay' | 'rows'>,
  catalogue: Catalogue,
): UsageComparison {
  const { firstDay, lastDay } = exported
  const idOf = (name: string) => findModel(catalogue, name)?.id ?? name
  const inside = ledger.filter((one) => one.firstDay <= lastDay && one.lastDay >= firstDay)
  const keyOf = (one: { model: string; tier: string }) => JSON.stringify([idOf(one.model), one.tier])
  const claims = Map.groupBy(inside, keyOf)
  const counted = Map.groupBy(exported.rows, keyOf)

  const days: UsageFigure[] = []
  const totals: UsageFigure[] = []
  const entriesOf = (all: readonly LedgerUsage[]) => all.reduce((sum, one) => sum + one.entries, 0)
  const without = ledger.filter((one) => !inside.includes(one))
  let outsideTokens = without.reduce((sum, one) => sum + tokensOf(one.quantities), 0)
  for (const key of [...new Set([...claims.keys(), ...counted.keys()])].sort()) {
    const [model, tier] = JSON.parse(key) as [string, string]
    for (const name of CLASSES) {
      const placed = place(claims.get(key) ?? [], counted.get(key) ?? [], name, exported)
      if (name !== 'web_search') outsideTokens += placed.outside
      const figures = placed.days.map(({ day, ...sums }): UsageFigure => {
        const difference = Math.abs(sums.ledger - sums.export)
        const worth = worthOf(difference, { day, model, tier, class: name }, catalogue)
        return {
          day,
          model,
          tier,
          class: name,
          ledger: sums.ledger,
          export: sums.export,
          result: resultOf(sums),
          worth,
        }
      })
      days.push(...figures)
      if (figures.length > 0) totals.push(totalOf(figures))
    }
  }
  days.sort((a, b) => (a.day! < b.day! ? -1 : a.day! > b.day! ? 1 : 0))
  const differing = (result: UsageResult) => sumOf(days.filter((figure) => figure.result === result))
  return {
    entries: entriesOf(inside),
    outside: { entries: entriesOf(without), tokens: outsideTokens },
    totals,
    days,
    result: worst(days),
    moreInLedger: differing('more_in_ledger'),
    moreInExport: differing('more_in_export'),
  }
}

interface DaySums {
  readonly day: string
  readonly ledger: number
  readonly export: number
  /** What the ledger would have if everything stood on the day on which it ended. */
  readonly ended: number
}

/**
 * Puts the ledger's tokens on days, as many as the export has room for: each day takes first what can stand on no later
 * one, so no other way of placing them finds room for more. What finds none stands on its last day.
 */
function place(
  claims: readonly LedgerUsage[],
  counted: UsageExport['rows'],
  name: keyof Quantities,
  { firstDay, lastDay }: Pick<UsageExport, 'firstDay' | 'lastDay'>,
): { days: DaySums[]; outside: number } {
  const exported = new Map<string, number>()
  const placed = new Map<string, number>()
  const ended = new Map<string, number>()
  const add = (sums: Map<string, number>, day: string, amount: number) => {
    if (amount > 0) sums.set(day, (sums.get(day) ?? 0) + amount)
  }
  for (const row of counted) add(exported, row.day, row.quantities[name])
  const open = claims
    .map((one) => ({ one, rest: one.quantities[name] }))
    .sort((a, b) => (a.one.lastDay < b.one.lastDay ? -1 : a.one.lastDay > b.one.lastDay ? 1 : 0))
  for (const [day, room] of [...exported].sort(([a], [b]) => (a < b ? -1 : 1))) {
    let left = room
    for (const claim of open) {
      if (day < claim.one.firstDay || day > claim.one.lastDay) continue
      const taken = Math.min(left, claim.rest)
      claim.rest -= taken
      left -= taken
      add(placed, day, taken)
    }
  }
  let outside = 0
  for (const { one, rest } of open) {
    const within = one.firstDay >= firstDay && one.lastDay <= lastDay
    if (within) add(placed, one.lastDay, rest)
    else outside += rest
    if (one.lastDay <= lastDay) add(ended, one.lastDay, one.quantities[name] - (within ? 0 : rest))
  }
  const days = [...new Set([...exported.keys(), ...placed.keys()])].map((day) => ({
    day,
    ledger: placed.get(day) ?? 0,
    export: exported.get(day) ?? 0,
    ended: ended.get(day) ?? 0,
  }))
  return { days, outside }
}

function resultOf({ ledger, export: exported, ended }: Omit<DaySums, 'day'>): UsageResult {
  if (ledger > exported) return 'more_in_ledger'
  if (ledger < exported) return 'more_in_export'
  return ended === ledger ? 'agrees' : 'shifted'
}

/** One that alarms is not evened out by another day. */
function worst(figures: readonly UsageFigure[]): UsageResult {
  const order: readonly UsageResult[] = ['more_in_ledger', 'more_in_export', 'shifted']
  return order.find((result) => figures.some((figure) => figure.result === result)) ?? 'agrees'
}

function totalOf(figures: readonly UsageFigure[]): UsageFigure {
  const sum = (side: 'ledger' | 'export') => figures.reduce((total, figure) => total + figure[side], 0)
  const result = worst(figures)
  const worth = sumOf(figures.filter((figure) => figure.result === result))
  return { ...figures[0]!, day: null, ledger: sum('ledger'), export: sum('export'), result, worth }
}

function sumOf(figures: readonly UsageFigure[]): Worth | null {
  return figures.reduce<Worth | null>(
    (sum, { worth }) =>
      sum &&
      worth && {
        lowPicoUsd: picoUsd(sum.lowPicoUsd + worth.lowPicoUsd),
        highPicoUsd: picoUsd(sum.highPicoUsd + worth.highPicoUsd),
      },
    { lowPicoUsd: ZERO_USD, highPicoUsd: ZERO_USD },
  )
}

const PRICED_TIERS: readonly string[] = ['standard', 'priority', 'batch'] satisfies Usage['serviceTier'][]

/** At the rates of the day, by the model's price bands; without fast mode and US inference, which a sum does not tell. */
function worthOf(
  quantity: number,
  {
    day,
    model: id,
    tier,
    class: name,
  }: { day: string; model: string; tier: string; class: keyof Quantities },
  catalogue: Catalogue,
): Worth | null {
  const model = findModel(catalogue, id)
  const price = model && priceAt(model, parseTimestamp(day)!)
  if (price === null || !PRICED_TIERS.includes(tier)) return null
  const amount = { ...emptyQuantities(), [name]: quantity }
  const usage: Usage = {
    inputTokens: amount.input,
    cacheWrite5mTokens: amount.cache_write_5m,
    cacheWrite1hTokens: amount.cache_write_1h,
    cacheReadTokens: amount.cache_read,
    outputTokens: amount.output,
    webSearchRequests: amount.web_search,
    serviceTier: tier as Usage['serviceTier'],
    inferenceGeo: null,
    speed: 'standard',
  }
  const costs = price.bands.map((band) => costOf(usage, { ...price, bands: [band] }, catalogue).totalPicoUsd)
  return {
    lowPicoUsd: costs.reduce((a, b) => (a < b ? a : b)),
    highPicoUsd: costs.reduce((a, b) => (a > b ? a : b)),
  }
}

function tokensOf({ web_search: _, ...tokens }: Readonly<Quantities>): number {
  return Object.values(tokens).reduce((sum, count) => sum + count, 0)
}
