import type { LedgerEntry } from './ledger.ts'
import type { BilledQuantities } from './usage.ts'

/** A line of the upstream's own bill, as far as it is compared. */
export interface InvoicedAnswer extends BilledQuantities {
  readonly batchId: string | null
  readonly customId: string
  readonly model: string
  readonly costPicoUsd: bigint | null
}

export interface InvoiceComparison {
  readonly equal: boolean
  readonly entries: number
  readonly lines: number
  /** The first differences, in words. */
  readonly differences: readonly string[]
}

const DIFFERENCES_SHOWN = 10

/**
 * Holds a ledger against the upstream's invoice, row by row and token class by token class. Entries and lines meet by
 * batch and custom_id; a line without an entry, an entry without a line and an entry that comes twice are differences.
 * Memory: one short text a line until its entry has come.
 */
export class InvoiceCheck {
  readonly #lines = new Map<string, string>()
  readonly #differences: string[] = []
  #differing = 0
  #lineCount = 0
  #entryCount = 0

  addLine(line: InvoicedAnswer): void {
    this.#lineCount += 1
    const key = keyOf(line.batchId, line.customId)
    if (this.#lines.has(key)) this.#differ(`${line.customId}: two invoice lines`)
    this.#lines.set(key, figuresOf(line, line.model, line.costPicoUsd))
  }

  addEntry(entry: LedgerEntry): void {
    this.#entryCount += 1
    const key = keyOf(entry.upstreamBatchId, entry.customId)
    const line = this.#lines.get(key)
    const figures = figuresOf(entry.usage, entry.model, entry.costPicoUsd)
    if (line === undefined)
      this.#differ(`${entry.customId}: in the ledger, without an invoice line of its own`)
    else if (line !== figures) this.#differ(`${entry.customId}: ledger ${figures}, invoice ${line}`)
    this.#lines.delete(key)
  }

  comparison(): InvoiceComparison {
    for (const key of this.#lines.keys())
      this.#differ(`${key.split(' ')[1]}: invoiced, without a ledger entry`)
    this.#lines.clear()
    return {
      equal: this.#differing === 0,
      entries: this.#entryCount,
      lines: this.#lineCount,
      differences: this.#differences,
    }
  }

  #differ(what: string): void {
    this.#differing += 1
    if (this.#differences.length < DIFFERENCES_SHOWN) this.#differences.push(what)
  }
}

function keyOf(batchId: string | null, customId: string): string {
  return `${batchId ?? 'realtime'} ${customId}`
}

function figuresOf(tokens: BilledQuantities, model: string, costPicoUsd: bigint | null): string {
  return [
    model,
    `input ${tokens.inputTokens}`,
    `write_5m ${tokens.cacheWrite5mTokens}`,
    `write_1h ${tokens.cacheWrite1hTokens}`,
    `read ${tokens.cacheReadTokens}`,
    `output ${tokens.outputTokens}`,
    `searches ${tokens.webSearchRequests}`,
    costPicoUsd === null ? 'unpriced' : `${costPicoUsd} pUSD`,
  ].join(' · ')
}
