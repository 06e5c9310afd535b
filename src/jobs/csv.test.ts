import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { TitheError } from '../core/errors.ts'
import { openCsv } from './csv.ts'
import { collect, folder } from './job-fixture.ts'

const ROW_BYTES_MAX = 32_000_000

async function read(content: string | Uint8Array, delimiter = ',') {
  const path = join(folder({ 'rows.csv': content }), 'rows.csv')
  return collect((await openCsv(path, delimiter, 'rows.csv', ROW_BYTES_MAX)).records(new Set()))
}

async function failure(content: string | Uint8Array): Promise<TitheError> {
  const error = await read(content).then(
    () => assert.fail('it was read'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof TitheError, String(error))
  assert.match(error.where?.file ?? '', /rows\.csv$/)
  assert.ok(error.hint)
  return error
}

test('records know the line on which they begin, also after fields of several lines and blank lines', async () => {
  const records = await read('id,text\n1,"a\nb\nc"\n\n2,d\r\n3,"e"\r\n')
  assert.deepEqual(
    records.map((record) => [record.line, record.columns['id'], record.columns['text']]),
    [
      [2, '1', 'a\nb\nc'],
      [6, '2', 'd'],
      [7, '3', 'e'],
    ],
  )
})

test('a byte order mark, spaces around header names and a missing last newline do no harm', async () => {
  assert.deepEqual(
    (await read('\uFEFFid , text\n1,x')).map((record) => record.columns),
    [{ id: '1', text: 'x' }],
  )
})

test('tabs and semicolons separate when told so', async () => {
  assert.deepEqual((await read('a\tb\n1,5\t2\n', '\t'))[0]!.columns, { a: '1,5', b: '2' })
  assert.deepEqual((await read('a;b\n1,5;2\n', ';'))[0]!.columns, { a: '1,5', b: '2' })
})

test('a ragged line is bad with its number and counts, and the lines around it are kept', async () => {
  const records = await read('a,b\n1,2\n3\n4,5,6\n7,8\n')
  assert.deepEqual(
    records.map((record) => record.kind),
    ['record', 'bad', 'bad', 'record'],
  )
  const [short, long] = records.filter((record) => record.kind === 'bad')
  assert.match(short!.problem.message, /line 3 of .*rows\.csv has 1 field, the header 2/)
  assert.match(long!.problem.message, /line 4 of .*rows\.csv has 3 fields, the header 2/)
  assert.equal(long!.problem.where?.line, 4)
  assert.match(long!.problem.hint ?? '', /quotes/)
})

test('text after a closing quote makes its line bad', async () => {
  const records = await read('a,b\n"x"y",2\n3,4\n')
  const bad = records.find((record) => record.kind === 'bad')
  assert.match(bad!.problem.message, /line 2/)
  assert.equal(records.at(-1)!.columns['a'], '3')
})

test('a quote that is never closed is found where it opens', async () => {
  const error = await failure('a,b\n1,2\n3,"4\n5,6\n7,8\n')
  assert.equal(error.code, 'csv_quotes')
  assert.equal(error.where?.line, 3)
})

test('a file in another encoding is refused with line and byte', async () => {
  const error = await failure(
    Buffer.concat([Buffer.from('a\nok\ncaf'), Buffer.from([0xe9]), Buffer.from('\nx\n')]),
  )
  assert.equal(error.code, 'not_utf8')
  assert.match(error.message, /line 3, byte 8 \(0xe9\)/)
  assert.equal(error.where?.line, 3)
  assert.match(error.hint ?? '', /iconv/)
})

test('UTF-16 is recognised with and without its mark', async () => {
  const text = Buffer.from('id,text\n1,x\n', 'utf16le')
  for (const bytes of [Buffer.concat([Buffer.from([0xff, 0xfe]), text]), text]) {
    const error = await failure(bytes)
    assert.equal(error.code, 'not_utf8')
    assert.match(error.hint ?? '', /UTF-16/)
  }
})

test('a header that names a column twice, or not at all, is refused', async () => {
  assert.match((await failure('id,text,id\n1,2,3\n')).message, /"id" twice: columns 1 and 3/)
  assert.match((await failure('id,,text\n1,2,3\n')).message, /column 2 .* has no name/)
})

test('an invalid byte is found across chunks of the file', async () => {
  const error = await failure(
    Buffer.concat([Buffer.from(`a\n${'é'.repeat(200_000)}\n`), Buffer.from([0xc3, 0x28, 0x0a])]),
  )
  assert.match(error.message, /line 3, byte 400003 \(0xc3\)/)
})

test('whatever is written as CSV is read back the same, in chunks of any size', async () => {
  const cell = fc.string({ unit: fc.constantFrom('a', ',', '"', '\n', ' ', 'é', '😀', '\\') })
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 8 }), async (rows) => {
      const quote = (text: string) => `"${text.replaceAll('"', '""')}"`
      const content = `a,b\n${rows.map((row) => `${row.map(quote).join(',')}\n`).join('')}`
      const records = await read(content)
      assert.deepEqual(
        records.map(({ columns }) => [columns['a'], columns['b']]),
        rows,
      )
    }),
    { numRuns: 40 },
  )
})

test('a record larger than many chunks is read whole', async () => {
  const large = `${'line of text, with a comma\n'.repeat(60_000)}end`
  const records = await read(`a,b\n1,"${large}"\n2,x\n`)
  assert.equal(records[0]!.columns['b'], large)
  assert.deepEqual([records[1]!.line, records[1]!.columns['b']], [60_003, 'x'])
})

test('rows are delivered while the file is being read, not after it', async () => {
  const rows = 100_000
  const content = Buffer.concat([Buffer.from(`a\n${'some text\n'.repeat(rows)}`), Buffer.from([0xff])])
  const path = join(folder({ 'rows.csv': content }), 'rows.csv')
  let delivered = 0
  await assert.rejects(
    async () => {
      for await (const _ of (await openCsv(path, ',', 'rows.csv', ROW_BYTES_MAX)).records(new Set()))
        delivered += 1
    },
    { code: 'not_utf8' },
  )
  assert.ok(delivered > rows / 2, `${delivered} rows before the fault at the end`)
})
