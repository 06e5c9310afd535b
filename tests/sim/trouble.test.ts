import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TitheError } from '../../src/core/errors.ts'
import { HOUR_MS, type Instant, MINUTE_MS, plusMs, SECOND_MS } from '../../src/core/instant.ts'
import { PICO_PER_USD, picoUsd } from '../../src/core/money.ts'
import type { AnswerHeaders, CreateAnswer, MessageBatch, Upstream } from '../../src/upstreams/upstream.ts'
import { driveWorld, finalState, openWorld, RUN, type World, withUpstream } from './harness.ts'

// What an upstream may do to a run, and that it ends all the same: every row in one outcome, every answer paid once.

const submissionsOf = async (world: World) =>
  (await world.store.runs.submissions(RUN)).map((one) => `${one.kind} ${one.rows} ${one.state}`)

function headers(retryAfterMs: number | null): AnswerHeaders {
  return { requestId: null, organizationId: null, workspaceId: null, retryAfterMs, date: null }
}

function refusal(status: number, type: string, retryAfterMs: number | null = null): CreateAnswer {
  return { kind: 'refused', error: { status, type, message: 'not now' }, headers: headers(retryAfterMs) }
}

/** Answers some creates itself, by their number from 1. */
function withCreates(
  world: World,
  answers: (create: number, at: Instant) => CreateAnswer | null,
  more: (upstream: Upstream) => Partial<Upstream> = () => ({}),
): Upstream {
  let creates = 0
  return withUpstream(world, (local) => ({
    ...more(local),
    async createBatch(body, context) {
      creates += 1
      return answers(creates, world.clock.now()) ?? local.createBatch(body, context)
    },
  }))
}

const isPaidOnce = async (world: World, succeeded: number) => {
  const { counts, invoice } = await finalState(world)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
  assert.deepEqual([counts.succeeded, invoice.lines], [succeeded, succeeded])
  assert.equal(counts.pending + counts.submitted, 0)
}

test('a create that is put off with a 429 goes out again as what it was: primer, then probe, then bulk', async () => {
  const world = await openWorld({ rows: 200 })
  // The primer and the probe are told to wait.
  const busy = withCreates(world, (create) =>
    create === 1 || create === 3 ? refusal(429, 'rate_limit_error', 5 * SECOND_MS) : null,
  )
  assert.deepEqual((await driveWorld(world, { upstream: busy })).end, { kind: 'finished' })
  assert.deepEqual(await submissionsOf(world), [
    'primer 2 ingested',
    'probe 30 ingested',
    'bulk 168 ingested',
  ])
  await isPaidOnce(world, 200)
})

test('after a 429 nothing at all is created before retry-after has passed', async () => {
  // Each wave has two batches.
  const betas = (ordinal: number) => (ordinal % 2 === 0 ? [] : ['context-1m-2025-08-07'])
  const world = await openWorld({ rows: 200, settings: { cache: 'off' }, betas })
  const asked: Instant[] = []
  const busy = withCreates(world, (create, at) => {
    asked.push(at)
    return create === 1 ? refusal(429, 'rate_limit_error', 7 * MINUTE_MS) : null
  })
  assert.deepEqual((await driveWorld(world, { upstream: busy })).end, { kind: 'finished' })
  assert.equal(asked.length, 5)
  assert.ok(asked[1]! - asked[0]! >= 7 * MINUTE_MS, `${asked[1]! - asked[0]!} ms`)
  await isPaidOnce(world, 200)
})

test('a retry-after of nothing is no reason to ask without end', async () => {
  const world = await openWorld({ rows: 100 })
  let polls = 0
  const eager = withUpstream(world, (local) => ({
    async retrieveBatch(id: string) {
      polls += 1
      if (polls > 2_000) throw new Error('polled without end')
      const answer = await local.retrieveBatch(id)
      return answer && { ...answer, headers: { ...answer.headers, retryAfterMs: 0 } }
    },
  }))
  assert.deepEqual((await driveWorld(world, { upstream: eager })).end, { kind: 'finished' })
})

