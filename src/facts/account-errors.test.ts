import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadAccountErrors } from './account-errors.ts'

test('every fact about errors of the account is dated and has its source', () => {
  const facts = loadAccountErrors()
  assert.deepEqual(Object.keys(facts), ['types', 'perhapsTypes', 'spendLimitText', 'spendCapCode'])
  for (const [name, fact] of Object.entries(facts)) {
    assert.ok([fact.value].flat().every((text) => typeof text === 'string' && text.length > 0))
    assert.ok(!Number.isNaN(Date.parse(fact.from)) && !Number.isNaN(Date.parse(fact.checked)), name)
    assert.match(fact.source, /claude-api\.md/)
    assert.match(fact.sure, /^[HML?]$/)
  }
})
