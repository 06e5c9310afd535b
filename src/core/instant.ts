import type { Brand } from './brand.ts'

/** Integer milliseconds since 1970-01-01T00:00:00Z. */
export type Instant = Brand<number, 'Instant'>

export const SECOND_MS = 1_000
export const MINUTE_MS = 60 * SECOND_MS
export const HOUR_MS = 60 * MINUTE_MS
export const DAY_MS = 24 * HOUR_MS

export function instant(ms: number): Instant {
  return Math.floor(ms) as Instant
}

export function plusMs(at: Instant, ms: number): Instant {
  return instant(at + ms)
}

/** Parses an API timestamp (RFC 3339, microseconds allowed) or a date (midnight UTC); null when it is neither. */
export function parseTimestamp(text: string): Instant | null {
  const ms = Date.parse(text)
  return Number.isNaN(ms) ? null : instant(ms)
}

/** RFC 3339 in UTC with microseconds, as the API writes it. */
export function formatTimestamp(at: Instant): string {
  return new Date(at).toISOString().replace('Z', '000Z')
}

/** The UTC day, `2026-11-22`. */
export function utcDay(at: Instant): string {
  return new Date(at).toISOString().slice(0, 10)
}

/** `90s`, `10m`, `6h`, `2d`, or a sum such as `1h30m`, in milliseconds; null when it is not a duration. */
export function parseDuration(text: string): number | null {
  const unitMs: Record<string, number> = { ms: 1, s: SECOND_MS, m: MINUTE_MS, h: HOUR_MS, d: DAY_MS }
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return null
  let total = 0
  for (const [, amount, , unit] of text.matchAll(/(\d+(\.\d+)?)(ms|s|m|h|d)/g)) {
    total += Number(amount) * unitMs[unit!]!
  }
  return total
}

export function formatDuration(ms: number): string {
  if (ms < SECOND_MS) return `${Math.round(ms)} ms`
  if (ms < MINUTE_MS) return `${Math.round(ms / SECOND_MS)} s`
  if (ms < HOUR_MS) return `${Math.round(ms / MINUTE_MS)} min`
  const hours = Math.floor(ms / HOUR_MS)
  const minutes = Math.round((ms % HOUR_MS) / MINUTE_MS)
  return minutes === 0 ? `${hours} h` : `${hours} h ${minutes} min`
}
