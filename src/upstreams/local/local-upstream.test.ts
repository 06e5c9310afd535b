import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { costOf } from '../../core/cost.ts'
import { TitheError } from '../../core/errors.ts'
import {
  DAY_MS,
  HOUR_MS,
  type Instant,
  instant,
  MINUTE_MS,
  parseTimestamp,
  plusMs,
} from '../../core/instant.ts'
import type { JsonObject } from '../../core/json.ts'
import { findModel, priceAt } from '../../core/models.ts'
import { parseUsage } from '../../core/usage.ts'
import { loadCatalogue } from '../../facts/load.ts'
import { virtualClock } from '../../runtime/virtual.ts'
import type { InvoiceLine } from './invoice.ts'
import {
  askOf,
  bodyOf,
  contextOf,
  linesOf,
  messageOf,
  type OpenedLocal,
  openForTest,
  rowOf,
  runBatch,
  START,
  usageIn,
  waitUntilEnded,
} from './local.contract-setup.ts'
import { serviceStartOf } from './local-store.ts'
import type { LocalSettings } from './local-upstream.ts'

/** 2,500 tokens by the crude count: above the minimum of the model. */
const HANDBOOK = 'handbook! '.repeat(1_000)
const handbook = (ttl: '5m' | '1h') => [
  { type: 'text', text: HANDBOOK, cache_control: { type: 'ephemeral', ttl } },
]
const rowsOf = (count: number, changes: JsonObject = {}, prefix = 'row') =>
  Array.from({ length: count }, (_, i) => rowOf(`${prefix}-${i}`, askOf(`Question ${i}`, changes)))

async function withLocal(
  options: Parameters<typeof openForTest>[0],
  use: (opened: OpenedLocal) => Promise<void>,
): Promise<void> {
  const opened = await openForTest(options)
  try {
    await use(opened)
  } finally {
    await opened.local.close()
  }
}

async function invoiceOf({ local }: OpenedLocal): Promise<InvoiceLine[]> {
  const lines: InvoiceLine[] = []
  for await (const line of local.invoice()) lines.push(line)
  return lines
}

function writesAndReads(results: Map<string, JsonObject>): [writes: number, reads: number] {
  let writes = 0
  let reads = 0
  for (const result of results.values()) {
    const usage = usageIn(result)
    if (Number(usage['cache_creation_input_tokens']) > 0) writes += 1
    if (Number(usage['cache_read_input_tokens']) > 0) reads += 1
  }
  return [writes, reads]
}

for (const concurrency of [1, 7, 32, 500]) {
  test(`a cold batch of 100 rows writes its prefix ${Math.min(concurrency, 100)} times with ${concurrency} at once`, () =>
    withLocal({ settings: { concurrency } }, async (opened) => {
      const { results } = await runBatch(opened, rowsOf(100, { system: handbook('1h') }))
      const writes = Math.min(concurrency, 100)
      assert.deepEqual(writesAndReads(results), [writes, 100 - writes])
    }))
}

test('a primed batch reads: one write by the primer, a read by every other row', () =>
  withLocal({}, async (opened) => {
    const rows = rowsOf(100, { system: handbook('1h') })
    const primer = await runBatch(opened, rows.slice(0, 1))
    assert.deepEqual(writesAndReads(primer.results), [1, 0])
    const bulk = await runBatch(opened, rows.slice(1))
    assert.deepEqual(writesAndReads(bulk.results), [0, 99])
  }))

test('what a primer wrote for five minutes is gone when the rest comes later', () =>
  withLocal({ settings: { batchLatencyMs: [10 * MINUTE_MS] } }, async (opened) => {
    const rows = rowsOf(100, { system: handbook('5m') })
    await runBatch(opened, rows.slice(0, 1))
    await opened.clock.sleepUntil(plusMs(opened.clock.now(), 5 * MINUTE_MS))
    const bulk = await runBatch(opened, rows.slice(1))
    assert.deepEqual(writesAndReads(bulk.results), [32, 67])
  }))

