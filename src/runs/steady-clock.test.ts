import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DAY_MS, type Instant, instant, MINUTE_MS, plusMs } from '../core/instant.ts'
import type { Clock } from '../runtime/runtime.ts'
import { virtualClock } from '../runtime/virtual.ts'
import { steadyClock } from './steady-clock.ts'

const NOON = instant(Date.parse('2026-11-22T12:00:00Z'))

/** A clock that somebody sets; a sleep takes as long as it was when it began, whatever is set meanwhile. */
function settableClock(): Clock & { set(at: Instant): void; sleptMs: number } {
  let at = NOON
  const clock = {
    kind: 'real' as const,
    sleptMs: 0,
    now: () => at,
    hold: <T>(operation: Promise<T>) => operation,
    set: (to: Instant) => {
      at = to
    },
    async sleepUntil(until: Instant) {
      const ms = Math.max(0, until - at)
      clock.sleptMs += ms
      at = plusMs(at, ms)
    },
  }
  return clock
}

test('a clock that is set back does not take the time of a run with it', async () => {
  const beneath = settableClock()
  const clock = steadyClock(beneath, NOON)
  beneath.set(plusMs(NOON, MINUTE_MS))
  assert.equal(clock.now(), plusMs(NOON, MINUTE_MS))
  beneath.set(plusMs(NOON, -DAY_MS))
  assert.equal(clock.now(), plusMs(NOON, MINUTE_MS))
  await clock.sleepUntil(plusMs(NOON, 3 * MINUTE_MS))
  assert.equal(clock.now(), plusMs(NOON, 3 * MINUTE_MS))
  assert.equal(beneath.sleptMs, 2 * MINUTE_MS)
})

test('a run goes on from the last time that was recorded, and with a clock that is set forward', () => {
  const beneath = settableClock()
  const clock = steadyClock(beneath, plusMs(NOON, DAY_MS))
  assert.equal(clock.now(), plusMs(NOON, DAY_MS))
  beneath.set(plusMs(NOON, MINUTE_MS))
  assert.equal(clock.now(), plusMs(NOON, DAY_MS + MINUTE_MS))
  beneath.set(plusMs(NOON, 3 * DAY_MS))
  assert.equal(clock.now(), plusMs(NOON, 4 * DAY_MS), 'what it is ahead, it stays ahead')
})

test('over a virtual clock time passes as it does there', async () => {
  const beneath = virtualClock(NOON)
  const clock = steadyClock(beneath, NOON)
  await clock.sleepUntil(NOON)
  await clock.sleepUntil(plusMs(NOON, DAY_MS))
  assert.equal(beneath.now(), plusMs(NOON, DAY_MS))
})
