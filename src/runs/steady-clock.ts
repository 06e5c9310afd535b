import { type Instant, plusMs } from '../core/instant.ts'
import type { Clock } from '../runtime/runtime.ts'
import type { Store } from '../stores/store.ts'

/**
 * The time of a run: never before `notBefore`, the last that an earlier driver recorded, and never going back. When a clock
 * is set back, what was to come due in a minute still does, and not a day and a minute later.
 */
export function steadyClock(clock: Clock, notBefore: Instant): Clock {
  let last = notBefore
  let aheadMs = 0
  const now = () => {
    const beneath = clock.now()
    aheadMs = Math.max(aheadMs, last - beneath)
    last = plusMs(beneath, aheadMs)
    return last
  }
  return {
    kind: clock.kind,
    now,
    hold: (operation) => clock.hold(operation),
    async sleepUntil(at, signal) {
      // Asked at least once: a virtual clock takes a turn even for an instant that has come.
      do await clock.sleepUntil(plusMs(clock.now(), Math.max(0, at - now())), signal)
      while (now() < at)
    },
  }
}

/** Now, or the last that stands in a run's events: the local service may be ahead of this machine's clock. */
export async function timeOfRun(run: string, store: Store, clock: Pick<Clock, 'now'>): Promise<Instant> {
  const events = await store.runs.events(run)
  return events.reduce((latest, { at }) => (at > latest ? at : latest), clock.now())
}
