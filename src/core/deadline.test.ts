import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type DeadlineView, deadlineDecision, realtimeMs } from './deadline.ts'
import { HOUR_MS, instant, MINUTE_MS, plusMs, SECOND_MS } from './instant.ts'

const AT = instant(10 * HOUR_MS)

const view = (changes: Partial<DeadlineView> = {}): DeadlineView => ({
  now: instant(0),
  deadlineAt: AT,
  policy: 'realtime',
  openRows: 100,
  realtimeMs: 10 * MINUTE_MS,
  cancelLatencyMs: 30 * SECOND_MS,
  begun: false,
  ...changes,
})

const CANCEL_AT = plusMs(AT, -12 * MINUTE_MS)
const OVERTAKE_AT = plusMs(AT, -10 * MINUTE_MS)

test('batches go on until there is just time to cancel them and answer the rest in realtime', () => {
  const before = deadlineDecision(view({ now: plusMs(CANCEL_AT, -1) }))
  assert.deepEqual(before, { phase: 'batches', closing: false, nextAt: CANCEL_AT })
  assert.deepEqual(deadlineDecision(view({ now: CANCEL_AT })), {
    phase: 'closing',
    closing: true,
    nextAt: AT,
  })
})

test('what was begun is not gone back on, though fewer rows are open now and there would be more time', () => {
  const decision = deadlineDecision(view({ begun: true, openRows: 1, realtimeMs: 1 }))
  assert.deepEqual(decision, { phase: 'closing', closing: true, nextAt: AT })
})

test('a batch that has not ended is overtaken only where the job says that it may be paid for twice', () => {
  const now = OVERTAKE_AT
  assert.equal(deadlineDecision(view({ now, begun: true })).phase, 'closing')
  assert.equal(deadlineDecision(view({ now, begun: true, policy: 'pay_twice' })).phase, 'overtaking')
  const before = deadlineDecision(view({ now: CANCEL_AT, policy: 'pay_twice' }))
  assert.deepEqual(before, { phase: 'closing', closing: true, nextAt: OVERTAKE_AT })
})

test('a deadline that has passed is announced; nothing new is canceled for it', () => {
  assert.deepEqual(deadlineDecision(view({ now: AT })), { phase: 'late', closing: false, nextAt: null })
  assert.deepEqual(deadlineDecision(view({ now: AT, begun: true })), {
    phase: 'late',
    closing: true,
    nextAt: null,
  })
  const announced = view({ now: AT, policy: 'announce' })
  assert.deepEqual(deadlineDecision(announced), { phase: 'late', closing: false, nextAt: null })
  assert.equal(deadlineDecision(view({ now: CANCEL_AT, policy: 'announce' })).phase, 'batches')
})

test('without an open row there is nothing to keep', () => {
  for (const now of [instant(0), CANCEL_AT, AT]) {
    assert.deepEqual(deadlineDecision(view({ now, openRows: 0 })), {
      phase: 'batches',
      closing: false,
      nextAt: null,
    })
  }
})

test('phases only go forward in time, and the next change is where one is promised', () => {
  const order = ['batches', 'closing', 'overtaking', 'late']
  fc.assert(
    fc.property(
      fc.constantFrom('realtime', 'pay_twice', 'announce' as const),
      fc.boolean(),
      fc.nat(3 * HOUR_MS),
      fc.nat(HOUR_MS),
      fc.nat(11 * HOUR_MS),
      fc.nat(HOUR_MS),
      (policy, begun, realtime, cancelLatencyMs, now, later) => {
        const at = (ms: number) =>
          view({ policy, begun, realtimeMs: realtime, cancelLatencyMs, now: instant(ms) })
        const first = deadlineDecision(at(now))
        const then = deadlineDecision(at(now + later))
        assert.ok(order.indexOf(then.phase) >= order.indexOf(first.phase))
        if (first.nextAt === null) return
        assert.ok(first.nextAt > now || first.nextAt <= 0, 'it lies ahead')
        assert.notEqual(deadlineDecision(at(first.nextAt)).phase, first.phase)
        const justBefore = deadlineDecision(at(Math.max(now, first.nextAt - 1)))
        assert.equal(justBefore.phase, first.phase)
      },
    ),
  )
})

test('realtime takes as long as the slowest of calls, requests and tokens by the minute allows', () => {
  const limits = { requestsPerMinute: 100, inputTokensPerMinute: 1e6, outputTokensPerMinute: 1e5 }
  const load = { rows: 1_000, promptTokens: 100, outputTokens: 10 }
  const minutes = (changes: Partial<typeof load>, tokenMs = 1) =>
    Math.round(realtimeMs({ ...load, ...changes }, limits, 10, tokenMs) / MINUTE_MS)
  assert.equal(minutes({}), 15, '10 minutes of requests, and half as much again')
  assert.equal(minutes({ promptTokens: 20_000 }), 30, '20 million input tokens')
  assert.equal(minutes({ outputTokens: 4_000 }, 1), 60, '4 million output tokens')
  assert.equal(minutes({ outputTokens: 1_000 }, 60), 151, 'a hundred turns of a minute')
  assert.equal(realtimeMs({ ...load, rows: 0 }, limits, 10, 28), 0)
})
