import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { splitLines } from './lines.ts'

test('lines come out whole however the bytes were cut', async () => {
  const line = fc.string({ unit: 'binary', maxLength: 30 }).map((text) => text.replaceAll('\n', ''))
  await fc.assert(
    fc.asyncProperty(
      fc.array(line),
      fc.boolean(),
      fc.array(fc.nat({ max: 40 })),
      async (lines, isEnded, cuts) => {
        const bytes = Buffer.from(lines.join('\n') + (isEnded ? '\n' : ''))
        async function* chunks() {
          let start = 0
          for (const cut of cuts) {
            yield bytes.subarray(start, start + cut)
            start += cut
          }
          yield bytes.subarray(start)
        }
        const found: string[] = []
        for await (const each of splitLines(chunks())) found.push(Buffer.from(each).toString('utf8'))
        assert.deepEqual(
          found,
          lines.filter((each) => each !== '').map((each) => Buffer.from(each).toString('utf8')),
        )
      },
    ),
  )
})

test('leaving early ends the stream that is read', async () => {
  let isEnded = false
  async function* chunks() {
    try {
      for (;;) yield Buffer.from('a\nb\n')
    } finally {
      isEnded = true
    }
  }
  for await (const line of splitLines(chunks())) {
    assert.equal(Buffer.from(line).toString(), 'a')
    break
  }
  assert.equal(isEnded, true)
})
