import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MINUTE_MS, plusMs } from '../../src/core/instant.ts'
import { type FaultName, Faults, withFaults } from '../../src/upstreams/faults.ts'
import { seededRandom } from '../../src/upstreams/local/seeded.ts'
import type { BatchBody, CallContext } from '../../src/upstreams/upstream.ts'
import { openEmptyWorld, START } from './harness.ts'

// What the named faults do, over the local upstream. That a run survives them is for the seeds to show.

const CONTEXT: CallContext = {
  apiVersion: '2023-06-01',
  betas: [],
  tier: 'batch',
  receivedAt: START,
  workspace: 'wrkspc_local',
}

const BODY: BatchBody = {
  rows: 3,
  sizeBytes: 600,
  async *elements() {
    for (let row = 0; row < 3; row++) {
      const messages = [{ role: 'user', content: 'Hello' }]
      const params = { model: 'claude-sonnet-4-6', max_tokens: 10, messages }
      yield Buffer.from(JSON.stringify({ custom_id: `row-${row}`, params }))
    }
  },
}

/** An upstream whose first call of a kind meets the fault, and what its list shows in truth. */
async function meeting(name: FaultName) {
  const { local, clock } = await openEmptyWorld()
  const faults = Faults.scheduled(seededRandom('faults'), [{ name, call: 1, times: 1 }])
  const upstream = withFaults(local, faults, clock)
  const batches = async () => (await local.listBatches({})).data.length
  const ended = async () => {
    const created = await local.createBatch(BODY, CONTEXT)
    assert.ok(created.kind === 'accepted')
    await clock.sleepUntil(plusMs(clock.now(), 5 * MINUTE_MS))
    return created.batch.id
  }
  return { upstream, faults, clock, batches, ended }
}

async function linesOf(lines: AsyncIterable<Uint8Array>): Promise<string[]> {
  const read: string[] = []
  for await (const line of lines) read.push(Buffer.from(line).toString('utf8'))
  return read
}

for (const [name, created] of [
  ['create: answer lost', 1],
  ['create: timeout', 1],
  ['create: cut 200', 1],
  ['create: 408', 1],
  ['create: 500, took place', 1],
  ['create: never arrived', 0],
  ['create: 500, did not', 0],
  ['create: 409', 0],
  ['create: 529', 0],
] as const) {
  test(`${name}: the answer says nothing, and there ${created === 1 ? 'is a batch' : 'is none'}`, async () => {
    const { upstream, faults, batches } = await meeting(name)
    assert.equal((await upstream.createBatch(BODY, CONTEXT)).kind, 'ambiguous')
    assert.equal(await batches(), created)
    assert.deepEqual(Object.fromEntries(faults.fired), { [name]: 1 })
    assert.equal((await upstream.createBatch(BODY, CONTEXT)).kind, 'accepted', 'the next one goes well')
  })
}

for (const name of [
  'create: 429 with retry-after',
  'create: refused for the key',
  'create: refused for the account',
  'create: spend limit reached',
] as const) {
  test(`${name}: refused, and nothing is created`, async () => {
    const { upstream, batches } = await meeting(name)
    assert.equal((await upstream.createBatch(BODY, CONTEXT)).kind, 'refused')
    assert.equal(await batches(), 0)
  })
}

test('a create that lands late is there some minutes later, whoever sent it', async () => {
  const { upstream, clock, batches } = await meeting('create: lands late')
  assert.equal((await upstream.createBatch(BODY, CONTEXT)).kind, 'ambiguous')
  assert.equal(await batches(), 0)
  await clock.sleepUntil(plusMs(clock.now(), 30 * MINUTE_MS))
  assert.equal(await batches(), 1)
})

test('results come short, cut, twice, beside foreign lines, and with one line broken', async () => {
  const read = async (name: FaultName) => {
    const { upstream, ended } = await meeting(name)
    const id = await ended()
    const first = await linesOf(upstream.batchResults(id)).catch((error) => [String(error)])
    assert.equal((await linesOf(upstream.batchResults(id))).length, 3, 'the next reading is whole')
    return first
  }
  assert.ok((await read('results: short')).length < 3)
  assert.match((await read('results: cut'))[0]!, /connection was lost/)
  assert.ok((await read('results: lines twice')).length > 3)
  assert.match((await read('results: foreign lines')).join(), /stranger-1/)
  const broken = (await read('results: malformed line')).filter((line) => !line.endsWith('}'))
  assert.equal(broken.length, 1)
})

test('results that are archived or deleted stay gone, and are named', async () => {
  for (const name of ['results: archived', 'results: deleted'] as const) {
    const { upstream, faults, ended } = await meeting(name)
    const id = await ended()
    for (let reading = 0; reading < 2; reading++) await assert.rejects(linesOf(upstream.batchResults(id)))
    assert.deepEqual([...faults.gone], [id])
    const answer = await upstream.retrieveBatch(id)
    if (name === 'results: deleted') assert.equal(answer, null)
    else assert.notEqual(answer!.batch.archived_at, null)
  }
})

test('with the key of another workspace nothing of this one is seen, for a while', async () => {
  const { upstream, clock, ended } = await meeting('retrieve: another workspace for ten minutes')
  const id = await ended()
  assert.equal(await upstream.retrieveBatch(id), null)
  const page = await upstream.listBatches({})
  assert.deepEqual([page.data, page.headers.workspaceId], [[], 'wrkspc_of_another_key'])
  await clock.sleepUntil(plusMs(clock.now(), 11 * MINUTE_MS))
  assert.equal((await upstream.retrieveBatch(id))!.batch.id, id)
})
