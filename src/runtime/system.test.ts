import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DAY_MS, MINUTE_MS, plusMs } from '../core/instant.ts'
import { systemClock } from './system.ts'

test('a sleep ends at or after its instant', async () => {
  const clock = systemClock()
  const at = plusMs(clock.now(), 5)
  await clock.sleepUntil(at)
  assert.ok(clock.now() >= at)
})

test('a sleep of a century is called off by its signal, with its reason', async () => {
  const clock = systemClock()
  const abort = new AbortController()
  const asleep = clock.sleepUntil(plusMs(clock.now(), 100 * 365 * 86_400_000), abort.signal)
  abort.abort(new Error('called off'))
  await assert.rejects(asleep, /called off/)
  await assert.rejects(clock.sleepUntil(clock.now(), abort.signal), /called off/)
})

test('a sleep of three minutes takes three minutes, also when the clock is set back a day meanwhile', async (context) => {
  const { timers } = context.mock
  timers.enable({ apis: ['setTimeout', 'Date'], now: 10 * DAY_MS })
  const clock = systemClock()
  let minutes = 0
  let isAwake = false
  const asleep = clock.sleepUntil(plusMs(clock.now(), 3 * MINUTE_MS)).then(() => {
    isAwake = true
  })
  for (; !isAwake && minutes < 10; minutes++) {
    timers.tick(MINUTE_MS)
    if (minutes === 1) timers.setTime(clock.now() - DAY_MS)
    await new Promise(setImmediate)
  }
  await asleep
  assert.equal(minutes, 3)
})

test('a sleep ends within a minute after a laptop wakes up past its instant', async (context) => {
  const { timers } = context.mock
  timers.enable({ apis: ['setTimeout', 'Date'], now: 10 * DAY_MS })
  const clock = systemClock()
  const asleep = clock.sleepUntil(plusMs(clock.now(), DAY_MS))
  timers.setTime(12 * DAY_MS)
  timers.tick(MINUTE_MS)
  await asleep
})
