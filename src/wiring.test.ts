import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { plusMs } from './core/instant.ts'
import { seededIds } from './runtime/ids.ts'
import { askOf, bodyOf, contextOf, rowOf } from './upstreams/local/local.contract-setup.ts'
import { catalogueFor, openUpstream } from './wiring.ts'

test('--concurrency decides how many rows of a cold batch write what they share', async () => {
  const handbook = {
    type: 'text',
    text: 'A refund is due when goods came late. '.repeat(400),
    cache_control: { type: 'ephemeral' },
  }
  for (const concurrency of [1, 7]) {
    const dir = mkdtempSync(join(tmpdir(), 'tithe-wiring-'))
    const choice = { kind: 'local', realTime: false, speed: 1, concurrency } as const
    const { local, clock, close } = await openUpstream({ dir, ids: seededIds(3) }, choice, catalogueFor(null))
    const rows = Array.from({ length: 20 }, (_, row) =>
      rowOf(`row-${row}`, askOf(`Case ${row}?`, { system: [handbook] })),
    )
    const created = await local!.createBatch(bodyOf(rows), contextOf())
    assert.ok(created.kind === 'accepted')
    while ((await local!.retrieveBatch(created.batch.id))!.batch.processing_status !== 'ended') {
      await clock.sleepUntil(plusMs(clock.now(), 10_000))
    }
    let writes = 0
    for await (const line of local!.invoice()) writes += line.cacheWrite5mTokens > 0 ? 1 : 0
    assert.equal(writes, concurrency)
    await close()
    rmSync(dir, { recursive: true })
  }
})
