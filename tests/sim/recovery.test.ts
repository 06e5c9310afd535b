import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TitheError } from '../../src/core/errors.ts'
import { DAY_MS, HOUR_MS, type Instant, MINUTE_MS, plusMs } from '../../src/core/instant.ts'
import { ledgerOf } from '../../src/runs/report-run.ts'
import type { AnswerHeaders, BatchBody, CallContext, Upstream } from '../../src/upstreams/upstream.ts'
import { driveWorld, finalState, openWorld, RUN, type World, withUpstream } from './harness.ts'

const FINISHED = { kind: 'finished' }

/** Why a drive stopped; fails when it did not. */
async function stopReason(world: World, options: Parameters<typeof driveWorld>[1] = {}): Promise<string> {
  const { end } = await driveWorld(world, options)
  assert.ok(end !== 'crashed' && end.kind === 'stopped', JSON.stringify(end))
  return end.reason
}

/** The upstream as another key sees it, or as a proxy that takes headers away shows it. */
function seenAs(world: World, changed: Partial<AnswerHeaders>, batches: 'hidden' | 'shown'): Upstream {
  return withUpstream(world, (local) => ({
    async listBatches(query) {
      const page = await local.listBatches(query)
      const data = batches === 'hidden' ? [] : page.data
      return { ...page, data, headers: { ...page.headers, ...changed } }
    },
    async retrieveBatch(id) {
      const answer = batches === 'hidden' ? null : await local.retrieveBatch(id)
      return answer && { ...answer, headers: { ...answer.headers, ...changed } }
    },
  }))
}

for (const [name, changed] of [
  ['another workspace', { workspaceId: 'wrkspc_other' }],
  ['another organisation', { organizationId: 'org_other' }],
  ['no workspace at all', { workspaceId: null }],
] as const) {
  test(`a resume with ${name} stops before any decision, and sends nothing`, async () => {
    const world = await openWorld({ rows: 40, local: { batchLatencyMs: [2 * HOUR_MS] } })
    await driveWorld(world, { drive: { once: true } })
    world.clock.advanceTo(plusMs(world.clock.now(), 40 * MINUTE_MS))
    const before = await world.store.runs.submissions(RUN)
    const reason = await stopReason(world, { upstream: seenAs(world, changed, 'hidden') })
    assert.match(reason, /organisation org_local, workspace wrkspc_local/)
    assert.deepEqual(await world.store.runs.submissions(RUN), before)
    assert.deepEqual((await driveWorld(world)).end, FINISHED)
    assert.equal((await finalState(world)).invoice.equal, true)
  })
}

test('a cancel with another key stops too: it would end rows that are being paid for', async () => {
  const world = await openWorld({ rows: 40, local: { batchLatencyMs: [2 * HOUR_MS] } })
  await driveWorld(world, { drive: { once: true } })
  const upstream = seenAs(world, { workspaceId: 'wrkspc_other' }, 'hidden')
  await stopReason(world, { upstream, drive: { cancel: true } })
  assert.equal((await world.store.runs.counts(RUN)).canceled, 0)
})

test('a first create whose answer was lost is looked for in the workspace that was listed before it', async () => {
  const world = await openWorld({ rows: 40 })
  const silent = withUpstream(world, (local) => ({
    async createBatch(body, context) {
      await local.createBatch(body, context)
      return { kind: 'ambiguous', reason: 'the connection was lost' }
    },
  }))
  await driveWorld(world, { upstream: silent, drive: { once: true } })
  const [first] = await world.store.runs.submissions(RUN)
  assert.deepEqual([first!.organizationId, first!.workspaceId], ['org_local', 'wrkspc_local'])
  world.clock.advanceTo(plusMs(world.clock.now(), HOUR_MS))
  await stopReason(world, { upstream: seenAs(world, { workspaceId: 'wrkspc_other' }, 'hidden') })
  assert.equal((await world.store.runs.submissions(RUN))[0]!.state, 'submitting', 'not presumed lost')
})

test('a server that never says whose batches it has is driven like any other', async () => {
  const world = await openWorld({ rows: 40 })
  const silent = { organizationId: null, workspaceId: null }
  const upstream = withUpstream(world, (local) => ({
    ...seenAs(world, silent, 'shown'),
    async createBatch(body: BatchBody, context: CallContext) {
      const answer = await local.createBatch(body, context)
      return answer.kind === 'ambiguous' ? answer : { ...answer, headers: { ...answer.headers, ...silent } }
    },
    listBatches: async (query) => {
      const page = await local.listBatches(query)
      return { ...page, headers: { ...page.headers, ...silent } }
    },
    retrieveBatch: async (id) => {
      const answer = await local.retrieveBatch(id)
      return answer && { ...answer, headers: { ...answer.headers, ...silent } }
    },
  }))
  assert.deepEqual((await driveWorld(world, { upstream })).end, FINISHED)
})