test('an upstream that says for how long it is busy is left alone for so long', async () => {
  const world = await openWorld({ rows: 100 })
  const polled: Instant[] = []
  const busy = withUpstream(world, (local) => ({
    retrieveBatch(id: string) {
      polled.push(world.clock.now())
      if (polled.length > 1) return local.retrieveBatch(id)
      const options = { retry: 'safe', retryAfterMs: 4 * MINUTE_MS, exitCode: 3 } as const
      return Promise.reject(new TitheError('upstream_unreachable', 'HTTP 429', options))
    },
  }))
  assert.deepEqual((await driveWorld(world, { upstream: busy })).end, { kind: 'finished' })
  assert.equal(polled[1]! - polled[0]!, 4 * MINUTE_MS)
})

test('a run whose first create was refused for its key is still primed and probed once the key is mended', async () => {
  const world = await openWorld({ rows: 200 })
  const locked = withCreates(world, () => refusal(401, 'authentication_error'))
  const { end } = await driveWorld(world, { upstream: locked })
  assert.ok(end !== 'crashed' && end.kind === 'stopped')
  assert.match(end.reason, /refused a batch of 2 rows: 401 authentication_error/)
  assert.deepEqual((await driveWorld(world)).end, { kind: 'finished' })
  assert.deepEqual(await submissionsOf(world), [
    'primer 2 refused',
    'primer 2 ingested',
    'probe 30 ingested',
    'bulk 168 ingested',
  ])
  await isPaidOnce(world, 200)
})

test('marks that were chosen while the entry lived are not sent after it has died', async () => {
  const world = await openWorld({ rows: 100 })
  // The driver dies with the bulk planned and not sent; the next one comes a day later.
  let lists = 0
  const dying = withUpstream(world, (local) => ({
    listBatches: (query) => (++lists === 7 ? Promise.reject(new Error('the end')) : local.listBatches(query)),
  }))
  await assert.rejects(driveWorld(world, { upstream: dying }), /the end/)
  assert.deepEqual((await submissionsOf(world)).at(-1), 'bulk 68 planned')
  world.clock.advanceTo((world.clock.now() + 24 * HOUR_MS) as Instant)
  assert.deepEqual((await driveWorld(world)).end, { kind: 'finished' })
  let writes = 0
  for await (const line of world.local.invoice())
    writes += line.cacheWrite1hTokens + line.cacheWrite5mTokens > 0 ? 1 : 0
  assert.equal(writes, 2, 'only the primer wrote')
  await isPaidOnce(world, 100)
})

test('a cancel ends a run whose batch has ended before the cancel came', async () => {
  const world = await openWorld({ rows: 100 })
  await driveWorld(world, { drive: { once: true } })
  const id = (await world.store.runs.submissions(RUN))[0]!.upstreamBatchId!
  while ((await world.local.retrieveBatch(id))!.batch.processing_status !== 'ended')
    await world.clock.sleepUntil((world.clock.now() + MINUTE_MS) as Instant)
  assert.deepEqual((await driveWorld(world, { drive: { cancel: true } })).end, { kind: 'finished' })
  const { counts, invoice } = await finalState(world)
  assert.deepEqual([counts.succeeded, counts.canceled], [2, 98])
  assert.equal(invoice.equal, true)
})

test('a batch that was deleted stops the run for a human, and a cancel ends it', async () => {
  for (const deleted of ['before it ended', 'after it ended'] as const) {
    const world = await openWorld({ rows: 100 })
    const gone = new TitheError('not_found_error', 'Message Batch not found.', { exitCode: 3 })
    const forgetful = withUpstream(world, (local) => ({
      retrieveBatch: (id: string) =>
        deleted === 'before it ended' ? Promise.resolve(null) : local.retrieveBatch(id),
      cancelBatch: () => Promise.reject(gone),
      // biome-ignore lint/correctness/useYield: it has nothing to yield
      async *batchResults() {
        throw gone
      },
    }))
    const { end } = await driveWorld(world, { upstream: forgetful })
    assert.ok(end !== 'crashed' && end.kind === 'stopped', deleted)
    assert.match(end.reason, /404/, deleted)
    const canceled = await driveWorld(world, { upstream: forgetful, drive: { cancel: true } })
    assert.deepEqual(canceled.end, { kind: 'finished' }, deleted)
    assert.ok(
      canceled.events.some((event) => event.kind === 'note' && /given up|unretrievable/.test(event.message)),
    )
    const { counts } = await finalState(world)
    // The primer's rows may have been paid for: nobody can say that they were merely canceled.
    assert.deepEqual([counts.canceled, counts.unretrievable, counts.submitted], [98, 2, 0], deleted)
  }
})

