import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type CheckName, cheapestToCheck, prefixText, type Verdict } from '../../src/core/doctor.ts'
import { TitheError } from '../../src/core/errors.ts'
import { MINUTE_MS, plusMs } from '../../src/core/instant.ts'
import { formatUsd, parseUsd, picoUsd } from '../../src/core/money.ts'
import { costOfAll, type Examination, examine } from '../../src/runs/doctor.ts'
import { seededIds } from '../../src/runtime/ids.ts'
import { openTestUpstream } from '../../src/testing.ts'
import type { LocalSettings, LocalUpstream } from '../../src/upstreams/local/local-upstream.ts'
import type { BatchBody, Upstream } from '../../src/upstreams/upstream.ts'
import { catalogue, START, withUpstream } from './harness.ts'

// Doctor against services that keep what is assumed of them and services that do not: its verdicts must differ.

const tested = cheapestToCheck(catalogue, START)!
const NICKEL = parseUsd('0.05')!

interface Visited extends Examination {
  readonly invoicePicoUsd: bigint
  readonly said: readonly string[]
}

/** What of the real service is replaced. */
type Changed = (local: LocalUpstream, waits: (ms: number) => Promise<void>) => Partial<Upstream>

async function visit(
  options: { spend?: bigint; changed?: Changed; settings?: Partial<LocalSettings> } = {},
): Promise<Visited> {
  const settings = { batchLatencyMs: [45_000], ...options.settings }
  const { upstream: local, clock } = await openTestUpstream({ start: START, settings })
  const waits = (ms: number) => clock.sleepUntil(plusMs(clock.now(), ms))
  const upstream = withUpstream({ local }, () => options.changed?.(local, waits) ?? {})
  const said: string[] = []
  const examination = await examine(
    {
      upstream,
      runtime: { clock, ids: seededIds(7) },
      catalogue,
      tested,
      signal: new AbortController().signal,
      say: (what) => said.push(what),
    },
    picoUsd(options.spend ?? NICKEL),
  )
  const { costPicoUsd } = await local.invoiceTotal()
  await local.close()
  return { ...examination, invoicePicoUsd: costPicoUsd, said }
}

function verdicts({ checks }: Examination): Record<string, Verdict> {
  return Object.fromEntries(checks.map(({ check, verdict }) => [check, verdict]))
}

function check({ checks }: Examination, name: CheckName) {
  return checks.find((one) => one.check === name)!
}

function sum({ checks }: Examination, field: 'costPicoUsd' | 'unknownPicoUsd'): bigint {
  return checks.reduce((total, one) => total + one[field], 0n)
}

const ALL_FINE = {
  workspace: 'as_assumed',
  versions: 'as_assumed',
  primed_hits: 'as_assumed',
  realtime_reads_batch: 'as_assumed',
  reads_across_ttl: 'as_assumed',
  cancel_latency: 'as_assumed',
  batch_reads_realtime: 'as_assumed',
  batch_latency: 'as_assumed',
}

test('a service that keeps what is assumed passes every check, and is measured', async () => {
  const visited = await visit()
  assert.deepEqual(verdicts(visited), ALL_FINE)
  assert.deepEqual(visited.facts, {
    batchLatenciesMs: [45_000, 45_000, 45_000],
    cancelLatenciesMs: [0],
    primed: { rows: 3, read: 3 },
    realtimeReadsBatch: false,
    batchReadsRealtime: false,
    readsAcrossTtl: true,
  })
  assert.deepEqual(visited.answerer?.workspaceId, 'wrkspc_local')
})

test('the cost that is measured from usage is what the upstream bills, and far below the spend', async () => {
  const visited = await visit()
  assert.equal(sum(visited, 'costPicoUsd'), visited.invoicePicoUsd)
  assert.equal(sum(visited, 'unknownPicoUsd'), 0n)
  assert.ok(costOfAll({ catalogue, tested }) < NICKEL / 10n, formatUsd(costOfAll({ catalogue, tested })))
})

test('whatever the spend, no more is billed, and a check that does not fit is left out with its worst case', async () => {
  const all = Number(costOfAll({ catalogue, tested }))
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: all }), async (spend) => {
      const visited = await visit({ spend: BigInt(spend) })
      assert.ok(visited.invoicePicoUsd <= BigInt(spend))
      const left = visited.checks.filter(({ verdict }) => verdict === 'left_out')
      for (const { found } of left)
        assert.match(found, /may cost \$|it needs|nothing was answered|no batch was/)
      assert.ok(!Object.values(verdicts(visited)).includes('unclear'))
    }),
    { numRuns: 25 },
  )
  assert.deepEqual(verdicts(await visit({ spend: BigInt(all) })), ALL_FINE)
})

