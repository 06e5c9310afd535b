import { type Instant, instant } from './core/instant.ts'
import { loadCatalogue } from './facts/load.ts'
import { seededIds } from './runtime/ids.ts'
import { type VirtualClock, virtualClock } from './runtime/virtual.ts'
import type { LocalSettings, LocalUpstream } from './upstreams/local/local-upstream.ts'
import { openLocal } from './wiring.ts'

// For tests of those who build on Tithe: a Claude API in memory on virtual time, and the suites that a store or an
// upstream of one's own must pass.

export type { Clock, Ids, Runtime } from './runtime/runtime.ts'
export { openMemoryStore } from './stores/memory.ts'
export { type StoreUnderTest, storeContract } from './stores/store.contract.ts'
export type { Store } from './stores/store.ts'
export {
  type OpenedUpstream,
  type UpstreamContract,
  upstreamContract,
} from './upstreams/upstream.contract.ts'
export type { Upstream } from './upstreams/upstream.ts'
export { type LocalSettings, type LocalUpstream, seededIds, type VirtualClock, virtualClock }

/**
 * A Claude API in memory: simulated answers, real rules for caching, batches, prices and errors, and a bill of its own.
 * The same seed gives the same answers. Its 24 hours pass as fast as the test runs.
 *
 * @example
 * const { upstream, clock } = await openTestUpstream()
 */
export async function openTestUpstream(
  options: { start?: Instant; seed?: number; settings?: Partial<LocalSettings> } = {},
): Promise<{ upstream: LocalUpstream; clock: VirtualClock }> {
  const { start = instant(Date.UTC(2026, 10, 22)), seed = 1, settings } = options
  const clock = virtualClock(start)
  const catalogue = loadCatalogue()
  const ids = seededIds(seed)
  const upstream = await openLocal({
    file: ':memory:',
    clock,
    ids,
    catalogue,
    settings: { seed, ...settings },
  })
  return { upstream, clock }
}
