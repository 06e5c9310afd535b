import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseBudget } from '../../src/core/budget.ts'
import { HOUR_MS } from '../../src/core/instant.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { PICO_PER_USD, picoUsd } from '../../src/core/money.ts'
import { parsePlanJson } from '../../src/core/plan-json.ts'
import type { ResultRow } from '../../src/core/result-row.ts'
import { CONTINUATIONS_MAX } from '../../src/core/retry.ts'
import { ledgerOf, reportBudget, reportRun } from '../../src/runs/report-run.ts'
import { resultRows } from '../../src/runs/result-rows.ts'
import type { AnswerHeaders, CreateAnswer, Upstream } from '../../src/upstreams/upstream.ts'
import {
  catalogue,
  type Driven,
  driveWorld,
  finalState,
  openWorld,
  RUN,
  type World,
  type WorldOptions,
  withUpstream,
} from './harness.ts'

// What becomes of rows that cannot be used as they were answered, and of the money that a run may spend.

const NO_HEADERS: AnswerHeaders = {
  requestId: null,
  organizationId: null,
  workspaceId: null,
  retryAfterMs: null,
  date: null,
}
const SEARCH = { type: 'web_search_20250305', name: 'web_search', max_uses: 2 }
const FINISHED = { kind: 'finished' }
const LIMIT_TEXT = 'You have reached your specified API usage limits. You will regain access on 2026-12-01.'

const stopReason = ({ end }: Driven): string => {
  assert.ok(end !== 'crashed' && end.kind === 'stopped', JSON.stringify(end))
  return end.reason
}

async function rowsOf(world: World): Promise<ResultRow[]> {
  return await Array.fromAsync(resultRows(world.store, RUN))
}

async function reportOf(world: World) {
  const [run] = await world.store.runs.findRuns(RUN)
  const plan = parsePlanJson(run!.planJson)
  const report = await reportRun(RUN, plan, world.store.runs, catalogue)
  const budget = await reportBudget(run!, plan, world.store.runs, catalogue, report, world.clock.now())
  return { report, budget }
}

async function isPaidAsInvoiced(world: World): Promise<void> {
  const { counts, invoice } = await finalState(world)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))
  assert.equal(counts.pending + counts.submitted, 0)
}

/** Every request that is sent in a batch, with the number of its create. */
function spied(world: World, seen: { create: number; params: JsonObject }[]): Upstream {
  let create = 0
  return withUpstream(world, (local) => ({
    createBatch(body, context) {
      create += 1
      const number = create
      async function* elements() {
        for await (const bytes of body.elements()) {
          const { params } = JSON.parse(Buffer.from(bytes).toString('utf8')) as { params: JsonObject }
          seen.push({ create: number, params })
          yield bytes
        }
      }
      return local.createBatch({ ...body, elements }, context)
    },
  }))
}

/** Changes the lines of result files on their way. */
function rewritten(world: World, rewrite: (line: JsonObject, batch: number) => JsonObject): Upstream {
  const batches: string[] = []
  return withUpstream(world, (local) => ({
    async *batchResults(id: string) {
      if (!batches.includes(id)) batches.push(id)
      for await (const bytes of local.batchResults(id)) {
        const line = JSON.parse(Buffer.from(bytes).toString('utf8')) as JsonObject
        yield Buffer.from(JSON.stringify(rewrite(line, batches.indexOf(id) + 1)))
      }
    },
  }))
}

function erroredLine(line: JsonObject, type: string, message: string): JsonObject {
  const error = { type: 'error', error: { type, message }, request_id: null }
  return { ...line, result: { type: 'errored', error } }
}

function refusing(
  world: World,
  error: { status: number; type: string; message: string; code?: string },
): Upstream {
  const answer: CreateAnswer = { kind: 'refused', error, headers: NO_HEADERS }
  return withUpstream(world, () => ({ createBatch: async () => answer }))
}

