import type { Instant } from '../core/instant.ts'
import { randomToken } from '../core/random-token.ts'
import type { Ids } from './runtime.ts'

const RUN_TIME_UNIT_MS = 100

/**
 * Ids from a source of randomness. A run id is `r`, seven base32 digits of tenths of seconds since 1970 (enough until
 * 2078) and two random ones. Ids of one process strictly increase, whatever the clock does; two processes that start a
 * run in the same tenth of a second meet once in 1,024.
 */
export function idsFrom(random: () => number): Ids {
  let last = -1
  return {
    random,
    runId: (now: Instant) => {
      const drawn = Math.floor(now / RUN_TIME_UNIT_MS) * 1024 + Math.floor(random() * 1024)
      last = Math.max(drawn, last + 1)
      return `r${last.toString(32).padStart(9, '0')}`
    },
    token: (length: number) => randomToken(length, random),
  }
}

/** The same ids for the same seed, for tests and demonstrations. */
export function seededIds(seed: number): Ids {
  let state = seed >>> 0
  // Mulberry32: 32 bits of state are plenty for ids of a test, and it is seven lines.
  return idsFrom(() => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  })
}
