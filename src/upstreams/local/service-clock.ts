import { instant } from '../../core/instant.ts'
import type { Clock } from '../../runtime/runtime.ts'

/**
 * The service's own time: `speed` times as fast as the clock beneath from `startsAt` on, so that latencies, TTLs and
 * expiries keep their proportions. Clients learn it from the `Date` of answers.
 */
export function serviceClock(clock: Clock, speed: number): Clock {
  if (speed === 1) return clock
  const start = clock.now()
  return {
    kind: clock.kind,
    now: () => instant(start + (clock.now() - start) * speed),
    sleepUntil: (at, signal) => clock.sleepUntil(instant(Math.ceil(start + (at - start) / speed)), signal),
    hold: (operation) => clock.hold(operation),
  }
}