test('results that were archived before they were read are unretrievable: the run stops, and never sends them again', async () => {
  const world = await openWorld({ rows: 100 })
  while ((await world.store.runs.submissions(RUN)).length < 2) {
    await driveWorld(world, { drive: { once: true, onceUntilChange: true } })
  }
  await world.clock.sleepUntil(plusMs(world.clock.now(), 30 * DAY_MS))
  const reason = await stopReason(world)
  assert.match(reason, /archived .* what they cost is unknown; 30 rows are unretrievable, and not sent again/)
  assert.deepEqual((await driveWorld(world)).end, FINISHED)
  const { counts, invoice } = await finalState(world)
  assert.deepEqual([counts.succeeded, counts.unretrievable], [70, 30])
  assert.equal(invoice.lines - invoice.entries, 30, 'what was paid and never read')
})

test('a batch that is 404 stops the run; a human who goes on ends its rows, and pays for none again', async () => {
  const world = await openWorld({ rows: 100 })
  while ((await world.store.runs.submissions(RUN)).length < 2) {
    await driveWorld(world, { drive: { once: true, onceUntilChange: true } })
  }
  const deleted = (await world.store.runs.submissions(RUN))[1]!.upstreamBatchId!
  const forgetful = withUpstream(world, (local) => ({
    retrieveBatch: (id: string) => (id === deleted ? Promise.resolve(null) : local.retrieveBatch(id)),
    async *batchResults(id: string) {
      if (id === deleted) throw new TitheError('not_found_error', 'Message Batch not found.', { exitCode: 3 })
      yield* local.batchResults(id)
    },
  }))
  const reason = await stopReason(world, { upstream: forgetful })
  assert.match(reason, /known to exist and the upstream answers 404/)
  assert.equal((await world.store.runs.counts(RUN)).submitted, 30, 'nothing is decided yet')
  assert.deepEqual((await driveWorld(world, { upstream: forgetful })).end, FINISHED)
  const { counts } = await finalState(world)
  assert.deepEqual([counts.succeeded, counts.unretrievable], [70, 30])
})

/** An upstream that hides a batch for a while, though it took the create, and then says that it goes on until later. */
function hiding(world: World, create: number, hiddenMs: number, runsMs = 0): Upstream {
  let creates = 0
  let hidden: string | null = null
  let createdAt = world.clock.now()
  const isBefore = (id: string, ms: number) => id === hidden && world.clock.now() < plusMs(createdAt, ms)
  return withUpstream(world, (local) => ({
    async createBatch(body, context) {
      creates += 1
      const answer = await local.createBatch(body, context)
      if (creates !== create || answer.kind !== 'accepted') return answer
      hidden = answer.batch.id
      createdAt = world.clock.now()
      return { kind: 'ambiguous', reason: 'the connection was lost' }
    },
    async listBatches(query) {
      const page = await local.listBatches(query)
      const data = page.data
        .filter(({ id }) => !isBefore(id, hiddenMs))
        .map((batch) =>
          isBefore(batch.id, runsMs) ? { ...batch, processing_status: 'in_progress' as const } : batch,
        )
      return { ...page, data, first_id: data[0]?.id ?? null }
    },
  }))
}

test('a create that shows up after it was presumed lost is entered as a duplicate, to the last token', async () => {
  const world = await openWorld({ rows: 100 })
  const { end, events } = await driveWorld(world, { upstream: hiding(world, 2, 30.5 * MINUTE_MS) })
  assert.deepEqual(end, FINISHED)
  const { counts, invoice } = await finalState(world)
  assert.equal(counts.succeeded, 100)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
  const kinds: string[] = []
  for await (const entry of ledgerOf(RUN, world.store.runs)) kinds.push(entry.kind)
  assert.equal(kinds.filter((kind) => kind === 'duplicate').length, 30)
  assert.equal(kinds.filter((kind) => kind === 'paid').length, 100)
  assert.ok(events.some((event) => event.kind === 'note' && /entered as duplicates/.test(event.message)))
})

test('a run whose rows are done waits for a batch that could still be its lost create, and says so', async () => {
  const world = await openWorld({ rows: 20 })
  const start = world.clock.now()
  const upstream = hiding(world, 2, 30.5 * MINUTE_MS, 2 * HOUR_MS)
  const { end, events } = await driveWorld(world, { upstream })
  assert.deepEqual(end, FINISHED)
  assert.ok(world.clock.now() - start >= 2 * HOUR_MS)
  const waits = events.filter(
    (event) => event.kind === 'note' && /when it is known what it cost/.test(event.message),
  )
  assert.equal(waits.length, 1, 'said once')
  const { counts, invoice } = await finalState(world)
  assert.equal(counts.succeeded, 20)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
  assert.equal(invoice.entries, 38)
})

