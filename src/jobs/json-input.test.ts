import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { TitheError } from '../core/errors.ts'
import { collect, folder, onlyProblem, rowsOf, smallJob } from './job-fixture.ts'
import { openJson } from './json-rows.ts'
import { openJsonl } from './jsonl.ts'

function readJsonl(content: string) {
  return collect(openJsonl(join(folder({ 'r.jsonl': content }), 'r.jsonl'), 'r.jsonl').records(new Set()))
}

function readJson(content: string) {
  return collect(openJson(join(folder({ 'r.json': content }), 'r.json'), 'r.json').records(new Set()))
}

test('a bad JSONL line is named by its number and never quoted; the others are kept', async () => {
  const records = await readJsonl('{"text":"a"}\n\n{"text": secret words}\n[1]\n{"text":"b"}')
  assert.deepEqual(
    records.map((record) => [record.kind, record.line]),
    [
      ['record', 1],
      ['bad', 3],
      ['bad', 4],
      ['record', 5],
    ],
  )
  const [broken, list] = records.filter((record) => record.kind === 'bad')
  assert.match(broken!.problem.message, /line 3 of .*r\.jsonl is not JSON: Unexpected token 's'/)
  assert.doesNotMatch(broken!.problem.message, /ecret/)
  assert.match(broken!.problem.hint ?? '', /--skip-invalid/)
  assert.match(list!.problem.message, /line 4 .* is not a JSON object/)
})

test('an unfinished JSONL line says at which character', async () => {
  const [record] = await readJsonl('{"text": "a" "b"}\n')
  assert.match(record!.kind === 'bad' ? record!.problem.message : '', /character 14/)
})

test('a row with a bad line is invalid and keeps its place', async () => {
  const directory = folder({ 'r.jsonl': '{"text":"a"}\nnonsense\n{"text":"c"}\n' })
  const rows = await rowsOf(smallJob({ input: join(directory, 'r.jsonl') }))
  assert.deepEqual(
    rows.map((row) => [row.kind, row.ordinal, row.line]),
    [
      ['row', 0, 1],
      ['invalid', 1, 2],
      ['row', 2, 3],
    ],
  )
  assert.equal(onlyProblem(rows).where?.line, 2)
})

test('a JSON array, bare or under rows, is read element by element with lines', async () => {
  const array = '[\n  {"a": "x, ] } \\" [", "b": [1, {"c": 2}]},\n\n  {"a": "y"}\n]\n'
  const expected = [
    [2, { a: 'x, ] } " [', b: [1, { c: 2 }] }],
    [4, { a: 'y' }],
  ]
  assert.deepEqual(
    (await readJson(array)).map(({ line, columns }) => [line, columns]),
    expected,
  )
  const wrapped = `{"note": "rows", "count": [1, 2], "rows": ${array}, "rest": {"rows": [{"a": "no"}]}}`
  assert.deepEqual(
    (await readJson(wrapped)).map(({ columns }) => columns),
    expected.map(([, columns]) => columns),
  )
})

test('an element that is not JSON, or no object, is bad on its own', async () => {
  const records = await readJson('[{"a":1},\n5,\n{"a" 2},\n{"a":3}]')
  assert.deepEqual(
    records.map((record) => [record.kind, record.line]),
    [
      ['record', 1],
      ['bad', 2],
      ['bad', 3],
      ['record', 4],
    ],
  )
})

test('a JSON file without rows, and one that is cut off, are refused', async () => {
  const fails = async (content: string): Promise<TitheError> => {
    const error = await readJson(content).then(
      () => assert.fail('it was read'),
      (reason: unknown) => reason,
    )
    assert.ok(error instanceof TitheError)
    return error
  }
  assert.match((await fails('{"a": 1}')).hint ?? '', /JSONL/)
  const cut = await fails('[\n{"a": 1},\n{"a": "x')
  assert.match(cut.message, /ends in the middle/)
  assert.equal(cut.where?.line, 3)
})

test('any array of objects is read back from its JSON, pretty or not', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.dictionary(fc.string({ minLength: 1 }), fc.jsonValue(), { noNullPrototype: true }), {
        minLength: 1,
      }),
      fc.constantFrom(0, 2),
      async (rows, indent) => {
        const json = JSON.stringify(rows, null, indent)
        const records = await readJson(json)
        assert.deepEqual(
          records.map(({ columns }) => columns),
          JSON.parse(json),
        )
      },
    ),
    { numRuns: 60 },
  )
})

test('an array is read the same when elements lie across chunks of the file', async () => {
  const rows = Array.from({ length: 2_000 }, (_, number) => ({
    number,
    text: `"quoted" \\ ${'ü'.repeat(number % 500)}`,
  }))
  assert.deepEqual(
    (await readJson(JSON.stringify({ rows }))).map(({ columns }) => columns),
    rows,
  )
})
