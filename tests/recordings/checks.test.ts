import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { checkRequest } from '../../src/core/check-request.ts'
import { type Instant, parseTimestamp } from '../../src/core/instant.ts'
import { isObject, type Json, type JsonObject } from '../../src/core/json.ts'
import { findModel, type Model } from '../../src/core/models.ts'
import { loadCatalogue } from '../../src/facts/load.ts'
import { recordingsPath } from './recordings-path.ts'

// What the API answered and what it refused, held against `checkRequest`; and the latencies in facts against the batches
// that they were read from.

const catalogue = loadCatalogue()
const folder = dirname(recordingsPath())
const found = existsSync(folder)
const skip =
  found || process.env['CI'] === 'true' ? false : `RECORDINGS NOT FOUND AT ${folder}: NOTHING WAS JUDGED`

function rowsOf(name: string): JsonObject[] {
  const lines = gunzipSync(readFileSync(join(folder, name)))
    .toString('utf8')
    .trim()
    .split('\n')
  return lines.map((line) => JSON.parse(line))
}

function errorsOf(request: JsonObject, model: Model, at: Instant): string[] {
  return checkRequest(request, {
    model,
    settings: { apiVersion: '2023-06-01', betas: [] },
    at,
    route: 'realtime',
    rules: catalogue.rules,
  })
    .filter(({ severity }) => severity === 'error')
    .map(({ code }) => code)
}

test('a request that the API answered is not refused, but for conflicts with newer documentation', {
  skip,
}, () => {
  let checked = 0
  const refused: string[] = []
  for (const { request, model: asked, date } of rowsOf('messages.jsonl.gz')) {
    const model = isObject(request) && findModel(catalogue, String(request['model'] ?? asked))
    if (!isObject(request) || !model || !Array.isArray(request['messages'])) continue
    checked++
    const at = parseTimestamp(String(date)) ?? parseTimestamp('2026-08-01')!
    for (const code of errorsOf(request, model, at)) refused.push(`${code} ${model.id}`)
  }
  assert.ok(checked > 3_000, `${checked} requests`)
  // Sonnet 5 answered system messages when these were recorded; the documentation of October says 400 (facts). In June
  // 2024 Opus 3 let a tool result with a wrong id pass.
  assert.deepEqual([...new Set(refused)].toSorted(), [
    'system_role_not_supported claude-sonnet-5',
    'tool_use_without_result claude-3-opus-20240229',
  ])
  assert.ok(refused.length <= 4, refused.join(', '))
})

/** Refusals that can be foreseen without counting tokens or fetching anything, and the problem that foresees them. */
const FORESEEN: [message: RegExp, code: string][] = [
  [/too many optional parameters/, 'schema_too_many_optionals'],
  [/too many parameters with union types/, 'schema_too_many_unions'],
  [/Too many strict tools/, 'too_many_strict_tools'],
  [/'additionalProperties' must be explicitly set to false/, 'schema_additional_properties'],
  [/Circular reference detected/, 'schema_recursive'],
  [/input_schema(\.type)?: /, 'tool_schema_invalid'],
  [/does not support assistant message prefill/, 'prefill_not_supported'],
  [/does not support effort level/, 'effort_not_supported'],
  [/must be greater than `thinking.budget_tokens`/, 'thinking_budget'],
  [/temperature: range/, 'sampling_invalid'],
  [/must have non-empty content/, 'empty_content'],
]

test('a request that the API refused for a reason that we know is refused for that reason', { skip }, () => {
  const seen = new Map<string, number>()
  for (const { request, error } of rowsOf('errors.jsonl.gz')) {
    const inner = isObject(error) ? error['error'] : null
    const message = isObject(inner) ? String(inner['message']) : ''
    const expected = FORESEEN.find(([pattern]) => pattern.test(message))
    const model = isObject(request) && findModel(catalogue, String(request['model']))
    if (!isObject(request) || !model || expected === undefined) continue
    const codes = errorsOf(request, model, parseTimestamp('2026-08-01')!)
    assert.ok(codes.includes(expected[1]), `${message}: ${codes}`)
    seen.set(expected[1], (seen.get(expected[1]) ?? 0) + 1)
  }
  assert.equal(seen.size, FORESEEN.length, [...seen.keys()].join(', '))
  assert.ok((seen.get('schema_additional_properties') ?? 0) >= 40)
})

test('the batch latencies in facts are those of the recorded batches', { skip }, () => {
  const latencies = new Map<string, number>()
  const collect = (value: Json | undefined): void => {
    if (Array.isArray(value)) value.forEach(collect)
    if (!isObject(value)) return
    const { type, id, created_at, ended_at } = value
    if (type === 'message_batch' && typeof ended_at === 'string') {
      latencies.set(String(id), parseTimestamp(ended_at)! - parseTimestamp(String(created_at))!)
    }
    Object.values(value).forEach(collect)
  }
  for (const { response } of rowsOf('batches.jsonl.gz')) {
    // Results are JSON Lines, not one value.
    if (typeof response === 'string' && response.startsWith('{') && !response.includes('\n'))
      collect(JSON.parse(response))
  }
  assert.deepEqual(
    [...latencies.values()].toSorted((a, b) => a - b),
    catalogue.rules.batchLatencyMs,
  )
})
