import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { FAST, smallJob } from './jobs.ts'
import { addFiles, type Ended, folder, start, tithe, titheJson } from './tithe.ts'

interface Status {
  readonly run: string
  readonly state: string
  readonly driver: string | null
  readonly counts: Readonly<Record<string, number>>
  readonly submissions: readonly unknown[]
}

async function statusOf(cwd: string): Promise<Status> {
  return (await titheJson(cwd, 'status')) as unknown as Status
}

/** Ids of the rows that have an outcome, which must all differ. */
function idsOf({ stdout }: Ended): string[] {
  const ids = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line).id as string)
  assert.equal(new Set(ids).size, ids.length, 'no row twice')
  return ids
}

describe('runs', { concurrency: 2 }, () => {
  test('the same job again is told about and not bought, unless --again says so', async () => {
    const cwd = folder(smallJob(3))
    assert.equal((await tithe(cwd, 'run', 'job.yaml')).code, 0)
    const { run } = await statusOf(cwd)
    const second = await tithe(cwd, 'run', 'job.yaml', '--yes')
    assert.equal(second.code, 2)
    assert.match(second.stdout, new RegExp(`^run ${run} [\\s\\S]*3 rows: 3 succeeded`))
    assert.match(second.stderr, new RegExp(`was run already, as ${run}[\\s\\S]*--again`))
    const json = await tithe(cwd, 'run', 'job.yaml', '--json')
    assert.deepEqual(
      [json.code, JSON.parse(json.stdout).run, JSON.parse(json.stderr).code],
      [2, run, 'already_run'],
    )

    assert.equal((await tithe(cwd, 'run', 'job.yaml', '--again')).code, 0)
    const later = (await statusOf(cwd)).run
    assert.notEqual(later, run)
    let unique = 1
    while (later.startsWith(run.slice(0, unique))) unique += 1
    const byPrefix = JSON.parse((await tithe(cwd, 'status', run.slice(0, unique), '--json')).stdout)
    assert.equal(byPrefix.run, run)
    const ambiguous = await tithe(cwd, 'status', 'r')
    assert.equal(ambiguous.code, 2)
    assert.match(ambiguous.stderr, /2 runs begin with r/)
    for (const id of [run, later]) assert.ok(ambiguous.stderr.includes(id))
  })

  test('a run that is driven is refused to others by the name of its process; Ctrl-C leaves it to resume', async () => {
    const cwd = folder(smallJob(40))
    const driving = start(cwd, ['run', 'job.yaml', '--real-time'])
    await driving.says('accepted at')
    const status = await statusOf(cwd)
    assert.deepEqual([status.state, status.driver?.split('@')[0]], ['running', String(driving.child.pid)])
    const others = await Promise.all(
      [['run', 'job.yaml'], ['run', 'job.yaml', '--again'], ['resume'], ['cancel']].map((args) =>
        tithe(cwd, ...args),
      ),
    )
    for (const { code, stdout, stderr } of others) {
      assert.deepEqual([code, stdout], [2, ''])
      assert.ok(stderr.includes(`run ${status.run} is being driven by process ${status.driver}`), stderr)
      assert.match(stderr, /hint: .*tithe status .*--watch/)
    }
    addFiles(cwd, {
      'other.yaml': 'model: claude-opus-4-8\nmax_tokens: 9\nprompt: "{{a}}"\ninput: [{a: b}]\n',
    })
    const other = await tithe(cwd, 'run', 'other.yaml')
    assert.equal(other.code, 2)
    assert.ok(other.stderr.includes(`run ${status.run}, driven by process ${status.driver}`), other.stderr)
    assert.equal((await statusOf(cwd)).run, status.run, 'no run is left behind')
    assert.equal((await tithe(cwd, 'report')).code, 0)
    assert.equal((await tithe(cwd, 'results')).stdout, '')

    driving.child.kill('SIGINT')
    const { code, stdout, stderr } = await driving.ended
    assert.deepEqual([code, stdout], [5, ''])
    assert.match(
      stderr,
      new RegExp(`interrupted; nothing is lost\\. go on with 'tithe resume ${status.run}'\\n$`),
    )
    const left = await statusOf(cwd)
    assert.deepEqual([left.state, left.driver, left.counts['submitted']], ['running', null, 40])

    const resumed = await tithe(cwd, 'resume')
    assert.equal(resumed.code, 0, resumed.stderr)
    assert.match(
      resumed.stdout,
      /40 rows: 40 succeeded[\s\S]*the ledger equals the upstream's invoice: 40 rows/,
    )
    assert.equal(idsOf(await tithe(cwd, 'results')).length, 40)
  })

  test('a detached run goes on by itself and can be watched to its end', async () => {
    const cwd = folder(smallJob(40))
    const begun = await tithe(cwd, 'run', 'job.yaml', '--detach', '--json', '-o', 'results.csv', ...FAST)
    assert.equal(begun.code, 5, begun.stderr)
    const { schema, run, pid } = JSON.parse(begun.stdout)
    assert.equal(schema, 'tithe.detached/1')
    assert.ok(pid > 0)
    const watched = await tithe(cwd, 'status', '--watch')
    assert.equal(watched.code, 0, watched.stderr)
    assert.match(watched.stdout, new RegExp(`run ${run} · job · finished\\n[\\s\\S]*40 done, 0 in batches`))
    assert.equal(idsOf(await tithe(cwd, 'results')).length, 40)
  })

  test('resume --once does what is due and comes back with 5 until the run is over', async () => {
    const cwd = folder(smallJob(300))
    const driving = start(cwd, ['run', 'job.yaml', '--real-time', '--json'])
    while ((await tithe(cwd, 'status', '--json')).stdout.includes('"batch_id":"') === false);
    driving.child.kill('SIGINT')
    const interrupted = await driving.ended
    assert.deepEqual([interrupted.code, interrupted.stdout], [5, ''])
    assert.match(JSON.parse(interrupted.stderr).hint, /tithe resume r/)
    const codes: (number | null)[] = []
    let last: Ended | null = null
    while (codes.length < 40 && codes.at(-1) !== 0) {
      last = await tithe(cwd, 'resume', '--once', '--json')
      codes.push(last.code)
      assert.equal(last.stderr, '')
      const { schema } = JSON.parse(last.stdout)
      assert.equal(schema, last.code === 5 ? 'tithe.in_progress/1' : 'tithe.report/1')
    }
    assert.deepEqual([...new Set(codes)], [5, 0])
    const report = JSON.parse(last!.stdout)
    assert.deepEqual([report.rows.succeeded, report.ledger_equals_invoice], [300, true])
  })

  test('a canceled run keeps what was answered, ends with 1, and the job can be begun anew', async () => {
    const cwd = folder(smallJob(300))
    const driving = start(cwd, ['run', 'job.yaml', ...FAST, '--speed', '300'])
    await driving.says('results read')
    driving.child.kill('SIGINT')
    assert.equal((await driving.ended).code, 5)
    const canceled = await tithe(cwd, 'cancel', '--json')
    assert.equal(canceled.code, 1, canceled.stderr)
    const { counts, state, run } = await statusOf(cwd)
    assert.equal(state, 'canceled')
    assert.ok(counts['succeeded']! > 0)
    assert.equal(counts['succeeded']! + counts['canceled']!, 300)
    assert.equal(JSON.parse(canceled.stdout).ledger_equals_invoice, true)
    assert.equal(idsOf(await tithe(cwd, 'results')).length, 300)
    assert.equal((await tithe(cwd, 'run', 'job.yaml')).code, 0)
    assert.notEqual((await statusOf(cwd)).run, run)
  })

  test('a budget that is reached stops with 4; trying again does not go on, resume with more does', async () => {
    const cwd = folder(smallJob(3, 'budget: 0.00001\n'))
    const stopped = await tithe(cwd, 'run', 'job.yaml')
    assert.equal(stopped.code, 4)
    assert.match(
      stopped.stderr,
      /error: run r\w+ stopped: the budget of \$0\.000010 is reached[\s\S]*hint: nothing is lost/,
    )
    const again = await tithe(cwd, 'run', 'job.yaml', '--yes', '--json')
    assert.equal(again.code, 4)
    assert.match(JSON.parse(again.stderr).hint, /tithe resume/)
    assert.equal((await tithe(cwd, 'status')).code, 4)
    const { submissions, state } = await statusOf(cwd)
    assert.deepEqual([state, submissions], ['stopped', []])
    const resumed = await tithe(cwd, 'resume', '--budget', '1')
    assert.equal(resumed.code, 0, resumed.stderr)
  })

  test('a file that changed after the start makes its rows invalid, naming it; the others are answered', async () => {
    const png = Buffer.from(
      'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
      'base64',
    )
    const rows = Array.from(
      { length: 300 },
      (_, index) => `t-${index},look,${index % 3 === 0 ? 'b' : 'a'}.png\n`,
    )
    const cwd = folder({
      ...smallJob(1, 'attachments: [photo]\n'),
      'rows.csv': `id,text,photo\n${rows.join('')}`,
      'a.png': png,
      'b.png': Buffer.concat([png, Buffer.from('b')]),
    })
    const killed = await start(cwd, ['run', 'job.yaml'], { TITHE_KILL_AT: 'in_progress' }).ended
    assert.equal(killed.signal, 'SIGKILL')
    const sent = (await statusOf(cwd)).counts['submitted']!
    addFiles(cwd, { 'b.png': png })
    const resumed = await tithe(cwd, 'resume')
    assert.equal(resumed.code, 1, resumed.stderr)
    const { counts } = await statusOf(cwd)
    assert.ok(counts['invalid']! > 0 && counts['invalid']! >= 100 - sent)
    assert.equal(counts['succeeded']! + counts['invalid']!, 300)
    const invalid = await tithe(cwd, 'results', '--only', 'invalid')
    assert.equal(idsOf(invalid).length, counts['invalid'])
    for (const line of invalid.stdout.trimEnd().split('\n')) {
      const { error, columns } = JSON.parse(line)
      assert.match(error, /b\.png has changed since the run began/)
      assert.equal(columns.photo, 'b.png')
    }
  })
})
