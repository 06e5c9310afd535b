import assert from 'node:assert/strict'
import { test } from 'node:test'
import { killAt, UNCOUNTED_CALLS } from './kill-at.ts'

test('an instant that is none is refused with what there is', () => {
  for (const stated of ['noon', 'submitting:0', 'call:1:never', 'submitting:2:before', 'call:', 'call:-1']) {
    assert.throws(() => killAt({ TITHE_KILL_AT: stated }), { code: 'bad_environment', hint: /submitting:2/ })
  }
})

test('calls that write are counted over all that is wrapped, and one that has not come is said', async () => {
  const kill = killAt({ TITHE_KILL_AT: 'call:99' })
  class Target {
    #value = 'kept'
    readonly kind = 'target'
    async recordEvent(): Promise<string> {
      return this.#value
    }
    async counts(): Promise<number> {
      return 3
    }
  }
  const [store, upstream] = [kill.around(new Target()), kill.around(new Target())]
  assert.equal(await store.recordEvent(), 'kept')
  assert.equal(await upstream.recordEvent(), 'kept')
  assert.equal(await store.counts(), 3)
  assert.equal(store.kind, 'target')
  assert.equal(kill.unreached(), 'TITHE_KILL_AT=call:99 has not come: 2 calls wrote')
})

test('without the variable nothing is wrapped', () => {
  const target = {}
  const kill = killAt({})
  assert.equal(kill.around(target), target)
  assert.equal(kill.unreached(), null)
})

test('creating, recording and canceling are never passed over', () => {
  for (const call of [
    'createBatch',
    'createMessage',
    'recordEvent',
    'recordResults',
    'cancelBatch',
    'sync',
  ]) {
    assert.ok(!UNCOUNTED_CALLS.has(call), call)
  }
})
