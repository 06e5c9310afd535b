import { type Instant, instant } from '../../core/instant.ts'
import type { Clock } from '../../runtime/runtime.ts'

/**
 * The service's own time: `speed` times as fast as the clock beneath, so that latencies, TTLs and expiries keep their
 * proportions, and never before `notBefore`, which the service has already lived through. Clients learn it from the
 * `Date` of answers.
 */
export function serviceClock(clock: Clock, speed: number, notBefore: Instant | null): Clock {
  const opened = clock.now()
  const start = instant(Math.max(opened, notBefore ?? opened))
  if (speed === 1 && start === opened) return clock
  return {
    kind: clock.kind,
    now: () => instant(start + (clock.now() - opened) * speed),
    sleepUntil: (at, signal) => clock.sleepUntil(instant(Math.ceil(opened + (at - start) / speed)), signal),
    hold: (operation) => clock.hold(operation),
  }
}
