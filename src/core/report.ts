import { type AnswerFlaw, flawOf } from './answer.ts'
import { bandOf, costOf, savingsOf, type TokenClass } from './cost.ts'
import type { Certainty, LedgerEntry } from './ledger.ts'
import { type Catalogue, findModel, type Price, priceAt } from './models.ts'
import { moneyFields, type PicoUsd, picoUsd, ZERO_USD } from './money.ts'
import type { Outcome, RowOutcome } from './rows.ts'
import type { Band } from './run-plan.ts'
import { type BilledQuantities, promptTokens, type Usage } from './usage.ts'

// What was paid and what it bought. Folded entry by entry and row by row, so that the size of a run does not matter.
// Measured, simulated and assumed figures go into bills of their own: they are never added up.

/** How a row ended, as far as a report cares. */
export interface RowResult {
  /** As asked for or as answered: aliases meet their model here. */
  readonly model: string
  readonly outcome: RowOutcome
  readonly stopReason: string | null
  /** null where the job has no output schema, or nothing was answered. */
  readonly schemaValid: boolean | null
  /** 0 to 1; null where nothing was expected or answered. */
  readonly score: number | null
}

export type RowTally = Record<RowOutcome, number> & {
  rows: number
  /** The last four are among the succeeded. */
  refused: number
  truncated: number
  schemaInvalid: number
  unfinished: number
}

export interface Accuracy {
  readonly scored: number
  /** Rows with the full score. */
  readonly right: number
  /** Mean score. */
  readonly mean: number
}

export interface ModelRows {
  readonly model: string
  readonly rows: Readonly<RowTally>
  readonly accuracy: Accuracy | null
}

export type Quantities = Record<TokenClass | 'web_search', number>

/** One class of one kind of request. */
export interface BillLine {
  readonly model: string
  readonly tier: Usage['serviceTier']
  readonly speed: Usage['speed']
  readonly inferenceGeo: string | null
  /** The upper bound of the price band in prompt tokens; null in the last or only one, and when unpriced. */
  readonly bandPromptTokensMax: number | null
  readonly class: keyof Quantities
  readonly quantity: number
  /** null when unpriced, or when another price book than the report's priced the entries: see the bill's total. */
  readonly costPicoUsd: PicoUsd | null
}

export interface CacheFigures {
  /** Entries that wrote or read: marks that silently did nothing are not in the usage. */
  readonly marked: number
  readonly read: number
  /** `read / marked`. */
  readonly hitRate: number | null
  /** Tokens read of tokens read or written. */
  readonly tokenHitRate: number | null
}

/** All entries of one certainty. */
export interface Bill {
  readonly certainty: Certainty
  readonly entries: number
  /** Answers paid for by submissions that should not have existed; in every total above and below. */
  readonly duplicates: number
  readonly duplicatesPicoUsd: PicoUsd
  /** Attempts after a paid answer that could not be used as it was, in every total above and below. */
  readonly further: readonly FurtherAttempts[]
  readonly quantities: Readonly<Quantities>
  /** Of the priced entries; null when none is. */
  readonly costPicoUsd: PicoUsd | null
  readonly realtimePicoUsd: PicoUsd | null
  readonly savings: number | null
  readonly unpriced: { readonly entries: number; readonly models: readonly string[] }
  readonly cache: CacheFigures
  readonly models: readonly {
    readonly model: string
    readonly entries: number
    readonly costPicoUsd: PicoUsd | null
    readonly realtimePicoUsd: PicoUsd | null
    readonly savings: number | null
  }[]
  readonly lines: readonly BillLine[]
}

export interface FurtherAttempts {
  /** What was wrong with the answer before. */
  readonly after: AnswerFlaw
  readonly attempts: number
  /** Of the priced ones. */
  readonly costPicoUsd: PicoUsd
}

export interface ForecastCheck {
  readonly forecast: Band<PicoUsd>
  readonly actualPicoUsd: PicoUsd
  /** `actual / forecast − 1`; null when nothing was forecast. */
  readonly error: number | null
  readonly within: boolean
}

export interface Report {
  readonly rows: Readonly<RowTally>
  readonly accuracy: Accuracy | null
  readonly models: readonly ModelRows[]
  readonly bills: readonly Bill[]
  /** null without a forecast, and when there is no single bill to hold it against. */
  readonly forecast: ForecastCheck | null
  /** The price book of the lines. */
  readonly priceBook: string
}

const CERTAINTIES: readonly Certainty[] = ['measured', 'simulated', 'assumed']

