import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { plusMs } from './core/instant.ts'
import { seededIds } from './runtime/ids.ts'
import { askOf, bodyOf, contextOf, rowOf } from './upstreams/local/local.contract-setup.ts'
import { catalogueFor, openHome, openUpstream, rememberVisit, runDeps } from './wiring.ts'

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

test('a run reckons with the cancels that were measured at its upstream, and with no others', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'tithe-wiring-'))
  const home = await openHome(dir)
  const catalogue = catalogueFor(null)
  const choice = { kind: 'local', realTime: false, speed: 1, concurrency: null } as const
  const opened = await openUpstream(home, choice, catalogue)
  const visit = {
    at: home.clock.now(),
    organizationId: 'org',
    workspaceId: 'wrkspc',
    model: 'claude-haiku-5-5',
    batchLatenciesMs: [],
    primed: null,
    realtimeReadsBatch: null,
    batchReadsRealtime: null,
    readsAcrossTtl: null,
  }
  const reckoned = () =>
    runDeps(home, opened, catalogue, { emit: () => {}, signal: new AbortController().signal }).cancelLatencyMs
  assert.equal(reckoned(), catalogue.rules.cancelLatencyMs)
  const elsewhere = { upstream: 'https://api.anthropic.com', certainty: 'measured' } as const
  rememberVisit(dir, { ...visit, ...elsewhere, cancelLatenciesMs: [70_000] })
  assert.equal(reckoned(), catalogue.rules.cancelLatencyMs)
  const here = { upstream: 'local (simulated)', certainty: 'simulated' } as const
  rememberVisit(dir, { ...visit, ...here, cancelLatenciesMs: [90_000] })
  assert.equal(reckoned(), 90_000)
  await opened.close()
  await home.close()
  rmSync(dir, { recursive: true })
})
