import assert from 'node:assert/strict'
import { test } from 'node:test'
import { driveWorld, finalState, openWorld } from './harness.ts'

// A driver that dies before or after each of its writing calls in turn, and a second one that goes on. Every crash point is
// tried, not a sample: the dangerous ones are few and nobody knows all of them.

const OPTIONS = { rows: 70, handbooks: 2, local: { erroredShare: 0.05 } }

test('whichever call a driver dies in, the next one ends the run with the same rows and the same bill', async () => {
  const undisturbed = await openWorld(OPTIONS)
  const { calls } = await driveWorld(undisturbed)
  const expected = await finalState(undisturbed)
  assert.equal(expected.invoice.equal, true, expected.invoice.differences.join('\n'))
  assert.ok(calls > 100, `the run makes ${calls} calls`)
  let crashes = 0
  for (let call = 1; call <= calls; call++) {
    for (const when of ['before', 'after'] as const) {
      const world = await openWorld(OPTIONS)
      const first = await driveWorld(world, { crash: { call, when } })
      if (first.end !== 'crashed') continue
      crashes += 1
      const { end } = await driveWorld(world)
      const where = `a crash ${when} call ${call}`
      assert.deepEqual(end, { kind: 'finished' }, where)
      const final = await finalState(world)
      assert.equal(final.invoice.equal, true, `${where}: ${final.invoice.differences.join('\n')}`)
      assert.equal(final.invoice.lines, expected.invoice.lines, `${where}: no row is answered twice`)
      assert.deepEqual(final.counts, expected.counts, where)
    }
  }
  assert.ok(crashes >= calls, `${crashes} crashes`)
})
