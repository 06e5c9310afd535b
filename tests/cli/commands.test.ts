import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { parquetReadObjects } from 'hyparquet'
import { COMMANDS } from '../../src/cli/flags.ts'
import { smallJob } from './jobs.ts'
import { addFiles, BIN, folder, start, tithe, titheJson } from './tithe.ts'

const ROWS = 300
/** A finished run that only looking commands are tried on. */
const finished = folder(smallJob(ROWS))
const ran = tithe(finished, 'run', 'job.yaml')

describe('commands', { concurrency: 2 }, () => {
  for (const name of ['', ...COMMANDS.map((command) => command.name)]) {
    test(`tithe ${name} --help fits 80 columns${name === '' ? '' : ' and shows examples'}`, async () => {
      const { code, stdout, stderr } = await tithe(finished, ...(name === '' ? [] : [name]), '--help')
      assert.deepEqual([code, stderr], [0, ''])
      for (const line of stdout.split('\n')) assert.ok(line.length <= 80, `${line.length} columns: ${line}`)
      if (name !== '') assert.match(stdout, new RegExp(`Examples:\\n(.*\\n)*  tithe ${name}\\b`))
    })
  }

  test('a run prints its report on stdout and everything else on stderr', async () => {
    const { code, stdout, stderr } = await ran
    assert.equal(code, 0, stderr)
    assert.match(
      stdout,
      /^run r[0-9a-z]{9} · job · finished · local \(simulated\)\n300 rows: 300 succeeded\n/,
    )
    assert.match(stdout, /the ledger equals the upstream's invoice: 300 rows, every token class/)
    assert.doesNotMatch(stdout, /Routes|wave|accepted at/)
    assert.match(stderr, /Routes[\s\S]*wave 1 [\s\S]*accepted at [\s\S]*300 rows|results read/)
  })

  test('what doctor finds on the local upstream is used for plans on it, and for no other', async () => {
    const own = folder(smallJob(ROWS))
    const { code, stdout } = await tithe(own, 'doctor', '--spend', '0.05')
    assert.equal(code, 0)
    assert.match(stdout, /^simulated: \$0\.0\d+ from usage, of \$0\.050 that may be spent$/m)
    const here = await titheJson(own, 'plan', 'job.yaml')
    assert.match(String(here['batch_latencies']), /^52 recorded and 3 simulated batch latencies \(simulated /)
    const elsewhere = await titheJson(own, 'plan', 'job.yaml', '--upstream', 'anthropic')
    assert.equal(elsewhere['batch_latencies'], '52 recorded batch latencies')
  })

  test('every command prints JSON that begins with its schema under --json', async () => {
    await ran
    const own = folder(smallJob(3))
    const printed: [schema: string, cwd: string, args: string[]][] = [
      ['tithe.plan/1', own, ['plan', 'job.yaml']],
      ['tithe.try/1', own, ['try', 'job.yaml', '-n', '1']],
      ['tithe.report/1', own, ['run', 'job.yaml', '--yes']],
      ['tithe.init/1', own, ['init', 'new.yaml']],
      ['tithe.results/1', own, ['results', '-o', 'a.csv']],
      ['tithe.result/1', own, ['results', '--only', 'succeeded']],
      ['tithe.status/1', finished, ['status']],
      ['tithe.doctor/1', own, ['doctor', '--spend', '0.05']],
      ['tithe.report/1', finished, ['report']],
      ['tithe.models/1', finished, ['models']],
    ]
    for (const [schema, cwd, args] of printed) {
      const { code, stdout, stderr } = await tithe(cwd, ...args, '--json')
      assert.deepEqual([code, stderr], [0, ''], `${args}`)
      assert.match(stdout, new RegExp(`^\\{\\s*"schema":\\s*"${schema}"`), `${args}`)
      if (args[0] !== 'results') JSON.parse(stdout)
    }
    for (const command of ['resume', 'cancel']) {
      const { code, stdout, stderr } = await tithe(finished, command, '--json')
      assert.deepEqual([code, stdout], [2, ''])
      assert.deepEqual([JSON.parse(stderr).schema, JSON.parse(stderr).code], ['tithe.error/1', 'run_over'])
    }
  })

  test('plan sends nothing and leaves nothing behind', async () => {
    const cwd = folder(smallJob(3))
    const { code, stdout, stderr } = await tithe(cwd, 'plan', 'job.yaml')
    assert.equal(code, 0)
    assert.match(stdout, /realtime[\s\S]*batch[\s\S]*Chosen/)
    assert.match(stderr, /next: tithe try job\.yaml/)
    assert.equal(existsSync(join(cwd, '.tithe')), false)
  })

  test('looking for a run where there is none leaves nothing behind', async () => {
    const cwd = folder()
    for (const command of ['status', 'results', 'report']) assert.equal((await tithe(cwd, command)).code, 2)
    assert.equal(existsSync(join(cwd, '.tithe')), false)
  })

  test('results come as JSONL, CSV, Parquet and raw, each row once with the id of its user', async () => {
    await ran
    const ids = Array.from({ length: ROWS }, (_, index) => `t-${index}`)
    const jsonl = (await tithe(finished, 'results')).stdout.trimEnd().split('\n')
    assert.deepEqual(
      jsonl.map((line) => JSON.parse(line).id),
      ids,
    )
    const raw = (await tithe(finished, 'results', '--raw')).stdout.trimEnd().split('\n')
    assert.deepEqual(raw.map((line) => JSON.parse(line).custom_id).sort(), [...ids].sort())
    assert.deepEqual(Object.keys(JSON.parse(raw[0]!)), ['custom_id', 'result'])
    const csv = (await tithe(finished, 'results', '--format', 'csv')).stdout
    assert.equal(csv.slice(0, csv.indexOf(',ordinal,')), 'input_id,input_text,id')
    assert.equal(csv.match(/^t-\d+,/gm)!.length, ROWS)

    const cwd = folder()
    for (const file of ['a.jsonl', 'a.csv', 'a.parquet']) {
      const { code, stdout } = await tithe(finished, 'results', '-o', join(cwd, file))
      assert.deepEqual([code, stdout], [0, ''])
    }
    assert.equal(readFileSync(join(cwd, 'a.jsonl'), 'utf8'), `${jsonl.join('\n')}\n`)
    assert.equal(readFileSync(join(cwd, 'a.csv'), 'utf8'), csv)
    const parquet = readFileSync(join(cwd, 'a.parquet'))
    const rows = await parquetReadObjects({
      file: parquet.buffer.slice(parquet.byteOffset, parquet.byteOffset + parquet.length),
    })
    assert.deepEqual(
      rows.map((row) => row['id']),
      ids,
    )
    assert.equal((await tithe(finished, 'results', '--only', 'errored')).stdout, '')
  })

  test('a reader that has seen enough ends a command quietly, with 0', async () => {
    await ran
    const pipe = `set -o pipefail; "${process.execPath}" "${BIN}" results --home "${finished}/.tithe" | head -1`
    const [error, stdout, stderr] = await new Promise<[Error | null, string, string]>((resolve) =>
      execFile('bash', ['-c', pipe], (...ended) => resolve(ended)),
    )
    assert.equal(error, null)
    assert.equal(JSON.parse(stdout).id, 't-0')
    assert.equal(stderr, '')
  })

  test('nothing is coloured where no terminal reads it', async () => {
    const { stdout, stderr } = await ran
    assert.ok(!`${stdout}${stderr}`.includes('\u001b'))
  })

  test('a terminal gets colours, and none under NO_COLOR', async (t) => {
    if (!existsSync('/usr/bin/script')) return t.skip('no program here that makes a terminal')
    const cwd = folder(smallJob(3))
    const onTerminal = (environment: string) =>
      new Promise<string>((resolve) => {
        const command = `${environment} TITHE_HOME= "${process.execPath}" "${BIN}" plan job.yaml`
        execFile('script', ['-qec', command, '/dev/null'], { cwd }, (_error, stdout) => resolve(stdout))
      })
    assert.match(await onTerminal('NO_COLOR= TERM=xterm'), /\u001b\[3/)
    assert.doesNotMatch(await onTerminal('NO_COLOR=1 TERM=xterm'), /\u001b\[3/)
  })

  test('the starter can be planned, tried and run in an empty folder', async () => {
    const cwd = folder()
    const init = await tithe(cwd, 'init')
    assert.equal(init.code, 0)
    assert.match(init.stderr, /wrote job\.yaml; next: tithe plan job\.yaml/)
    const plan = await tithe(cwd, 'plan', 'job.yaml')
    assert.equal(plan.code, 0, plan.stderr)
    const tried = await tithe(cwd, 'try', 'job.yaml', '-n', '2')
    assert.equal(tried.code, 0, tried.stderr)
    assert.equal(tried.stdout.match(/^── /gm)!.length, 2)
    assert.match(tried.stdout, /prompt .*answer .*tokens \s*\d+ in, \d+ out · \$[\d.]+ in realtime/s)
    const { code, stdout } = await tithe(cwd, 'run', 'job.yaml')
    assert.equal(code, 0)
    assert.match(stdout, /3 rows: 3 succeeded/)
  })

  test('models gives every model with its prices, minimums, tokenizer and source', async () => {
    const { models } = (await titheJson(finished, 'models')) as { models: Record<string, unknown>[] }
    assert.ok(models.length > 10)
    for (const model of models) {
      for (const key of ['id', 'prices', 'minimum_cacheable', 'tokenizer', 'source'])
        assert.ok(key in model, key)
    }
  })

  test('a real key is not spent where nobody can be asked, and no run is left behind', async () => {
    const cwd = folder(smallJob(3))
    const args = ['run', 'job.yaml', '--upstream', 'anthropic', '--base-url', 'http://127.0.0.1:9']
    const { code, stdout, stderr } = await start(cwd, args, { ANTHROPIC_API_KEY: 'sk-none' }).ended
    assert.deepEqual([code, stdout], [2, ''])
    assert.match(stderr, /this would spend money, and nobody can be asked\n {2}hint: .*--yes/)
    assert.ok(!stderr.includes('sk-none'))
    assert.match((await tithe(cwd, 'status')).stderr, /there is no run yet/)
  })

  test('a home that cannot be used ends with 3 and is named', async () => {
    const cwd = folder(smallJob(3))
    const { code, stdout, stderr } = await tithe(cwd, 'run', 'job.yaml', '--home', 'rows.csv/home')
    assert.deepEqual([code, stdout], [3, ''])
    assert.match(stderr, /rows\.csv\/home/)
    assert.match(stderr, /hint: .*(--home|TITHE_HOME)/)
  })

  test('a home is found from the folders below it, and a stated one is used instead', async () => {
    const cwd = folder({ ...smallJob(3), 'deep/down/note.txt': '' })
    assert.equal((await tithe(cwd, 'run', 'job.yaml')).code, 0)
    const below = join(cwd, 'deep/down')
    const found = await start(below, ['status', '--json'], { TITHE_HOME: '' }).ended
    const { run } = JSON.parse(found.stdout)
    assert.equal(found.code, 0)
    assert.equal(existsSync(join(below, '.tithe')), false)
    const elsewhere = await start(below, ['run', '../../job.yaml', '--json'], { TITHE_HOME: 'own' }).ended
    assert.equal(elsewhere.code, 0, elsewhere.stderr)
    assert.notEqual(JSON.parse(elsewhere.stdout).run, run)
    assert.ok(existsSync(join(below, 'own/tithe.sqlite')))
    assert.equal(((await titheJson(cwd, 'status')) as { run: string }).run, run)
    addFiles(below, { 'tithe.yaml': 'home: own\n' })
    const configured = await start(below, ['status', '--json'], { TITHE_HOME: '' }).ended
    assert.equal(JSON.parse(configured.stdout).run, JSON.parse(elsewhere.stdout).run)
  })
})
