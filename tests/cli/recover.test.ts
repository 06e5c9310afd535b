import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { smallJob } from './jobs.ts'
import { folder, start, tithe, titheJson } from './tithe.ts'

/** The home without its state: what a service elsewhere would still have. */
function loseState(cwd: string): void {
  for (const name of ['tithe.sqlite', 'tithe.sqlite-wal', 'tithe.sqlite-shm', 'bodies']) {
    rmSync(join(cwd, '.tithe', name), { recursive: true, force: true })
  }
}

test('a run whose state file is lost is rebuilt from its batches, and goes on', async () => {
  const cwd = folder(smallJob(90))
  const killed = await start(cwd, ['run', 'job.yaml'], { TITHE_KILL_AT: 'submitting:2' }).ended
  assert.equal(killed.signal, 'SIGKILL')
  const { run } = await titheJson(cwd, 'status')
  loseState(cwd)
  const recovered = await titheJson(cwd, 'recover', 'job.yaml')
  assert.deepEqual(
    [recovered['schema'], recovered['run'], recovered['complete']],
    ['tithe.recover/1', run, true],
  )
  const rows = recovered['rows'] as Record<string, number>
  assert.equal(rows['succeeded']! + rows['pending']!, 90)
  assert.equal((await tithe(cwd, 'resume')).code, 0)
  const report = await titheJson(cwd, 'report')
  assert.equal(report['ledger_equals_invoice'], true)
  const results = (await tithe(cwd, 'results')).stdout.trimEnd().split('\n')
  assert.equal(results.length, 90)

  const again = await tithe(cwd, 'recover', 'job.yaml')
  assert.equal(again.code, 2)
  assert.match(again.stderr, /is in this home: nothing is lost/)
})

test('a workspace without a batch of the job says what was looked at', async () => {
  const cwd = folder({ ...smallJob(3), 'other.yaml': smallJob(3)['job.yaml']!, 'bad.csv': '' })
  assert.equal((await tithe(cwd, 'run', 'job.yaml')).code, 0)
  loseState(cwd)
  const other = folder(smallJob(3, 'name: elsewhere\n'))
  const nothing = await tithe(other, 'recover', 'job.yaml')
  assert.equal(nothing.code, 2)
  assert.match(nothing.stderr, /no batch of the workspace is of .*: 0 looked at/)
})

test('of several runs that fit, one must be named', async () => {
  const cwd = folder(smallJob(3))
  assert.equal((await tithe(cwd, 'run', 'job.yaml')).code, 0)
  assert.equal((await tithe(cwd, 'run', 'job.yaml', '--again')).code, 0)
  loseState(cwd)
  const several = await tithe(cwd, 'recover', 'job.yaml')
  assert.equal(several.code, 2)
  const [, id] = /say which: --run (r\w+)/.exec(several.stderr) ?? []
  assert.ok(id, several.stderr)
  const named = await titheJson(cwd, 'recover', 'job.yaml', '--run', id)
  assert.deepEqual([named['run'], (named['rows'] as Record<string, number>)['succeeded']], [id, 3])
})
