import assert from 'node:assert/strict'
import { test } from 'node:test'
import { plusMs } from '../core/instant.ts'
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
