import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { ByteWriter, parquetWriteBuffer, parquetWriteRows } from 'hyparquet-writer'
import { openFiles } from './file-rows.ts'
import {
  collect,
  deps,
  folder,
  goodRows,
  onlyProblem,
  problemsOf,
  promptTexts,
  rowsOf,
  smallJob,
} from './job-fixture.ts'
import { loadJob } from './load-job.ts'
import { openParquet } from './parquet.ts'

test('files are rows in natural order, named by their path below the fixed part of the pattern', async () => {
  const directory = folder({
    'docs/p10.md': 'ten',
    'docs/p2.md': 'two',
    'docs/deep/p1.md': 'one',
    'docs/x.txt': 'no',
  })
  const rows = await goodRows(smallJob({ prompt: '{{stem}}: {{text}}', input: 'docs/**/*.md' }), {
    directory,
  })
  assert.deepEqual(
    rows.map((row) => row.userId),
    ['deep/p1.md', 'p2.md', 'p10.md'],
  )
  assert.deepEqual(promptTexts(rows[1]!), ['p2: two'])
  // The text of a file is not repeated in the results.
  assert.deepEqual(rows[1]!.columns, { path: 'docs/p2.md', name: 'p2.md', stem: 'p2' })
})

test('the text of a file is read only when the job uses it', async () => {
  const directory = folder({ 'a.bin': Buffer.from([0xff, 0xfe, 0x00]) })
  assert.equal((await goodRows(smallJob({ prompt: '{{name}}', input: '*.bin' }), { directory })).length, 1)
  const found = onlyProblem(await rowsOf(smallJob({ prompt: '{{text}}', input: '*.bin' }), { directory }))
  assert.equal(found.code, 'not_utf8')
  assert.match(found.message, /a\.bin/)
  assert.match(found.hint ?? '', /attachments: \[path\]/)
})

test('files of equal names below two patterns are told apart by their paths', async () => {
  const directory = folder({ 'a/x.md': '1', 'b/x.md': '2' })
  const rows = await goodRows(smallJob({ prompt: '{{text}}', input: { files: ['a/*.md', 'b/*.md'] } }), {
    directory,
  })
  assert.deepEqual(
    rows.map((row) => row.userId),
    ['a/x.md', 'b/x.md'],
  )
})

test('a pattern that matches nothing is an empty input', async () => {
  const [found] = await problemsOf(smallJob({ input: 'none/*.pdf' }), { directory: folder({}) })
  assert.equal(found!.code, 'empty_input')
  assert.match(found!.message, /none\/\*\.pdf/)
})

test('a directory, and a file of unknown format, are refused with what to write instead', async () => {
  const directory = folder({ 'docs/a.md': 'x', 'rows.dat': 'text\na\n' })
  const [asDirectory] = await problemsOf(smallJob({ input: 'docs' }), { directory })
  assert.match(asDirectory!.message, /is a directory/)
  assert.match(asDirectory!.hint ?? '', /docs\/\*\.pdf/)
  const [unknown] = await problemsOf(smallJob({ input: 'rows.dat' }), { directory })
  assert.equal(unknown!.code, 'unknown_format')
  assert.equal(
    (await goodRows(smallJob({ input: { file: 'rows.dat', format: 'csv' } }), { directory })).length,
    1,
  )
})

test('a file whose name holds brackets is a file and not a pattern', async () => {
  const directory = folder({ 'rows[1].csv': 'text\na\n' })
  assert.equal((await goodRows(smallJob({ input: 'rows[1].csv' }), { directory })).length, 1)
})

test('Parquet is read in slices over its row groups, with JSON values for its own types', async () => {
  const writer = new ByteWriter()
  const rows = Array.from({ length: 45_000 }, (_, number) => ({
    text: `row ${number}`,
    big: 9_007_199_254_740_993n,
    small: BigInt(number),
    at: new Date(1_700_000_000_000),
    maybe: number % 2 === 0 ? null : 1.5,
  }))
  parquetWriteRows({
    writer,
    rows,
    columns: [
      { name: 'text', type: 'STRING' },
      { name: 'big', type: 'INT64' },
      { name: 'small', type: 'INT64' },
      { name: 'at', type: 'TIMESTAMP' },
      { name: 'maybe', type: 'DOUBLE', nullable: true },
    ],
    rowGroupSize: [1_000, 30_000],
  })
  const directory = folder({ 'r.parquet': writer.getBytes() })
  const source = await openParquet(join(directory, 'r.parquet'), 'r.parquet')
  assert.deepEqual(source.columns, ['text', 'big', 'small', 'at', 'maybe'])
  const records = await collect(source.records(new Set()))
  assert.equal(records.length, 45_000)
  assert.ok(
    records.every((record, index) => record.line === index + 1 && record.columns['text'] === `row ${index}`),
  )
  assert.deepEqual(records[44_999]!.columns, {
    text: 'row 44999',
    big: '9007199254740993',
    small: 44_999,
    at: '2023-11-14T22:13:20.000Z',
    maybe: 1.5,
  })
})

test('Parquet compressed with gzip is read, a damaged file is refused', async () => {
  const gzipped = parquetWriteBuffer({
    columnData: [{ name: 'text', data: ['a', 'b'], type: 'STRING' }],
    codec: 'GZIP',
    compressors: { GZIP: (bytes) => gzipSync(bytes) },
  })
  const directory = folder({ 'z.parquet': new Uint8Array(gzipped), 'bad.parquet': 'PAR1 no PAR1' })
  assert.equal((await goodRows(smallJob({ input: 'z.parquet' }), { directory })).length, 2)
  const [found] = await problemsOf(smallJob({ input: 'bad.parquet' }), { directory })
  assert.equal(found!.code, 'bad_parquet')
  assert.match(found!.message, /bad\.parquet/)
})

test('rows are read again from the beginning each time', async () => {
  const directory = folder({ 'r.csv': 'text\na\nb\n' })
  const job = await loadJob(smallJob({ input: 'r.csv' }), deps({ directory }))
  assert.deepEqual(await collect(job.rows()), await collect(job.rows()))
})

test('a symbolic link to a file is a row, one to a directory is not', async () => {
  const { symlinkSync } = await import('node:fs')
  const directory = folder({ 'a.md': 'x', 'sub/b.txt': 'y' })
  symlinkSync(join(directory, 'a.md'), join(directory, 'link.md'))
  symlinkSync(join(directory, 'sub'), join(directory, 'dir.md'))
  const records = await collect((await openFiles(['*.md'], directory, 32_000_000)).records(new Set()))
  assert.deepEqual(
    records.map((record) => record.columns['name']),
    ['a.md', 'link.md'],
  )
})
