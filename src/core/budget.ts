import type { BudgetMode } from './job.ts'
import { type PicoUsd, parseUsd } from './money.ts'

/** What a run may spend, and what is set aside for rows that are sent and not answered yet. */
export interface BudgetLimit {
  readonly picoUsd: PicoUsd
  readonly mode: BudgetMode
}

/** `25`, `"$0.50"`, `"25 soft"`: an amount above zero; null when it is none. */
export function parseBudget(stated: string | number): BudgetLimit | null {
  const [, amount = '', mode] = /^\s*(\S+)(?:\s+(soft|hard))?\s*$/.exec(String(stated)) ?? []
  const picoUsd = parseUsd(amount)
  if (picoUsd === null || picoUsd <= 0n) return null
  return { picoUsd, mode: mode === 'soft' ? 'soft' : 'hard' }
}