test('two batches that something on the way made of one create are both accounted for, each once', async () => {
  const world = await openWorld({ rows: 100 })
  let creates = 0
  const doubling = withUpstream(world, (local) => ({
    async createBatch(body, context) {
      creates += 1
      if (creates === 2) await local.createBatch(body, context)
      return local.createBatch(body, context)
    },
  }))
  assert.deepEqual((await driveWorld(world, { upstream: doubling })).end, FINISHED)
  const { counts, invoice } = await finalState(world)
  assert.equal(counts.succeeded, 100)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
  assert.equal(invoice.entries, 130)
  const copies = (await world.store.runs.submissions(RUN)).filter((one) => one.isDuplicate)
  assert.deepEqual(
    copies.map(({ answersFor, state, rows }) => [answersFor, state, rows]),
    [[2, 'ingested', 30]],
  )
})

test('no two batches of a run have the same number of rows, nor that of another batch in the list', async () => {
  const world = await openWorld({
    rows: 200,
    settings: { cache: 'off' },
    betas: (row) => [`simulated-${row % 3}`],
  })
  const context = { apiVersion: '2023-06-01', betas: [], workspace: 'wrkspc_local', tier: 'batch' } as const
  const params = {
    model: 'claude-sonnet-4-6',
    max_tokens: 10,
    messages: [{ role: 'user', content: 'Hello' }],
  }
  const foreign = (rows: number): BatchBody => ({
    rows,
    sizeBytes: rows * 200,
    async *elements() {
      for (let row = 0; row < rows; row++)
        yield Buffer.from(JSON.stringify({ custom_id: `other-${row}`, params }))
    },
  })
  for (const rows of [10, 56, 57]) {
    await world.local.createBatch(foreign(rows), { ...context, receivedAt: world.clock.now() })
  }
  assert.deepEqual((await driveWorld(world)).end, FINISHED)
  const sizes = (await world.store.runs.submissions(RUN)).map((one) => one.rows)
  assert.ok(sizes.length >= 6, String(sizes))
  assert.equal(new Set([...sizes, 10, 56, 57]).size, sizes.length + 3, String(sizes))
})

test('a driver that sleeps in the middle of a create, while another drives on, creates nothing when it wakes', async () => {
  const world = await openWorld({ rows: 40 })
  let slept = false
  const sleepy = withUpstream(world, (local) => ({
    createBatch(body, context) {
      if (slept) return local.createBatch(body, context)
      slept = true
      return local.createBatch(
        {
          ...body,
          async *elements() {
            const elements = body.elements()[Symbol.asyncIterator]()
            yield (await elements.next()).value as Uint8Array
            // Taken for dead: another driver has the run by the time that this one goes on.
            const later = plusMs(world.clock.now(), HOUR_MS)
            await world.store.runs.acquireLease(RUN, 'another', later, plusMs(later, HOUR_MS))
            for (let next = await elements.next(); !next.done; next = await elements.next()) yield next.value
          },
        },
        context,
      )
    },
  }))
  await assert.rejects(driveWorld(world, { upstream: sleepy }), { code: 'run_taken' })
  assert.deepEqual((await world.local.listBatches({})).data, [], 'the body never came to its end')
})

test('a clock that is set back after a create does not keep it from being presumed lost', async () => {
  const world = await openWorld({ rows: 20 })
  const [lost, awake] = [plusMs(world.clock.now(), 0), world.clock]
  const silent = withUpstream(world, () => ({
    createBatch: () => Promise.resolve({ kind: 'ambiguous', reason: 'the connection was lost' } as const),
  }))
  await driveWorld(world, { upstream: silent, drive: { once: true } })
  awake.advanceTo(plusMs(lost, 31 * MINUTE_MS))
  // This machine believes that it is yesterday; the upstream's Date says otherwise.
  const [submission] = await world.store.runs.submissions(RUN)
  assert.equal(submission!.serverIntentAt, lost)
  const dayLater = { intentAt: plusMs(lost, DAY_MS) as Instant, nextPollAt: null }
  const lease = await world.store.runs.acquireLease(RUN, 'driver', lost, plusMs(lost, 1))
  assert.ok(lease.kind === 'held')
  await world.store.runs.touchSubmission(RUN, lease.fence, 1, dayLater)
  assert.deepEqual((await driveWorld(world)).end, FINISHED)
  assert.ok(world.clock.now() < plusMs(lost, 2 * HOUR_MS), 'by its own clock it would have waited for a day')
  assert.equal((await finalState(world)).invoice.equal, true)
})