test('results that are not there yet when the batch has just ended are asked for again', async () => {
  const world = await openWorld({ rows: 100 })
  const asked = new Set<string>()
  const slow = withUpstream(world, (local) => ({
    async *batchResults(id: string) {
      if (!asked.has(id)) {
        asked.add(id)
        throw new TitheError('not_found_error', 'no available results', { exitCode: 3 })
      }
      yield* local.batchResults(id)
    },
  }))
  assert.deepEqual((await driveWorld(world, { upstream: slow })).end, { kind: 'finished' })
  await isPaidOnce(world, 100)
})

test('two results for one row stop the run once; a human who resumes has seen it', async () => {
  const world = await openWorld({ rows: 100 })
  const changing = withUpstream(world, (local) => ({
    async *batchResults(id: string) {
      for await (const line of local.batchResults(id)) {
        yield line
        yield Buffer.from(Buffer.from(line).toString('utf8').replace('"output_tokens":', '"output_tokens":9'))
      }
    },
  }))
  const ends: string[] = []
  for (let drives = 0; drives < 5; drives++) {
    const { end } = await driveWorld(world, { upstream: changing })
    assert.ok(end !== 'crashed')
    ends.push(end.kind)
    if (end.kind === 'finished') break
  }
  assert.deepEqual(ends, ['stopped', 'stopped', 'stopped', 'finished'], 'once a batch')
  await isPaidOnce(world, 100)
})

test('a cancel that dies between any two of its calls still ends, by a cancel or by a resume', async () => {
  for (const batch of ['auto', 'off'] as const) {
    for (const next of ['cancel', 'resume'] as const) {
      for (let call = 1, crashed = true; crashed; call++) {
        const world = await openWorld({ rows: 12, settings: { batch } })
        // Dies with rows planned: what a cancel finds most to do with.
        await driveWorld(world, { crash: { call: 4, when: 'after' } })
        const first = await driveWorld(world, { crash: { call, when: 'after' }, drive: { cancel: true } })
        crashed = first.end === 'crashed'
        if (!crashed) break
        const where = `${batch}, ${next} after call ${call}`
        const before = (await finalState(world)).counts.canceled
        const { end } = await driveWorld(world, { drive: { cancel: next === 'cancel' } })
        assert.deepEqual(end, { kind: 'finished' }, where)
        const { counts, invoice } = await finalState(world)
        assert.equal(counts.pending + counts.submitted, 0, where)
        assert.ok(counts.canceled >= before, where)
        assert.equal(invoice.lines, counts.succeeded, `${where}: rows that are canceled are not paid for`)
      }
    }
  }
})

test('a lost create is found by a server whose clock is an hour behind', async () => {
  const world = await openWorld({ rows: 100 })
  const late = (batch: MessageBatch): MessageBatch => ({
    ...batch,
    created_at: new Date(Date.parse(batch.created_at) - HOUR_MS).toISOString(),
  })
  let creates = 0
  const behind = withUpstream(world, (local) => ({
    async createBatch(body, context) {
      creates += 1
      const answer = await local.createBatch(body, context)
      if (creates === 2) return { kind: 'ambiguous', reason: 'the connection was lost' }
      return answer.kind === 'accepted' ? { ...answer, batch: late(answer.batch) } : answer
    },
    async listBatches(query) {
      const page = await local.listBatches(query)
      const date = plusMs(page.headers.date!, -HOUR_MS)
      return { ...page, data: page.data.map(late), headers: { ...page.headers, date } }
    },
  }))
  assert.deepEqual((await driveWorld(world, { upstream: behind })).end, { kind: 'finished' })
  await isPaidOnce(world, 100)
})