test('rows that meet an error of the account wait, the run stops, and they are answered once it is mended', async () => {
  const troubles = [
    ['billing_error', 'Your credit balance is too low', "mend the account's billing"],
    ['authentication_error', 'API key is invalid.', 'mend the API key'],
    ['permission_error', 'not in this workspace', 'give the key the permission that it lacks'],
    ['invalid_request_error', LIMIT_TEXT, 'raise the spend limit, or wait until it is lifted'],
  ] as const
  for (const [type, message, mend] of troubles) {
    const world = await openWorld({ rows: 40, settings: { cache: 'off', maxAttempts: 2 } })
    let left = 5
    const broke = rewritten(world, (line) => (left-- > 0 ? erroredLine(line, type, message) : line))
    const reason = stopReason(await driveWorld(world, { upstream: broke }))
    assert.ok(reason.includes(`${type}: ${message}`) && reason.includes(mend), reason)
    assert.match(reason, /'tithe resume r0000000si'/)
    const { counts } = await finalState(world)
    assert.deepEqual(
      [counts.succeeded, counts.pending, counts.errored],
      [35, 5, 0],
      'the batch was read to its end',
    )
    const { end } = await driveWorld(world)
    assert.deepEqual(end, FINISHED)
    const rows = await rowsOf(world)
    assert.equal(rows.filter((row) => row.outcome === 'succeeded').length, 40)
    const again = rows.filter((row) => row.attempts === 2)
    assert.equal(again.length, 5)
    assert.deepEqual(
      again[0]!.history.map(({ submission, outcome, costPicoUsd }) => [
        submission,
        outcome,
        costPicoUsd! > 0n,
      ]),
      [
        [1, 'errored', false],
        [2, 'succeeded', true],
      ],
    )
  }
})

test('a cancel is not held up by an error of the account', async () => {
  const world = await openWorld({
    rows: 40,
    settings: { cache: 'off' },
    local: { batchLatencyMs: [HOUR_MS] },
  })
  await driveWorld(world, { drive: { once: true } })
  const broke = rewritten(world, (line) => erroredLine(line, 'billing_error', 'no credit'))
  const { end } = await driveWorld(world, { upstream: broke, drive: { cancel: true } })
  assert.deepEqual(end, FINISHED)
  const { counts } = await finalState(world)
  assert.deepEqual([counts.pending, counts.canceled], [0, 40])
})

test('a create that is refused for the account stops the run; any other 429 is waited out', async () => {
  const spendCap = {
    status: 429,
    type: 'rate_limit_error',
    message: 'monthly spend cap',
    code: 'enforced_spend_limit_reached',
  }
  const ownLimit = { status: 400, type: 'invalid_request_error', message: LIMIT_TEXT }
  for (const error of [spendCap, ownLimit]) {
    const world = await openWorld({ rows: 40 })
    const reason = stopReason(await driveWorld(world, { upstream: refusing(world, error) }))
    assert.match(reason, /refused a batch of 2 rows: .*; raise the spend limit/)
    assert.deepEqual((await driveWorld(world)).end, FINISHED)
    await isPaidAsInvoiced(world)
  }
  const world = await openWorld({ rows: 40 })
  const busy = { status: 429, type: 'rate_limit_error', message: 'too many requests' }
  const { end } = await driveWorld(world, { upstream: refusing(world, busy), drive: { once: true } })
  assert.ok(end !== 'crashed' && end.kind === 'in_progress')
})

test('a realtime call that is refused for the account stops the run, and its row is asked again', async () => {
  const world = await openWorld({ rows: 20, settings: { batch: 'off' } })
  let calls = 0
  const broke = withUpstream(world, (local) => ({
    createMessage(body, context) {
      calls += 1
      if (calls < 5) return local.createMessage(body, context)
      const error = { status: 400, type: 'invalid_request_error', message: LIMIT_TEXT }
      return Promise.resolve({ kind: 'refused', error, body: {}, headers: NO_HEADERS })
    },
  }))
  assert.match(
    stopReason(await driveWorld(world, { upstream: broke })),
    /400 invalid_request_error: You have reached/,
  )
  assert.deepEqual((await driveWorld(world)).end, FINISHED)
  const { counts, invoice } = await finalState(world)
  assert.deepEqual([counts.succeeded, invoice.lines], [20, 20])
})

