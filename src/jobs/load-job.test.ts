import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Problem, problem, type TitheError } from '../core/errors.ts'
import { deps, folder, goodRows, problemsOf, promptTexts, smallJob } from './job-fixture.ts'
import { loadJob } from './load-job.ts'

const GOOD = `model: claude-haiku-4-5
max_tokens: 50
prompt: "Say {{text}}"
input: rows.csv
`
const ROWS = 'id,text\n1,hello\n2,bye\n'

async function problemsOfYaml(yaml: string, files: Record<string, string> = { 'rows.csv': ROWS }) {
  return problemsOf(join(folder({ 'job.yaml': yaml, ...files }), 'job.yaml'))
}

function only(problems: readonly Problem[]): Problem {
  const errors = problems.filter((one) => one.severity === 'error')
  assert.equal(errors.length, 1, JSON.stringify(errors, null, 1))
  return errors[0]!
}

test('a job in YAML is resolved: model, defaults, durations, dollars, absolute paths', async () => {
  const directory = folder({
    'job.yaml': `${GOOD}within: 1h30m\nbudget: $2.50\ncache: {ttl: 1h}\nbetas: [b, a]\n`,
    'rows.csv': ROWS,
  })
  const { settings } = await loadJob(join(directory, 'job.yaml'), deps())
  assert.equal(settings.name, 'job')
  assert.equal(settings.path, join(directory, 'job.yaml'))
  assert.deepEqual(settings.models, ['claude-haiku-4-5-20251001'])
  assert.equal(settings.apiVersion, '2023-06-01')
  assert.deepEqual(settings.betas, ['a', 'b'])
  assert.equal(settings.withinMs, 5_400_000)
  assert.equal(settings.budgetPicoUsd, 2_500_000_000_000n)
  assert.deepEqual(settings.cache, { ttl: '1h' })
  assert.equal(settings.batch, 'auto')
})

test('JSON, also with tabs, and TypeScript say the same as YAML', async () => {
  const job = { model: 'claude-haiku-4-5', max_tokens: 50, prompt: 'Say {{text}}', input: 'rows.csv' }
  const directory = folder({
    'job.json': JSON.stringify(job, null, '\t'),
    'job.ts': `const job: object = ${JSON.stringify(job)}\nexport default job\n`,
    'job.yaml': GOOD,
    'rows.csv': ROWS,
  })
  const requests = await Promise.all(
    ['job.json', 'job.ts', 'job.yaml'].map(async (name) =>
      (await goodRows(join(directory, name))).map((row) => row.request),
    ),
  )
  assert.equal(requests[0]!.length, 2)
  assert.deepEqual(requests[1], requests[0])
  assert.deepEqual(requests[2], requests[0])
})

test('an unknown key is named with its line, its column and the key that was meant', async () => {
  const found = only(await problemsOfYaml(`${GOOD}sytem: You are helpful\n`))
  assert.equal(found.code, 'unknown_key')
  assert.match(found.message, /`sytem`/)
  assert.equal(found.hint, 'did you mean `system`?')
  assert.equal(found.where?.line, 5)
  assert.equal(found.where?.column, 1)
  assert.match(found.where?.file ?? '', /job\.yaml$/)
})

test('a request parameter at the top is sent to params', async () => {
  const found = only(await problemsOfYaml(`${GOOD}frobnicate: 0\n`))
  assert.match(found.hint ?? '', /under `params`/)
})

test('a misspelled key that was needed is one error, not two', async () => {
  const found = only(await problemsOfYaml(GOOD.replace('model:', 'modle:')))
  assert.equal(found.hint, 'did you mean `model`?')
})

test('a value of the wrong type is named by its path, with what belongs there', async () => {
  const found = only(await problemsOfYaml(`${GOOD}expect:\n  column: text\n  match: fuzzy\n`))
  assert.equal(found.code, 'wrong_type')
  assert.equal(found.message, '`expect.match` must be exact, json or fields, not "fuzzy"')
  assert.deepEqual([found.where?.line, found.where?.column, found.where?.path], [7, 10, 'expect.match'])
})

test('an unknown key inside a choice is found in the alternative that was meant', async () => {
  const found = only(await problemsOfYaml(GOOD.replace('rows.csv', '{file: rows.csv, fromat: csv}')))
  assert.equal(found.code, 'unknown_key')
  assert.match(found.message, /`fromat` in `input`/)
  assert.equal(found.hint, 'did you mean `format`?')
})

