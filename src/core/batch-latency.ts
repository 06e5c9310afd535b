import { assert } from './assert.ts'

// How long batches take, from the latencies that were recorded. Waves follow one another, so their latencies add up; a
// cache entry lives through a wave with the probability that the wave was quicker than its TTL.

/** Share of the recorded batches that ended within `ms`. */
export function shareEndedWithin(latenciesMs: readonly number[], ms: number): number {
  assert(latenciesMs.length > 0, 'the facts hold at least one recorded batch latency')
  return latenciesMs.filter((latency) => latency < ms).length / latenciesMs.length
}

/** Share of the pairs of recorded batches, one after the other, that ended within `ms` together. */
export function sharePairsEndedWithin(latenciesMs: readonly number[], ms: number): number {
  const shares = latenciesMs.map((latency) => shareEndedWithin(latenciesMs, ms - latency))
  return shares.reduce((sum, share) => sum + share, 0) / latenciesMs.length
}

/** Where the rows of a primed job stand, as shares of them; the three add up to 1. */
export interface Survival {
  /** They read what the primer wrote. */
  readonly reads: number
  /** Released with marks while the entry lived, but it died before they ran: they write it anew, as a cold batch does. */
  readonly diesAfterRelease: number
  /** The entry was dead at release, so they go unmarked. */
  readonly goesUnmarked: number
}

/**
 * How a cache entry lives through a job's waves. An entry's age counts from the creation of the last batch that used
 * it, and a row may start anywhere between the creation of its own batch and its end; we reckon with the end, which is
 * the longest that it can have waited. An entry that was dead at one release stays so for the waves after it.
 * @param waveRows rows of the waves after the primer, in order.
 * @param primerPatienceMs a primer that took longer is not waited for.
 */
export function survivalOf(
  latenciesMs: readonly number[],
  waveRows: readonly number[],
  ttlMs: number,
  primerPatienceMs: number,
): Survival {
  const rows = waveRows.reduce((sum, count) => sum + count, 0)
  if (rows === 0) return { reads: 1, diesAfterRelease: 0, goesUnmarked: 0 }
  const afterBatch = shareEndedWithin(latenciesMs, ttlMs)
  const throughNext = sharePairsEndedWithin(latenciesMs, ttlMs)
  const afterPrimer = shareEndedWithin(latenciesMs, Math.min(ttlMs, primerPatienceMs))
  let alive = 1
  let reads = 0
  let released = 0
  for (const [wave, count] of waveRows.entries()) {
    const atRelease = wave === 0 ? afterPrimer : afterBatch
    reads += (count / rows) * alive * Math.min(throughNext, atRelease)
    alive *= atRelease
    released += (count / rows) * alive
  }
  return { reads, diesAfterRelease: released - reads, goesUnmarked: 1 - released }
}

/** Width of the steps in which latencies are added up. */
const STEP_MS = 5_000

/**
 * Median and 95th percentile of several batches after one another, each drawn from the recorded latencies, rounded up
 * to whole steps. `capsMs`: the longest that each is waited for.
 */
export function latencyOfWaves(
  latenciesMs: readonly number[],
  capsMs: readonly number[],
): { readonly median: number; readonly p95: number } {
  let shares = [1]
  for (const cap of capsMs) {
    const steps = latenciesMs.map((latency) => Math.ceil(Math.min(latency, cap) / STEP_MS))
    const next = new Array<number>(shares.length + Math.max(...steps)).fill(0)
    for (const [sum, share] of shares.entries()) {
      if (share > 0) for (const step of steps) next[sum + step]! += share / steps.length
    }
    shares = next
  }
  const quantile = (wanted: number): number => {
    let total = 0
    for (const [step, share] of shares.entries()) {
      total += share
      // A hair less: the shares are sums of fractions.
      if (total >= wanted - 1e-9) return step * STEP_MS
    }
    return (shares.length - 1) * STEP_MS
  }
  return { median: quantile(0.5), p95: quantile(0.95) }
}
