import assert from 'node:assert/strict'
import { test } from 'node:test'
import { customIdFor } from './custom-id.ts'
import { instant } from './instant.ts'
import { foundRuns, ordinalsOf, runsOfJob, type SurveyedBatch, unknownTo } from './recover-run.ts'

const RUN = 'raaaaaaaa1'
const OTHER = 'rbbbbbbbb2'
const userIdOf = (ordinal: number) => (ordinal < 10 ? `ticket ${ordinal}` : null)

function batch(
  id: string,
  at: number,
  rows: readonly { run?: string; submission?: number; ordinal: number; userId?: string }[],
  changes: Partial<SurveyedBatch> = {},
): SurveyedBatch {
  const customIds = rows.map(({ run = RUN, submission = 1, ordinal, userId = userIdOf(ordinal) ?? '' }) =>
    customIdFor({ run, submission, ordinal, userId }),
  )
  const createdAt = instant(at)
  return {
    id,
    createdAt,
    expiresAt: instant(at + 100),
    rows: rows.length,
    state: 'ended',
    customIds,
    ...changes,
  }
}

test('batches are put together by run, in the order of their creation, with their submissions', () => {
  const batches = [
    batch('b3', 30, [{ submission: 3, ordinal: 4 }]),
    batch('b1', 10, [{ ordinal: 0 }, { ordinal: 1 }]),
    batch('x', 20, [{ run: OTHER, ordinal: 0, userId: 'invoice' }]),
  ]
  const [first, second] = foundRuns(batches, userIdOf)
  assert.deepEqual(
    first!.batches.map(({ id, submission }) => [id, submission]),
    [
      ['b1', 1],
      ['b3', 3],
    ],
  )
  assert.deepEqual([first!.matched, first!.strangers, second!.run, second!.strangers], [3, 0, OTHER, 1])
  assert.deepEqual([...ordinalsOf(batches)].sort(), [0, 1, 4])
})

test('a run is the job’s only when every row that was looked at is a row of it', () => {
  const fits = batch('b1', 10, [{ ordinal: 0 }])
  const misfit = batch('b2', 20, [{ ordinal: 3, userId: 'another id' }])
  const beyond = batch('b3', 30, [{ ordinal: 99, userId: 'x' }])
  const runs = (batches: readonly SurveyedBatch[]) => runsOfJob(foundRuns(batches, userIdOf)).length
  assert.equal(runs([fits]), 1)
  assert.equal(runs([fits, misfit]), 0)
  assert.equal(runs([fits, beyond]), 0)
  assert.equal(runs([batch('b4', 1, [], { customIds: ['not-ours', 'x'] })]), 0)
})

test('what cannot be read and is as young as the run may be the run’s; what ended for others, or is larger, may not', () => {
  const ours = batch('b1', 10, [{ ordinal: 0 }])
  const before = batch('b0', 5, [], { state: 'open', customIds: null })
  const open = batch('b2', 20, [], { state: 'open', customIds: null, rows: 10 })
  const gone = batch('b3', 30, [], { state: 'gone', customIds: null })
  const late = batch('b4', 40, [], { customIds: null })
  const foreign = batch('b5', 50, [{ run: OTHER, ordinal: 0, userId: 'x' }])
  const large = batch('b6', 60, [], { state: 'open', customIds: null, rows: 11 })
  const all = [before, ours, open, gone, late, foreign, large]
  const [run] = runsOfJob(foundRuns(all, userIdOf))
  assert.deepEqual(
    unknownTo(run!, all, 10).map(({ id }) => id),
    ['b2', 'b3', 'b4'],
  )
})

test('a run of which the first submission is not known may have older batches than the known ones', () => {
  const archived = batch('b1', 10, [], { state: 'gone', customIds: null })
  const second = batch('b2', 20, [{ submission: 2, ordinal: 3 }])
  const [run] = runsOfJob(foundRuns([archived, second], userIdOf))
  assert.deepEqual(
    unknownTo(run!, [archived, second], 10).map(({ id }) => id),
    ['b1'],
  )
})