test('a realtime call warms nothing for a batch, and reads nothing from one', () =>
  withLocal({}, async (opened) => {
    const call = askOf('Question', { system: handbook('1h') })
    const answer = async () => {
      const answered = await opened.local.createMessage(
        Buffer.from(JSON.stringify(call)),
        contextOf('standard'),
      )
      assert.ok(answered.kind === 'answered')
      return answered.message['usage'] as JsonObject
    }
    assert.ok(Number((await answer())['cache_creation_input_tokens']) > 2_000)
    const { results } = await runBatch(opened, [rowOf('a', call)])
    assert.deepEqual(writesAndReads(results), [1, 0])
    assert.ok(Number((await answer())['cache_read_input_tokens']) > 2_000, 'its own pool is warm')
  }))

test('a realtime answer takes time and is billed once', () =>
  withLocal({}, async (opened) => {
    const answer = await opened.local.createMessage(
      Buffer.from(JSON.stringify(askOf('Hello'))),
      contextOf('standard'),
    )
    assert.ok(answer.kind === 'answered')
    assert.ok(opened.clock.now() > START)
    assert.equal(answer.message['diagnostics'], null)
    const [line, ...others] = await invoiceOf(opened)
    assert.deepEqual(others, [])
    assert.deepEqual([line!.batchId, line!.customId, line!.tier], [null, answer.message['id'], 'standard'])
  }))

test('a call that waits when the service closes gets no answer and no bill', () =>
  inFolder(async (path) => {
    const opened = await openForTest({ file: path('service') })
    const waiting = opened.local.createMessage(
      Buffer.from(JSON.stringify(askOf('Hello'))),
      contextOf('standard'),
    )
    const rejected = assert.rejects(waiting, { code: 'upstream_unreachable', retry: 'safe' })
    await opened.local.close()
    await rejected
    await withLocal({ file: path('service') }, async (reopened) => {
      assert.equal((await reopened.local.invoiceTotal()).lines, 0)
    })
  }))

test('a result is a whole message with a whole usage', () =>
  withLocal({}, async (opened) => {
    const { results } = await runBatch(opened, [rowOf('a', askOf('Hello'))])
    const { id, content, usage, ...message } = messageOf(results.get('a'))
    assert.match(String(id), /^msg_01[0-9A-Za-z]{22}$/)
    assert.match(String((content as JsonObject[])[0]!['text']), /^Simulated answer/)
    assert.deepEqual(message, {
      type: 'message',
      role: 'assistant',
      model: 'claude-sonnet-4-6',
      stop_reason: 'end_turn',
      stop_sequence: null,
      stop_details: null,
      container: null,
    })
    const { output_tokens: outputTokens, ...rest } = usage as JsonObject
    assert.ok(Number(outputTokens) > 0)
    assert.deepEqual(rest, {
      input_tokens: 9,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
      output_tokens_details: null,
      server_tool_use: null,
      service_tier: 'batch',
      inference_geo: 'global',
    })
  }))

test('an alias is resolved, and models before 4.6 have no inference_geo', () =>
  withLocal({}, async (opened) => {
    const { results } = await runBatch(opened, [rowOf('a', askOf('Hello', { model: 'claude-haiku-4-5' }))])
    assert.equal(messageOf(results.get('a'))['model'], 'claude-haiku-4-5-20251001')
    assert.equal(usageIn(results.get('a'))['inference_geo'], 'not_available')
  }))

test('a row that is refused stands in a double envelope, is not billed, and holds up nobody', () =>
  withLocal({}, async (opened) => {
    const bad = rowOf('bad', askOf('Hello', { model: 'claude-does-not-exist-9' }))
    const { results } = await runBatch(opened, [bad, ...rowsOf(3)])
    assert.deepEqual(results.get('bad'), {
      type: 'errored',
      error: {
        type: 'error',
        error: {
          details: { error_visibility: 'user_facing' },
          type: 'not_found_error',
          message: 'model: claude-does-not-exist-9',
        },
        request_id: null,
      },
    })
    assert.equal((await invoiceOf(opened)).length, 3)
  }))

test('results come in another order than the rows', () =>
  withLocal({}, async (opened) => {
    const { lines } = await runBatch(opened, rowsOf(100))
    const order = lines.map((line) => Number((JSON.parse(line) as { custom_id: string }).custom_id.slice(4)))
    const inPlace = order.filter((row, i) => row === i).length
    assert.ok(inPlace < 10, `${inPlace} rows kept their place`)
  }))

