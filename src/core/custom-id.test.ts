import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { customIdFor, parseCustomId } from './custom-id.ts'

const run = 'r0123456ab'

test('any user id gives a legal custom_id that carries run, submission and row', () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.integer({ min: 1, max: 99_999 }),
      fc.nat(99_999_999),
      (userId, submission, ordinal) => {
        const id = customIdFor({ run, submission, ordinal, userId })
        assert.match(id, /^[a-zA-Z0-9_-]{1,64}$/)
        assert.deepEqual(parseCustomId(id), { run, submission, ordinal })
      },
    ),
  )
})

test("'a.b' and 'a b' do not meet, nor do equal ids in different rows or submissions", () => {
  const ids = [
    customIdFor({ run, submission: 1, ordinal: 0, userId: 'a.b' }),
    customIdFor({ run, submission: 1, ordinal: 1, userId: 'a b' }),
    customIdFor({ run, submission: 1, ordinal: 2, userId: 'a b' }),
    customIdFor({ run, submission: 2, ordinal: 1, userId: 'a b' }),
  ]
  assert.equal(new Set(ids).size, ids.length)
})

test('the file name that the API refuses whole becomes a legal custom_id', () => {
  assert.equal(
    customIdFor({ run, submission: 3, ordinal: 71, userId: 'invoice-März 2026.pdf' }),
    'r0123456ab-3-1z-invoice-M_rz_2026_pdf',
  )
})

test("somebody else's custom_id is not taken for ours", () => {
  for (const id of ['ticket-001', 'r0123456ab', 'r0123456ab-0-1', 'r0123456ab-1', 'R0123456AB-1-1', '']) {
    assert.equal(parseCustomId(id), null, id)
  }
})
