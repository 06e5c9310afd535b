import assert from 'node:assert/strict'
import { test } from 'node:test'
import { instant } from '../core/instant.ts'
import type { Upstream } from '../upstreams/upstream.ts'
import { type WatchedCall, watched } from './survived.ts'

test('a call is put down with the fault that fired in it, one that went well with none, and both with what came', async () => {
  const fired = new Map<string, number>()
  const results = { calls: 0 }
  const upstream = {
    async listBatches() {
      return {}
    },
    async *batchResults() {
      results.calls += 1
      yield Buffer.from('one')
      if (results.calls === 1) {
        fired.set('results: cut', 1)
        throw new Error('the connection was lost')
      }
      yield Buffer.from('two')
    },
  } as unknown as Upstream
  const calls: WatchedCall[] = []
  const seen = watched(upstream, fired, () => instant(7), calls)
  const read = async () => {
    for await (const _line of seen.batchResults('msgbatch_1'));
  }
  await seen.listBatches({})
  await assert.rejects(read(), /lost/)
  await read()
  assert.deepEqual(calls, [
    { method: 'listBatches', at: 7, fault: null, lines: 0 },
    { method: 'batchResults', at: 7, fault: 'results: cut', lines: 1 },
    { method: 'batchResults', at: 7, fault: null, lines: 2 },
  ])
})
