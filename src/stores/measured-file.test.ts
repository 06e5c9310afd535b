import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { TitheError } from '../core/errors.ts'
import { instant } from '../core/instant.ts'
import type { Visit } from '../core/measured.ts'
import { readMeasured, writeMeasured } from './measured-file.ts'

const VISIT: Visit = {
  at: instant(0),
  upstream: 'local (simulated)',
  certainty: 'simulated',
  organizationId: 'org_local',
  workspaceId: 'wrkspc_local',
  model: 'claude-haiku-5-5',
  batchLatenciesMs: [1_000],
  cancelLatenciesMs: [],
  primed: { rows: 3, read: 3 },
  realtimeReadsBatch: false,
  batchReadsRealtime: null,
  readsAcrossTtl: true,
}

const dir = mkdtempSync(join(tmpdir(), 'tithe-measured-'))
after(() => rmSync(dir, { recursive: true }))

test('what was measured is replaced as a whole, readable by its owner only, and leaves nothing beside it', () => {
  assert.deepEqual(readMeasured(dir), [])
  writeMeasured(dir, [VISIT])
  const file = writeMeasured(dir, [VISIT, VISIT])
  assert.deepEqual(readMeasured(dir), [VISIT, VISIT])
  assert.deepEqual(readdirSync(dir), ['measured.json'])
  assert.equal(statSync(file).mode & 0o777, 0o600)
})

test('a damaged file is named', () => {
  writeFileSync(join(dir, 'measured.json'), '{"schema":"tithe.measured/1","visits":[{')
  assert.throws(
    () => readMeasured(dir),
    (error) =>
      error instanceof TitheError &&
      error.code === 'measured_damaged' &&
      error.where?.file === join(dir, 'measured.json'),
  )
})

test('a file that cannot be written leaves the old one, and is an unavailable home', () => {
  const blocked = join(dir, 'blocked')
  mkdirSync(join(blocked, 'measured.json', 'in the way'), { recursive: true })
  assert.throws(
    () => writeMeasured(blocked, [VISIT]),
    (error) => error instanceof TitheError && error.code === 'home_unavailable' && error.exitCode === 3,
  )
})