test('cut answers are kept as they are, and are asked for again with twice the room when the job says so', async () => {
  const local = { truncatedShare: 0.3 }
  const kept = await openWorld({ rows: 50, local })
  await driveWorld(kept)
  assert.ok((await finalState(kept)).counts.truncated > 5)
  assert.equal((await finalState(kept)).invoice.lines, 50)

  const world = await openWorld({ rows: 50, local, settings: { onTruncated: 'retry' } })
  const seen: { create: number; params: JsonObject }[] = []
  assert.deepEqual((await driveWorld(world, { upstream: spied(world, seen) })).end, FINISHED)
  await isPaidAsInvoiced(world)
  const rows = await rowsOf(world)
  const byAttempts = Map.groupBy(rows, (row) => row.attempts)
  assert.deepEqual([...byAttempts.keys()].toSorted(), [1, 2, 3])
  assert.ok(byAttempts.get(1)!.every((row) => row.stopReason !== 'max_tokens'))
  assert.deepEqual(new Set(seen.map(({ params }) => params['max_tokens'])), new Set([400, 800, 1_600]))
  for (const row of rows) {
    assert.equal(row.history.length, row.attempts)
    // Whatever the last attempt came to decides the row, and every attempt was paid for.
    assert.equal(row.stopReason, row.history.at(-1)!.stopReason)
    assert.equal(
      row.costPicoUsd,
      row.history.reduce((sum, one) => sum + one.costPicoUsd!, 0n),
    )
    assert.ok(row.history.every(({ costPicoUsd }) => costPicoUsd! > 0n))
  }
  const { report } = await reportOf(world)
  const [further] = report.bills[0]!.further
  assert.equal(further!.after, 'truncated')
  assert.equal(further!.attempts, seen.length - 50)
  assert.ok(further!.costPicoUsd > 0n && further!.costPicoUsd < report.bills[0]!.costPicoUsd!)
})

test('refused answers and answers that break the schema have policies of their own', async () => {
  const refusedShare = 0.3
  const refused = await openWorld({ rows: 50, local: { refusedShare }, settings: { onRefused: 'retry' } })
  await driveWorld(refused)
  await isPaidAsInvoiced(refused)
  const { report } = await reportOf(refused)
  assert.equal(report.bills[0]!.further[0]!.after, 'refused')

  const settings = { outputSchema: { type: 'object' }, onSchemaInvalid: 'retry' } as const
  const world = await openWorld({ rows: 50, settings, local: { truncatedShare: 0.2 } })
  let answers = 0
  // Answers are no JSON here; the first ten that are whole are asked for again.
  const compileSchema = () => () => (answers++ < 10 ? 'not an object' : null)
  await driveWorld(world, { deps: { compileSchema } })
  await isPaidAsInvoiced(world)
  const rows = await rowsOf(world)
  assert.ok(rows.some((row) => row.attempts === 3 && row.schemaValid === false))
  assert.ok(rows.every((row) => row.stopReason !== 'max_tokens' || row.attempts === row.history.length))
  assert.ok(
    rows.every(({ history }) => history.slice(0, -1).every((one) => one.stopReason === 'end_turn')),
    'a cut answer breaks the schema, and is kept for being cut',
  )
})

const paused: WorldOptions = {
  rows: 40,
  local: { pausedShare: 0.5 },
  request: () => ({ tools: [SEARCH] }),
}

