import type { Instant } from '../core/instant.ts'
import type { StoredEvent } from '../stores/store.ts'

/** Stands in a run's events when a person has rows sent again. */
export const RETRY_EVENT = 'retried'

/** What has happened since then; everything when it never was. */
export function sinceRetry(events: readonly StoredEvent[]): readonly StoredEvent[] {
  return events.slice(events.findLastIndex(({ kind }) => kind === RETRY_EVENT) + 1)
}

export function retriedAt(events: readonly StoredEvent[]): Instant | null {
  return events.findLast(({ kind }) => kind === RETRY_EVENT)?.at ?? null
}
