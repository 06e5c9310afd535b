import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { type Instant, instant } from '../core/instant.ts'
import { virtualClock } from './virtual.ts'

const START = instant(1_000_000)
const after = (ms: number): Instant => instant(START + ms)

test('a sleeper wakes at its instant, and no real time passes', async () => {
  const clock = virtualClock(START)
  await clock.sleepUntil(after(24 * 3_600_000))
  assert.equal(clock.now(), after(24 * 3_600_000))
})

test('sleepers wake in order of time, and in order of arrival within an instant', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 60 }),
      async (delays) => {
        const clock = virtualClock(START)
        const woken: { at: number; order: number }[] = []
        await Promise.all(
          delays.map(async (ms, order) => {
            await clock.sleepUntil(after(ms))
            assert.equal(clock.now(), after(ms))
            woken.push({ at: ms, order })
          }),
        )
        assert.deepEqual(
          woken,
          [...woken].sort((a, b) => a.at - b.at || a.order - b.order),
        )
      },
    ),
    { numRuns: 50 },
  )
})

test('time stands still while an operation is held, however long the event loop turns', async () => {
  const clock = virtualClock(START)
  const operation = Promise.withResolvers<string>()
  let awake = false
  const sleeping = clock.sleepUntil(after(5)).then(() => {
    awake = true
  })
  const held = clock.hold(operation.promise)
  await turns(20)
  assert.equal(awake, false)
  assert.equal(clock.now(), START)
  operation.resolve('done')
  assert.equal(await held, 'done')
  await sleeping
  assert.equal(clock.now(), after(5))
})

test('a held operation that fails lets time go on, and its failure reaches the caller', async () => {
  const clock = virtualClock(START)
  const sleeping = clock.sleepUntil(after(5))
  await assert.rejects(clock.hold(Promise.reject(new Error('disk is full'))), /disk is full/)
  await sleeping
})

test('whoever was woken may sleep again or hold before anyone later wakes', async () => {
  const clock = virtualClock(START)
  const seen: string[] = []
  const early = (async () => {
    await clock.sleepUntil(after(10))
    await clock.hold(turns(5))
    seen.push(`held work at ${clock.now() - START}`)
    await clock.sleepUntil(after(15))
    seen.push(`early at ${clock.now() - START}`)
  })()
  const late = clock.sleepUntil(after(20)).then(() => seen.push(`late at ${clock.now() - START}`))
  await Promise.all([early, late])
  assert.deepEqual(seen, ['held work at 10', 'early at 15', 'late at 20'])
})

test('an operation that begins a turn of the event loop later still comes before time', async () => {
  const clock = virtualClock(START)
  const sleeping = clock.sleepUntil(after(5))
  await turns(1)
  const gate = Promise.withResolvers<void>()
  const held = clock.hold(gate.promise)
  await turns(5)
  assert.equal(clock.now(), START)
  gate.resolve()
  await held
  await sleeping
})

test('a sleep into the past ends without an advance', async () => {
  const clock = virtualClock(START)
  const later = clock.sleepUntil(after(1))
  const gate = Promise.withResolvers<void>()
  const held = clock.hold(gate.promise)
  await clock.sleepUntil(START)
  assert.equal(clock.now(), START)
  gate.resolve()
  await held
  await later
})

test('an aborted sleeper rejects with the reason and no longer moves time', async () => {
  const clock = virtualClock(START)
  const abort = new AbortController()
  const asleep = Promise.allSettled([
    clock.sleepUntil(after(1_000), abort.signal),
    clock.sleepUntil(after(2_000), abort.signal),
  ])
  const other = clock.sleepUntil(after(10))
  abort.abort(new Error('called off'))
  for (const end of await asleep) assert.match(String(end.status === 'rejected' && end.reason), /called off/)
  await other
  await turns(10)
  assert.equal(clock.now(), after(10))
  await assert.rejects(clock.sleepUntil(after(5_000), abort.signal), /called off/)
})

test('listeners hear of each new time once, before anyone wakes', async () => {
  const clock = virtualClock(START)
  const heard: string[] = []
  const remove = clock.onAdvance((now) => heard.push(`saved ${now - START}`))
  await Promise.all(
    [1, 1, 2].map(async (ms) => {
      await clock.sleepUntil(after(ms))
      heard.push(`woke ${ms}`)
    }),
  )
  assert.deepEqual(heard, ['saved 1', 'woke 1', 'woke 1', 'saved 2', 'woke 2'])
  remove()
  await clock.sleepUntil(after(3))
  assert.equal(heard.length, 5)
})

test('advanceTo goes through every instant on the way, held or not, and never back', async () => {
  const clock = virtualClock(START)
  const seen: number[] = []
  clock.onAdvance((now) => seen.push(now - START))
  const gate = Promise.withResolvers<void>()
  const held = clock.hold(gate.promise)
  const woken = Promise.all([clock.sleepUntil(after(7)), clock.sleepUntil(after(3))])
  clock.advanceTo(after(9))
  await woken
  assert.deepEqual(seen, [3, 7, 9])
  assert.throws(() => clock.advanceTo(after(8)), /never goes back/)
  gate.resolve()
  await held
})

test('100,000 sleepers, half of them aborted, on one signal or on none', async () => {
  const clock = virtualClock(START)
  const abort = new AbortController()
  let woken = 0
  const all: Promise<unknown>[] = []
  for (let i = 0; i < 100_000; i++) {
    const sleep = clock.sleepUntil(after(1 + ((i * 7919) % 50)), i % 2 === 0 ? abort.signal : undefined)
    all.push(
      sleep.then(
        () => woken++,
        () => {},
      ),
    )
  }
  abort.abort()
  await Promise.all(all)
  assert.equal(woken, 50_000)
})

test('a process lives as long as someone sleeps, and not longer', () => {
  const module = fileURLToPath(new URL('./virtual.ts', import.meta.url))
  const script = `
    import { virtualClock } from ${JSON.stringify(module)}
    const clock = virtualClock(0)
    const wait = async () => { for (let at = 1; at <= 100; at++) await clock.sleepUntil(at) }
    wait().then(() => console.log('slept until', clock.now()))
  `
  const ran = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 60_000,
  })
  assert.equal(ran.stdout, 'slept until 100\n')
  assert.equal(ran.status, 0)
})

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}
