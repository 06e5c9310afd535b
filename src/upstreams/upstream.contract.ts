import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TitheError } from '../core/errors.ts'
import { DAY_MS, parseTimestamp, plusMs } from '../core/instant.ts'
import { isObject, type JsonObject } from '../core/json.ts'
import { holdAll } from '../runtime/hold-all.ts'
import type { Clock } from '../runtime/runtime.ts'
import type { BatchBody, CallContext, CreateAnswer, MessageBatch, Upstream } from './upstream.ts'

// What every upstream must do, whoever answers behind it. Claims are those of claude-api.md 2; what the API leaves open
// (the order of results, progress within a batch, what a cancel still interrupts) is left open here.

export interface OpenedUpstream {
  readonly upstream: Upstream
  /** On which the upstream's batches make progress. */
  readonly clock: Clock
  /** A model that it answers for. */
  readonly model: string
  close(): Promise<void>
}

export interface UpstreamContract {
  readonly name: string
  /** A fresh upstream without batches. */
  readonly open: () => Promise<OpenedUpstream>
}

/** Runs the contract as tests of node:test. */
export function upstreamContract({ name, open }: UpstreamContract): void {
  const contractTest = (title: string, check: (opened: Contract) => Promise<void>) =>
    test(`${name}: ${title}`, async () => {
      const opened = await open()
      try {
        await check(new Contract(opened))
      } finally {
        await opened.close()
      }
    })

  contractTest('a batch is created in progress, with all rows processing, for a day', async (contract) => {
    const { upstream } = contract
    const answer = await upstream.createBatch(contract.body(['a', 'b']), contract.context())
    assert.equal(answer.kind, 'accepted')
    const { batch, headers } = answer
    assert.match(batch.id, /^msgbatch_/)
    assert.equal(batch.type, 'message_batch')
    assert.equal(batch.processing_status, 'in_progress')
    assert.deepEqual(
      { ...batch.request_counts },
      { processing: 2, succeeded: 0, errored: 0, canceled: 0, expired: 0 },
    )
    assert.equal(parseTimestamp(batch.expires_at)! - parseTimestamp(batch.created_at)!, DAY_MS)
    for (const field of ['ended_at', 'cancel_initiated_at', 'archived_at', 'results_url'] as const) {
      assert.equal(batch[field], null, field)
    }
    for (const field of ['requestId', 'organizationId', 'workspaceId', 'date'] as const) {
      assert.notEqual(headers[field], null, field)
    }
    const found = await upstream.retrieveBatch(batch.id)
    assert.equal(found?.batch.id, batch.id)
    assert.equal(found.batch.created_at, batch.created_at)
    assert.notEqual(found.headers.date, null)
  })

  contractTest('a batch ends with one result for each row', async (contract) => {
    const created = await contract.create(['a', 'b', 'c'])
    const ended = await contract.untilEnded(created.id)
    assert.deepEqual(
      { ...ended.request_counts },
      { processing: 0, succeeded: 3, errored: 0, canceled: 0, expired: 0 },
    )
    assert.notEqual(ended.ended_at, null)
    assert.match(ended.results_url ?? '', new RegExp(`/v1/messages/batches/${created.id}/results$`))
    const results = await contract.results(created.id)
    assert.deepEqual([...results.keys()].sort(), ['a', 'b', 'c'])
    for (const result of results.values()) {
      assert.equal(result['type'], 'succeeded')
      const message = objectIn(result, 'message')
      assert.equal(message['type'], 'message')
      assert.equal(message['role'], 'assistant')
      assert.ok(Array.isArray(message['content']))
      assert.equal(typeof message['stop_reason'], 'string')
      const usage = objectIn(message, 'usage')
      assert.equal(usage['service_tier'], 'batch')
      assert.ok(Number(usage['input_tokens']) > 0 && Number(usage['output_tokens']) > 0)
    }
    assert.deepEqual(await contract.results(created.id), results, 'the same when read again')
  })

  contractTest(
    'results are not there before the end, nor for a batch that is not there',
    async (contract) => {
      const { id } = await contract.create(['a'])
      await refusedWith('not_found_error', contract.results(id))
      await refusedWith('not_found_error', contract.results('msgbatch_01nothere'))
    },
  )

  contractTest('what is not there is null to retrieve and refused to cancel and delete', async (contract) => {
    const { upstream } = contract
    assert.equal(await upstream.retrieveBatch('msgbatch_01nothere'), null)
    await refusedWith('not_found_error', upstream.cancelBatch('msgbatch_01nothere'))
    await refusedWith('not_found_error', upstream.deleteBatch('msgbatch_01nothere'))
  })

  contractTest('the list is newest first and pages both ways', async (contract) => {
    const { upstream } = contract
    const empty = await upstream.listBatches({})
    const { headers, ...page } = empty
    assert.deepEqual(page, { data: [], has_more: false, first_id: null, last_id: null })
    assert.ok(
      headers.date !== null && headers.workspaceId !== null,
      'whose list it is, and what time it is there',
    )
    const newestFirst: string[] = []
    for (let i = 0; i < 5; i++) newestFirst.unshift((await contract.create([`row-${i}`])).id)
    const ids = async (query: Parameters<Upstream['listBatches']>[0]) => {
      const page = await upstream.listBatches(query)
      assert.equal(page.first_id, page.data[0]?.id ?? null)
      assert.equal(page.last_id, page.data.at(-1)?.id ?? null)
      return [page.data.map((batch) => batch.id), page.has_more]
    }
    const [e, d, c, b, a] = newestFirst as [string, string, string, string, string]
    assert.deepEqual(await ids({}), [newestFirst, false])
    assert.deepEqual(await ids({ limit: 2 }), [[e, d], true])
    assert.deepEqual(await ids({ limit: 2, after_id: d }), [[c, b], true])
    assert.deepEqual(await ids({ limit: 2, after_id: b }), [[a], false])
    assert.deepEqual(await ids({ limit: 2, before_id: b }), [[d, c], true])
    assert.deepEqual(await ids({ limit: 2, before_id: d }), [[e], false])
    await refusedWith('invalid_request_error', upstream.listBatches({ limit: 1_001 }))
  })

  contractTest('a canceled batch ends, and every row has its result', async (contract) => {
    const { id } = await contract.create(['a', 'b', 'c'])
    const canceling = await contract.upstream.cancelBatch(id)
    assert.equal(canceling.processing_status, 'canceling')
    assert.notEqual(canceling.cancel_initiated_at, null)
    assert.equal(canceling.results_url, null)
    const ended = await contract.untilEnded(id)
    const { succeeded, canceled } = ended.request_counts
    assert.equal(succeeded + canceled, 3)
    const types = [...(await contract.results(id)).values()].map((result) => result['type'])
    assert.equal(types.filter((type) => type === 'canceled').length, canceled)
    assert.equal(types.filter((type) => type === 'succeeded').length, succeeded)
  })

  contractTest('only an ended batch can be deleted, and then it is gone', async (contract) => {
    const { upstream } = contract
    const { id } = await contract.create(['a'])
    await refusedWith('invalid_request_error', upstream.deleteBatch(id))
    await contract.untilEnded(id)
    await upstream.deleteBatch(id)
    assert.equal(await upstream.retrieveBatch(id), null)
    assert.deepEqual((await upstream.listBatches({})).data, [])
    await refusedWith('not_found_error', contract.results(id))
  })

  contractTest('one bad custom_id refuses the whole batch, and nothing is created', async (contract) => {
    const { upstream } = contract
    for (const [ids, message] of [
      [
        ['a', 'dup', 'dup'],
        "requests: custom_id's must be unique within a batch. Duplicate custom_id found: dup",
      ],
      [['a', 'no.dots'], "requests.1.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"],
      [['x'.repeat(65)], 'requests.0.custom_id: String should have at most 64 characters'],
      [[], 'requests: List should have at least 1 item after validation, not 0'],
    ] as const) {
      const answer: CreateAnswer = await upstream.createBatch(contract.body(ids), contract.context())
      assert.equal(answer.kind, 'refused', message)
      assert.deepEqual(answer.error, { status: 400, type: 'invalid_request_error', message })
    }
    assert.deepEqual((await upstream.listBatches({})).data, [])
  })

  contractTest(
    'a row that is refused is an errored result in a double envelope; the others go on',
    async (contract) => {
      const { id } = await contract.create(['good', 'bad'], { bad: { model: 'claude-does-not-exist-9' } })
      const ended = await contract.untilEnded(id)
      assert.equal(ended.request_counts.succeeded, 1)
      assert.equal(ended.request_counts.errored, 1)
      const results = await contract.results(id)
      assert.equal(results.get('good')!['type'], 'succeeded')
      assert.equal(results.get('bad')!['type'], 'errored')
      const response = objectIn(results.get('bad')!, 'error')
      assert.equal(response['type'], 'error')
      const error = objectIn(response, 'error')
      assert.equal(error['type'], 'not_found_error')
      assert.equal(error['message'], 'model: claude-does-not-exist-9')
    },
  )

  contractTest('a message is answered, and a refusal is an answer', async (contract) => {
    const { upstream } = contract
    const context = contract.context('standard')
    const answered = await upstream.createMessage(contract.params('Say hello.'), context)
    assert.equal(answered.kind, 'answered')
    assert.equal(answered.message['type'], 'message')
    assert.ok(Number(objectIn(answered.message, 'usage')['input_tokens']) > 0)
    assert.notEqual(answered.headers.requestId, null)
    const refused = await upstream.createMessage(
      contract.params('Hello', { model: 'claude-does-not-exist-9' }),
      context,
    )
    assert.equal(refused.kind, 'refused')
    assert.deepEqual([refused.error.status, refused.error.type], [404, 'not_found_error'])
    assert.equal(refused.body['type'], 'error')
  })

  contractTest('tokens are counted, and a request that is none is refused', async (contract) => {
    const { upstream } = contract
    const context = contract.context('standard')
    const short = await upstream.countTokens(contract.params('Hello'), context)
    const long = await upstream.countTokens(
      contract.params('Hello and good morning to you all. '.repeat(20)),
      context,
    )
    assert.ok(Number.isInteger(short) && short > 0 && long > short + 50, `${short} and ${long}`)
    const unknown = contract.params('Hello', { model: 'claude-does-not-exist-9' })
    await refusedWith('not_found_error', upstream.countTokens(unknown, context))
  })
}

