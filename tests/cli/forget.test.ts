import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { FAST, smallJob } from './jobs.ts'
import { addFiles, type Files, folder, start, tithe, titheJson } from './tithe.ts'

/** What stands in a prompt, an answer, an id, a column, an error, a schema and an expected value. */
const CANARIES = [
  'promptcanary',
  'idcanary',
  'columncanary',
  'sharedcanary',
  'schemacanary',
  'expectedcanary',
]

function canaryJob(rows = 40): Files {
  const lines = Array.from({ length: rows }, (_, index) => {
    // A model that does not exist makes a row invalid, and its problem names it.
    const model = index === 3 ? 'errorcanary' : ''
    return `idcanary-${index},promptcanary ${index},columncanary ${index},expectedcanary,${model}\n`
  })
  return {
    'job.yaml': `model: claude-opus-4-8
max_tokens: 4000
expected_output: 200
system: "${'sharedcanary and more of it. '.repeat(600)}"
prompt: "Sort: {{text}}"
output: {schema: {type: object, properties: {schemacanary: {type: string}}, required: [schemacanary], additionalProperties: false}}
expect: {column: right, match: exact, field: schemacanary}
input: rows.csv
id: id
overrides: {model: other}
`,
    'rows.csv': `id,text,note,right,other\n${lines.join('')}`,
  }
}

/** Which of the words stand anywhere in the files of the home. */
function foundIn(cwd: string, words: readonly string[]): string[] {
  const home = join(cwd, '.tithe')
  const found: string[] = []
  for (const entry of readdirSync(home, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const bytes = readFileSync(join(entry.parentPath, entry.name))
    for (const word of words) if (bytes.includes(word)) found.push(`${entry.name}: ${word}`)
  }
  return found
}

/** Words of answers of the run that stand nowhere else. */
async function answersOf(cwd: string): Promise<string[]> {
  const { stdout } = await tithe(cwd, 'results', '--only', 'succeeded')
  return stdout
    .trimEnd()
    .split('\n')
    .flatMap((line) => {
      const { json } = JSON.parse(line) as { json: { schemacanary: string } }
      return json.schemacanary.length > 8 ? [json.schemacanary] : []
    })
}

test('of a forgotten run no byte of its content is left in the home, and the report says what it said', async () => {
  const cwd = folder(canaryJob())
  assert.equal((await tithe(cwd, 'run', 'job.yaml', '--skip-invalid')).code, 1)
  const before = await titheJson(cwd, 'report')
  const run = String(before['run'])
  const answers = await answersOf(cwd)
  assert.ok(answers.length > 10)
  const words = [...CANARIES, ...answers.slice(0, 5)]
  const found = foundIn(cwd, words)
  for (const word of CANARIES)
    assert.ok(
      found.some((one) => one.endsWith(word)),
      `${word} stood there`,
    )

  const forgotten = await titheJson(cwd, 'forget', '--remote', '--yes')
  assert.equal(forgotten['schema'], 'tithe.forget/1')
  assert.deepEqual(forgotten['left_batches'], [])
  assert.ok((forgotten['deleted_batches'] as string[]).length >= 1)
  assert.deepEqual(foundIn(cwd, words), [])

  assert.deepEqual(await titheJson(cwd, 'report'), before)
  const status = await tithe(cwd, 'status')
  assert.match(status.stdout, /forgotten on \d{4}-\d\d-\d\d/)
  for (const command of ['results', 'resume', 'retry']) {
    const { code, stderr } = await tithe(cwd, command)
    assert.equal(code, 2, command)
    assert.match(stderr, /was forgotten on .*: its rows and answers are gone/, command)
  }
  const again = await titheJson(cwd, 'forget', run, '--yes')
  assert.equal(again['forgotten_at'], forgotten['forgotten_at'])
  // The job is as one that never ran.
  assert.equal((await tithe(cwd, 'run', 'job.yaml', '--skip-invalid')).code, 1)
})

test('what other runs have stays as it is', async () => {
  const { 'job.yaml': job, 'rows.csv': rows } = smallJob(5)
  const cwd = folder({
    ...canaryJob(),
    'other.yaml': String(job).replace('rows.csv', 'other.csv'),
    'other.csv': rows!,
  })
  assert.equal((await tithe(cwd, 'run', 'other.yaml')).code, 0)
  const { run: other } = await titheJson(cwd, 'status')
  const results = (await tithe(cwd, 'results')).stdout
  const report = (await tithe(cwd, 'report')).stdout
  await tithe(cwd, 'run', 'job.yaml', '--skip-invalid')
  assert.equal((await tithe(cwd, 'forget', '--remote', '--yes')).code, 0)
  assert.deepEqual(foundIn(cwd, CANARIES), [])
  assert.equal((await tithe(cwd, 'results', String(other))).stdout, results)
  assert.equal((await tithe(cwd, 'report', String(other))).stdout, report)
})

test('without --remote the batches stay, and that is said; asked again with it they are deleted', async () => {
  const cwd = folder(smallJob(5))
  await tithe(cwd, 'run', 'job.yaml')
  const local = await tithe(cwd, 'forget', '--yes')
  assert.equal(local.code, 0)
  assert.match(local.stdout, /1 batch with prompts and answers stay at local \(simulated\).*--remote/)
  assert.match(local.stdout, /out of reach:\n {2}what the provider keeps/)
  const remote = await titheJson(cwd, 'forget', '--remote', '--yes')
  assert.equal((remote['deleted_batches'] as string[]).length, 1)
  assert.deepEqual(foundIn(cwd, ['ticket number 3', 't-3']), [])
})

test('nothing is forgotten unasked, of a run that is not over, or while a run of the home is driven', async () => {
  const cwd = folder(smallJob(90))
  const killed = await start(cwd, ['run', 'job.yaml'], { TITHE_KILL_AT: 'submitting:2' }).ended
  assert.equal(killed.signal, 'SIGKILL')
  const open = await tithe(cwd, 'forget', '--yes')
  assert.equal(open.code, 2)
  assert.match(open.stderr, /is running, and is not forgotten before it is over/)
  assert.equal((await tithe(cwd, 'resume')).code, 0)
  const unasked = await tithe(cwd, 'forget')
  assert.equal(unasked.code, 2)
  assert.match(unasked.stderr, /this cannot be undone, and nobody can be asked/)
  const { run } = await titheJson(cwd, 'status')

  addFiles(cwd, { 'second.yaml': smallJob(90, 'name: second\n')['job.yaml']! })
  const driver = start(cwd, ['run', 'second.yaml', '--again', '--real-time', '--speed', '1'])
  await driver.says('wave 1')
  const driven = await tithe(cwd, 'forget', String(run), '--yes')
  assert.equal(driven.code, 2)
  assert.match(driven.stderr, /of this home is being driven by process \d+/)
  driver.child.kill('SIGKILL')
  await driver.ended
})

test('a job with delete_remote leaves no batch at the upstream', async () => {
  const cwd = folder(smallJob(5, 'delete_remote: after_ingest\n'))
  assert.equal((await tithe(cwd, 'run', 'job.yaml', ...FAST)).code, 0)
  const { submissions } = await titheJson(cwd, 'status')
  assert.ok((submissions as { deleted_at: string | null }[]).every((one) => one.deleted_at !== null))
  const report = await titheJson(cwd, 'report')
  assert.equal(report['ledger_equals_invoice'], true)
})
