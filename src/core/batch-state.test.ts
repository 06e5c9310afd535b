import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decide, evolve, isOpen, type SubmissionEvent, type SubmissionState } from './batch-state.ts'
import { instant } from './instant.ts'

const STATES = [
  'planned',
  'submitting',
  'in_progress',
  'canceling',
  'ended',
  'ingested',
  'refused',
  'lost',
] as const satisfies readonly SubmissionState[]

const EVENTS = [
  'intent_recorded',
  'accepted',
  'adopted',
  'refused',
  'put_off',
  'presumed_lost',
  'cancel_requested',
  'ended',
  'ingested',
  'gone',
  'turned_up',
  'deleted',
] as const satisfies readonly SubmissionEvent[]

const NOW = instant(1_000)

test('every state has these steps and no other', () => {
  const steps = STATES.flatMap((state) =>
    EVENTS.flatMap((event) => {
      const to = evolve(state, event)
      return to === null ? [] : [`${state} ${event} ${to}`]
    }),
  )
  assert.deepEqual(steps, [
    'planned intent_recorded submitting',
    'planned refused refused',
    'submitting accepted in_progress',
    'submitting adopted in_progress',
    'submitting refused refused',
    'submitting put_off planned',
    'submitting presumed_lost lost',
    'in_progress cancel_requested canceling',
    'in_progress ended ended',
    'in_progress gone lost',
    'canceling cancel_requested canceling',
    'canceling ended ended',
    'canceling gone lost',
    'ended ingested ingested',
    'ended gone lost',
    'ingested deleted ingested',
    'lost turned_up ended',
    'lost deleted lost',
  ])
})

test('every state is told what to do, before its time, at its time, and under a cancel', () => {
  const commands = (canceling: boolean, nextPollAt: number | null) =>
    STATES.map((state) => {
      const at = nextPollAt === null ? null : instant(nextPollAt)
      return decide({ state, nextPollAt: at }, NOW, canceling).kind
    }).join(' ')
  const due = 'submit reconcile poll poll ingest nothing nothing nothing'
  assert.equal(commands(false, null), due)
  assert.equal(commands(false, 1_000), due)
  assert.equal(commands(false, 1_001), 'wait wait wait wait ingest nothing nothing nothing')
  const canceled = 'withdraw reconcile cancel poll ingest nothing nothing nothing'
  assert.equal(commands(true, null), canceled)
  assert.equal(commands(true, 1_001), 'withdraw wait cancel wait ingest nothing nothing nothing')
})

test('what is open has something to do, what is not is final but for latecomers and deletion, and every state can reach an end', () => {
  const reaches = (state: SubmissionState, seen: readonly SubmissionState[]): boolean =>
    !isOpen(state) ||
    EVENTS.some((event) => {
      const to = evolve(state, event)
      return to !== null && !seen.includes(to) && reaches(to, [...seen, to])
    })
  for (const state of STATES) {
    const isFinal = EVENTS.every(
      (event) => event === 'turned_up' || [null, state].includes(evolve(state, event)),
    )
    assert.equal(isOpen(state), !isFinal, state)
    assert.equal(isOpen(state), decide({ state, nextPollAt: null }, NOW, false).kind !== 'nothing', state)
    assert.ok(reaches(state, [state]), state)
  }
})

test('nothing is sent twice: what may have been sent is only planned again when it was put off', () => {
  for (const state of STATES.filter((one) => one !== 'planned')) {
    for (const event of EVENTS) if (evolve(state, event) === 'planned') assert.equal(event, 'put_off')
    assert.notEqual(decide({ state, nextPollAt: null }, NOW, false).kind, 'submit')
  }
})