test('everything wrong is reported together', async () => {
  const problems = await problemsOfYaml(
    'modl: x\nmax_tokens: many\nsystem: {file: nope.md}\nprompt: "{{txt}}"\ninput: rows.csv\nwithin: soon\nbudget: 0\nid: key\n',
  )
  assert.deepEqual(problems.map((one) => [one.code, one.where?.line]).toSorted(), [
    ['bad_budget', 7],
    ['bad_duration', 6],
    ['file_missing', 3],
    ['unknown_column', 4],
    ['unknown_column', 8],
    ['unknown_key', 1],
    ['wrong_type', 2],
  ])
})

test('what a job cannot do without is asked for by name', async () => {
  const problems = await problemsOfYaml('name: empty\n')
  assert.deepEqual(
    problems.map((one) => one.message),
    ['`model` is missing', '`max_tokens` is missing', '`prompt` is missing', '`input` is missing'],
  )
  assert.ok(problems.every((one) => one.hint))
})

test('YAML that cannot be parsed is refused with its line', async () => {
  const [found] = await problemsOfYaml('model: [a\nmax_tokens: 5\n')
  assert.equal(found!.code, 'bad_job_syntax')
  assert.equal(found!.where?.line, 2)
})

test('a placeholder without quotes, which YAML takes for a map, is explained', async () => {
  const found = only(await problemsOfYaml(GOOD.replace('"Say {{text}}"', '{{text}}')))
  assert.match(found.hint ?? '', /quotes.*"\{\{column\}\}"/)
  assert.equal(found.where?.line, 3)
})

test('a job file that is missing, empty or an input is said to be so', async () => {
  const directory = folder({ 'empty.yaml': '', 'rows.csv': ROWS, 'rows.jsonl': '{"text":"a"}\n' })
  const load = (name: string) => loadJob(join(directory, name), deps())
  await assert.rejects(load('none.yaml'), { code: 'file_missing' })
  await assert.rejects(load('none.ts'), { code: 'file_missing' })
  await assert.rejects(load('empty.yaml'), /holds no job/)
  await assert.rejects(load('rows.csv'), (error: TitheError) => {
    assert.equal(error.code, 'not_a_job')
    assert.match(error.hint ?? '', /input: rows\.csv/)
    return true
  })
  await assert.rejects(load('rows.jsonl'), /neither a job nor a batch file/)
})

test('a missing file is named, with the line that names it', async () => {
  const found = only(await problemsOfYaml(`${GOOD}system: {file: handbook.md}\n`))
  assert.match(found.message, /there is no file .*handbook\.md/)
  assert.deepEqual([found.where?.line, found.where?.path], [5, 'system'])
  const input = only(await problemsOfYaml(GOOD.replace('rows.csv', 'none.csv')))
  assert.match(input.message, /none\.csv/)
  assert.equal(input.where?.line, 4)
})

test('file: names a file in one word, wherever a text may stand', async () => {
  const yaml = GOOD.replace('"Say {{text}}"', 'file:prompt.txt')
  const directory = folder({
    'job.yaml': `${yaml}system: file:handbook.md\n`,
    'rows.csv': ROWS,
    'handbook.md': 'Be brief.',
    'prompt.txt': 'Say {{text}}',
  })
  const [row] = await goodRows(join(directory, 'job.yaml'))
  assert.deepEqual(row!.request['system'], [{ type: 'text', text: 'Be brief.' }])
  assert.deepEqual(promptTexts(row!), ['Say ', 'hello'])
  const missing = only(await problemsOfYaml(`${GOOD}system: file:nowhere.md\n`))
  assert.deepEqual([missing.code, missing.where?.path], ['file_missing', 'system'])
  const text = smallJob({ prompt: 'file: {{text}}\nis a name' })
  assert.deepEqual(promptTexts((await goodRows(text))[0]!), ['file: ', 'a\nis a name'])
})

test('rows that cannot be read are said to be so, and not that they lack a column', async () => {
  const yaml = GOOD.replace('rows.csv', 'rows.jsonl')
  assert.equal(only(await problemsOfYaml(yaml, { 'rows.jsonl': '{oops}\n{oops}\n' })).code, 'bad_json')
})

test('a header of one column that holds a delimiter is asked about it', async () => {
  const found = only(await problemsOfYaml(GOOD, { 'rows.csv': 'id;text\n1;hello\n' }))
  assert.match(found.hint!, /delimiter: ";"/)
})

test('a placeholder without a column is refused, naming the columns there are', async () => {
  const found = only(await problemsOfYaml(GOOD.replace('{{text}}', '{{txet}}')))
  assert.equal(found.code, 'unknown_column')
  assert.match(found.message, /\{\{txet\}\}/)
  assert.match(found.hint ?? '', /did you mean \{\{text\}\}\? columns: id, text/)
  assert.equal(found.where?.line, 3)
})

