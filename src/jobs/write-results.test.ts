import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { TitheError } from '../core/errors.ts'
import type { ResultRow } from '../core/result-row.ts'
import { openCsv } from './csv.ts'
import { collect, folder } from './job-fixture.ts'
import { openParquet } from './parquet.ts'
import { checkWritable, spliceCustomId, writeRawResults, writeResults } from './write-results.ts'

function result(changes: Partial<ResultRow> = {}): ResultRow {
  return {
    id: 'a.b',
    ordinal: 0,
    columns: { question: 'One, "two"\nthree?' },
    outcome: 'succeeded',
    model: 'claude-haiku-4-5-20251001',
    text: '{"x":1}',
    json: { x: 1 },
    schemaValid: true,
    schemaError: null,
    score: 1,
    stopReason: 'end_turn',
    error: null,
    inputTokens: 10,
    cacheWrite5mTokens: 0,
    cacheWrite1hTokens: 0,
    cacheReadTokens: 4_096,
    outputTokens: 7,
    costPicoUsd: 12_345_678n,
    attempts: 1,
    history: [{ submission: 3, outcome: 'succeeded', stopReason: 'end_turn', costPicoUsd: 12_345_678n }],
    ...changes,
  }
}

const INVALID = result({
  id: null,
  ordinal: 1,
  columns: { other: 5 },
  outcome: 'invalid',
  model: null,
  text: null,
  json: undefined,
  schemaValid: null,
  score: null,
  stopReason: null,
  error: 'line 3 has no id',
  costPicoUsd: null,
  attempts: 0,
  history: [],
})

function source(rows: readonly ResultRow[]): () => AsyncIterable<ResultRow> {
  return async function* () {
    yield* rows
  }
}

test('JSONL holds the answer as a value, money exactly, and the columns of the input', async () => {
  const path = join(folder({}), 'r.jsonl')
  await writeResults(path, 'jsonl', source([result(), INVALID]))
  const [first, second] = readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(Object.keys(first)[0], 'schema')
  assert.deepEqual(
    [
      first.schema,
      first.id,
      first.json,
      first.cost_pico_usd,
      first.cost_usd,
      first.cache_read_tokens,
      first.columns,
    ],
    ['tithe.result/1', 'a.b', { x: 1 }, '12345678', 0.000012345678, 4096, { question: 'One, "two"\nthree?' }],
  )
  assert.deepEqual([second.id, second.json, second.cost_pico_usd, second.cost_usd], [null, null, null, null])
})

test('CSV has the columns of all rows, also of those that come late, and reads back', async () => {
  const path = join(folder({}), 'r.csv')
  await writeResults(
    path,
    'csv',
    source([result(), INVALID, result({ columns: { model: 'mine', question: null } })]),
  )
  const records = await collect((await openCsv(path, ',', 'r.csv', 32_000_000)).records(new Set()))
  assert.ok(records.every((record) => record.kind === 'record'))
  assert.equal(records[0]!.columns['question'], 'One, "two"\nthree?')
  assert.equal(records[0]!.columns['json'], '{"x":1}')
  assert.equal(records[0]!.columns['cost_pico_usd'], '12345678')
  assert.deepEqual([records[1]!.columns['question'], records[1]!.columns['other']], ['', '5'])
  // A column of the input that is called like one of ours keeps its values under another name.
  assert.deepEqual(
    [records[2]!.columns['model'], records[2]!.columns['input_model']],
    ['claude-haiku-4-5-20251001', 'mine'],
  )
})

test('Parquet keeps types over many row groups', async () => {
  const path = join(folder({}), 'r.parquet')
  const rows = Array.from({ length: 25_000 }, (_, ordinal) =>
    result({
      ordinal,
      columns: { number: ordinal / 2, flag: ordinal % 2 === 0, mixed: ordinal % 2 ? 'x' : [ordinal] },
    }),
  )
  rows.push(INVALID)
  await writeResults(path, 'parquet', source(rows))
  const records = await collect((await openParquet(path, 'r.parquet')).records(new Set()))
  assert.equal(records.length, 25_001)
  assert.deepEqual(
    ['number', 'flag', 'mixed', 'id', 'cost_pico_usd', 'cost_usd', 'schema_valid'].map(
      (name) => records[24_998]!.columns[name],
    ),
    [12_499, true, '[24998]', 'a.b', 12_345_678, 0.000012345678, true],
  )
  assert.deepEqual(
    ['number', 'other', 'id', 'cost_pico_usd'].map((name) => records[25_000]!.columns[name]),
    [null, 5, null, null],
  )
})

