import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseBudget } from './budget.ts'

test('a budget is dollars, and soft only when it says so', () => {
  assert.deepEqual(parseBudget(25), { picoUsd: 25_000_000_000_000n, mode: 'hard' })
  assert.deepEqual(parseBudget('$0.50'), { picoUsd: 500_000_000_000n, mode: 'hard' })
  assert.deepEqual(parseBudget(' 25 soft '), { picoUsd: 25_000_000_000_000n, mode: 'soft' })
  assert.deepEqual(parseBudget('25 hard'), { picoUsd: 25_000_000_000_000n, mode: 'hard' })
  for (const none of ['', 'soft', '0', -1, '25 softly', '25soft', '25 soft soft', 'a lot']) {
    assert.equal(parseBudget(none), null, String(none))
  }
})
