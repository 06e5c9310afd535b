import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, test } from 'node:test'
import { MISTAKES } from './mistakes.ts'
import { addFiles, folder, tithe } from './tithe.ts'

/** How many runs a home remembers: a mistake must leave none that blocks the next try. */
function runsIn(cwd: string): number {
  const file = join(cwd, '.tithe/tithe.sqlite')
  if (!existsSync(file)) return 0
  const database = new DatabaseSync(file, { readOnly: true })
  try {
    return database.prepare('SELECT count(*) AS runs FROM runs').get()!['runs'] as number
  } finally {
    database.close()
  }
}

for (const [where, mistakes] of Object.entries(MISTAKES)) {
  describe(`mistakes in ${where} end with 2, say what, where and what to do, and leave no run behind`, {
    concurrency: 2,
  }, () => {
    for (const { made, files, args, says } of mistakes) {
      test(made, async () => {
        const cwd = folder(files)
        const { code, stdout, stderr } = await tithe(cwd, ...(args ?? ['run', 'job.yaml']))
        assert.equal(code, 2, stderr)
        assert.equal(stdout, '')
        for (const part of says) assert.ok(stderr.includes(part), `says "${part}":\n${stderr}`)
        assert.doesNotMatch(stderr, /^ {4}at /m, 'a mistake of the user is no fault of the program')
        const lines = stderr.split('\n').filter((line) => line.startsWith('error: '))
        assert.equal(new Set(lines).size, lines.length, `says nothing twice:\n${stderr}`)
        assert.equal(runsIn(cwd), 0)
      })
    }
  })
}

test('a mended job runs in the home in which it was refused, and left-out rows are reported', async () => {
  const cwd = folder({
    'job.yaml': 'model: claude-opus-5\nmax_tokens: 4000\nprompt: "Sort: {{text}}"\ninput: rows.jsonl\n',
    'rows.jsonl': '{"text":"a"}\n{oops}\n{"text":"c"}\n',
  })
  assert.equal((await tithe(cwd, 'run', 'job.yaml')).code, 2)
  const skipped = await tithe(cwd, 'run', 'job.yaml', '--skip-invalid')
  assert.equal(skipped.code, 1)
  assert.match(skipped.stdout, /3 rows: 2 succeeded, 1 invalid/)
  const invalid = await tithe(cwd, 'results', '--only', 'invalid')
  assert.match(JSON.parse(invalid.stdout).error, /line 2 of .*rows\.jsonl is not JSON/)
  addFiles(cwd, { 'rows.jsonl': '{"text":"a"}\n{"text":"b"}\n{"text":"c"}\n' })
  assert.equal((await tithe(cwd, 'run', 'job.yaml')).code, 0)
})

test('under --json a mistake is one object on stderr, with every problem in it', async () => {
  const cwd = folder({ 'job.yaml': 'modle: claude-opus-5\nmax_tokens: 0\nprompt: x\ninput: rows.csv\n' })
  for (const args of [
    ['run', 'job.yaml', '--json'],
    ['plan', '--json', 'job.yaml'],
  ]) {
    const { code, stdout, stderr } = await tithe(cwd, ...args)
    assert.equal(code, 2)
    assert.equal(stdout, '')
    const error = JSON.parse(stderr)
    assert.equal(error.schema, 'tithe.error/1')
    assert.deepEqual([error.code, error.where], ['bad_job', { file: join(cwd, 'job.yaml') }])
    assert.deepEqual(
      error.problems.map((one: { code: string }) => one.code),
      ['unknown_key', 'wrong_type', 'file_missing'],
    )
    assert.deepEqual(error.problems[0].where, {
      file: join(cwd, 'job.yaml'),
      line: 1,
      column: 1,
      path: 'modle',
    })
    assert.equal(error.problems[0].hint, 'did you mean `model`?')
  }
  const misspelt = JSON.parse((await tithe(cwd, 'plan', 'job.yaml', '--json', '--modls')).stderr)
  assert.deepEqual([misspelt.schema, misspelt.code], ['tithe.error/1', 'bad_command_line'])
})

test('a warning about every row is said once, with how many rows it is about', async () => {
  const line = (i: number) =>
    JSON.stringify({
      custom_id: `r${i}`,
      params: {
        model: 'claude-opus-5',
        max_tokens: 50,
        system: [{ type: 'text', text: 'short', cache_control: { type: 'ephemeral' } }],
        messages: [{ role: 'user', content: 'hello' }],
      },
    })
  const cwd = folder({ 'batch.jsonl': `${Array.from({ length: 30 }, (_, i) => line(i)).join('\n')}\n` })
  const { code, stdout } = await tithe(cwd, 'plan', 'batch.jsonl')
  assert.equal(code, 0)
  const text = stdout.replaceAll(/\s+/g, ' ')
  for (const warning of [
    /the prefix up to system\[0\] has about \d+ tokens; claude-opus-5 caches from 512 on \(30 rows\)/g,
    /claude-opus-5 thinks before it answers, and max_tokens 50 covers both \(30 rows\)/g,
  ]) {
    assert.equal(text.match(warning)?.length, 1, `${warning}:\n${stdout}`)
  }
})