test('what does not add up in a results file is said and kept, whatever it is', async () => {
  const world = await openWorld({ rows: 20 })
  const odd = withUpstream(world, (local) => ({
    async *batchResults(id: string) {
      let first: Uint8Array | null = null
      for await (const line of local.batchResults(id)) {
        first ??= line
        yield line
      }
      yield first!
      yield Buffer.from(JSON.stringify({ custom_id: `${RUN}-1-zz`, result: { type: 'expired' } }))
      yield Buffer.from('{"custom_id": "cut off in the mid')
    },
    async retrieveBatch(id) {
      const answer = await local.retrieveBatch(id)
      if (answer === null || answer.batch.processing_status !== 'ended') return answer
      const counts = {
        ...answer.batch.request_counts,
        succeeded: 0,
        expired: answer.batch.request_counts.succeeded,
      }
      return { ...answer, batch: { ...answer.batch, request_counts: counts } }
    },
  }))
  const { end, events } = await driveWorld(world, { upstream: odd })
  assert.deepEqual(end, FINISHED)
  const notes = events.flatMap((event) => (event.kind === 'note' ? [event.message] : [])).join('\n')
  assert.match(notes, /2 lines are of no row that was sent/)
  assert.match(notes, /1 lines came more than once/)
  assert.match(notes, /differ from the batch's own request_counts: 2 succeeded, not 0; 0 expired, not 2/)
  const ingested = (await world.store.runs.events(RUN)).filter((event) => event.kind === 'ingested')
  assert.match(ingested[0]!.detail, /no row that was sent/)
  assert.equal((await finalState(world)).counts.succeeded, 20)
})

test('a line that cannot be read does not make a lost create foreign', async () => {
  const world = await openWorld({ rows: 40 })
  let creates = 0
  let readings = 0
  const upstream = withUpstream(world, (local) => ({
    async createBatch(body, context) {
      const answer = await local.createBatch(body, context)
      creates += 1
      return creates === 1 ? { kind: 'ambiguous', reason: 'the connection was lost' } : answer
    },
    async *batchResults(id: string) {
      readings += 1
      for await (const line of local.batchResults(id)) yield readings === 1 ? line.subarray(0, 20) : line
    },
  }))
  assert.deepEqual((await driveWorld(world, { upstream })).end, FINISHED)
  const { invoice } = await finalState(world)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
  assert.equal(invoice.lines, 40, 'nothing was sent twice')
})

test('the age of a create counts from when it was sent: a machine that slept before it presumes nothing lost too early', async () => {
  const world = await openWorld({ rows: 40, settings: { cache: 'off' } })
  let creates = 0
  const upstream = withUpstream(world, (local) => ({
    async createBatch(body, context) {
      creates += 1
      if (creates > 1) return local.createBatch(body, context)
      await world.clock.sleepUntil(plusMs(world.clock.now(), 3 * HOUR_MS))
      const sent: Uint8Array[] = []
      for await (const element of body.elements()) sent.push(element)
      async function* elements() {
        yield* sent
      }
      const landsAt = plusMs(world.clock.now(), 10 * MINUTE_MS)
      void world.clock.sleepUntil(landsAt).then(() => local.createBatch({ ...body, elements }, context))
      return { kind: 'ambiguous', reason: 'timeout' }
    },
  }))
  assert.deepEqual((await driveWorld(world, { upstream })).end, FINISHED)
  assert.equal(creates, 1)
  const { invoice } = await finalState(world)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
  assert.equal(invoice.lines, 40)
})

test('whenever another takes the run of a driver that slept before its create, the rows are sent by one of them', async () => {
  let taken = 0
  for (let call = 1; call <= 10; call++) {
    const world = await openWorld({ rows: 6, settings: { cache: 'off' } })
    let creates = 0
    const slept = withUpstream(world, (local) => ({
      async createBatch(body, context) {
        creates += 1
        if (creates === 1) await world.clock.sleepUntil(plusMs(world.clock.now(), 3 * HOUR_MS))
        const sent: Uint8Array[] = []
        for await (const element of body.elements()) sent.push(element)
        async function* elements() {
          yield* sent
        }
        return local.createBatch({ ...body, elements }, context)
      },
    }))
    const meanwhile = async () => {
      await world.clock.sleepUntil(plusMs(world.clock.now(), HOUR_MS))
      await driveWorld(world)
    }
    const driving = driveWorld(world, { upstream: slept, pause: { call, when: 'after', meanwhile } })
    await driving.catch((error: { code?: string }) => {
      assert.equal(error.code, 'run_taken')
      taken += 1
    })
    await driveWorld(world)
    // What was sent too much would be invoiced by then.
    await world.clock.sleepUntil(plusMs(world.clock.now(), HOUR_MS))
    const { invoice } = await finalState(world)
    assert.equal(invoice.equal, true, `call ${call}: ${invoice.differences.join('\n')}`)
    assert.equal(invoice.lines, 6, `call ${call}`)
  }
  assert.ok(taken > 2, String(taken))
})