test('one cache for realtime and batches is seen from both sides', async () => {
  const merged = await visit({
    changed: (local) => ({
      createMessage: (body, context) => local.createMessage(body, { ...context, tier: 'batch' }),
    }),
  })
  assert.deepEqual(verdicts(merged), {
    ...ALL_FINE,
    realtime_reads_batch: 'differs',
    batch_reads_realtime: 'differs',
  })
  assert.deepEqual([merged.facts.realtimeReadsBatch, merged.facts.batchReadsRealtime], [true, true])
})

/** Rows of larger batches do not share what the primer wrote. */
function withEach(body: BatchBody, change: (text: string, row: number) => string): BatchBody {
  return {
    ...body,
    async *elements() {
      let row = 0
      for await (const bytes of body.elements())
        yield Buffer.from(change(Buffer.from(bytes).toString(), row++))
    },
  }
}

test('rows that miss behind a primer are counted, and the share is measured', async () => {
  const missing = await visit({
    changed: (local) => ({
      createBatch: (body, context) =>
        local.createBatch(
          withEach(body, (text, row) => (row < 2 ? text.replace('the tithe', `the t${row}the`) : text)),
          context,
        ),
    }),
  })
  // The primer is the first row of its batch, so what it writes is not what the last of the three asks for.
  assert.equal(check(missing, 'primed_hits').verdict, 'differs')
  assert.equal(check(missing, 'primed_hits').found, '1 of 3 rows read, 2 wrote')
  assert.deepEqual(missing.facts.primed, { rows: 3, read: 1 })
})

test('a mark of another TTL that writes again is seen', async () => {
  const apart = await visit({
    changed: (local) => ({
      createMessage: (body, context) => {
        const text = Buffer.from(body).toString()
        const own = text.includes('"5m"') ? text.replace('the tithe', 'the other') : text
        return local.createMessage(Buffer.from(own), context)
      },
    }),
  })
  assert.deepEqual(verdicts(apart), { ...ALL_FINE, reads_across_ttl: 'differs' })
})

test('a version that is refused is named with the words of the API', async () => {
  const old = await visit({
    changed: (local) => ({
      createMessage: async (body, context) => {
        const answer = await local.createMessage(body, context)
        if (context.apiVersion !== '2026-10-21') return answer
        const error = { status: 400, type: 'invalid_request_error', message: 'anthropic-version: unknown' }
        return { kind: 'refused', error, body: {}, headers: answer.headers }
      },
    }),
  })
  assert.deepEqual(verdicts(old), { ...ALL_FINE, versions: 'differs' })
  assert.match(
    check(old, 'versions').found,
    /^version 2026-10-21: 400 invalid_request_error: anthropic-version/,
  )
})

for (const [what, workspaceId, says] of [
  ['missing', null, /lack a header/],
  ['of another workspace', 'wrkspc_other', /wrkspc_local, org_local \/ wrkspc_other/],
] as const) {
  test(`headers that are ${what} in one answer make nobody's facts`, async () => {
    const unstable = await visit({
      changed: (local) => ({
        retrieveBatch: async (id) => {
          const found = (await local.retrieveBatch(id))!
          return { ...found, headers: { ...found.headers, workspaceId } }
        },
      }),
    })
    assert.deepEqual(verdicts(unstable), { ...ALL_FINE, workspace: 'differs' })
    assert.match(check(unstable, 'workspace').found, says)
    assert.equal(unstable.answerer, null)
  })
}

test('a create whose answer is lost is made once, ends its check, and counts as spent', async () => {
  let creates = 0
  const lost = await visit({
    changed: (local) => ({
      createBatch: async (body, context) => {
        creates += 1
        const answer = await local.createBatch(body, context)
        return creates === 2 ? { kind: 'ambiguous', reason: 'the answer was cut' } : answer
      },
    }),
  })
  assert.equal(creates, 4)
  const { verdict, found, unknownPicoUsd } = check(lost, 'primed_hits')
  assert.equal(verdict, 'unclear')
  assert.match(found, /the batch may exist or not .*is not sent again; it may cost up to \$0\.0/)
  assert.equal(check(lost, 'realtime_reads_batch').verdict, 'left_out')
  assert.equal(lost.facts.primed, null)
  assert.deepEqual(lost.facts.batchLatenciesMs, [45_000, 45_000])
  assert.ok(unknownPicoUsd > 0n)
  assert.ok(lost.invoicePicoUsd <= sum(lost, 'costPicoUsd') + sum(lost, 'unknownPicoUsd'))
})

test('a key that is refused ends the visit at its first call', async () => {
  let calls = 0
  const refused = await visit({
    changed: (local) => ({
      createMessage: async (body, context) => {
        calls += 1
        const { headers } = await local.createMessage(body, context)
        const error = { status: 401, type: 'authentication_error', message: 'invalid x-api-key' }
        return { kind: 'refused', error, body: {}, headers }
      },
    }),
  })
  assert.equal(calls, 1)
  assert.match(refused.failure!.message, /401 authentication_error: invalid x-api-key/)
  assert.equal(refused.failure!.exitCode, 3)
  assert.equal(check(refused, 'cancel_latency').verdict, 'left_out')
})

