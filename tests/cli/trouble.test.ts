import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, test } from 'node:test'
import { openForTest } from '../../src/upstreams/local/local.contract-setup.ts'
import { serveUpstream } from '../../src/upstreams/upstream.test-server.ts'
import { smallJob } from './jobs.ts'
import { BIN, folder, start, tithe, titheJson } from './tithe.ts'

// What a disk, a state file or another driver may do to the program: it says what and where, and nothing is lost by it.

/** Ends with the exit code and stderr of a program that may write no file longer than so many blocks of 512 bytes. */
async function titheOnSmallDisk(cwd: string, blocks: number): Promise<{ code: number; stderr: string }> {
  const command = [
    'sh',
    '-c',
    `ulimit -f ${blocks}; exec "$0" "$@"`,
    process.execPath,
    BIN,
    'run',
    'job.yaml',
  ]
  const env = { PATH: process.env['PATH'], TITHE_HOME: join(cwd, '.tithe') }
  const child = spawn(command[0]!, command.slice(1), { cwd, env, stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [code] = (await once(child, 'close')) as [number]
  return { code, stderr }
}

describe('trouble', { concurrency: 2 }, () => {
  test('a disk that is full ends a run with 3 and says which file; with space again it goes on', async () => {
    // Full while the rows are stored, while batches are made and while results are read.
    for (const blocks of [300, 1_000, 2_000]) {
      const cwd = folder(smallJob(1_200))
      const { code, stderr } = await titheOnSmallDisk(cwd, blocks)
      assert.equal(code, 3, `${blocks} blocks: ${stderr}`)
      assert.match(stderr, /error: .*(\.tithe\/|Message Batches stopped).*\n {2}hint: .*(disk|space)/)
      assert.doesNotMatch(stderr, /^\s+at /m, 'no stack is shown')
      const after = await tithe(cwd, 'run', 'job.yaml')
      assert.equal(after.code, 0, after.stderr)
      assert.match(
        after.stdout,
        /1,200 rows: 1,200 succeeded[\s\S]*the ledger equals the upstream's invoice: 1,200/,
      )
    }
  })

  test('a damaged state file and one of a newer version are refused, named, and left as they are', async () => {
    const cwd = folder(smallJob(3))
    assert.equal((await tithe(cwd, 'run', 'job.yaml')).code, 0)
    const file = join(cwd, '.tithe/tithe.sqlite')
    const database = new DatabaseSync(file)
    database.exec('INSERT INTO migrations VALUES (999)')
    for (const args of [['resume'], ['run', 'job.yaml'], ['status']]) {
      const { code, stderr } = await tithe(cwd, ...args)
      assert.equal(code, 3, stderr)
      assert.match(stderr, /tithe\.sqlite.*newer[\s\S]*hint: /)
    }
    database.exec('DELETE FROM migrations WHERE number = 999')
    database.close()
    assert.match((await tithe(cwd, 'status')).stdout, /rows 3: 3 done/)

    writeFileSync(file, 'not a database at all, but of some length'.repeat(100))
    const damaged = await tithe(cwd, 'resume', '--json')
    assert.equal(damaged.code, 3)
    assert.deepEqual(
      [JSON.parse(damaged.stderr).code, JSON.parse(damaged.stderr).where],
      ['store_corrupt', { file }],
    )
  })

  test('a driver that was stopped for longer than its lease writes nothing more once another drives', async (t) => {
    const { local, clock } = await openForTest()
    const server = await serveUpstream(local, clock)
    try {
      const cwd = folder(smallJob(40))
      const environment = { ANTHROPIC_API_KEY: 'sk-test', ANTHROPIC_BASE_URL: server.baseUrl }
      const stale = start(cwd, ['run', 'job.yaml', '--upstream', 'anthropic', '--yes'], environment)
      t.after(() => stale.child.kill('SIGKILL'))
      await stale.says('accepted at')
      // With the write lock in our hands it is in the middle of nothing. Then its lease is over, and its process is there.
      const database = new DatabaseSync(join(cwd, '.tithe/tithe.sqlite'), { timeout: 10_000 })
      database.exec('BEGIN IMMEDIATE')
      stale.child.kill('SIGSTOP')
      database.exec('UPDATE runs SET lease_until = 1; COMMIT')
      database.close()

      const other = await start(cwd, ['resume'], environment).ended
      assert.equal(other.code, 0, other.stderr)
      const before = await titheJson(cwd, 'status')
      stale.child.kill('SIGCONT')
      const { code, stdout, stderr } = await stale.ended
      assert.deepEqual([code, stdout], [2, ''], stderr)
      assert.match(stderr, /error: run r\w+ is now driven by another process\n {2}hint: .*status/)
      assert.deepEqual(await titheJson(cwd, 'status'), before)
      assert.match((await tithe(cwd, 'report')).stdout, /40 rows: 40 succeeded/)
      assert.equal((await local.invoiceTotal()).lines, 40)
    } finally {
      await server.close()
      await local.close()
    }
  })
})
