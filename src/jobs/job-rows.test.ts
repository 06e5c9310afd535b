import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { problem } from '../core/errors.ts'
import { folder, goodRows, onlyProblem, problemsOf, rowsOf, smallJob } from './job-fixture.ts'
import { RowIds } from './row-ids.ts'

test('ids come from their column in any form, or number the rows', async () => {
  const input = [
    { key: 'a.b c/é', text: 'x' },
    { key: 17, text: 'y' },
  ]
  assert.deepEqual(
    (await goodRows(smallJob({ input, id: 'key' }))).map((row) => row.userId),
    ['a.b c/é', '17'],
  )
  assert.deepEqual(
    (await goodRows(smallJob({ input }))).map((row) => row.userId),
    ['1', '2'],
  )
})

test('a duplicate id names both lines, and only the later row is invalid', async () => {
  const directory = folder({ 'r.csv': 'key,text\na,1\nb,2\na,3\n' })
  const rows = await rowsOf(smallJob({ input: join(directory, 'r.csv'), id: 'key' }))
  const found = onlyProblem(rows)
  assert.equal(found.code, 'duplicate_id')
  assert.match(found.message, /"a" stands in line 2 and in line 4/)
  assert.deepEqual([found.where?.line, found.where?.file], [4, join(directory, 'r.csv')])
  assert.match(found.hint ?? '', /unique/)
  assert.deepEqual(
    rows.map((row) => row.kind),
    ['row', 'row', 'invalid'],
  )
})

test('an empty id, and an id that is neither text nor number, are refused', async () => {
  for (const key of ['', null, { a: 1 }, true]) {
    const found = onlyProblem(await rowsOf(smallJob({ input: [{ key, text: 'x' }], id: 'key' })))
    assert.equal(found.code, 'bad_id')
  }
})

test('a hundred thousand ids are told apart, and each is known again with its line', () => {
  const ids = new RowIds()
  for (let line = 1; line <= 100_000; line++) assert.equal(ids.add(`id ${line}`, line), null)
  for (const line of [1, 2, 511, 512, 99_999, 100_000]) assert.equal(ids.add(`id ${line}`, 7), line)
})

test('every row is sent to every model, with one id', async () => {
  const models = ['claude-sonnet-5', 'claude-opus-5-5']
  const rows = await goodRows(smallJob({ model: undefined, models, input: [{ text: 'a' }, { text: 'b' }] }))
  assert.deepEqual(
    rows.map((row) => [row.ordinal, row.userId, row.request['model']]),
    [
      [0, '1', 'claude-sonnet-5'],
      [1, '1', 'claude-opus-5-5'],
      [2, '2', 'claude-sonnet-5'],
      [3, '2', 'claude-opus-5-5'],
    ],
  )
})

test('a row may override model, params, version and betas, and an empty value does not', async () => {
  const directory = folder({
    'r.csv':
      'text,m,p,v,b\na,claude-opus-5-5,"{""max_tokens"":9,""output_config"":{""effort"":""low""}}",2026-10-21,"z, y"\nb,,,,\n',
  })
  const [own, plain] = await goodRows(
    smallJob({
      input: join(directory, 'r.csv'),
      overrides: { model: 'm', params: 'p', api_version: 'v', betas: 'b' },
      params: { stop_sequences: ['#'], output_config: { other: 1 } },
    }),
  )
  assert.deepEqual(
    [
      own!.request['model'],
      own!.request['max_tokens'],
      own!.request['output_config'],
      own!.apiVersion,
      own!.betas,
    ],
    ['claude-opus-5-5', 9, { other: 1, effort: 'low' }, '2026-10-21', ['y', 'z']],
  )
  assert.deepEqual(
    [
      plain!.request['model'],
      plain!.request['max_tokens'],
      plain!.request['output_config'],
      plain!.apiVersion,
    ],
    ['claude-sonnet-5', 50, { other: 1 }, '2023-06-01'],
  )
  assert.deepEqual(plain!.request['stop_sequences'], ['#'])
})

test('bad overrides make only their own row invalid', async () => {
  const bad = async (row: object, overrides: object) =>
    onlyProblem(await rowsOf(smallJob({ input: [{ text: 'x', ...row }], overrides })))
  assert.equal((await bad({ m: 'claude-opus-9' }, { model: 'm' })).code, 'unknown_model')
  assert.match((await bad({ p: '{oops' }, { params: 'p' })).message, /"p" is not JSON/)
  assert.match((await bad({ p: { model: 'x' } }, { params: 'p' })).message, /may not set model/)
  assert.match((await bad({ v: '2020-01-01' }, { api_version: 'v' })).message, /no API version/)
})

test('several models and a column of models exclude each other; a column alone is enough', async () => {
  const input = [
    { text: 'a', m: 'claude-opus-5-5' },
    { text: 'b', m: '' },
  ]
  const models = ['claude-sonnet-5', 'claude-opus-5-5']
  const [found] = await problemsOf(smallJob({ input, model: undefined, models, overrides: { model: 'm' } }))
  assert.equal(found!.code, 'two_keys')
  const rows = await rowsOf(smallJob({ input, model: undefined, overrides: { model: 'm' } }))
  assert.equal(rows[0]!.kind, 'row')
  assert.equal(onlyProblem(rows).code, 'missing_model')
})

test('expected answers are taken as text, or as JSON where JSON is compared', async () => {
  const input = [{ text: 'a', gold: '{"x": 1}' }]
  const expected = async (match: 'exact' | 'json') =>
    (await goodRows(smallJob({ input, expect: { column: 'gold', match } })))[0]!.expected
  assert.equal(await expected('exact'), '{"x": 1}')
  assert.deepEqual(await expected('json'), { x: 1 })
  const found = onlyProblem(
    await rowsOf(
      smallJob({ input: [{ text: 'a', gold: 'refund' }], expect: { column: 'gold', match: 'json' } }),
    ),
  )
  assert.equal(found.code, 'bad_expected')
  assert.match(found.hint ?? '', /match: exact/)
})

test('a column named by id, expect or overrides must be there', async () => {
  for (const changes of [{ id: 'key' }, { expect: { column: 'key' } }]) {
    const [found] = await problemsOf(smallJob(changes))
    assert.equal(found!.code, 'unknown_column')
    assert.match(found!.hint ?? '', /columns: text/)
  }
})

test('what the API would refuse of one row makes that row invalid, with its line and path', async () => {
  const checkRequest = (request: { messages?: unknown }) =>
    JSON.stringify(request.messages).includes('long')
      ? [problem('too_long', 'the prompt is too long', { where: { path: 'messages[0]' } })]
      : [problem('soft', 'careful', { severity: 'warning' as const, where: { path: 'max_tokens' } })]
  const directory = folder({ 'r.csv': 'text\nshort\nlong\n' })
  const rows = await rowsOf(smallJob({ input: join(directory, 'r.csv') }), {
    checkRequest: checkRequest as never,
  })
  const found = onlyProblem(rows)
  assert.deepEqual([found.code, found.where?.line, found.where?.path], ['too_long', 3, 'messages[0]'])
})