export class ReportFold {
  readonly #catalogue: Catalogue
  readonly #rows = new Map<string, { tally: RowTally; scores: ScoreSum }>()
  readonly #bills = new Map<Certainty, BillFold>()

  /** Lines are priced with `catalogue`; totals are those that the entries carry. */
  constructor(catalogue: Catalogue) {
    this.#catalogue = catalogue
  }

  /** A row with its deciding outcome; each row once. */
  addRow(row: RowResult): void {
    const model = this.#modelId(row.model)
    let sums = this.#rows.get(model)
    if (sums === undefined) {
      sums = { tally: emptyTally(), scores: { scored: 0, right: 0, sum: 0 } }
      this.#rows.set(model, sums)
    }
    const { tally, scores } = sums
    tally.rows += 1
    tally[row.outcome] += 1
    if (row.outcome === 'succeeded') {
      if (row.stopReason === 'refusal') tally.refused += 1
      if (row.stopReason === 'max_tokens' || row.stopReason === 'model_context_window_exceeded')
        tally.truncated += 1
      if (row.schemaValid === false) tally.schemaInvalid += 1
      if (row.stopReason === 'pause_turn') tally.unfinished += 1
    }
    if (row.score !== null) {
      scores.scored += 1
      scores.sum += row.score
      if (row.score === 1) scores.right += 1
    }
  }

  /** A line of the ledger. */
  addEntry(entry: LedgerEntry): void {
    this.#bill(entry).add(entry, this.#modelId(entry.model))
  }

  /** The attempts of a row that was sent more than once, in the order in which they were sent. Counts no entry again. */
  addAttempts(attempts: readonly PaidAttempt[]): void {
    for (const { after, entry } of furtherAttempts(attempts)) this.#bill(entry).addFurther(after, entry)
  }

  #bill({ certainty }: LedgerEntry): BillFold {
    let bill = this.#bills.get(certainty)
    if (bill === undefined) {
      bill = new BillFold(certainty, this.#catalogue)
      this.#bills.set(certainty, bill)
    }
    return bill
  }

  report(forecast: Band<PicoUsd> | null = null): Report {
    const all = { tally: emptyTally(), scores: { scored: 0, right: 0, sum: 0 } }
    for (const { tally, scores } of this.#rows.values()) {
      for (const key of Object.keys(tally) as (keyof RowTally)[]) all.tally[key] += tally[key]
      for (const key of Object.keys(scores) as (keyof ScoreSum)[]) all.scores[key] += scores[key]
    }
    const bills = CERTAINTIES.flatMap((certainty) => this.#bills.get(certainty)?.bill() ?? [])
    return {
      rows: all.tally,
      accuracy: accuracyOf(all.scores),
      models: [...this.#rows].map(([model, { tally, scores }]) => ({
        model,
        rows: { ...tally },
        accuracy: accuracyOf(scores),
      })),
      bills,
      forecast: forecast === null ? null : forecastCheck(forecast, bills),
      priceBook: this.#catalogue.version,
    }
  }

  #modelId(name: string): string {
    return findModel(this.#catalogue, name)?.id ?? name
  }
}

export interface PaidAttempt {
  readonly outcome: Outcome
  readonly stopReason: string | null
  readonly schemaValid: boolean | null
  /** null when nothing was billed. */
  readonly entry: LedgerEntry | null
}

/** What was paid after an answer that could not be used: errors between the two cost nothing, and change no reason. */
function* furtherAttempts(attempts: readonly PaidAttempt[]) {
  let after: AnswerFlaw | null = null
  for (const { entry, ...attempt } of attempts) {
    if (entry?.kind === 'duplicate') continue
    if (after !== null && entry !== null) yield { after, entry }
    after = flawOf(attempt) ?? after
  }
}

interface ScoreSum {
  scored: number
  right: number
  sum: number
}

/** The entries of one certainty, summed. */
class BillFold {
  readonly #certainty: Certainty
  readonly #catalogue: Catalogue
  readonly #quantities: Quantities = emptyQuantities()
  readonly #models = new Map<string, MoneySum>()
  readonly #unpricedModels = new Set<string>()
  readonly #lines = new Map<string, { -readonly [key in keyof BillLine]: BillLine[key] }>()
  #duplicates = 0
  #duplicatesPicoUsd = 0n
  readonly #further = new Map<AnswerFlaw, { attempts: number; costPicoUsd: bigint }>()
  #unpriced = 0
  #marked = 0
  #read = 0

  constructor(certainty: Certainty, catalogue: Catalogue) {
    this.#certainty = certainty
    this.#catalogue = catalogue
  }