class Contract {
  readonly upstream: Upstream
  readonly #clock: Clock
  readonly #model: string

  constructor({ upstream, clock, model }: OpenedUpstream) {
    // Time stands still while a call is under way; but a message is answered in time.
    this.upstream = holdAll(upstream, clock, { except: ['createMessage'] })
    this.#clock = clock
    this.#model = model
  }

  context(tier: CallContext['tier'] = 'batch'): CallContext {
    const { workspace } = this.upstream
    return { apiVersion: '2023-06-01', betas: [], workspace, tier, receivedAt: this.#clock.now() }
  }

  params(question: string, changes: JsonObject = {}): Uint8Array {
    const messages = [{ role: 'user', content: question }]
    return Buffer.from(JSON.stringify({ model: this.#model, max_tokens: 200, messages, ...changes }))
  }

  /** One row for each custom_id; `changes` are those to the params of single rows. */
  body(customIds: readonly string[], changes: Readonly<Record<string, JsonObject>> = {}): BatchBody {
    const elements = customIds.map((id) => {
      const params = Buffer.from(this.params(`Question ${id}`, changes[id])).toString('utf8')
      return Buffer.from(`{"custom_id":${JSON.stringify(id)},"params":${params}}`)
    })
    const commas = Math.max(0, elements.length - 1)
    return {
      rows: elements.length,
      sizeBytes: elements.reduce((bytes, each) => bytes + each.length, '{"requests":[]}'.length + commas),
      async *elements() {
        yield* elements
      },
    }
  }

  async create(
    customIds: readonly string[],
    changes: Readonly<Record<string, JsonObject>> = {},
  ): Promise<MessageBatch> {
    const answer = await this.upstream.createBatch(this.body(customIds, changes), this.context())
    assert.equal(answer.kind, 'accepted', JSON.stringify(answer))
    return answer.batch
  }

  async untilEnded(id: string): Promise<MessageBatch> {
    for (;;) {
      const found = await this.upstream.retrieveBatch(id)
      assert.notEqual(found, null, `${id} is there`)
      const { batch, headers } = found!
      if (batch.processing_status === 'ended') return batch
      assert.notEqual(headers.retryAfterMs, null, 'a batch in progress says when to ask again')
      await this.#clock.sleepUntil(plusMs(this.#clock.now(), headers.retryAfterMs!))
    }
  }

  /** Result by custom_id. */
  async results(id: string): Promise<Map<string, JsonObject>> {
    const results = new Map<string, JsonObject>()
    for await (const bytes of this.upstream.batchResults(id)) {
      const line = JSON.parse(Buffer.from(bytes).toString('utf8')) as JsonObject
      const customId = String(line['custom_id'])
      assert.ok(!results.has(customId), `${customId} has one result`)
      results.set(customId, objectIn(line, 'result'))
    }
    return results
  }
}

function objectIn(object: JsonObject, name: string): JsonObject {
  const value = object[name]
  assert.ok(isObject(value), `${name} is an object in ${JSON.stringify(object)}`)
  return value
}

async function refusedWith(code: string, call: Promise<unknown>): Promise<void> {
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof TitheError, String(error))
    assert.equal(error.code, code)
    assert.equal(error.exitCode, 3)
    return true
  })
}