const UNREACHABLE = new TitheError('upstream_unreachable', 'gone', { retry: 'safe', exitCode: 3 })

test('an upstream that is out of reach for minutes is asked again; one that stays away is given up, its cost unknown', async () => {
  const awayFor = (minutes: number): Changed => {
    let asked = 0
    return (local) => ({
      retrieveBatch: async (id) => {
        asked += 1
        if (asked * 10_000 < minutes * MINUTE_MS) throw UNREACHABLE
        return local.retrieveBatch(id)
      },
    })
  }
  assert.deepEqual(verdicts(await visit({ changed: awayFor(5) })), ALL_FINE)
  const gone = await visit({ changed: awayFor(60) })
  assert.equal(gone.failure, UNREACHABLE)
  assert.equal(check(gone, 'primed_hits').verdict, 'unclear')
  assert.ok(check(gone, 'primed_hits').unknownPicoUsd > 0n)
})

test('results that end early are read again', async () => {
  const reads = new Map<string, number>()
  const short = await visit({
    changed: (local) => ({
      async *batchResults(id) {
        reads.set(id, (reads.get(id) ?? 0) + 1)
        for await (const line of local.batchResults(id)) if (reads.get(id) !== 1) yield line
      },
    }),
  })
  assert.deepEqual(verdicts(short), ALL_FINE)
  assert.deepEqual([...reads.values()], [2, 2, 2, 2])
})

test('a slow cancel differs and is measured by the timestamps of the upstream', async () => {
  const slow = await visit({
    changed: (local) => ({
      retrieveBatch: async (id) => {
        const found = (await local.retrieveBatch(id))!
        const { cancel_initiated_at: at } = found.batch
        if (at === null) return found
        return {
          ...found,
          batch: { ...found.batch, ended_at: new Date(Date.parse(at) + 95_000).toISOString() },
        }
      },
    }),
  })
  assert.deepEqual(verdicts(slow), { ...ALL_FINE, cancel_latency: 'differs' })
  assert.deepEqual(slow.facts.cancelLatenciesMs, [95_000])
})

test('a batch that had ended before its cancel tells nothing of cancels', async () => {
  const late = await visit({
    changed: (local, waits) => ({
      cancelBatch: async (id) => {
        await waits(10 * MINUTE_MS)
        return local.cancelBatch(id)
      },
    }),
  })
  assert.deepEqual(verdicts(late), { ...ALL_FINE, cancel_latency: 'unclear' })
  assert.deepEqual(late.facts.cancelLatenciesMs, [])
})

test('batches that outlast a cache entry tell nothing of caches, and are longer than any recorded', async () => {
  const slow = await visit({ settings: { batchLatencyMs: [180 * MINUTE_MS] } })
  const { primed_hits: primed, ...others } = verdicts(slow)
  assert.ok(primed === 'as_assumed' || primed === 'unclear', primed)
  assert.deepEqual(others, {
    workspace: 'as_assumed',
    versions: 'as_assumed',
    realtime_reads_batch: 'left_out',
    reads_across_ttl: 'left_out',
    cancel_latency: 'as_assumed',
    batch_reads_realtime: 'unclear',
    batch_latency: 'differs',
  })
  assert.equal(slow.facts.batchReadsRealtime, null)
})

test('a doctor that dies while it waits leaves a batch that ends by itself, and nothing else', async () => {
  const { upstream, clock } = await openTestUpstream({ start: START, settings: { batchLatencyMs: [45_000] } })
  const controller = new AbortController()
  const died = examine(
    {
      upstream,
      runtime: { clock, ids: seededIds(7) },
      catalogue,
      tested,
      signal: controller.signal,
      say: (what) => what.startsWith('  batch') && controller.abort(new Error('killed')),
    },
    NICKEL,
  )
  await assert.rejects(died, /killed/)
  await clock.sleepUntil(plusMs(clock.now(), MINUTE_MS))
  const { data } = await upstream.listBatches({})
  assert.deepEqual(
    data.map((batch) => batch.processing_status),
    ['ended'],
  )
  await upstream.close()
})

test('a shared prefix is just above the minimum of its model, as the service counts', async () => {
  const { upstream } = await openTestUpstream({ start: START })
  const context = { apiVersion: '2023-06-01', betas: [], workspace: upstream.workspace } as const
  const count = (system: string) => {
    const messages = [{ role: 'user', content: 'Hello' }]
    const request = { model: tested.model.id, messages, ...(system === '' ? {} : { system }) }
    return upstream.countTokens(Buffer.from(JSON.stringify(request)), {
      ...context,
      tier: 'standard',
      receivedAt: START,
    })
  }
  const tokens = (await count(prefixText('Zx9qLm2Wv0Kp', 512))) - (await count(''))
  assert.ok(tokens >= 512 && tokens < 512 * 1.6, `${tokens} tokens`)
  await upstream.close()
})
