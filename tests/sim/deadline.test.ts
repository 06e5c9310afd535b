import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HOUR_MS, type Instant, MINUTE_MS, plusMs } from '../../src/core/instant.ts'
import { PICO_PER_USD, picoUsd } from '../../src/core/money.ts'
import { ledgerOf } from '../../src/runs/report-run.ts'
import type { Upstream } from '../../src/upstreams/upstream.ts'
import { driveWorld, finalState, openWorld, RUN, START, type World, withUpstream } from './harness.ts'

// Batches that are late, and batches that do not end when they are told to.

const WITHIN_MS = 2 * HOUR_MS
const FINISHED = { kind: 'finished' }
/** The probe ends in time; the bulk behind it cannot. */
const SLOW = { batchLatencyMs: [100 * MINUTE_MS] }
/** No batch ends in time. */
const SLOWEST = { batchLatencyMs: [6 * HOUR_MS] }

const notes = (events: Awaited<ReturnType<typeof driveWorld>>['events']) =>
  events.flatMap((event) => (event.kind === 'note' ? [event.message] : [])).join('\n')

async function tiers(world: World): Promise<Record<string, number>> {
  const count: Record<string, number> = {}
  for await (const entry of ledgerOf(RUN, world.store.runs)) {
    const kind = `${entry.kind} ${entry.usage.serviceTier}`
    count[kind] = (count[kind] ?? 0) + 1
  }
  return count
}

test('a deadline is kept: whole batches are canceled in time, and only what they have not done is answered in realtime', async () => {
  const world = await openWorld({ rows: 60, settings: { withinMs: WITHIN_MS }, local: SLOW })
  const { end, events } = await driveWorld(world)
  assert.deepEqual(end, FINISHED)
  const took = (await finishedAt(world)) - START
  assert.ok(took <= WITHIN_MS, `${took / MINUTE_MS} min`)
  const { counts, invoice } = await finalState(world)
  assert.equal(counts.succeeded, 60)
  const paid = await tiers(world)
  assert.ok(paid['paid batch']! > 0 && paid['paid standard']! > 0, JSON.stringify(paid))
  assert.equal(paid['paid batch']! + paid['paid standard']!, 60, 'no row is paid for twice')
  assert.equal(invoice.lines, 60)
  assert.match(notes(events), /rows are open .* before the deadline: batches are canceled/)
  assert.doesNotMatch(notes(events), /MISSED/)
})

test('in realtime the shared prefix is written anew and then read: what batches have cached does not serve it', async () => {
  const world = await openWorld({ rows: 60, settings: { withinMs: WITHIN_MS }, local: SLOW })
  await driveWorld(world)
  let writes = 0
  let reads = 0
  for await (const { usage } of ledgerOf(RUN, world.store.runs)) {
    if (usage.serviceTier !== 'standard') continue
    if (usage.cacheReadTokens > 0) reads += 1
    else if (usage.cacheWrite1hTokens + usage.cacheWrite5mTokens > 0) writes += 1
  }
  assert.equal(writes, 2, 'one for each handbook')
  assert.ok(reads > 10)
})

/** A cancel that is taken and never comes to an end, or not before so long. */
function stubborn(world: World, endsAfterMs: number): Upstream {
  const canceled = new Map<string, Instant>()
  return withUpstream(world, (local) => ({
    async cancelBatch(id) {
      canceled.set(id, canceled.get(id) ?? world.clock.now())
      const answer = await local.retrieveBatch(id)
      return { ...answer!.batch, processing_status: 'canceling' }
    },
    async retrieveBatch(id) {
      const at = canceled.get(id)
      const isDue = at !== undefined && world.clock.now() >= plusMs(at, endsAfterMs)
      if (isDue) await local.cancelBatch(id).catch(() => null)
      return local.retrieveBatch(id)
    },
  }))
}

test('rows of a batch that does not end are not sent again: the deadline is missed, loudly, and nothing is paid twice', async () => {
  const world = await openWorld({ rows: 60, settings: { withinMs: WITHIN_MS }, local: SLOW })
  const { end, events } = await driveWorld(world, { upstream: stubborn(world, 3 * HOUR_MS) })
  assert.deepEqual(end, FINISHED)
  assert.match(notes(events), /THE DEADLINE IS MISSED: \d+ rows were open/)
  const kinds = (await world.store.runs.events(RUN)).map((event) => event.kind)
  assert.equal(kinds.filter((kind) => kind === 'deadline_missed').length, 1)
  const { counts, invoice } = await finalState(world)
  assert.equal(counts.succeeded, 60)
  assert.equal(invoice.lines, 60)
})

test('with on_deadline: pay_twice they are sent again, the deadline is kept, and what it cost twice is in the ledger', async () => {
  const settings = { withinMs: WITHIN_MS, onDeadline: 'pay_twice' } as const
  const world = await openWorld({ rows: 60, settings, local: SLOW })
  const { end, events } = await driveWorld(world, { upstream: stubborn(world, 3 * HOUR_MS) })
  assert.deepEqual(end, FINISHED)
  assert.doesNotMatch(notes(events), /MISSED/)
  assert.match(notes(events), /paid for twice/)
  const { counts } = await finalState(world)
  assert.equal(counts.succeeded, 60)
  const paid = await tiers(world)
  assert.ok(paid['duplicate batch']! > 0, JSON.stringify(paid))
  assert.equal((paid['paid batch'] ?? 0) + paid['paid standard']!, 60)
  await everythingInvoicedIsEntered(world)
})

