import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadPriors } from './priors.ts'

test('every prior is a dated band with its source, in ascending order', () => {
  const priors = loadPriors()
  assert.deepEqual(Object.keys(priors), [
    'coldBatchHitRate',
    'primedHitRate',
    'realtimeHitRate',
    'newTokensPerOld',
  ])
  for (const [name, prior] of Object.entries(priors)) {
    const { low, best, high } = prior.value
    assert.ok(low <= best && best <= high, `${name} is a band`)
    assert.ok(!Number.isNaN(Date.parse(prior.from)) && !Number.isNaN(Date.parse(prior.checked)), name)
    assert.match(prior.source, /claude-api\.md|data\/README\.md/)
    assert.match(prior.sure, /^[HML?]$/)
    if (name.endsWith('HitRate')) assert.ok(low >= 0 && high <= 1, `${name} is a share`)
  }
})