  add(entry: LedgerEntry, model: string): void {
    const { usage } = entry
    if (entry.kind === 'duplicate') {
      this.#duplicates += 1
      this.#duplicatesPicoUsd += entry.costPicoUsd ?? 0n
    }
    let sum = this.#models.get(model)
    if (sum === undefined) {
      sum = emptyMoney()
      this.#models.set(model, sum)
    }
    addMoney(sum, entry)
    if (entry.costPicoUsd === null) {
      this.#unpriced += 1
      this.#unpricedModels.add(model)
    }
    const reads = usage.cacheReadTokens > 0
    if (reads) this.#read += 1
    if (reads || usage.cacheWrite5mTokens + usage.cacheWrite1hTokens > 0) this.#marked += 1
    this.#addLines(entry, model)
  }

  addFurther(after: AnswerFlaw, { costPicoUsd }: LedgerEntry): void {
    const sum = this.#further.get(after) ?? { attempts: 0, costPicoUsd: 0n }
    sum.attempts += 1
    sum.costPicoUsd += costPicoUsd ?? 0n
    this.#further.set(after, sum)
  }

  #addLines(entry: LedgerEntry, model: string): void {
    const { usage } = entry
    const known = findModel(this.#catalogue, entry.model)
    const price: Price | null = known && priceAt(known, entry.at)
    const samePrices = entry.priceBook === this.#catalogue.version && entry.costPicoUsd !== null
    const costs = price !== null && samePrices ? costOf(usage, price, this.#catalogue).lines : null
    const band = price === null ? null : bandOf(price, promptTokens(usage)).promptTokensMax
    const kind = [model, usage.serviceTier, usage.speed, usage.inferenceGeo, band].join(' ')
    for (const [name, quantity] of Object.entries(quantitiesOf(usage)) as [keyof Quantities, number][]) {
      if (quantity === 0) continue
      this.#quantities[name] += quantity
      const key = `${kind} ${name}`
      let line = this.#lines.get(key)
      if (line === undefined) {
        line = {
          model,
          tier: usage.serviceTier,
          speed: usage.speed,
          inferenceGeo: usage.inferenceGeo,
          bandPromptTokensMax: band,
          class: name,
          quantity: 0,
          costPicoUsd: ZERO_USD,
        }
        this.#lines.set(key, line)
      }
      line.quantity += quantity
      const cost = costs?.find((charged) => charged.class === name)?.costPicoUsd
      line.costPicoUsd =
        cost === undefined || line.costPicoUsd === null ? null : picoUsd(line.costPicoUsd + cost)
    }
  }

  bill(): Bill {
    const total = emptyMoney()
    for (const sum of this.#models.values()) {
      total.entries += sum.entries
      total.priced += sum.priced
      total.costPicoUsd += sum.costPicoUsd
      total.realtimePicoUsd += sum.realtimePicoUsd
    }
    const cached =
      this.#quantities.cache_write_5m + this.#quantities.cache_write_1h + this.#quantities.cache_read
    return {
      certainty: this.#certainty,
      ...moneyOf(total),
      duplicates: this.#duplicates,
      duplicatesPicoUsd: picoUsd(this.#duplicatesPicoUsd),
      further: [...this.#further].map(([after, { attempts, costPicoUsd }]) => ({
        after,
        attempts,
        costPicoUsd: picoUsd(costPicoUsd),
      })),
      quantities: { ...this.#quantities },
      unpriced: { entries: this.#unpriced, models: [...this.#unpricedModels] },
      cache: {
        marked: this.#marked,
        read: this.#read,
        hitRate: this.#marked === 0 ? null : this.#read / this.#marked,
        tokenHitRate: cached === 0 ? null : this.#quantities.cache_read / cached,
      },
      models: [...this.#models].map(([model, sum]) => ({ model, ...moneyOf(sum) })),
      lines: [...this.#lines.values()].map((line) => ({ ...line })),
    }
  }
}

interface MoneySum {
  entries: number
  priced: number
  costPicoUsd: bigint
  realtimePicoUsd: bigint
}

function emptyMoney(): MoneySum {
  return { entries: 0, priced: 0, costPicoUsd: 0n, realtimePicoUsd: 0n }
}

function addMoney(sum: MoneySum, { costPicoUsd, realtimePicoUsd }: LedgerEntry): void {
  sum.entries += 1
  if (costPicoUsd === null || realtimePicoUsd === null) return
  sum.priced += 1
  sum.costPicoUsd += costPicoUsd
  sum.realtimePicoUsd += realtimePicoUsd
}

/** Unpriced entries must not look free: with no priced entry there is no amount. */
function moneyOf({ entries, priced, costPicoUsd, realtimePicoUsd }: MoneySum) {
  return priced === 0
    ? { entries, costPicoUsd: null, realtimePicoUsd: null, savings: null }
    : {
        entries,
        costPicoUsd: picoUsd(costPicoUsd),
        realtimePicoUsd: picoUsd(realtimePicoUsd),
        savings: savingsOf(costPicoUsd, realtimePicoUsd),
      }
}

export function quantitiesOf(usage: BilledQuantities): Quantities {
  return {
    input: usage.inputTokens,
    cache_write_5m: usage.cacheWrite5mTokens,
    cache_write_1h: usage.cacheWrite1hTokens,
    cache_read: usage.cacheReadTokens,
    output: usage.outputTokens,
    web_search: usage.webSearchRequests,
  }
}

export function emptyQuantities(): Quantities {
  return { input: 0, cache_write_5m: 0, cache_write_1h: 0, cache_read: 0, output: 0, web_search: 0 }
}

function emptyTally(): RowTally {
  return {
    rows: 0,
    succeeded: 0,
    errored: 0,
    canceled: 0,
    expired: 0,
    invalid: 0,
    unretrievable: 0,
    refused: 0,
    truncated: 0,
    schemaInvalid: 0,
    unfinished: 0,
  }
}

function accuracyOf({ scored, right, sum }: ScoreSum): Accuracy | null {
  return scored === 0 ? null : { scored, right, mean: sum / scored }
}

function forecastCheck(forecast: Band<PicoUsd>, bills: readonly Bill[]): ForecastCheck | null {
  const actualPicoUsd = bills.length === 1 ? bills[0]!.costPicoUsd : null
  if (actualPicoUsd === null || bills[0]!.unpriced.entries > 0) return null
  const saved = savingsOf(actualPicoUsd, forecast.best)
  return {
    forecast,
    actualPicoUsd,
    error: saved === null ? null : -saved,
    within: forecast.low <= actualPicoUsd && actualPicoUsd <= forecast.high,
  }
}

/** `tithe.report/1`, for `--json`. The caller adds what it knows beside it (the run, the comparison with an invoice). */
export function reportJson(report: Report) {
  return {
    schema: 'tithe.report/1',
    rows: tallyJson(report.rows),
    accuracy: report.accuracy,
    models: report.models.map(({ model, rows, accuracy }) => ({ model, rows: tallyJson(rows), accuracy })),
    bills: report.bills.map((bill) => ({
      certainty: bill.certainty,
      entries: bill.entries,
      duplicate_entries: bill.duplicates,
      ...moneyFields('duplicate_cost', bill.duplicatesPicoUsd),
      further_attempts: bill.further.map(({ after, attempts, costPicoUsd }) => ({
        after,
        attempts,
        ...moneyFields('cost', costPicoUsd),
      })),
      unpriced_entries: bill.unpriced.entries,
      unpriced_models: bill.unpriced.models,
      ...totalsJson(bill),
      quantities: bill.quantities,
      cache: {
        marked_entries: bill.cache.marked,
        read_entries: bill.cache.read,
        hit_rate: bill.cache.hitRate,
        token_hit_rate: bill.cache.tokenHitRate,
      },
      models: bill.models.map((sum) => ({ model: sum.model, entries: sum.entries, ...totalsJson(sum) })),
      lines: bill.lines.map((line) => ({
        model: line.model,
        tier: line.tier,
        speed: line.speed,
        inference_geo: line.inferenceGeo,
        band_prompt_tokens_max: line.bandPromptTokensMax,
        class: line.class,
        quantity: line.quantity,
        ...moneyFields('cost', line.costPicoUsd),
      })),
    })),
    forecast: report.forecast && {
      ...moneyFields('low', report.forecast.forecast.low),
      ...moneyFields('best', report.forecast.forecast.best),
      ...moneyFields('high', report.forecast.forecast.high),
      ...moneyFields('actual', report.forecast.actualPicoUsd),
      error: report.forecast.error,
      within: report.forecast.within,
    },
    price_book: report.priceBook,
  }
}

function totalsJson(sum: Pick<Bill, 'costPicoUsd' | 'realtimePicoUsd' | 'savings'>) {
  return {
    ...moneyFields('cost', sum.costPicoUsd),
    ...moneyFields('realtime', sum.realtimePicoUsd),
    savings: sum.savings,
  }
}

function tallyJson({ schemaInvalid, ...tally }: Readonly<RowTally>) {
  return { ...tally, schema_invalid: schemaInvalid }
}
