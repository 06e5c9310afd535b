import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { AttachmentSource } from '../core/attachment.ts'
import { sha256Hex } from '../core/digest.ts'
import type { TitheError } from '../core/errors.ts'
import { loadCatalogue } from '../facts/load.ts'
import { Attachments, readAttachment } from './attachments.ts'
import { blocksOf, deps, folder, goodRows, onlyProblem, problemsOf, rowsOf, smallJob } from './job-fixture.ts'
import { loadJob } from './load-job.ts'

/** Enough of a PNG to have a size. */
function png(width: number, height: number, padding = 0): Buffer {
  const header = Buffer.alloc(33 + padding)
  Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex').copy(header)
  header.writeUInt32BE(width, 16)
  header.writeUInt32BE(height, 20)
  return header
}

/** A PDF with these texts, one a page. */
function pdf(texts: readonly string[], trailer = ''): string {
  const kids = texts.map((_, index) => `${4 + index * 2} 0 R`).join(' ')
  const objects = [
    '1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj',
    `2 0 obj <</Type/Pages/Kids[${kids}]/Count ${texts.length}>> endobj`,
    '3 0 obj <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> endobj',
    ...texts.flatMap((text, index) => {
      const content = `BT /F1 12 Tf 20 100 Td (${text}) Tj ET`
      return [
        `${4 + index * 2} 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Resources<</Font<</F1 3 0 R>>>>/Contents ${5 + index * 2} 0 R>> endobj`,
        `${5 + index * 2} 0 obj <</Length ${content.length}>> stream\n${content}\nendstream endobj`,
      ]
    }),
  ]
  return `%PDF-1.4\n${objects.join('\n')}\ntrailer <</Root 1 0 R${trailer}>>\n%%EOF\n`
}

const JPEG = Buffer.from(
  'ffd8ffe000104a46494600010100000100010000ffc00011080064012c03011100021101031101ffd9',
  'hex',
)

async function problemWith(name: string, content: string | Uint8Array) {
  const directory = folder({ [name]: content })
  const found = onlyProblem(
    await rowsOf(smallJob({ attachments: ['text'], input: [{ text: name }] }), { directory }),
  )
  assert.match(found.message, new RegExp(name.replace('.', '\\.')), 'the message names the file')
  assert.ok(found.hint)
  return found
}

test('images and PDFs become blocks before the text, with digest, size, pixels, pages and text', async () => {
  const document = pdf(['Invoice number one', 'Total twelve euro'])
  const directory = folder({ 'a.png': png(640, 480), 'b.jpg': JPEG, 'c.pdf': document })
  const rows = await goodRows(
    smallJob({
      prompt: 'Read it. {{text}}',
      attachments: ['file'],
      input: ['a.png', 'b.jpg', 'c.pdf'].map((file) => ({ file, text: 'x' })),
    }),
    { directory },
  )
  const contents = rows.map(blocksOf)
  assert.deepEqual(
    contents.map((blocks) => blocks.map((block) => block.type)),
    [
      ['image', 'text'],
      ['image', 'text'],
      ['document', 'text'],
    ],
  )
  assert.deepEqual(
    contents.map((blocks) => blocks[0]!.source),
    [
      {
        type: 'tithe_attachment',
        path: join(directory, 'a.png'),
        sha256: sha256Hex(png(640, 480)),
        media_type: 'image/png',
        size_bytes: 33,
        width: 640,
        height: 480,
      },
      {
        type: 'tithe_attachment',
        path: join(directory, 'b.jpg'),
        sha256: sha256Hex(JPEG),
        media_type: 'image/jpeg',
        size_bytes: JPEG.length,
        width: 300,
        height: 100,
      },
      {
        type: 'tithe_attachment',
        path: join(directory, 'c.pdf'),
        sha256: sha256Hex(document),
        media_type: 'application/pdf',
        size_bytes: document.length,
        pages: 2,
        text_tokens: 6,
      },
    ],
  )
})

test('an attachment of the row comes first, so the text after it is reported as uncacheable', async () => {
  const directory = folder({ 'a.png': png(10, 10) })
  const job = smallJob({ prompt: 'Read it.', attachments: ['text'], input: [{ text: 'a.png' }] })
  const { outline } = await loadJob(job, deps({ directory }))
  assert.deepEqual(
    outline!.parts.map(({ kind }) => kind),
    ['attachment', 'uncacheable'],
  )
  assert.match(outline!.parts[1]!.note!, /follows an attachment of the row: move it/)
  const moved = smallJob({ ...job, attachments: undefined, prompt: ['Read it.', { attachment: '{{text}}' }] })
  assert.deepEqual(
    (await loadJob(moved, deps({ directory }))).outline!.parts.map(({ kind }) => kind),
    ['shared', 'attachment'],
  )
})

test('templates, lists of paths and one file for all rows name attachments too', async () => {
  const directory = folder({ 'scans/7.png': png(1, 1), 'b.png': png(2, 2), 'logo.png': png(3, 3) })
  const rows = await goodRows(
    smallJob({
      prompt: '{{text}}',
      attachments: ['logo.png', 'scans/{{id}}.png', 'more'],
      input: [
        { id: 7, text: 'x', more: ['b.png', 'b.png'] },
        { id: 7, text: 'y', more: ['b.png'] },
      ],
    }),
    { directory },
  )
  const sources = rows.map(blocksOf)
  assert.deepEqual(
    sources[0]!.map((block) => block.source?.width),
    [3, 1, 2, 2, undefined],
  )
  // The shared file is one block of one object, so that it can be cached and is counted once.
  assert.equal(rows[0]!.sharedBlocks, 1)
  assert.equal(sources[0]![0], sources[1]![0])
})