// -- how a batch ends --

test('rows that did not begin within a day are expired, and cost nothing', () =>
  withLocal({ settings: { concurrency: 1, outputTokenMs: 60_000, batchLatencyMs: [0] } }, async (opened) => {
    const created = await opened.local.createBatch(bodyOf(rowsOf(30)), contextOf())
    assert.ok(created.kind === 'accepted')
    await waitUntilEnded(opened, created.batch.id)
    const { batch } = (await opened.local.retrieveBatch(created.batch.id))!
    const { succeeded, expired } = batch.request_counts
    assert.ok(succeeded > 0 && expired > 0, JSON.stringify(batch.request_counts))
    assert.equal(succeeded + expired, 30)
    assert.ok(parseTimestamp(batch.ended_at!)! >= parseTimestamp(batch.expires_at)!)
    const types = (await linesOf(opened.local, batch.id)).map((line) => JSON.parse(line).result.type)
    assert.equal(types.filter((type) => type === 'expired').length, expired)
    assert.equal((await invoiceOf(opened)).length, succeeded)
  }))

test('a batch whose turn never comes expires whole', () =>
  withLocal({ settings: { batchLatencyMs: [1_000 * DAY_MS] } }, async (opened) => {
    const { results } = await runBatch(opened, rowsOf(3))
    assert.deepEqual([...results.values()], Array(3).fill({ type: 'expired' }))
    assert.ok(opened.clock.now() >= plusMs(START, DAY_MS))
  }))

test('a cancel lets running rows finish and the others be', () =>
  withLocal({ settings: { concurrency: 4, batchLatencyMs: [0] } }, async (opened) => {
    const { local, clock } = opened
    const created = await local.createBatch(bodyOf(rowsOf(50)), contextOf())
    assert.ok(created.kind === 'accepted')
    await clock.sleepUntil(plusMs(START, 5_000))
    const canceling = await local.cancelBatch(created.batch.id)
    assert.equal(canceling.processing_status, 'canceling')
    assert.equal(canceling.request_counts.processing, 50, 'counts stay where they are until the end')
    assert.equal(
      (await local.cancelBatch(created.batch.id)).cancel_initiated_at,
      canceling.cancel_initiated_at,
    )
    await waitUntilEnded(opened, created.batch.id)
    const { succeeded, canceled } = (await local.retrieveBatch(created.batch.id))!.batch.request_counts
    assert.ok(succeeded >= 4 && canceled > 30, `${succeeded} succeeded, ${canceled} canceled`)
    assert.equal((await invoiceOf(opened)).length, succeeded)
    await assert.rejects(local.cancelBatch(created.batch.id), { code: 'invalid_request_error' })
  }))

test('a batch canceled in the queue ends with every row canceled', () =>
  withLocal({ settings: { batchLatencyMs: [HOUR_MS] } }, async (opened) => {
    const created = await opened.local.createBatch(bodyOf(rowsOf(3)), contextOf())
    assert.ok(created.kind === 'accepted')
    await opened.local.cancelBatch(created.batch.id)
    await waitUntilEnded(opened, created.batch.id)
    const { batch } = (await opened.local.retrieveBatch(created.batch.id))!
    assert.equal(batch.request_counts.canceled, 3)
    assert.ok(opened.clock.now() < plusMs(START, MINUTE_MS))
  }))

test('results are kept for 29 days from the creation', () =>
  withLocal({}, async (opened) => {
    const { local, clock } = opened
    const { id } = await runBatch(opened, rowsOf(2))
    await clock.sleepUntil(plusMs(START, 29 * DAY_MS - 1))
    assert.equal((await linesOf(local, id)).length, 2)
    await clock.sleepUntil(plusMs(START, 29 * DAY_MS))
    await assert.rejects(linesOf(local, id), {
      code: 'not_found_error',
      message: `Message Batch ${id} has no available results.`,
    })
    const { batch } = (await local.retrieveBatch(id))!
    assert.equal(batch.archived_at, '2026-12-21T12:00:00.000000Z')
    assert.equal(batch.results_url, null)
    assert.equal(batch.request_counts.succeeded, 2)
  }))

