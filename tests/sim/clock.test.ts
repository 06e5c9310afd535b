import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DAY_MS, HOUR_MS, plusMs } from '../../src/core/instant.ts'
import { driverOf } from '../../src/runs/lease.ts'
import { seededIds } from '../../src/runtime/ids.ts'
import type { Clock } from '../../src/runtime/runtime.ts'
import { virtualClock } from '../../src/runtime/virtual.ts'
import { driveWorld, finalState, openWorld, RUN, START, type World, type WorldOptions } from './harness.ts'

// Clocks that are set back, laptops that sleep for days, and leases of a time that has not come.

const OPTIONS: WorldOptions = { rows: 100 }

/** The same clock, a day behind. */
function aDayBehind(clock: Clock): Clock {
  return {
    ...clock,
    now: () => plusMs(clock.now(), -DAY_MS),
    sleepUntil: (at, signal) => clock.sleepUntil(plusMs(at, DAY_MS), signal),
    hold: (operation) => clock.hold(operation),
  }
}

/** How many writing calls an undisturbed run makes until its bulk has been accepted. */
async function callOfBulk(options: WorldOptions): Promise<number> {
  for (let call = 1; ; call++) {
    const world = await openWorld(options)
    await driveWorld(world, { crash: { call, when: 'after' } })
    const last = (await world.store.runs.submissions(RUN)).at(-1)
    if (last?.kind === 'bulk' && last.state === 'in_progress') return call
  }
}

async function endsWell(world: World): Promise<void> {
  const { counts, invoice } = await finalState(world)
  assert.equal(counts.succeeded, 100)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
  assert.equal(invoice.lines, 100, 'no row is answered twice')
}

test('a clock that is set back a day between two drivers makes the run wait no longer', async () => {
  const world = await openWorld(OPTIONS)
  await driveWorld(world, { crash: { call: await callOfBulk(OPTIONS), when: 'after' } })
  const runtime = { clock: aDayBehind(world.clock), ids: seededIds(6) }
  assert.deepEqual((await driveWorld(world, { deps: { runtime } })).end, {
    kind: 'finished',
  })
  assert.ok(world.clock.now() < plusMs(START, HOUR_MS), new Date(world.clock.now()).toISOString())
  await endsWell(world)
})

test('a lease of a time before the clock was set back locks no run, and one that is due does', async () => {
  const world = await openWorld(OPTIONS)
  const { runs } = world.store
  const elsewhere = { store: world.store, wallClock: virtualClock(START), isHolderGone: () => false }
  await runs.acquireLease(RUN, '4242@elsewhere', START, plusMs(START, 30_000))
  assert.equal(await driverOf(RUN, elsewhere), '4242@elsewhere')
  await assert.rejects(driveWorld(world, { deps: elsewhere }), {
    code: 'run_held',
  })

  await runs.acquireLease(RUN, '4242@elsewhere', START, plusMs(START, DAY_MS))
  assert.equal(await driverOf(RUN, elsewhere), null)
  assert.deepEqual((await driveWorld(world, { deps: elsewhere })).end, {
    kind: 'finished',
  })
  await endsWell(world)
})

/** A driver that falls asleep for two days when its bulk has just been accepted. */
async function driveAsleep(options: WorldOptions): Promise<World> {
  const world = await openWorld(options)
  const pause = {
    call: await callOfBulk(options),
    when: 'after' as const,
    meanwhile: async () => world.clock.advanceTo(plusMs(world.clock.now(), 2 * DAY_MS)),
  }
  assert.deepEqual((await driveWorld(world, { pause })).end, { kind: 'finished' })
  assert.ok(world.clock.now() >= plusMs(START, 2 * DAY_MS))
  return world
}

test('a driver that sleeps for two days wakes up past the end of its batch and reads its results', async () => {
  await endsWell(await driveAsleep(OPTIONS))
})

test('a batch that expired while the driver slept gives its rows to a later one, and none is paid twice', async () => {
  // A seed by which the bulk waits in the queue for more than a day, and nothing before it does.
  const world = await driveAsleep({
    ...OPTIONS,
    local: { batchLatencyMs: [60_000, 60_000, 2 * DAY_MS], seed: 39 },
  })
  const bulk = (await world.store.runs.submissions(RUN)).find(({ kind }) => kind === 'bulk')!
  assert.equal((await world.store.runs.attemptCounts(RUN, bulk.number)).expired, bulk.rows)
  await endsWell(world)
})