test('no rows still make a file with its header', async () => {
  const directory = folder({})
  for (const format of ['jsonl', 'csv', 'parquet'] as const)
    await writeResults(join(directory, `r.${format}`), format, source([]))
  assert.match(readFileSync(join(directory, 'r.csv'), 'utf8'), /^id,ordinal,outcome/)
  assert.equal(
    (await collect((await openParquet(join(directory, 'r.parquet'), '')).records(new Set()))).length,
    0,
  )
})

test('a file is replaced whole or left as it was', async () => {
  const directory = folder({ 'r.jsonl': 'before' })
  const breaking = async function* () {
    yield result()
    throw new TitheError('store_unavailable', 'the store is gone')
  }
  for (const format of ['jsonl', 'csv', 'parquet'] as const) {
    await assert.rejects(writeResults(join(directory, 'r.jsonl'), format, breaking), {
      code: 'store_unavailable',
    })
  }
  assert.equal(readFileSync(join(directory, 'r.jsonl'), 'utf8'), 'before')
  assert.deepEqual(readdirSync(directory), ['r.jsonl'])
})

test('an output that cannot be written is refused before anything is spent', async () => {
  const directory = folder({ file: 'x' })
  mkdirSync(join(directory, 'sub'))
  const refused = async (path: string, pattern: RegExp) => {
    await assert.rejects(checkWritable(path), (error: TitheError) => {
      assert.equal(error.code, 'output_unwritable')
      assert.match(error.message, pattern)
      assert.ok(error.hint)
      return error.exitCode === 2
    })
  }
  await refused(join(directory, 'none/r.jsonl'), /none does not exist/)
  await refused(join(directory, 'file/r.jsonl'), /is not a directory/)
  await refused(join(directory, 'sub'), /it is a directory/)
  chmodSync(join(directory, 'sub'), 0o500)
  // A superuser may write anywhere.
  if (process.getuid?.() !== 0) await refused(join(directory, 'sub/r.jsonl'), /may not be written by you/)
  await checkWritable(join(directory, 'r.jsonl'))
  assert.ok(!existsSync(join(directory, 'r.jsonl')))
})

test('raw results keep every byte but the id', async () => {
  const line =
    '{"custom_id":"rabc-1-0-x","result": {"type":"succeeded","message":{"content":[{"text":"\\"custom_id\\":\\"no\\"","custom_id":"deep"}],"n":1.0}} }'
  const path = join(folder({}), 'raw.jsonl')
  await writeRawResults(
    path,
    (async function* () {
      yield { line: Buffer.from(line), userId: 'invoice "7".pdf' }
    })(),
  )
  assert.equal(readFileSync(path, 'utf8'), `${line.replace('rabc-1-0-x', 'invoice \\"7\\".pdf')}\n`)
})

test('the id is spliced wherever it stands in the line, whatever the line holds', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.string({ unit: 'binary' }), fc.boolean(), (value, userId, first) => {
      const inner = { custom_id: 'inner', value }
      const parts = { custom_id: 'r1', result: inner }
      const line = Buffer.from(
        JSON.stringify(first ? parts : { result: inner, note: 'custom_id', custom_id: 'r1' }),
      )
      const spliced = JSON.parse(spliceCustomId(line, userId).toString())
      assert.deepEqual(spliced, {
        ...JSON.parse(line.toString()),
        custom_id: JSON.parse(JSON.stringify(userId)),
      })
    }),
  )
  assert.throws(() => spliceCustomId(Buffer.from('{"result":{"custom_id":"x"}}'), 'a'), {
    code: 'bad_result_line',
  })
})

test('an existing file stays when its replacement is written beside it', async () => {
  const directory = folder({})
  writeFileSync(join(directory, 'r.jsonl'), 'old')
  await writeResults(join(directory, 'r.jsonl'), 'jsonl', source([result()]))
  assert.match(readFileSync(join(directory, 'r.jsonl'), 'utf8'), /tithe\.result\/1/)
  assert.deepEqual(readdirSync(directory), ['r.jsonl'])
})
