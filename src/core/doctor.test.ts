import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalogue } from '../facts/load.ts'
import {
  assumptionOf,
  type CheckName,
  cheapestToCheck,
  judge,
  judgeWorkspace,
  paidChecks,
  prefixText,
  requestsOf,
  reservationOf,
} from './doctor.ts'
import { instant } from './instant.ts'
import { picoUsd } from './money.ts'

const catalogue = loadCatalogue()
const AT = instant(Date.parse('2026-11-27'))
const tested = cheapestToCheck(catalogue, AT)!
const prefixes = { first: prefixText('one', 512), second: prefixText('two', 512) }

test('checks are made on the active model whose shortest cached prefix costs least, whatever its name', () => {
  assert.deepEqual([tested.model.id, tested.minimumTokens], ['claude-haiku-5-5', 512])
  const models = catalogue.models.map((model) =>
    model.id === tested.model.id ? { ...model, status: 'deprecated' as const } : model,
  )
  const next = cheapestToCheck({ ...catalogue, models }, AT)!
  assert.deepEqual([next.model.id, next.minimumTokens], ['claude-sonnet-5-5', 512])
  assert.equal(cheapestToCheck({ ...catalogue, models: [] }, AT), null)
})

test('a check needs only checks that run before it', () => {
  const before = new Set<CheckName>()
  for (const { name, needs } of paidChecks(catalogue.rules)) {
    assert.ok(needs === null || before.has(needs), name)
    before.add(name)
  }
})

test('a reservation holds every byte as a token, written at the rate of its mark, at batch price, with US inference', () => {
  const primer = paidChecks(catalogue.rules).find((check) => check.name === 'primed_hits')!.calls[0]!
  const requests = requestsOf(primer, tested.model, prefixes)
  const bytes = BigInt(Buffer.byteLength(JSON.stringify(requests[0])))
  // $0.20 a million for a 1h write and $0.50 for output, half in a batch, eleven tenths for US inference.
  assert.equal(reservationOf(primer, requests, tested), picoUsd(bytes * 110_000n + 275_000n))
})

test('rows that name the same prefix differ only behind it', () => {
  const [, rest] = paidChecks(catalogue.rules).find((check) => check.name === 'primed_hits')!.calls
  const [one, two] = requestsOf(rest!, tested.model, prefixes)
  assert.deepEqual(one!['system'], two!['system'])
  assert.notDeepEqual(one!['messages'], two!['messages'])
  assert.notEqual(prefixes.first.slice(0, 4), prefixes.second.slice(0, 4))
})

test('no answer makes nothing clear, and every check says what is assumed', () => {
  for (const { name } of paidChecks(catalogue.rules)) {
    if (name !== 'versions') assert.equal(judge(name, [], catalogue.rules).verdict, 'unclear', name)
    assert.ok(assumptionOf(name, catalogue.rules).length > 20)
  }
  assert.equal(judgeWorkspace([]).verdict, 'left_out')
})
