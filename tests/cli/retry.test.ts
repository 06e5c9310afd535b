import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { smallJob } from './jobs.ts'
import { addFiles, type Files, folder, start, tithe, titheJson } from './tithe.ts'

/** Of 90 rows, the third names another model. */
function oddJob(third: string): Files {
  const lines = Array.from(
    { length: 90 },
    (_, index) => `t-${index},ticket ${index},${index === 2 ? third : ''}\n`,
  )
  return {
    ...smallJob(90, 'overrides: {model: other}\n'),
    'rows.csv': `id,text,other\n${lines.join('')}`,
  }
}

/** A run that was canceled with its probe under way and an invalid row. */
async function canceledRun(): Promise<string> {
  const cwd = folder(oddJob('no-such-model'))
  await start(cwd, ['run', 'job.yaml', '--skip-invalid'], { TITHE_KILL_AT: 'submitting' }).ended
  assert.equal((await tithe(cwd, 'cancel')).code, 1)
  const { canceled, invalid } = await rowsOf(cwd)
  assert.ok(canceled! >= 30 && invalid === 1)
  return cwd
}

interface Rows {
  readonly [kind: string]: number
}

async function rowsOf(cwd: string): Promise<Rows> {
  const { counts } = await titheJson(cwd, 'status')
  return counts as Rows
}

test('once the job is mended, an invalid row and those that were canceled are answered, within the same run', async () => {
  const cwd = await canceledRun()
  const { run } = await titheJson(cwd, 'status')
  const { canceled } = await rowsOf(cwd)
  addFiles(cwd, oddJob('claude-haiku-4-5'))
  const { code, stderr } = await tithe(cwd, 'retry')
  assert.equal(code, 0, stderr)
  assert.match(stderr, new RegExp(`${canceled! + 1} of 90 rows of run ${run} go out again: `))
  assert.match(stderr, /cost: at most \$[\d.]+, for one answer each/)
  const after = await rowsOf(cwd)
  assert.deepEqual([after['succeeded'], after['canceled'], after['invalid']], [90, 0, 0])
  const report = await titheJson(cwd, 'report')
  assert.deepEqual([report['run'], report['ledger_equals_invoice']], [run, true])
  const third = (await tithe(cwd, 'results')).stdout.split('\n')[2]!
  assert.match((JSON.parse(third) as { model: string }).model, /^claude-haiku-4-5/)

  const nothing = await tithe(cwd, 'retry')
  assert.equal(nothing.code, 2)
  assert.match(nothing.stderr, /no row of run \w+ is sent again/)
})

test('--only sends rows of one kind; where the job file is gone rows go out as stored, and invalid ones stay', async () => {
  const cwd = await canceledRun()
  rmSync(join(cwd, 'job.yaml'))
  const invalid = await tithe(cwd, 'retry', '--only', 'invalid')
  assert.equal(invalid.code, 2)
  assert.match(invalid.stderr, /job\.yaml is not there any more: rows go out as they were stored/)
  assert.match(invalid.stderr, /1 of those chosen cannot be sent, as before/)
  const report = await titheJson(cwd, 'retry', '--only', 'canceled')
  assert.equal(report['schema'], 'tithe.report/1')
  const { succeeded, invalid: still } = await rowsOf(cwd)
  assert.deepEqual([succeeded, still], [89, 1])

  addFiles(cwd, { 'moved.yaml': oddJob('')['job.yaml']!, 'rows.csv': oddJob('')['rows.csv']! })
  assert.equal((await tithe(cwd, 'retry', '--job', 'moved.yaml')).code, 0)
  assert.equal((await rowsOf(cwd))['succeeded'], 90)
})

