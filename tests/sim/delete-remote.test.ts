import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TitheError } from '../../src/core/errors.ts'
import { driveWorld, finalState, openWorld, RUN, type World, withUpstream } from './harness.ts'

// `delete_remote: after_ingest`: batches are deleted at the upstream once every row has its result here.

const FINISHED = { kind: 'finished' }
const request = (ordinal: number) => ({
  system: [{ type: 'text', text: `handbook ${ordinal % 2}. `.repeat(400) }],
})
const DELETING = {
  rows: 12,
  request,
  settings: { deleteRemote: 'after_ingest' },
  local: { erroredShare: 0.3 },
} as const

/** Asserts with each deletion that the batch has been read to its end. */
function guarded(world: World) {
  const deleted: string[] = []
  const upstream = withUpstream(world, (local) => ({
    async deleteBatch(id: string) {
      const submission = (await world.store.runs.submissions(RUN)).find((one) => one.upstreamBatchId === id)
      assert.equal(submission?.state, 'ingested')
      assert.deepEqual(await world.store.runs.missingResults(RUN, submission!.number, 1), [])
      deleted.push(id)
      await local.deleteBatch(id)
    },
  }))
  return { upstream, deleted }
}

async function remaining(world: World): Promise<number> {
  return (await world.local.listBatches({ limit: 100 })).data.length
}

test('every batch is deleted once it is read, with the day of it recorded; without the setting none is', async () => {
  const world = await openWorld(DELETING)
  const { upstream, deleted } = guarded(world)
  assert.deepEqual((await driveWorld(world, { upstream })).end, FINISHED)
  const submissions = await world.store.runs.submissions(RUN)
  assert.ok(submissions.length >= 3)
  assert.deepEqual(deleted.length, submissions.length)
  assert.ok(submissions.every((one) => one.deletedAt !== null && one.deletedAt >= one.endedAt!))
  const events = (await world.store.runs.events(RUN)).filter((event) => event.kind === 'deleted')
  assert.deepEqual(
    events.map((event) => event.detail),
    submissions.map((one) => one.upstreamBatchId),
  )
  assert.equal(await remaining(world), 0)
  const { invoice } = await finalState(world)
  assert.equal(invoice.equal, true, invoice.differences.join('\n'))

  const keeping = await openWorld({ ...DELETING, settings: {} })
  await driveWorld(keeping)
  assert.ok((await remaining(keeping)) >= 3)
})

test('a batch that is not there any more counts as deleted', async () => {
  const world = await openWorld(DELETING)
  const upstream = withUpstream(world, (local) => ({
    async deleteBatch(id: string) {
      await local.deleteBatch(id)
      await local.deleteBatch(id)
    },
  }))
  assert.deepEqual((await driveWorld(world, { upstream })).end, FINISHED)
  assert.ok((await world.store.runs.submissions(RUN)).every((one) => one.deletedAt !== null))
})

test('a deletion that is refused is said once, tried again with every look, and keeps no run from its end', async () => {
  const world = await openWorld(DELETING)
  let tries = 0
  const refusing = (until: number) =>
    withUpstream(world, (local) => ({
      async deleteBatch(id: string) {
        tries += 1
        if (tries <= until) throw new TitheError('upstream_unreachable', 'no connection', { retry: 'safe' })
        await local.deleteBatch(id)
      },
    }))
  const never = await driveWorld(world, { upstream: refusing(Number.POSITIVE_INFINITY) })
  assert.deepEqual(never.end, FINISHED)
  const submissions = await world.store.runs.submissions(RUN)
  assert.ok(tries > submissions.length)
  const notes = never.events.filter(
    (event) => event.kind === 'note' && /could not be deleted/.test(event.message),
  )
  assert.equal(notes.length, submissions.length)
  assert.ok(submissions.every((one) => one.deletedAt === null))

  const second = await openWorld(DELETING)
  tries = 0
  const upstream = withUpstream(second, (local) => ({
    async deleteBatch(id: string) {
      tries += 1
      if (tries === 1) throw new TitheError('upstream_unreachable', 'no connection', { retry: 'safe' })
      await local.deleteBatch(id)
    },
  }))
  await driveWorld(second, { upstream })
  assert.ok((await second.store.runs.submissions(RUN)).every((one) => one.deletedAt !== null))
})

test('whichever call a driver dies in, before it or after it, the next one deletes what is read, and never before', async () => {
  let crashes = 0
  for (let call = 1, crashed = true; crashed; call++) {
    for (const when of ['before', 'after'] as const) {
      const world = await openWorld({ ...DELETING, shape: 'deleting' })
      const { upstream } = guarded(world)
      crashed = (await driveWorld(world, { upstream, crash: { call, when } })).end === 'crashed'
      crashes += crashed ? 1 : 0
      const where = `a crash ${when} call ${call}`
      assert.deepEqual((await driveWorld(world, { upstream })).end, FINISHED, where)
      const { counts, invoice } = await finalState(world)
      assert.equal(invoice.equal, true, `${where}: ${invoice.differences.join('\n')}`)
      assert.equal(counts.succeeded + counts.errored, 12, where)
      const [run] = await world.store.runs.findRuns(RUN)
      assert.equal(run!.state, 'finished')
      assert.equal(await remaining(world), 0, where)
      await world.local.close()
    }
  }
  assert.ok(crashes > 60, `${crashes} crashes`)
})