test('a batch lasts as long as its latency, drawn for each batch alike in every run', async () => {
  const latencies = async () => {
    const ended: number[] = []
    await withLocal({ settings: { batchLatencyMs: [1_000, 100_000, 1_000_000] } }, async (opened) => {
      for (let i = 0; i < 6; i++) {
        const { id } = await runBatch(opened, rowsOf(1))
        const { batch } = (await opened.local.retrieveBatch(id))!
        ended.push(parseTimestamp(batch.ended_at!)! - parseTimestamp(batch.created_at)!)
      }
    })
    return ended
  }
  const first = await latencies()
  assert.deepEqual(await latencies(), first)
  assert.ok(new Set(first.map((ms) => (ms < 100_000 ? 0 : ms < 1_000_000 ? 1 : 2))).size > 1, first.join())
})

// -- limits --

test('a batch of too many bytes or rows is refused', () =>
  withLocal({}, async ({ local }) => {
    const small = bodyOf(rowsOf(1))
    const large = await local.createBatch({ ...small, sizeBytes: 256_000_001 }, contextOf())
    assert.ok(large.kind === 'refused')
    assert.deepEqual(large.error, {
      status: 413,
      type: 'request_too_large',
      message: 'Request exceeds the maximum size',
    })
    const row = (i: number) => Buffer.from(`{"custom_id":"r${i}","params":{}}`)
    const many = await local.createBatch(
      {
        rows: 100_001,
        sizeBytes: 4_000_000,
        async *elements() {
          for (let i = 0; i < 100_001; i++) yield row(i)
        },
      },
      contextOf(),
    )
    assert.ok(many.kind === 'refused')
    assert.equal(
      many.error.message,
      'requests: List should have at most 100000 items after validation, not 100001',
    )
    assert.deepEqual((await local.listBatches({})).data, [])
  }))

test('a prompt longer than the context window is refused', () =>
  withLocal({}, async (opened) => {
    const { results } = await runBatch(opened, [
      rowOf('long', askOf('x'.repeat(800_001), { model: 'claude-haiku-4-5' })),
    ])
    const { error } = results.get('long')!['error'] as { error: JsonObject }
    assert.equal(error['message'], 'prompt is too long: 200008 tokens > 200000 maximum')
  }))

test('a batch of another workspace is not taken', () =>
  withLocal({}, async ({ local }) => {
    const answer = await local.createBatch(
      bodyOf(rowsOf(1)),
      contextOf('batch', { workspace: 'wrkspc_other' }),
    )
    assert.ok(answer.kind === 'refused')
    assert.equal(answer.error.type, 'permission_error')
  }))

// -- time --

test('at speed 60 an hour passes in a minute, and everything keeps its proportion', () =>
  withLocal({ settings: { speed: 60, batchLatencyMs: [HOUR_MS] } }, async (opened) => {
    const { id } = await runBatch(opened, rowsOf(5, { system: handbook('1h') }))
    assert.ok(
      opened.clock.now() >= plusMs(START, MINUTE_MS) && opened.clock.now() < plusMs(START, 2 * MINUTE_MS),
    )
    const { batch, headers } = (await opened.local.retrieveBatch(id))!
    assert.ok(parseTimestamp(batch.ended_at!)! - parseTimestamp(batch.created_at)! >= HOUR_MS)
    assert.equal(parseTimestamp(batch.expires_at)! - parseTimestamp(batch.created_at)!, DAY_MS)
    assert.ok(headers.date! >= parseTimestamp(batch.ended_at!)!)
  }))

test('the service never goes back in time, should the clock beneath', () =>
  inFolder(async (path) => {
    const settings = { speed: 1_000, batchLatencyMs: [HOUR_MS] }
    let lived = START
    await withLocal({ file: path('service'), settings }, async (opened) => {
      await runBatch(opened, rowsOf(2))
      lived = opened.local.now()
    })
    assert.ok(lived >= plusMs(START, HOUR_MS))
    await withLocal({ file: path('service') }, async (opened) => {
      assert.ok(opened.local.now() >= plusMs(START, HOUR_MS))
      const { id } = await runBatch(opened, rowsOf(2))
      const { batch } = (await opened.local.retrieveBatch(id))!
      assert.ok(parseTimestamp(batch.created_at)! >= plusMs(START, HOUR_MS))
    })
  }))