test('a column with a question mark may be empty, any other may not', async () => {
  const directory = folder({ 'a.png': png(1, 1) })
  const input = [
    { text: 'x', photo: 'a.png' },
    { text: 'y', photo: '' },
  ]
  const rows = await goodRows(smallJob({ attachments: ['photo?'], input }), { directory })
  assert.deepEqual(
    rows.map((row) => blocksOf(row).length),
    [2, 1],
  )
  const found = onlyProblem(await rowsOf(smallJob({ attachments: ['photo'], input }), { directory }))
  assert.equal(found.code, 'missing_attachment')
  assert.match(found.hint ?? '', /photo\?/)
})

test('a mislabelled file is refused, naming both kinds', async () => {
  const found = await problemWith('photo.png', JPEG)
  assert.equal(found.code, 'mislabelled_attachment')
  assert.match(found.message, /named as PNG but holds JPEG/)
  assert.match(found.hint ?? '', /photo\.jpg/)
  assert.equal((await problemWith('scan.pdf', png(5, 5))).code, 'mislabelled_attachment')
})

test('a missing, empty, damaged or unknown file is refused', async () => {
  const directory = folder({})
  const missing = onlyProblem(
    await rowsOf(smallJob({ attachments: ['text'], input: [{ text: 'none.png' }] }), { directory }),
  )
  assert.equal(missing.code, 'file_missing')
  assert.match(missing.message, /none\.png/)
  assert.equal((await problemWith('a.png', '')).code, 'bad_attachment')
  assert.equal((await problemWith('a.png', png(5, 5).subarray(0, 18))).code, 'bad_attachment')
  assert.equal((await problemWith('a.pdf', '%PDF-1.4 nothing follows')).code, 'bad_attachment')
  assert.match((await problemWith('a.tiff', 'II*\0....')).message, /a TIFF file/)
  assert.equal((await problemWith('a.txt', 'plain words')).code, 'unsupported_attachment')
})

test('a PDF with a password is refused', async () => {
  const owner = '41'.repeat(32)
  const encrypt = `/Encrypt <</Filter/Standard/V 1/R 2/O <${owner}>/U <${owner}>/P -4>>/ID[<${owner}><${owner}>]`
  const found = await problemWith('secret.pdf', pdf(['hidden'], encrypt))
  assert.equal(found.code, 'encrypted_attachment')
  assert.match(found.message, /password/)
})

test('an image beyond the limits of size or side is refused with the numbers', async () => {
  const { imageBytesMax, imageSideMax } = loadCatalogue().rules
  const wide = await problemWith('wide.png', png(imageSideMax + 1, 10))
  assert.match(wide.message, new RegExp(`${imageSideMax + 1} × 10 pixels, at most ${imageSideMax}`))
  const heavy = await problemWith('heavy.png', png(10, 10, imageBytesMax * 0.76))
  assert.equal(heavy.code, 'oversized_attachment')
  assert.match(heavy.message, new RegExp(`at most ${imageBytesMax}`))
})

test('a URL is not a file, and the way to write it is given', async () => {
  const found = onlyProblem(
    await rowsOf(smallJob({ attachments: ['text'], input: [{ text: 'https://x/a.png' }] })),
  )
  assert.match(found.hint ?? '', /type: url/)
})

test('a path in the job that is neither column nor file is refused', async () => {
  const rows = await rowsOf(smallJob({ attachments: ['phtoo'], input: [{ text: 'x', photo: 'a.png' }] }), {
    directory: folder({}),
  })
  assert.match(onlyProblem(rows).message, /phtoo/)
  const [found] = await problemsOf(
    smallJob({ attachments: ['{{phtoo}}'], input: [{ text: 'x', photo: 'a.png' }] }),
  )
  assert.match(found!.hint ?? '', /did you mean \{\{photo\}\}/)
})

test('a file is read once while it stays the same, and again when it has changed', async () => {
  const path = join(folder({ 'a.pdf': pdf(['one two']) }), 'a.pdf')
  let counted = 0
  const attachments = new Attachments(loadCatalogue().rules, () => ++counted)
  const first = await attachments.describe(path)
  assert.equal(await attachments.describe(path), first)
  assert.equal(counted, 1)
  writeFileSync(path, pdf(['one two three']))
  assert.notEqual(await attachments.describe(path), first)
  assert.equal(counted, 2)
})

test('at sending, an attachment that has changed or is gone is refused, naming the file', async () => {
  const path = join(folder({ 'a.png': png(1, 1) }), 'a.png')
  const attachment = await new Attachments(loadCatalogue().rules, () => 0).describe(path)
  assert.ok(attachment.kind === 'block')
  const source = attachment.block['source'] as unknown as AttachmentSource
  assert.deepEqual(await readAttachment(source), png(1, 1))
  const refused = (error: TitheError) => {
    assert.equal(error.code, 'attachment_changed')
    assert.match(error.message, /a\.png/)
    assert.equal(error.where?.file, path)
    return true
  }
  writeFileSync(path, png(2, 2))
  await assert.rejects(readAttachment(source), refused)
  rmSync(path)
  await assert.rejects(readAttachment(source), refused)
})