test('a candidate whose results cannot be read yet is not taken for lost', async () => {
  const world = await openWorld({ rows: 100 })
  let lost: string | null = null
  let reads = 0
  const silent = withUpstream(world, (local) => ({
    async createBatch(body, context) {
      const answer = await local.createBatch(body, context)
      if (lost !== null || answer.kind !== 'accepted') return answer
      lost = answer.batch.id
      return { kind: 'ambiguous', reason: 'the connection was lost' }
    },
    async *batchResults(id: string) {
      if (id === lost) reads += 1
      // For forty minutes the file is empty, or not there.
      if (id === lost && reads <= 20) return
      if (id === lost && reads <= 40)
        throw new TitheError('not_found_error', 'no available results', { exitCode: 3 })
      yield* local.batchResults(id)
    },
  }))
  assert.deepEqual((await driveWorld(world, { upstream: silent })).end, { kind: 'finished' })
  await isPaidOnce(world, 100)
})

test('in realtime a 429 is waited out as told, and costs no row an attempt', async () => {
  const world = await openWorld({ rows: 30, settings: { batch: 'off', maxAttempts: 1 } })
  let calls = 0
  let toldAt: Instant | null = null
  let nextAt: Instant | null = null
  const busy = withUpstream(world, (local) => ({
    async createMessage(body, context) {
      calls += 1
      if (calls === 10) {
        toldAt = world.clock.now()
        return {
          kind: 'refused',
          error: { status: 429, type: 'rate_limit_error', message: 'slow down' },
          body: {},
          headers: headers(90 * SECOND_MS),
        }
      }
      if (calls > 18) nextAt ??= world.clock.now()
      return local.createMessage(body, context)
    },
  }))
  assert.deepEqual((await driveWorld(world, { upstream: busy })).end, { kind: 'finished' })
  assert.equal((await finalState(world)).counts.succeeded, 30)
  assert.ok(nextAt! - toldAt! >= 90 * SECOND_MS, `${nextAt! - toldAt!} ms`)
})

test('in realtime a refused key stops the run, and spoils no row', async () => {
  const world = await openWorld({ rows: 30, settings: { batch: 'off' } })
  const locked = withUpstream(world, () => ({
    async createMessage() {
      return {
        kind: 'refused',
        error: { status: 401, type: 'authentication_error', message: 'invalid x-api-key' },
        body: {},
        headers: headers(null),
      }
    },
  }))
  const { end } = await driveWorld(world, { upstream: locked })
  assert.ok(end !== 'crashed' && end.kind === 'stopped')
  assert.match(end.reason, /401 authentication_error/)
  assert.deepEqual((await driveWorld(world)).end, { kind: 'finished' })
  assert.equal((await finalState(world)).counts.succeeded, 30)
})

test('a budget counts what an unfinished primer may still cost', async () => {
  // Patience is over long before the primer ends, so the next wave goes out beside it.
  const settings = { budgetPicoUsd: picoUsd(PICO_PER_USD / 8n) }
  const world = await openWorld({ rows: 60, settings, local: { batchLatencyMs: [45 * MINUTE_MS] } })
  await driveWorld(world, { drive: { once: true } })
  const [primer] = await world.store.runs.submissions(RUN)
  assert.equal(primer!.kind, 'primer')
  world.clock.advanceTo((world.clock.now() + 30 * MINUTE_MS) as Instant)
  await driveWorld(world, { drive: { once: true } })
  const all = await world.store.runs.submissions(RUN)
  const [row] = await world.store.runs.rowsByOrdinal(RUN, [0])
  let worst = 0
  for (const { rows, marksJson } of all) {
    // Half of $3 a million input tokens, a quarter more or twice as much to write; $7.50 a million output tokens.
    const input = marksJson === '{}' ? 1.5 : marksJson.includes('"1h"') ? 3 : 1.875
    worst += (rows * (row!.promptTokensHigh * input + row!.maxTokens * 7.5)) / 1e6
  }
  assert.ok(worst > 0.1 && worst <= 0.125, `up to $${worst}`)
  assert.ok(all.length > 1, 'the primer was not waited for')
})

test('a driver that was thought dead comes back in the middle of a create and writes nothing more', async () => {
  for (const create of [1, 2, 3]) {
    for (const returns of ['before the create', 'after the create'] as const) {
      const world = await openWorld({ rows: 100 })
      let creates = 0
      const slow = withUpstream(world, (local) => ({
        async createBatch(body, context) {
          creates += 1
          if (creates !== create) return local.createBatch(body, context)
          const early = returns === 'after the create' ? await local.createBatch(body, context) : null
          // Meanwhile another driver takes the run: to its end, or so far that it must wait for what it cannot see.
          await driveWorld(world, { drive: { once: early === null } })
          return early ?? local.createBatch(body, context)
        },
      }))
      const where = `${returns} ${create}`
      await assert.rejects(driveWorld(world, { upstream: slow }), { code: 'run_taken' }, where)
      assert.deepEqual((await driveWorld(world)).end, { kind: 'finished' }, where)
      await isPaidOnce(world, 100)
    }
  }
})