test('a pause is continued with what was said so far, never repeated, and the answer is whole in the results', async () => {
  // One attempt: a continuation is none.
  const world = await openWorld({ ...paused, settings: { maxAttempts: 1 } })
  const seen: { create: number; params: JsonObject }[] = []
  assert.deepEqual((await driveWorld(world, { upstream: spied(world, seen) })).end, FINISHED)
  await isPaidAsInvoiced(world)
  const rows = await rowsOf(world)
  const continued = rows.filter((row) => row.attempts === 2)
  assert.ok(continued.length > 10 && continued.length < 30, `${continued.length}`)
  for (const row of continued) {
    assert.deepEqual(
      row.history.map(({ stopReason }) => stopReason),
      ['pause_turn', 'end_turn'],
    )
    assert.match(row.text!, /^Simulated first part; no model was called\. Simulated answer;/)
  }
  const texts = seen.map(({ params }) => JSON.stringify(params))
  assert.equal(new Set(texts).size, texts.length, 'no request was sent twice')
  const turns = seen.map(({ params }) => (params['messages'] as JsonObject[]).at(-1)!)
  const assistants = turns.filter(({ role }) => role === 'assistant')
  assert.equal(assistants.length, continued.length)
  assert.deepEqual(
    (assistants[0]!['content'] as JsonObject[]).map(({ type }) => type),
    ['text', 'server_tool_use', 'web_search_tool_result'],
  )
  let searches = 0
  for await (const { usage } of ledgerOf(RUN, world.store.runs)) searches += usage.webSearchRequests
  assert.equal(searches, continued.length, 'each search is in the ledger')
})

test('pauses in a row add up, and one that never ends is left unfinished, loudly', async () => {
  const world = await openWorld({ ...paused, rows: 3, local: { pausedShare: 1 }, settings: { cache: 'off' } })
  const endless = rewritten(world, (line) => {
    const { message } = line['result'] as { message: JsonObject }
    const use = { type: 'server_tool_use', id: 'srvtoolu_1', name: SEARCH.name, input: {} }
    const content = [...(message['content'] as JsonObject[]), use]
    return {
      ...line,
      result: { type: 'succeeded', message: { ...message, content, stop_reason: 'pause_turn' } },
    }
  })
  const seen: { create: number; params: JsonObject }[] = []
  const spy = spied(world, seen)
  const both = withUpstream(world, () => ({
    createBatch: (body, context) => spy.createBatch(body, context),
    batchResults: (id) => endless.batchResults(id),
  }))
  assert.deepEqual((await driveWorld(world, { upstream: both })).end, FINISHED)
  await isPaidAsInvoiced(world)
  const { counts } = await finalState(world)
  assert.deepEqual([counts.succeeded, counts.unfinished], [3, 3])
  const rows = await rowsOf(world)
  for (const row of rows) {
    assert.equal(row.attempts, 1 + CONTINUATIONS_MAX)
    assert.equal(row.error, 'paused in a server tool: it was continued 10 times, the most')
    assert.equal(row.text!.match(/no model was called/g)!.length, 1 + CONTINUATIONS_MAX)
  }
  const { report } = await reportOf(world)
  assert.equal(report.rows.unfinished, 3)
  assert.deepEqual(
    report.bills[0]!.further.map(({ after, attempts }) => [after, attempts]),
    [['unfinished', 3 * CONTINUATIONS_MAX]],
  )
  const sizes = seen
    .filter(({ params }) => JSON.stringify(params).includes('case 1?'))
    .map(({ params }) => {
      const last = (params['messages'] as JsonObject[]).at(-1)!
      return last['role'] === 'assistant' ? (last['content'] as unknown[]).length : 0
    })
  assert.equal(sizes.length, 1 + CONTINUATIONS_MAX)
  assert.deepEqual(
    sizes,
    sizes.toSorted((a, b) => a - b),
    'each one sends what all before it said',
  )
})