test('a placeholder in a file of the prompt is found where it stands in the job', async () => {
  const found = only(
    await problemsOfYaml(GOOD.replace('"Say {{text}}"', '{file: prompt.md}'), {
      'rows.csv': ROWS,
      'prompt.md': 'Say\n{{word}}',
    }),
  )
  assert.match(found.where?.file ?? '', /prompt\.md$/)
})

test('braces in a file are text when it says literal', async () => {
  const directory = folder({
    'job.yaml': `${GOOD}system: {file: s.md, literal: true}\n`,
    'rows.csv': ROWS,
    's.md': 'Write {{name}} as it is.',
  })
  const [row] = await goodRows(join(directory, 'job.yaml'))
  assert.deepEqual(row!.request['system'], [{ type: 'text', text: 'Write {{name}} as it is.' }])
})

test('an empty input is refused', async () => {
  for (const input of ['', 'id,text\n']) {
    const found = only(await problemsOfYaml(GOOD, { 'rows.csv': input }))
    assert.equal(found.code, 'empty_input')
    assert.match(found.message, /rows\.csv/)
  }
  const jsonl = only(await problemsOfYaml(GOOD.replace('rows.csv', 'rows.jsonl'), { 'rows.jsonl': '\n\n' }))
  assert.equal(jsonl.code, 'empty_input')
  assert.equal(only(await problemsOf(smallJob({ input: [], prompt: 'x' }))).code, 'empty_input')
})

test('an unknown model gets a suggestion, a retired one its successor', async () => {
  const unknown = only(await problemsOfYaml(GOOD.replace('claude-haiku-4-5', 'claude-haiku-4.5')))
  assert.equal(unknown.code, 'unknown_model')
  assert.match(unknown.hint ?? '', /did you mean claude-haiku-4-5\?/)
  const retired = only(await problemsOf(smallJob({ model: 'claude-opus-4-1-20250805' })))
  assert.equal(retired.code, 'retired_model')
  assert.match(retired.message, /retired on 2026-08-05/)
  assert.match(retired.hint ?? '', /claude-opus-5-5/)
})

test('a model that retires within a month is a warning with its date', async () => {
  const job = await loadJob(smallJob({ model: 'claude-sonnet-4-5' }), deps())
  assert.deepEqual(
    job.problems.map((one) => one.code),
    ['model_retires'],
  )
  assert.match(job.problems[0]!.message, /2026-11-30/)
})

test('a model of another server is accepted, but not under a budget', async () => {
  const upstream = 'http://localhost:8000'
  await loadJob(smallJob({ model: 'llama', upstream }), deps())
  await loadJob(smallJob({ model: 'llama' }), deps({ anyModel: true }))
  assert.equal(only(await problemsOf(smallJob({ model: 'llama' }))).code, 'unknown_model')
  assert.equal(
    only(await problemsOf(smallJob({ model: 'llama', upstream, budget: 5 }))).code,
    'unpriced_model',
  )
})

test('a model of another server is priced by the job, which keeps its budget', async () => {
  const whole = { input: 0.5, output: 1, write_5m: 0.5, write_1h: 0.5, read: 0.1 }
  const job = { model: 'llama', upstream: 'http://localhost:8000', budget: 5 }
  await loadJob(smallJob({ ...job, prices: { llama: whole } }), deps())
  const slip = await problemsOf(smallJob({ ...job, prices: { lama: whole } }))
  assert.deepEqual(
    slip.map((one) => one.code),
    ['unknown_model', 'unpriced_model'],
  )
})

test('a budget that is set outside the job must hold like its own', async () => {
  const job = smallJob({ model: 'llama', upstream: 'http://localhost:8000' })
  assert.equal(only(await problemsOf(job, { hasBudget: true })).code, 'unpriced_model')
})

test('an upstream that is neither ours nor an address is refused, not taken for the real one', async () => {
  const found = only(await problemsOf(smallJob({ upstream: 'antropic' })))
  assert.deepEqual([found.code, found.where?.path], ['bad_upstream', 'upstream'])
})

test('contract rates for a model that does not exist are found where they stand', async () => {
  const found = only(await problemsOfYaml(`${GOOD}prices:\n  claude-haiku-4-6: {input: 1}\n`))
  assert.equal(found.code, 'unknown_model')
  assert.deepEqual([found.where?.line, found.where?.path], [6, 'prices.claude-haiku-4-6'])
})

test('two ways to say one thing are refused', async () => {
  const message = async (changes: object) => only(await problemsOf(smallJob(changes))).message
  assert.match(await message({ models: ['claude-opus-5'] }), /both `model` and `models`/)
  assert.match(await message({ messages: [{ role: 'user', content: 'x' }] }), /both `prompt` and `messages`/)
  assert.match(
    await message({ output: { schema: { type: 'object' } }, params: { output_config: { format: {} } } }),
    /both `output.schema` and `params.output_config.format`/,
  )
  assert.match(
    await message({ model: undefined, models: ['claude-sonnet-4-5', 'claude-sonnet-4-5-20250929'] }),
    /twice/,
  )
})