// -- money --

const catalogue = loadCatalogue()

test('the invoice is the sum over the results, priced apart from it', async () => {
  const ask = fc.record({
    model: fc.constantFrom('claude-sonnet-4-6', 'claude-haiku-5-5', 'claude-sonnet-5-5', 'claude-nothing'),
    ttl: fc.constantFrom('5m' as const, '1h' as const, null),
    geo: fc.constantFrom('us', 'global', undefined),
    words: fc.integer({ min: 1, max: 60_000 }),
  })
  const shares: Partial<LocalSettings> = { refusedShare: 0.1, erroredShare: 0.1, truncatedShare: 0.1 }
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(ask, { minLength: 1, maxLength: 8 }), { maxLength: 3 }),
      async (batches) => {
        await withLocal({ settings: { ...shares, concurrency: 2 } }, async (opened) => {
          let lines = 0
          let total = 0n
          for (const asks of batches) {
            const rows = asks.map(({ model, ttl, geo, words }, i) => {
              const system = ttl === null ? HANDBOOK : handbook(ttl)
              const inference = geo === undefined ? {} : { inference_geo: geo }
              return rowOf(`row-${i}`, askOf('word '.repeat(words), { model, system, ...inference }))
            })
            const { results } = await runBatch(opened, rows)
            for (const result of results.values()) {
              if (result['type'] !== 'succeeded') continue
              const message = messageOf(result)
              const price = priceAt(findModel(catalogue, String(message['model']))!, START)!
              total += costOf(parseUsage(message['usage'])!, price, catalogue).totalPicoUsd
              lines += 1
            }
          }
          assert.deepEqual(await opened.local.invoiceTotal(), { lines, unpriced: 0, costPicoUsd: total })
        })
      },
    ),
    { numRuns: 20 },
  )
})

// -- crashes --