test('a schema is held against the whole answer, not against the part that came last', async () => {
  const settings = { outputSchema: { type: 'object' }, cache: 'off' } as const
  const world = await openWorld({ ...paused, rows: 10, local: { pausedShare: 1 }, settings })
  const halves = rewritten(world, (line, batch) => {
    const { message } = line['result'] as { message: JsonObject }
    const text = { type: 'text', text: batch === 1 ? '{"a":' : '1}' }
    const content = [text, ...(message['content'] as JsonObject[]).filter(({ type }) => type !== 'text')]
    return { ...line, result: { type: 'succeeded', message: { ...message, content } } }
  })
  const compileSchema = () => (value: unknown) => (JSON.stringify(value) === '{"a":1}' ? null : 'not {"a":1}')
  await driveWorld(world, { upstream: halves, deps: { compileSchema } })
  const rows = await rowsOf(world)
  assert.ok(rows.every((row) => row.attempts === 2 && row.schemaValid === true))
  assert.deepEqual(rows[0]!.json, { a: 1 })
})

test('a driver that dies at any write continues every pause and asks again for no more than it should', async () => {
  const options: WorldOptions = {
    ...paused,
    rows: 6,
    local: { pausedShare: 0.5, truncatedShare: 0.3 },
    settings: { onTruncated: 'retry', cache: 'off', maxAttempts: 2 },
  }
  const calm = await openWorld(options)
  const { calls } = await driveWorld(calm)
  const expected = (await finalState(calm)).counts
  for (let call = 1; call <= calls; call++) {
    for (const when of ['before', 'after'] as const) {
      const world = await openWorld(options)
      await driveWorld(world, { crash: { call, when } })
      assert.deepEqual((await driveWorld(world)).end, FINISHED, `${when} call ${call}`)
      await isPaidAsInvoiced(world)
      for (const row of await rowsOf(world)) {
        const continued = row.history.filter(({ stopReason }) => stopReason === 'pause_turn').length
        assert.ok(row.history.length - continued <= 2, `row ${row.ordinal} ${when} call ${call}`)
      }
      const { counts } = await finalState(world)
      assert.equal(counts.succeeded, expected.succeeded)
    }
  }
})

const dollars = (amount: string) => parseBudget(amount)!

/** The budget that a stop names as enough for all that is left. */
function namedBudget(reason: string) {
  const [, amount] = /--budget "?([\d.]+(?: soft)?)"?'$/.exec(reason) ?? []
  assert.ok(amount !== undefined, reason)
  return dollars(amount)
}

test('a hard budget is never passed, and the one that the stop names is enough for the rest', async () => {
  let stops = 0
  for (const local of [{}, { truncatedShare: 0.3 }, { pausedShare: 0.5 }]) {
    for (const cents of [2n, 7n, 15n, 30n]) {
      const settings = {
        budgetPicoUsd: picoUsd((PICO_PER_USD * cents) / 100n),
        onTruncated: 'retry',
      } as const
      const world = await openWorld({ ...paused, rows: 60, local, settings })
      let limitPicoUsd: bigint = settings.budgetPicoUsd
      let driven = await driveWorld(world, { drive: { acceptProbe: true } })
      // Further attempts of rows that are sent are not among the rows that were left: they may need another word.
      for (let words = 0; words < 4 && driven.end !== 'crashed' && driven.end.kind === 'stopped'; words++) {
        stops += 1
        const spent = (await finalState(world)).costPicoUsd
        assert.ok(spent <= limitPicoUsd, `${spent} of ${limitPicoUsd}`)
        assert.match(driven.end.reason, /^the budget of \$0\.\d+ is reached: .* spent/)
        const budget = namedBudget(driven.end.reason)
        limitPicoUsd = budget.picoUsd
        driven = await driveWorld(world, { drive: { acceptProbe: true, budget } })
      }
      assert.deepEqual(driven.end, FINISHED)
      await isPaidAsInvoiced(world)
      const { budget } = await reportOf(world)
      assert.equal(budget!.limit.picoUsd, limitPicoUsd)
      assert.equal(budget!.overshootPicoUsd, 0n)
      assert.equal(budget!.spentPicoUsd, (await finalState(world)).costPicoUsd)
    }
  }
  assert.ok(stops >= 8, `${stops} stops`)
})

