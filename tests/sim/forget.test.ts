import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TitheError } from '../../src/core/errors.ts'
import { type Forgotten, forgetRun } from '../../src/runs/forget-run.ts'
import { ledgerOf } from '../../src/runs/report-run.ts'
import type { RunDeps } from '../../src/runs/run-deps.ts'
import type { Upstream } from '../../src/upstreams/upstream.ts'
import { driveWorld, openWorld, RUN, type World, withUpstream } from './harness.ts'

const OPTIONS = { rows: 12, local: { erroredShare: 0.3 }, shape: 'forgotten' } as const

const forget =
  (world: World, done?: (forgotten: Forgotten) => void) =>
  async (deps: RunDeps): Promise<void> => {
    const [run] = await world.store.runs.findRuns(RUN)
    const { clock } = deps.runtime
    const forgotten = await forgetRun(run!, { ...deps, clock, remote: deps.upstream })
    done?.(forgotten)
  }

async function ledger({ store }: World) {
  const entries = await Array.fromAsync(ledgerOf(RUN, store.runs))
  return entries.map(({ customId: _, ...entry }) => entry)
}

test('whichever call a forgetting dies in, before it or after it, the next one removes what is left and keeps the ledger', async () => {
  let crashes = 0
  for (let call = 1, crashed = true; crashed; call++) {
    for (const when of ['before', 'after'] as const) {
      const world = await openWorld(OPTIONS)
      await driveWorld(world)
      const before = await ledger(world)
      const [held] = await world.store.runs.resultsPage(RUN, 0, 1)
      const first = await driveWorld(world, { before: forget(world), crash: { call, when } })
      crashed = first.end === 'crashed'
      crashes += crashed ? 1 : 0
      await driveWorld(world, { before: forget(world) })
      const where = `a crash ${when} call ${call}`
      const { runs, bodies } = world.store
      const rows = await runs.resultsPage(RUN, -1, 20)
      assert.ok(
        rows.every(({ row, attempt }) => row.userId === '' && attempt?.result === null),
        where,
      )
      assert.deepEqual(await runs.bodyRanges(), [], where)
      for (const ref of [held!.row.request, held!.row.columns, held!.attempt!.result!]) {
        await assert.rejects(bodies.read(ref), { code: 'store_corrupt' }, where)
      }
      assert.equal((await world.local.listBatches({ limit: 10 })).data.length, 0, where)
      assert.deepEqual(await ledger(world), before, where)
      await world.local.close()
    }
  }
  assert.ok(crashes > 10, `${crashes} crashes`)
})

test('a batch that cannot be deleted is named with its reason, and what is here is forgotten all the same', async () => {
  const world = await openWorld(OPTIONS)
  await driveWorld(world)
  const upstream = withUpstream(world, () => ({
    deleteBatch: () => Promise.reject(new TitheError('permission_error', 'not with this key')),
  }))
  let told: Forgotten | null = null
  await driveWorld(world, { upstream, before: forget(world, (forgotten) => (told = forgotten)) })
  const { left, deleted } = told!
  assert.deepEqual(deleted, [])
  assert.ok(left.length >= 2 && left.every(({ problem }) => problem === 'not with this key'))
  assert.notEqual((await world.store.runs.findRuns(RUN))[0]!.forgottenAt, null)
})

test('with the key of another workspace, where no batch of the run is to be seen, nothing is forgotten', async () => {
  const world = await openWorld(OPTIONS)
  await driveWorld(world)
  const upstream: Upstream = withUpstream(world, (local) => ({
    async listBatches(query) {
      const page = await local.listBatches(query)
      return { ...page, headers: { ...page.headers, workspaceId: 'wrkspc_other' } }
    },
  }))
  await assert.rejects(driveWorld(world, { upstream, before: forget(world) }), { code: 'other_workspace' })
  assert.equal((await world.store.runs.findRuns(RUN))[0]!.forgottenAt, null)
})

test('nothing is forgotten while another run of the home is driven, or before the run is over', async () => {
  const world = await openWorld(OPTIONS)
  await assert.rejects(driveWorld(world, { before: forget(world) }), { code: 'not_over' })
  await driveWorld(world)
  const alive = { isHolderGone: () => false }
  const other = 'r0000other'
  const [run] = await world.store.runs.findRuns(RUN)
  await world.store.runs.createRun({ ...run!, id: other, state: 'preparing' })
  const now = world.clock.now()
  await world.store.runs.acquireLease(other, 'reader', now, (now + 86_400_000) as typeof now)
  await assert.rejects(driveWorld(world, { before: forget(world), deps: alive }), { code: 'home_driven' })
  await driveWorld(world, { before: forget(world) })
  assert.notEqual((await world.store.runs.findRuns(RUN))[0]!.forgottenAt, null)
})
