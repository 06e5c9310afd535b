import assert from 'node:assert/strict'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { openBodyFiles } from './body-files.ts'
import type { BodyRef } from './store.ts'

test('every body is read back, whatever their sizes and whenever the file rolls over', async (context) => {
  const body = fc.record({
    length: fc.oneof(fc.nat(50), fc.nat(3_000)),
    fill: fc.nat(255),
    sync: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(body, { maxLength: 30 }), async (bodies) => {
      const store = openBodyFiles({ dir: temporaryDir(context), fileBytesMax: 2_000 })
      const kept: [BodyRef, Uint8Array][] = []
      for (const { length, fill, sync } of bodies) {
        const bytes = new Uint8Array(length).fill(fill)
        kept.push([await store.append(bytes), bytes])
        if (sync) await store.sync()
      }
      for (const [ref, bytes] of kept) assert.deepEqual(await store.read(ref), bytes)
      await store.close()
    }),
    { numRuns: 50 },
  )
})

test('a file that would grow too long is left for the next, one that is longer stands alone', async (context) => {
  const dir = temporaryDir(context)
  const store = openBodyFiles({ dir, fileBytesMax: 10 })
  const refs: BodyRef[] = []
  for (const length of [6, 4, 1, 25, 1]) refs.push(await store.append(new Uint8Array(length)))
  await store.close()
  assert.deepEqual(refs, [
    { file: 1, offset: 0, length: 6 },
    { file: 1, offset: 6, length: 4 },
    { file: 2, offset: 0, length: 1 },
    { file: 3, offset: 0, length: 25 },
    { file: 4, offset: 0, length: 1 },
  ])
  assert.deepEqual(
    readdirSync(dir).map((name) => [name, readFileSync(join(dir, name)).length]),
    [
      ['1.body', 10],
      ['2.body', 1],
      ['3.body', 25],
      ['4.body', 1],
    ],
  )
})

test('two writers of one folder never share a file, and each reads what the other synced', async (context) => {
  const dir = temporaryDir(context)
  const one = openBodyFiles({ dir })
  const two = openBodyFiles({ dir })
  const first = await one.append(Buffer.from('one'))
  const second = await two.append(Buffer.from('two'))
  assert.notEqual(first.file, second.file)
  await one.sync()
  await two.sync()
  assert.equal(Buffer.from(await one.read(second)).toString(), 'two')
  assert.equal(Buffer.from(await two.read(first)).toString(), 'one')
  await one.close()
  await two.close()
})

test('what another left in the folder is never touched', async (context) => {
  const dir = temporaryDir(context)
  mkdirSync(dir, { recursive: true })
  writeFileSync(join(dir, '7.body'), 'left by a killed writer')
  writeFileSync(join(dir, 'notes.txt'), 'of a person')
  const store = openBodyFiles({ dir })
  assert.equal((await store.append(Buffer.from('new'))).file, 8)
  await store.close()
  assert.equal(readFileSync(join(dir, '7.body'), 'utf8'), 'left by a killed writer')
})

test('sync waits for the bytes of a sync that is under way', async (context) => {
  const dir = temporaryDir(context)
  const store = openBodyFiles({ dir })
  await store.append(Buffer.from('first'))
  const finished: string[] = []
  const one = store.sync().then(() => finished.push('one'))
  const two = store.sync().then(() => finished.push('two'))
  await store.append(Buffer.from('second'))
  const three = store.sync().then(() => finished.push('three'))
  await Promise.all([three, two, one])
  assert.deepEqual(finished, ['one', 'two', 'three'])
  assert.equal(readFileSync(join(dir, '1.body'), 'utf8'), 'firstsecond')
  await store.close()
})

test('a file that was cut or removed is an error that names it', async (context) => {
  const dir = temporaryDir(context)
  const writer = openBodyFiles({ dir })
  const ref = await writer.append(Buffer.from('0123456789'))
  await writer.close()
  const path = join(dir, '1.body')
  const corrupt = (message: RegExp) => ({
    name: 'TitheError',
    code: 'store_corrupt',
    exitCode: 3,
    where: { file: path },
    message,
  })
  truncateSync(path, 4)
  const reader = openBodyFiles({ dir })
  await assert.rejects(reader.read(ref), corrupt(/4 of 10 bytes/))
  await reader.close()
  rmSync(path)
  const later = openBodyFiles({ dir })
  await assert.rejects(later.read(ref), corrupt(/0 of 10 bytes/))
  await later.close()
})

test('more files than may be open at once are read', async (context) => {
  const dir = temporaryDir(context)
  const store = openBodyFiles({ dir, fileBytesMax: 4 })
  const refs: BodyRef[] = []
  for (let index = 0; index < 150; index++) refs.push(await store.append(Buffer.from(String(1_000 + index))))
  for (let round = 0; round < 2; round++) {
    for (const [index, ref] of refs.entries()) {
      assert.equal(Buffer.from(await store.read(ref)).toString(), String(1_000 + index))
    }
  }
  await store.close()
})

test('a folder that cannot be made is an error that names it', async (context) => {
  const dir = temporaryDir(context)
  mkdirSync(join(dir, '..'), { recursive: true })
  writeFileSync(dir, 'a file where the folder should be')
  const store = openBodyFiles({ dir })
  await assert.rejects(store.append(Buffer.from('x')), { code: 'store_unavailable', where: { file: dir } })
  await store.close()
})

/** A folder that does not exist yet. */
function temporaryDir(context: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'tithe-bodies-'))
  context.after(() => rmSync(dir, { recursive: true, force: true }))
  return join(dir, 'bodies')
}
