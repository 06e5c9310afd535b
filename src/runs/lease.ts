import { TitheError } from '../core/errors.ts'
import { type Instant, MINUTE_MS, plusMs, SECOND_MS } from '../core/instant.ts'
import type { RunDeps } from './run-deps.ts'

// One run, one process: whoever has the lease may write, and the fence that comes with it keeps out whoever had it before.

/** How long a driver may be silent before another may take its run. */
export const LEASE_MS = MINUTE_MS
const RENEW_MS = 15 * SECOND_MS

/** What taking the lease of a run needs. */
export type LeaseDeps = Pick<RunDeps, 'store' | 'wallClock' | 'holder' | 'isHolderGone'>

/** Has the lease of a run, and no other process may have it, for as long as the work takes. @throws `run_held` */
export async function holdRun<T>(
  runId: string,
  deps: LeaseDeps,
  work: (fence: number) => Promise<T>,
): Promise<T> {
  const fence = await takeLease(runId, deps)
  const renewing = new AbortController()
  const renewal = keepLease(runId, fence, deps, renewing.signal)
  try {
    return await work(fence)
  } finally {
    renewing.abort()
    await renewal
    await deps.store.runs.releaseLease(runId, fence)
  }
}

async function takeLease(runId: string, deps: LeaseDeps): Promise<number> {
  const now = deps.wallClock.now()
  const first = await deps.store.runs.acquireLease(runId, deps.holder, now, plusMs(now, LEASE_MS))
  if (first.kind === 'held') return first.fence
  if (deps.isHolderGone(first.holder) || isFromLater(first.until, now)) {
    // The lease outlived its process, which was killed: asking as if its time were over takes it.
    const after = plusMs(first.until, 1)
    const second = await deps.store.runs.acquireLease(runId, deps.holder, after, plusMs(after, LEASE_MS))
    if (second.kind === 'held') return second.fence
  }
  throw heldBy(runId, first.holder)
}

/** The live process that drives a run; null when nobody does, or its process is gone without a word. */
export async function driverOf(
  runId: string,
  deps: Pick<RunDeps, 'store' | 'isHolderGone' | 'wallClock'>,
): Promise<string | null> {
  const lease = await deps.store.runs.leaseHolder(runId)
  const now = deps.wallClock.now()
  if (lease === null || lease.until <= now || isFromLater(lease.until, now)) return null
  return deps.isHolderGone(lease.holder) ? null : lease.holder
}

/**
 * Longer than any lease that is given now: the clock was set back since. Whoever lives has renewed his within `RENEW_MS`;
 * should it be taken before, the fence keeps him from writing. Believed, it would lock the run until that time comes again.
 */
function isFromLater(until: Instant, now: Instant): boolean {
  return until > plusMs(now, LEASE_MS)
}

/** For looking before an upstream is opened, which only one process may do with a local one. @throws `run_held` */
export async function refuseHeld(
  runId: string,
  deps: Pick<RunDeps, 'store' | 'isHolderGone' | 'wallClock'>,
): Promise<void> {
  const driver = await driverOf(runId, deps)
  if (driver !== null) throw heldBy(runId, driver)
}

function heldBy(runId: string, holder: string): TitheError {
  return new TitheError('run_held', `run ${runId} is being driven by process ${holder}`, {
    hint: `watch it with 'tithe status ${runId} --watch', or interrupt that process first: nothing is lost`,
  })
}

async function keepLease(runId: string, fence: number, deps: LeaseDeps, signal: AbortSignal): Promise<void> {
  try {
    for (;;) {
      await deps.wallClock.sleepUntil(plusMs(deps.wallClock.now(), RENEW_MS), signal)
      const until = plusMs(deps.wallClock.now(), LEASE_MS)
      if ((await deps.store.runs.renewLease(runId, fence, until)) === 'fenced') return
    }
  } catch {
    // Aborted when driving ends. A store that cannot renew shows itself to the driver at its next write, and a lease
    // that lapses lets another driver in, whose fence then keeps this one out.
  }
}