test('params may not say what has a key of its own', async () => {
  const found = only(await problemsOf(smallJob({ params: { max_tokens: 5 } })))
  assert.match(found.message, /`params` may not hold `max_tokens`/)
  assert.match(found.hint ?? '', /at the top/)
})

test('what the API would refuse of the schema is reported at its place', async () => {
  const checkOutputSchema = () => [
    problem('schema_unsupported', 'recursion is not supported', {
      hint: 'flatten it',
      where: { path: 'properties.a' },
    }),
  ]
  const directory = folder({
    'job.yaml': `${GOOD}output: {schema: answer.json}\n`,
    'rows.csv': ROWS,
    'answer.json': '{"type":"object"}',
  })
  const found = only(await problemsOf(join(directory, 'job.yaml'), { checkOutputSchema }))
  assert.equal(found.code, 'schema_unsupported')
  assert.equal(found.where?.line, 5)
  assert.match(found.where?.path ?? '', /output\.schema.*properties\.a/)
})

test('a schema file that is not JSON is named without quoting it', async () => {
  const found = only(
    await problemsOfYaml(`${GOOD}output: {schema: s.json}\n`, {
      'rows.csv': ROWS,
      's.json': '{"secret words"}',
    }),
  )
  assert.equal(found.code, 'bad_json')
  assert.match(found.message, /s\.json is not JSON/)
  assert.doesNotMatch(found.message, /secret/)
})

test('what the API would refuse of every row is said once, at its place in the job', async () => {
  const directory = folder({ 'job.yaml': `${GOOD}params:\n  temperature: 1\n`, 'rows.csv': ROWS })
  const checkRequest = () => [
    problem('sampling', 'temperature is deprecated for this model', { where: { path: 'temperature' } }),
  ]
  const found = only(await problemsOf(join(directory, 'job.yaml'), { checkRequest }))
  assert.deepEqual([found.where?.line, found.where?.path], [6, 'params.temperature'])
})

test('a warning about every row is said with the job and not with each row', async () => {
  const checkRequest = () => [
    problem('tight', 'max_tokens leaves no room', { severity: 'warning', where: { path: 'max_tokens' } }),
  ]
  const job = await loadJob(smallJob(), deps({ checkRequest }))
  assert.deepEqual(
    job.problems.map((one) => one.code),
    ['tight'],
  )
  for await (const row of job.rows()) assert.deepEqual(row.kind === 'row' && row.warnings, [])
})

test('stated sizes need no prompt and no input, and stand alone', async () => {
  const sizes = { rows: 1000, tokens: { shared: 10_000, own: 5_000, output: 1_000 } }
  const job = await loadJob({ model: 'claude-sonnet-4-6', ...sizes }, deps())
  assert.deepEqual(job.stated, { rows: 1000, shared: 10_000, own: 5_000, output: 1_000 })
  for await (const _ of job.rows()) assert.fail('a plan without data has no rows')
  assert.match(only(await problemsOf(smallJob(sizes))).message, /both `input` and `rows`/)
  assert.match(
    only(await problemsOf({ model: 'claude-sonnet-4-6', rows: 5 })).message,
    /`rows` without `tokens`/,
  )
})

test('an output schema becomes output_config.format beside what params say', async () => {
  const schema = { type: 'object', properties: {}, additionalProperties: false }
  const [row] = await goodRows(smallJob({ output: { schema }, params: { output_config: { effort: 'low' } } }))
  assert.deepEqual(row!.request['output_config'], { effort: 'low', format: { type: 'json_schema', schema } })
})

test('a schema library that speaks Standard JSON Schema is understood, another is told how', async () => {
  const standard = (jsonSchema?: object) => ({
    schema: { '~standard': { version: 1, vendor: 'zod', jsonSchema } } as never,
  })
  const output = standard({
    output: () => ({ $schema: 'https://json-schema.org/draft/2020-12/schema', type: 'object' }),
  })
  assert.deepEqual((await loadJob(smallJob({ output }), deps())).settings.outputSchema, { type: 'object' })
  assert.match(only(await problemsOf(smallJob({ output: standard() }))).hint ?? '', /z\.toJSONSchema/)
})

test('rows may come from a function that is begun anew for each reading', async () => {
  const job = await loadJob(
    smallJob({
      input: async function* () {
        yield { text: 'a' }
        yield { text: 'b' }
      },
    }),
    deps(),
  )
  for (const _ of [1, 2]) {
    const rows = []
    for await (const row of job.rows()) rows.push(row)
    assert.equal(rows.length, 2)
  }
})