test('with on_deadline: announce nothing is canceled, and the miss is said', async () => {
  const settings = { withinMs: WITHIN_MS, onDeadline: 'announce' } as const
  const world = await openWorld({ rows: 60, settings, local: { batchLatencyMs: [3 * HOUR_MS] } })
  const { end, events } = await driveWorld(world)
  assert.deepEqual(end, FINISHED)
  assert.match(notes(events), /MISSED/)
  assert.deepEqual(Object.keys(await tiers(world)), ['paid batch'])
})

test('a deadline that passed while nobody drove is said, and nothing is canceled for it', async () => {
  const world = await openWorld({
    rows: 60,
    settings: { withinMs: WITHIN_MS },
    local: { batchLatencyMs: [20 * HOUR_MS] },
  })
  await driveWorld(world, { drive: { once: true } })
  await world.clock.sleepUntil(plusMs(world.clock.now(), 3 * HOUR_MS))
  const { end, events } = await driveWorld(world)
  assert.deepEqual(end, FINISHED)
  assert.match(notes(events), /MISSED/)
  assert.deepEqual(Object.keys(await tiers(world)), ['paid batch'])
})

test('a budget outranks the deadline: what it does not bear in realtime is not sent, and the run stops', async () => {
  const budgetPicoUsd = picoUsd((PICO_PER_USD * 55n) / 100n)
  const settings = { withinMs: WITHIN_MS, budgetPicoUsd }
  const world = await openWorld({ rows: 60, settings, local: SLOW })
  const { end } = await driveWorld(world)
  assert.ok(end !== 'crashed' && end.kind === 'stopped', JSON.stringify(end))
  assert.match(end.reason, /budget/)
  const { costPicoUsd } = await finalState(world)
  assert.ok(costPicoUsd <= budgetPicoUsd)
})

/** Asks to be polled every five minutes only: every poll is a call to die in. */
function seldomAsked(world: World): Upstream {
  return withUpstream(world, (local) => ({
    async retrieveBatch(id) {
      const answer = await local.retrieveBatch(id)
      return answer && { ...answer, headers: { ...answer.headers, retryAfterMs: 5 * MINUTE_MS } }
    },
  }))
}

test('a driver that dies at any of its calls while a deadline is being kept loses nothing and pays for nothing twice', async () => {
  const options = {
    rows: 14,
    settings: { withinMs: WITHIN_MS, cache: 'off' },
    local: SLOWEST,
    request: (ordinal: number) => ({ system: [{ type: 'text', text: `handbook ${ordinal % 2}. ` }] }),
  } as const
  let crashes = 0
  for (let call = 1, crashed = true; crashed; call++) {
    const world = await openWorld(options)
    const upstream = seldomAsked(world)
    const first = await driveWorld(world, { upstream, crash: { call, when: 'after' } })
    crashed = first.end === 'crashed'
    crashes += crashed ? 1 : 0
    assert.deepEqual((await driveWorld(world, { upstream })).end, FINISHED, `a crash after call ${call}`)
    const { counts } = await finalState(world)
    assert.equal(counts.succeeded, 14, `a crash after call ${call}`)
    const paid = await tiers(world)
    assert.equal((paid['paid batch'] ?? 0) + (paid['paid standard'] ?? 0), 14, JSON.stringify(paid))
  }
  assert.ok(crashes > 30, String(crashes))
})

test('rows that come in the very look in which the time runs out are late, and that is said', async () => {
  const world = await openWorld({
    rows: 12,
    settings: { withinMs: 150 * MINUTE_MS, onTruncated: 'retry' },
    request: (ordinal) => ({ system: [{ type: 'text', text: `handbook ${ordinal % 2}. `.repeat(400) }] }),
    local: {
      seed: 1,
      batchLatencyMs: [20 * MINUTE_MS, 5 * HOUR_MS],
      erroredShare: 0.3,
      truncatedShare: 0.15,
    },
  })
  const { end, events } = await driveWorld(world, { upstream: seldomAsked(world) })
  assert.deepEqual(end, FINISHED)
  const late = (await finishedAt(world)) - START - 150 * MINUTE_MS
  assert.ok(late > 0 && late < MINUTE_MS, `${late} ms late`)
  assert.match(notes(events), /THE DEADLINE IS MISSED: the last rows came \d+ ms after/)
})

async function finishedAt(world: World): Promise<Instant> {
  return (await world.store.runs.findRuns(RUN))[0]!.finishedAt!
}

async function everythingInvoicedIsEntered(world: World): Promise<void> {
  const cost = async (lines: AsyncIterable<{ readonly costPicoUsd: bigint | null }>) => {
    let total = 0n
    for await (const line of lines) total += line.costPicoUsd ?? 0n
    return total
  }
  assert.equal(await cost(ledgerOf(RUN, world.store.runs)), await cost(world.local.invoice()))
}