test('a lost create is found although its results begin with a line that is not of it', async () => {
  const world = await openWorld({ rows: 100 })
  let creates = 0
  const odd = withUpstream(world, (local) => ({
    async createBatch(body, context) {
      creates += 1
      const answer = await local.createBatch(body, context)
      return creates === 2 ? { kind: 'ambiguous', reason: 'the connection was lost' } : answer
    },
    async *batchResults(id: string) {
      yield Buffer.from(JSON.stringify({ custom_id: 'another', result: { type: 'expired' } }))
      yield* local.batchResults(id)
    },
  }))
  assert.deepEqual((await driveWorld(world, { upstream: odd })).end, { kind: 'finished' })
  await isPaidOnce(world, 100)
})

test('a batch that is 404 for a minute is neither given up by a cancel nor a reason to stop', async () => {
  for (const cancel of [false, true]) {
    const world = await openWorld({ rows: 12, local: { batchLatencyMs: [2 * HOUR_MS] } })
    await driveWorld(world, { drive: { once: true } })
    await world.clock.sleepUntil((world.clock.now() + HOUR_MS) as Instant)
    let goneUntil: Instant | null = null
    const forgetful = withUpstream(world, (local) => ({
      retrieveBatch(id: string) {
        goneUntil ??= (world.clock.now() + MINUTE_MS) as Instant
        return world.clock.now() < goneUntil ? Promise.resolve(null) : local.retrieveBatch(id)
      },
    }))
    const { end } = await driveWorld(world, { upstream: forgetful, drive: { cancel } })
    assert.deepEqual(end, { kind: 'finished' }, `cancel ${cancel}`)
    const { counts, invoice } = await finalState(world)
    assert.equal(invoice.equal, true, invoice.differences.join('\n'))
    assert.equal(invoice.lines, counts.succeeded)
  }
})

test('a cancel gives up no results that come short: they are paid for, and may be whole the next time', async () => {
  const world = await openWorld({ rows: 40 })
  await driveWorld(world, { drive: { once: true } })
  await world.clock.sleepUntil(plusMs(world.clock.now(), HOUR_MS))
  let readings = 0
  const upstream = withUpstream(world, (local) => ({
    async *batchResults(id: string) {
      readings += 1
      if (readings > 3) yield* local.batchResults(id)
    },
  }))
  const first = await driveWorld(world, { upstream, drive: { cancel: true } })
  assert.ok(first.end !== 'crashed' && first.end.kind === 'stopped')
  assert.match(first.end.reason, /lack rows that were sent/)
  assert.deepEqual((await driveWorld(world, { upstream, drive: { cancel: true } })).end, { kind: 'finished' })
  const { counts, invoice } = await finalState(world)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
  assert.equal(counts.unretrievable, 0)
  assert.ok(counts.succeeded > 0)
})

test('a second result that differs is told, though the file was short and the next one shows it no more', async () => {
  const world = await openWorld({ rows: 40, settings: { cache: 'off' } })
  let readings = 0
  const upstream = withUpstream(world, (local) => ({
    async *batchResults(id: string) {
      readings += 1
      let lines = 0
      for await (const line of local.batchResults(id)) {
        if (readings === 1 && lines === 20) {
          const { custom_id } = JSON.parse(Buffer.from(line).toString('utf8')) as { custom_id: string }
          yield line
          yield Buffer.from(JSON.stringify({ custom_id, result: { type: 'expired' } }))
          return
        }
        lines += 1
        yield line
      }
    },
  }))
  const { end } = await driveWorld(world, { upstream })
  assert.ok(end !== 'crashed' && end.kind === 'stopped')
  assert.match(end.reason, /1 rows .* two different results/)
  assert.deepEqual((await driveWorld(world, { upstream })).end, { kind: 'finished' })
  await isPaidOnce(world, 40)
})