test('a soft budget lets more rows go than a hard one, says so, and may be passed', async () => {
  const rowsFor = async (amount: string) => {
    const { picoUsd: budgetPicoUsd, mode: budgetMode } = dollars(amount)
    const world = await openWorld({ rows: 300, settings: { budgetPicoUsd, budgetMode } })
    const reason = stopReason(await driveWorld(world))
    return { reason, done: (await finalState(world)).counts.succeeded }
  }
  const hard = await rowsFor('0.20')
  const soft = await rowsFor('0.20 soft')
  assert.ok(soft.done > hard.done, `${soft.done} and ${hard.done}`)
  assert.match(
    soft.reason,
    /^the soft budget of \$0\.20 is reached: .* is expected to cost up to .*--budget "[\d.]+ soft"'$/,
  )
})

test('web searches without a limit fit no hard budget; a human may let it be a soft one, and that holds from then on', async () => {
  const request = () => ({ tools: [{ type: SEARCH.type, name: SEARCH.name }] })
  const settings = { budgetPicoUsd: picoUsd(PICO_PER_USD * 20n) }
  const world = await openWorld({ ...paused, request, settings })
  const reason = stopReason(await driveWorld(world))
  assert.match(
    reason,
    /row \d+ may search the web without max_uses.*'tithe resume r0000000si --budget "20 soft"'$/,
  )
  assert.equal((await finalState(world)).costPicoUsd, 0n)
  const { end } = await driveWorld(world, { drive: { once: true, budget: dollars('20 soft') } })
  assert.ok(end !== 'crashed' && end.kind === 'in_progress')
  assert.deepEqual((await driveWorld(world)).end, FINISHED)
  assert.equal((await reportOf(world)).budget!.limit.mode, 'soft')
})

test('what was lost stays set aside: nobody knows what it cost', async () => {
  const settings = { budgetPicoUsd: picoUsd((PICO_PER_USD * 3n) / 4n), cache: 'off' } as const
  const world = await openWorld({ rows: 40, settings })
  let creates = 0
  const losing = withUpstream(world, (local) => ({
    createBatch(body, context) {
      creates += 1
      return creates === 1
        ? Promise.resolve({ kind: 'ambiguous', reason: 'timeout' })
        : local.createBatch(body, context)
    },
  }))
  // All 40 rows fit; with as much kept for those that were lost, not all of them do.
  const reason = stopReason(await driveWorld(world, { upstream: losing }))
  assert.match(reason, /spent and \$0\.\d+ kept for rows that were sent and have no result/)
  const { budget } = await reportOf(world)
  assert.equal(budget!.lost.rows, 40)
  const { costPicoUsd, counts } = await finalState(world)
  assert.ok(counts.succeeded > 0 && counts.pending > 0)
  assert.ok(costPicoUsd + budget!.lost.picoUsd <= settings.budgetPicoUsd)
})

test('a budget in realtime sets aside what realtime costs', async () => {
  const settings = { budgetPicoUsd: picoUsd(PICO_PER_USD / 2n), cache: 'off', batch: 'off' } as const
  const world = await openWorld({ rows: 40, settings })
  const reason = stopReason(await driveWorld(world))
  const { costPicoUsd, counts } = await finalState(world)
  assert.ok(costPicoUsd <= settings.budgetPicoUsd && counts.succeeded > 0, reason)
  const [row] = await world.store.runs.rowsByOrdinal(RUN, [0])
  const worst = (row!.promptTokensHigh * 3 + row!.maxTokens * 15) / 1e6
  const [first] = await world.store.runs.submissions(RUN)
  assert.ok(first!.kind === 'realtime' && first!.rows * worst <= 0.5 && (first!.rows + 1) * worst > 0.5)
})
