import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CacheState, simulateRequest } from '../../core/cache-sim.ts'
import { costOf } from '../../core/cost.ts'
import { instant } from '../../core/instant.ts'
import type { JsonObject } from '../../core/json.ts'
import { findModel, priceAt } from '../../core/models.ts'
import { prefixHashes } from '../../core/prefix-hash.ts'
import { marksOf, promptBlocks } from '../../core/prompt.ts'
import { parseUsage } from '../../core/usage.ts'
import { loadCatalogue } from '../../facts/load.ts'
import { Cache, cachePromptOf, positionsOf } from './cache.ts'
import { invoiceLineOf } from './invoice.ts'
import { START } from './local.contract-setup.ts'
import { cacheRulesOf, invoicePricesOf } from './plain-facts.ts'

// The local service's cache and bill share no code with the core's. Here each is held against the other.

const catalogue = loadCatalogue()
const SETTINGS = { apiVersion: '2023-06-01', betas: [] }

// Requests of one stream must often share long prefixes: most texts are the same, most options are left out.
const rarely = <T>(value: T) =>
  fc.oneof({ weight: 100, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.constant(value) })
const mark = fc.oneof(
  { weight: 10, arbitrary: fc.constant({}) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('5m', '1h').map((ttl) => ({ cache_control: { type: 'ephemeral', ttl } })),
  },
)
const letter = fc.oneof(
  { weight: 200, arbitrary: fc.constant('a') },
  { weight: 1, arbitrary: fc.constant('b') },
)
const text = fc.tuple(letter, mark).map(([word, marked]) => ({ type: 'text', text: word, ...marked }))
const tool = fc
  .tuple(letter, mark)
  .map(([name, marked]) => ({ name, input_schema: { type: 'object' }, ...marked }))
const message = fc
  .tuple(fc.oneof(letter, fc.array(text, { minLength: 1, maxLength: 1 })), rarely('assistant'))
  .map(([content, role]) => ({ role: role ?? 'user', content }))
const request = fc
  .record({
    model: rarely('claude-haiku-4-5-20251001').map((other) => other ?? 'claude-sonnet-4-6'),
    tools: rarely([]).chain((none) =>
      none ? fc.constant(none) : fc.array(tool, { minLength: 1, maxLength: 1 }),
    ),
    system: fc.constantFrom('a', [{ type: 'text', text: 'a' }]),
    messages: fc.array(message, { minLength: 1, maxLength: 30, size: 'max' }),
    cache_control: fc.option(fc.constant({ type: 'ephemeral' }), { nil: undefined }),
    thinking: rarely({ type: 'adaptive' }),
    tool_choice: rarely({ type: 'auto' }),
  })
  .map((body) => JSON.parse(JSON.stringify(body)) as JsonObject)

/** At most four marks, none of 1h after one of 5m: what the API accepts. */
function isAccepted(body: JsonObject): boolean {
  const marks = marksOf(body, promptBlocks(body))
  const short = marks.findIndex((one) => one.ttl === '5m')
  return marks.length <= 4 && (short === -1 || marks.slice(short).every((one) => one.ttl === '5m'))
}

test('the naive cache and the core agree on every request of a stream', () => {
  const gapMs = fc.constantFrom(0, 350, 700, 60_000, 299_999, 300_000, 1_000_000, 3_600_000)
  const pool = fc.constantFrom('standard' as const, 'batch' as const)
  const stream = fc.array(fc.tuple(request.filter(isAccepted), gapMs, pool), { maxLength: 20, size: 'max' })
  let reads = 0
  fc.assert(
    fc.property(stream, (calls) => {
      const naive = new Cache(cacheRulesOf(catalogue))
      const core = new CacheState()
      let at = START
      for (const [body, gap, callPool] of calls) {
        at = instant(at + gap)
        const readableAt = instant(at + 700)
        const positions = positionsOf(body)
        const blockTokens = positions.map(({ block }) => 100 + JSON.stringify(block['text'] ?? '').length)
        const cumulativeTokens = blockTokens.map((_, i) =>
          blockTokens.slice(0, i + 1).reduce((a, b) => a + b),
        )
        const totalTokens = cumulativeTokens.at(-1)! + 5
        const model = String(body['model'])
        const shared = { model, pool: callPool, totalTokens, minimumTokens: 250 }
        const bill = naive.serve({
          ...shared,
          ...cachePromptOf(body, positions, SETTINGS, 'high'),
          workspace: 'w',
          blockTokens,
          startedAt: at,
          firstTokenAt: readableAt,
        })
        const blocks = promptBlocks(body)
        const forecast = simulateRequest(core, {
          ...shared,
          hashes: prefixHashes(body, blocks, SETTINGS),
          cumulativeTokens,
          marks: marksOf(body, blocks),
          at,
          readableAt,
          rules: catalogue.rules,
        })
        for (const key of ['readTokens', 'write5mTokens', 'write1hTokens', 'inputTokens'] as const) {
          assert.equal(bill[key], forecast[key], key)
        }
        if (bill.readTokens > 0) reads += 1
      }
    }),
    { numRuns: 200 },
  )
  assert.ok(reads > 100, `only ${reads} requests read anything`)
})

test('the invoice and the core price every usage alike', () => {
  const table = invoicePricesOf(catalogue)
  const tokens = fc.oneof(fc.nat(3_000), fc.nat(300_000))
  const usage = fc.record({
    model: fc.constantFrom(...catalogue.models.filter(({ prices }) => prices.length > 0).map(({ id }) => id)),
    atMs: fc.nat(400).map((days) => START - days * 86_400_000),
    counts: fc.tuple(tokens, tokens, tokens, tokens, tokens),
    webSearchRequests: fc.nat(5),
    tier: fc.constantFrom('standard' as const, 'batch' as const),
    inferenceGeo: fc.constantFrom('us', 'global', 'not_available'),
    speed: fc.constantFrom('standard' as const, 'fast' as const),
  })
  fc.assert(
    fc.property(usage, ({ model, atMs, counts, webSearchRequests, tier, inferenceGeo, speed }) => {
      const [inputTokens, cacheWrite5mTokens, cacheWrite1hTokens, cacheReadTokens, outputTokens] = counts
      const used = { inputTokens, cacheWrite5mTokens, cacheWrite1hTokens, cacheReadTokens, outputTokens }
      const at = instant(atMs)
      const line = invoiceLineOf(
        { ...used, webSearchRequests, tier, inferenceGeo, speed, batchId: 'b', customId: 'c', at, model },
        table,
      )
      const price = priceAt(findModel(catalogue, model)!, at)!
      const cost = costOf(
        { ...used, webSearchRequests, serviceTier: tier, inferenceGeo, speed },
        price,
        catalogue,
      )
      assert.equal(line.costPicoUsd, cost.totalPicoUsd as bigint)
    }),
    { numRuns: 500 },
  )
})

test('a usage of the local service reads back as the core reads the API', () => {
  const raw = {
    input_tokens: 1,
    cache_creation_input_tokens: 5,
    cache_read_input_tokens: 4,
    cache_creation: { ephemeral_5m_input_tokens: 2, ephemeral_1h_input_tokens: 3 },
    output_tokens: 6,
    output_tokens_details: null,
    server_tool_use: null,
    service_tier: 'batch',
    inference_geo: 'global',
  }
  const usage = parseUsage(raw)!
  assert.deepEqual([usage.cacheWrite5mTokens, usage.cacheWrite1hTokens, usage.serviceTier], [2, 3, 'batch'])
})