async function inFolder(use: (path: (name: string) => string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tithe-local-'))
  try {
    await use((name) => join(folder, name))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The file as a process that is killed now leaves it behind. */
function copyAsKilled(from: string, to: string): void {
  copyFileSync(from, to)
  if (existsSync(`${from}-wal`)) copyFileSync(`${from}-wal`, `${to}-wal`)
}

const savedNowOf = (file: string) => serviceStartOf(file, instant(0))
const SETTINGS: Partial<LocalSettings> = { batchLatencyMs: [90_000], concurrency: 8 }
const CRASH_ROWS = 600

/** Goes on with what a file holds, to the end of its only batch. */
async function finish(file: string, start: Instant): Promise<{ lines: string[]; invoice: InvoiceLine[] }> {
  const clock = virtualClock(start)
  const opened = await openForTest({ file, clock, settings: SETTINGS })
  try {
    const { data } = await opened.local.listBatches({})
    await waitUntilEnded(opened, data[0]!.id)
    return { lines: await linesOf(opened.local, data[0]!.id), invoice: await invoiceOf(opened) }
  } finally {
    await opened.local.close()
  }
}

test('killed anywhere in a cold batch, it goes on to the very results and invoice of an undisturbed run', () =>
  inFolder(async (path) => {
    const opened = await openForTest({ file: path('service'), settings: SETTINGS })
    const { local, clock } = opened
    const rows = rowsOf(CRASH_ROWS, { system: handbook('5m') })
    const created = await local.createBatch(bodyOf(rows), contextOf())
    assert.ok(created.kind === 'accepted')
    const killedAtMs = [0, 30_000, 60_000, 65_000, 80_000, 120_000, 160_000]
    for (const ms of killedAtMs) {
      await clock.sleepUntil(plusMs(START, ms))
      copyAsKilled(path('service'), path(`killed-${ms}`))
    }
    await waitUntilEnded(opened, created.batch.id)
    const undisturbed = { lines: await linesOf(local, created.batch.id), invoice: await invoiceOf(opened) }
    await local.close()
    assert.equal(undisturbed.invoice.length, CRASH_ROWS)

    let inTheMiddle = 0
    for (const ms of killedAtMs) {
      const file = path(`killed-${ms}`)
      const savedNow = savedNowOf(file)
      assert.ok(savedNow >= START && savedNow <= plusMs(START, ms))
      if (savedNow > plusMs(START, 10_000)) inTheMiddle += 1
      assert.deepEqual(await finish(file, savedNow), undisturbed, `killed after ${ms} ms`)
    }
    assert.ok(inTheMiddle >= 2, 'some of the kills came after rows were recorded')
  }))

test('closed in the middle of a batch, it goes on when opened again', () =>
  inFolder(async (path) => {
    const opened = await openForTest({ file: path('service'), settings: SETTINGS })
    const created = await opened.local.createBatch(bodyOf(rowsOf(CRASH_ROWS)), contextOf())
    assert.ok(created.kind === 'accepted')
    await opened.clock.sleepUntil(plusMs(START, 120_000))
    await opened.local.close()
    const { lines, invoice } = await finish(path('service'), savedNowOf(path('service')))
    assert.equal(new Set(lines.map((line) => JSON.parse(line).custom_id)).size, CRASH_ROWS)
    assert.equal(new Set(invoice.map((line) => line.customId)).size, CRASH_ROWS)
    assert.equal(invoice.length, CRASH_ROWS)
  }))

test('a batch whose upload was cut by a crash never was', () =>
  inFolder(async (path) => {
    const opened = await openForTest({ file: path('service') })
    const { local } = opened
    const body = bodyOf(rowsOf(1_500))
    const created = local.createBatch(
      {
        ...body,
        async *elements() {
          let sent = 0
          for await (const element of body.elements()) {
            if (sent++ === 1_200) copyAsKilled(path('service'), path('killed'))
            yield element
          }
        },
      },
      contextOf(),
    )
    assert.equal((await created).kind, 'accepted')
    await local.close()
    await withLocal({ file: path('killed') }, async (reopened) => {
      assert.deepEqual((await reopened.local.listBatches({})).data, [])
      const { results } = await runBatch(reopened, rowsOf(2))
      assert.equal(results.size, 2)
    })
  }))

test('an upload that fails leaves nothing and says why', () =>
  withLocal({}, async ({ local }) => {
    const body = bodyOf(rowsOf(3))
    const failing = {
      ...body,
      async *elements() {
        yield* body.elements()
        throw new TitheError('attachment_changed', 'The file is not what it was.')
      },
    }
    await assert.rejects(local.createBatch(failing, contextOf()), { code: 'attachment_changed' })
    assert.deepEqual((await local.listBatches({})).data, [])
  }))

test('the cache outlives the process', () =>
  inFolder(async (path) => {
    const rows = rowsOf(2, { system: handbook('1h') })
    await withLocal({ file: path('service') }, async (opened) => {
      assert.deepEqual(writesAndReads((await runBatch(opened, rows.slice(0, 1))).results), [1, 0])
    })
    const start = savedNowOf(path('service'))
    await withLocal({ file: path('service'), start }, async (opened) => {
      assert.deepEqual(writesAndReads((await runBatch(opened, rows.slice(1))).results), [0, 1])
    })
  }))

test('a second process is told that the file is in use', () =>
  inFolder(async (path) => {
    await withLocal({ file: path('service') }, async () => {
      await assert.rejects(openForTest({ file: path('service') }), {
        code: 'local_file_in_use',
        retry: 'safe',
      })
    })
    await withLocal({ file: path('service') }, async () => {})
  }))

test('virtual time begins where an open batch stopped, else at the wall clock, never in the past', () =>
  inFolder(async (path) => {
    const file = path('service')
    const later = plusMs(START, DAY_MS)
    assert.equal(serviceStartOf(file, START), START, 'a new file')
    const opened = await openForTest({ file, settings: SETTINGS })
    await opened.local.createBatch(bodyOf(rowsOf(10)), contextOf())
    await opened.clock.sleepUntil(plusMs(START, 1_000))
    await opened.local.close()
    assert.equal(serviceStartOf(file, later), savedNowOf(file))
    await finish(file, savedNowOf(file))
    assert.equal(serviceStartOf(file, later), later)
    assert.equal(serviceStartOf(file, START), savedNowOf(file))
    assert.ok(savedNowOf(file) > START)
  }))
