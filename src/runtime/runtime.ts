import type { Instant } from '../core/instant.ts'

/**
 * Time as an argument. A virtual clock advances to its earliest sleeper only when no held operation is pending, so a
 * 24-hour batch is a test of milliseconds and a killed run finds the clock where the local service left it.
 */
export interface Clock {
  readonly kind: 'real' | 'virtual'
  now(): Instant
  /**
   * Resolves at or after `at`, or when so much time has passed although the clock was set back; rejects with the signal's
   * reason when aborted.
   */
  sleepUntil(at: Instant, signal?: AbortSignal): Promise<void>
  /** Counts an operation of store, file or network as pending until it settles: virtual time stands still meanwhile. */
  hold<T>(operation: Promise<T>): Promise<T>
}

export interface Ids {
  /** `r` + 9 lower-case base32 characters, ordered by time. */
  runId(now: Instant): string
  /** Uniform in [0, 1). */
  random(): number
  /** `length` characters of [0-9A-Za-z], for ids in the API's own form. */
  token(length: number): string
}

export interface Runtime {
  readonly clock: Clock
  readonly ids: Ids
}