test('a chosen row that the job no longer has, or that cannot be sent any more, is an error, and nothing is changed', async () => {
  const cwd = await canceledRun()
  const status = (await tithe(cwd, 'status')).stdout
  addFiles(cwd, { 'rows.csv': 'id,text,other\nsomething,else,\n' })
  const gone = await tithe(cwd, 'retry')
  assert.equal(gone.code, 2)
  assert.match(gone.stderr, /row \d+, 't-\d+', was chosen, and the job has/)
  const lines = Array.from({ length: 90 }, (_, index) => `t-${index},ticket ${index},no-such-model\n`)
  addFiles(cwd, { 'rows.csv': `id,text,other\n${lines.join('')}` })
  const unsendable = await tithe(cwd, 'retry')
  assert.equal(unsendable.code, 2)
  assert.match(unsendable.stderr, /rows that were chosen can no longer be sent/)
  assert.equal((await tithe(cwd, 'status')).stdout, status)
})

test('rows are found by their id wherever they stand now, and one that had none by its place; no other is sent', async () => {
  const job = smallJob(1)
  const csv = (...lines: string[]) => ({
    'rows.csv': `id,text\n${lines.map((line) => `${line}\n`).join('')}`,
  })
  const cwd = folder({ ...job, ...csv('a,one', ',two', 'c,three', 'd') })
  assert.equal((await tithe(cwd, 'run', 'job.yaml', '--skip-invalid')).code, 1)
  // The unreadable line is gone, and another row stands in its place: it has its answer.
  addFiles(cwd, csv('c,three', 'a,one', 'd,four'))
  const moved = await tithe(cwd, 'retry')
  assert.match(
    moved.stderr,
    /1 of 4 rows of run \w+ go out again: 1 invalid\n1 of those chosen cannot be sent/,
  )
  addFiles(cwd, csv('c,three', 'b,two', 'd,four', 'a,one'))
  const { code, stderr } = await tithe(cwd, 'retry')
  assert.equal(code, 0, stderr)
  const rows = (await tithe(cwd, 'results')).stdout.trimEnd().split('\n')
  assert.deepEqual(
    rows.map((line) => [JSON.parse(line).id, JSON.parse(line).attempts]),
    [
      ['a', 1],
      ['b', 1],
      ['c', 1],
      ['d', 1],
    ],
  )
})

test('a run that is not over is not retried; one that is killed in a retry is resumed to its end', async () => {
  const cwd = folder(smallJob(90))
  await start(cwd, ['run', 'job.yaml'], { TITHE_KILL_AT: 'submitting' }).ended
  const open = await tithe(cwd, 'retry')
  assert.equal(open.code, 2)
  assert.match(open.stderr, /is running: its rows are not sent again yet/)
  await tithe(cwd, 'cancel')
  const killed = await start(cwd, ['retry', '--only', 'canceled'], { TITHE_KILL_AT: 'submitting' }).ended
  assert.equal(killed.signal, 'SIGKILL')
  assert.equal((await tithe(cwd, 'resume')).code, 0)
  assert.equal((await rowsOf(cwd))['succeeded'], 90)
  assert.equal((await titheJson(cwd, 'report'))['ledger_equals_invoice'], true)
})

test('of a stopped run, rows that were not sent yet go out with those that are retried: said, and in the cost', async () => {
  const cwd = folder(oddJob('no-such-model'))
  const stopped = await tithe(cwd, 'run', 'job.yaml', '--skip-invalid', '--budget', '0.000001')
  assert.equal(stopped.code, 4)
  addFiles(cwd, oddJob(''))
  const { code, stderr } = await tithe(cwd, 'retry', '--only', 'invalid', '--budget', '50')
  assert.equal(code, 0, stderr)
  assert.match(
    stderr,
    /^1 of 90 rows of run \w+ go out again: 1 invalid\n89 that were not sent yet go out with them\n/,
  )
  const needed = Number(/--budget ([\d.]+)/.exec(stopped.stderr)![1])
  const most = Number(/cost: at most \$([\d.]+)/.exec(stderr)![1])
  assert.ok(most > needed, `at most $${most}, where 89 of the rows take $${needed}`)
})
