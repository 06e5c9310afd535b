import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { SubmissionEvent, SubmissionState } from '../core/batch-state.ts'
import type { LedgerUsage } from '../core/compare-usage.ts'
import { TitheError } from '../core/errors.ts'
import { type Instant, instant } from '../core/instant.ts'
import { addSums, type LedgerEntry, type LedgerSum } from '../core/ledger.ts'
import { picoUsd } from '../core/money.ts'
import type {
  AttemptRecord,
  NewRow,
  PendingRow,
  ResultToRecord,
  RunRecord,
  Store,
  SubmissionRecord,
} from './store.ts'

export interface StoreUnderTest {
  readonly name: string
  /** A fresh, empty store; what it leaves on disk is removed after the test. */
  open(test: TestContext): Promise<Store>
  /** Opens again what was stored, after `close`; absent where nothing outlives the process. */
  reopen?(store: Store): Promise<Store>
}

const AT = instant(Date.parse('2026-11-22T10:00:00Z'))
const LATER = instant(AT + 60_000)
const RUN = 'raaaaaaaa1'
const NO_REF = { file: 1, offset: 0, length: 0 }

/** What every store promises: `store.ts`, method by method and answer by answer. */
export function storeContract(under: StoreUnderTest): void {
  const stored = (name: string, body: (store: Store, test: TestContext) => Promise<void>): void => {
    test(name, async (context) => {
      const store = await under.open(context)
      try {
        await body(store, context)
      } finally {
        await store.runs.close()
        await store.bodies.close()
      }
    })
  }

  describe(`${under.name}: runs`, () => {
    stored('a run is found by the prefix of its id, newest first', async ({ runs }) => {
      await runs.createRun(runRecord({ id: 'rab1', createdAt: AT }))
      await runs.createRun(runRecord({ id: 'rab2', createdAt: LATER }))
      await runs.createRun(runRecord({ id: 'rac1', createdAt: AT }))
      assert.deepEqual(ids(await runs.findRuns('rab')), ['rab2', 'rab1'])
      assert.deepEqual(ids(await runs.findRuns('')), ['rab2', 'rac1', 'rab1'])
      assert.deepEqual(ids(await runs.findRuns('rab1')), ['rab1'])
      assert.deepEqual(await runs.findRuns('r%'), [])
      assert.deepEqual(await runs.findRuns('rzz'), [])
    })

    stored('a run comes back as it was written', async ({ runs }) => {
      const run = runRecord({
        name: 'tickets ✓',
        jobPath: null,
        organizationId: null,
        settingsJson: '{"a":[1]}',
      })
      await runs.createRun(run)
      assert.deepEqual(await runs.findRuns(RUN), [run])
    })

    stored('an id is used once', async ({ runs }) => {
      await runs.createRun(runRecord())
      await assert.rejects(runs.createRun(runRecord()))
      assert.equal((await runs.findRuns('')).length, 1)
    })

    stored('the newest run of a fingerprint is found, canceled ones are not', async ({ runs }) => {
      await runs.createRun(runRecord({ id: 'r1', fingerprint: 'f', createdAt: AT }))
      await runs.createRun(runRecord({ id: 'r2', fingerprint: 'f', createdAt: LATER }))
      await runs.createRun(runRecord({ id: 'r3', fingerprint: 'other', createdAt: LATER }))
      assert.equal((await runs.runByFingerprint('f'))?.id, 'r2')
      const fence = await take(runs, 'r2')
      await runs.startRun('r2', fence, '{}', 0)
      await runs.setRunState('r2', fence, { from: ['running'], to: 'canceled', stopReason: null, at: LATER })
      assert.equal((await runs.runByFingerprint('f'))?.id, 'r1')
      assert.equal(await runs.runByFingerprint('unknown'), null)
    })

    stored('a run starts once, with its plan and its rows', async ({ runs }) => {
      await runs.createRun(runRecord({ rows: 0 }))
      const fence = await take(runs)
      assert.equal(await runs.startRun(RUN, fence, '{"plan":1}', 7), 'ok')
      const [run] = await runs.findRuns(RUN)
      assert.deepEqual([run?.state, run?.planJson, run?.rows], ['running', '{"plan":1}', 7])
      await assert.rejects(runs.startRun(RUN, fence, '{"plan":2}', 8))
      assert.equal((await runs.findRuns(RUN))[0]?.planJson, '{"plan":1}')
      assert.equal(await runs.savePlan(RUN, fence, '{"plan":3}'), 'ok')
      assert.equal((await runs.findRuns(RUN))[0]?.planJson, '{"plan":3}')
    })

    stored('the state of a run changes by compare-and-set, with its event', async ({ runs }) => {
      const fence = await started(runs, [])
      const stop = { from: ['running'], to: 'stopped', stopReason: 'budget', at: AT } as const
      assert.equal(await runs.setRunState(RUN, fence, stop), 'ok')
      assert.equal(await runs.setRunState(RUN, fence, stop), 'not_in_state')
      assert.deepEqual(await stateOf(runs), { state: 'stopped', stopReason: 'budget', finishedAt: null })
      const goOn = { from: ['stopped'], to: 'running', stopReason: null, at: AT } as const
      assert.equal(await runs.setRunState(RUN, fence, goOn), 'ok')
      const finish = { from: ['stopped', 'running'], to: 'finished', stopReason: null, at: LATER } as const
      assert.equal(await runs.setRunState(RUN, fence, finish), 'ok')
      assert.deepEqual(await stateOf(runs), { state: 'finished', stopReason: null, finishedAt: LATER })
      assert.deepEqual(
        (await runs.events(RUN)).map(({ kind, detail, submission }) => [kind, detail, submission]),
        [
          ['stopped', 'budget', 0],
          ['running', '', 0],
          ['finished', '', 0],
        ],
      )
    })

    stored(
      'organisation and workspace are recorded once, and another one is a mismatch',
      async ({ runs }) => {
        const fence = await started(runs, [])
        assert.equal(
          await runs.recordWorkspace(RUN, fence, { organizationId: 'o1', workspaceId: null }),
          'ok',
        )
        assert.equal(
          await runs.recordWorkspace(RUN, fence, { organizationId: 'o1', workspaceId: 'w1' }),
          'ok',
        )
        assert.equal(
          await runs.recordWorkspace(RUN, fence, { organizationId: null, workspaceId: null }),
          'ok',
        )
        assert.equal(
          await runs.recordWorkspace(RUN, fence, { organizationId: 'o1', workspaceId: 'w2' }),
          'mismatch',
        )
        assert.equal(
          await runs.recordWorkspace(RUN, fence, { organizationId: 'o2', workspaceId: 'w1' }),
          'mismatch',
        )
        const [run] = await runs.findRuns(RUN)
        assert.deepEqual([run?.organizationId, run?.workspaceId], ['o1', 'w1'])
      },
    )

    stored('only a run that is preparing is discarded, with its rows', async ({ runs }) => {
      const fence = await prepared(runs, [newRow(0), newRow(1)])
      await runs.putBlocks(RUN, fence, [{ hash: 'h', ref: NO_REF }])
      await runs.addEvent({ run: RUN, at: AT, submission: 0, kind: 'note', detail: '' })
      assert.equal(await runs.discardPreparing(RUN), true)
      assert.equal(await runs.discardPreparing(RUN), false)
      assert.deepEqual(await runs.findRuns(''), [])
      assert.deepEqual(await runs.rowsPage(RUN, -1, 10), [])
      assert.deepEqual(await runs.blocks(RUN, ['h']), [])
      assert.deepEqual(await runs.events(RUN), [])
      assert.equal(await runs.addRows(RUN, fence, [newRow(2)]), 'fenced')

      const second = await started(runs, [newRow(0)])
      assert.equal(await runs.discardPreparing(RUN), false)
      assert.equal((await runs.rowsPage(RUN, -1, 10)).length, 1)
      assert.equal(await runs.savePlan(RUN, second, '{}'), 'ok')
    })

    stored('a run that is not there reads as an empty one', async ({ runs }) => {
      assert.deepEqual(await runs.pendingRows('r0', AT, null, 10), [])
      assert.deepEqual(await runs.rowsByOrdinal('r0', [0]), [])
      assert.deepEqual(await runs.submissions('r0'), [])
      assert.deepEqual(await runs.submissionRows('r0', 1, -1, 10), [])
      assert.deepEqual(await runs.missingResults('r0', 1, 10), [])
      assert.deepEqual(await runs.resultsPage('r0', -1, 10), [])
      assert.deepEqual(await runs.ledgerPage('r0', null, 10), [])
      assert.equal(await runs.nextRowAt('r0', AT), null)
      assert.equal(await runs.leaseHolder('r0'), null)
      assert.equal((await runs.counts('r0')).pending, 0)
      assert.equal((await runs.attemptCounts('r0', 1)).succeeded, 0)
      await assert.rejects(runs.acquireLease('r0', 'me', AT, LATER), { code: 'unknown_run' })
      await assert.rejects(runs.addEvent({ run: 'r0', at: AT, submission: 0, kind: 'note', detail: '' }), {
        code: 'unknown_run',
      })
    })

    stored('events come back in the order in which they were added', async ({ runs }) => {
      await runs.createRun(runRecord())
      const events = ['c', 'a', 'b'].map((kind) => ({
        run: RUN,
        at: AT,
        submission: 3,
        kind,
        detail: `${kind}!`,
      }))
      for (const event of events) await runs.addEvent(event)
      assert.deepEqual(await runs.events(RUN), events)
    })
  })

  describe(`${under.name}: lease and fence`, () => {
    stored('a lease that lives is refused to others and names its holder', async ({ runs }) => {
      await runs.createRun(runRecord())
      assert.equal(await runs.leaseHolder(RUN), null)
      assert.deepEqual(await runs.acquireLease(RUN, 'one', AT, LATER), { kind: 'held', fence: 1 })
      assert.deepEqual(await runs.acquireLease(RUN, 'two', AT, LATER), {
        kind: 'taken',
        holder: 'one',
        until: LATER,
      })
      assert.deepEqual(await runs.leaseHolder(RUN), { holder: 'one', until: LATER })
      assert.equal(await runs.savePlan(RUN, 1, '{}'), 'ok')
    })

    stored('a lapsed lease is taken, and its former holder can write no more', async ({ runs }) => {
      const old = await started(runs, [newRow(0)])
      const answer = await runs.acquireLease(RUN, 'another', LATER, instant(LATER + 1))
      assert.deepEqual(answer, { kind: 'held', fence: old + 1 })
      await assertFenced(runs, old)
      assert.deepEqual(await runs.rowsPage(RUN, -1, 10), [rowRecord(newRow(0))])
      assert.deepEqual(await runs.submissions(RUN), [])
      assert.deepEqual(await runs.events(RUN), [])
      assert.equal(await runs.savePlan(RUN, old + 1, '{}'), 'ok')
    })

    stored("taking one's own lease again raises the fence", async ({ runs }) => {
      const old = await started(runs, [])
      const answer = await runs.acquireLease(RUN, 'driver', AT, LATER)
      assert.deepEqual(answer, { kind: 'held', fence: old + 1 })
      assert.equal(await runs.savePlan(RUN, old, '{}'), 'fenced')
    })

    stored('a renewed lease lives longer and keeps its fence', async ({ runs }) => {
      const fence = await started(runs, [])
      const until = instant(LATER + 60_000)
      assert.equal(await runs.renewLease(RUN, fence, until), 'ok')
      assert.deepEqual(await runs.acquireLease(RUN, 'another', LATER, until), {
        kind: 'taken',
        holder: 'driver',
        until,
      })
      assert.equal(await runs.savePlan(RUN, fence, '{}'), 'ok')
    })

    stored('a released lease is free at once, and a late renewal does not revive it', async ({ runs }) => {
      const fence = await started(runs, [])
      await runs.releaseLease(RUN, fence)
      assert.equal(await runs.leaseHolder(RUN), null)
      assert.equal(await runs.renewLease(RUN, fence, LATER), 'fenced')
      assert.deepEqual(await runs.acquireLease(RUN, 'another', AT, LATER), { kind: 'held', fence: fence + 1 })
      await runs.releaseLease(RUN, fence)
      assert.equal((await runs.leaseHolder(RUN))?.holder, 'another')
    })
  })

  describe(`${under.name}: rows`, () => {
    stored('rows come back as they were added, by page and by ordinal', async ({ runs }) => {
      const rows = [
        newRow(2, {
          line: null,
          expectedJson: '{"a":1}',
          webSearchesMax: null,
          inferenceGeo: 'us',
          speed: 'fast',
          ownMarkTtl: '5m',
        }),
        newRow(0),
        newRow(7, { userId: 'ü ✓' }),
      ]
      await prepared(runs, rows)
      const [two, zero, seven] = rows.map((row) => rowRecord(row))
      assert.deepEqual(await runs.rowsPage(RUN, -1, 10), [zero, two, seven])
      assert.deepEqual(await runs.rowsPage(RUN, 0, 1), [two])
      assert.deepEqual(await runs.rowsPage(RUN, 7, 1), [])
      assert.deepEqual(await runs.rowsByOrdinal(RUN, [7, 3, 0]), [seven, zero])
      assert.deepEqual(await runs.rowsByOrdinal(RUN, []), [])
    })

    stored('a chunk with an ordinal that exists adds nothing', async ({ runs }) => {
      const fence = await prepared(runs, [newRow(0)])
      await assert.rejects(runs.addRows(RUN, fence, [newRow(1), newRow(0)]))
      assert.deepEqual(ordinals(await runs.rowsPage(RUN, -1, 10)), [0])
    })

    stored('a row that cannot be sent is done at once, with the outcome invalid', async ({ runs }) => {
      await started(runs, [newRow(0), newRow(1, { invalidProblem: 'image is too large' })])
      const [row] = await runs.rowsByOrdinal(RUN, [1])
      assert.deepEqual(
        [row?.state, row?.outcome, row?.invalidProblem, row?.decidedBy],
        ['done', 'invalid', 'image is too large', null],
      )
      assert.deepEqual(ordinals(await runs.pendingRows(RUN, AT, null, 10)), [0])
      const { pending, invalid } = await runs.counts(RUN)
      assert.deepEqual([pending, invalid], [1, 1])
      const results = await runs.resultsPage(RUN, -1, 10)
      assert.deepEqual(results.at(-1), { row, attempt: null, entries: [] })
    })

    stored('offsets past 2³² survive', async ({ runs }) => {
      const ref = { file: 3, offset: 2 ** 40 + 1, length: 2 ** 31 }
      await prepared(runs, [newRow(0, { request: ref, columns: ref })])
      const [row] = await runs.rowsPage(RUN, -1, 1)
      assert.deepEqual([row?.request, row?.columns], [ref, ref])
    })

    stored('pending rows come by variant, model, group and ordinal, page after page', async ({ runs }) => {
      const rows: NewRow[] = []
      const groups: { ordinal: number; group: string | null }[] = []
      for (let ordinal = 0; ordinal < 54; ordinal++) {
        rows.push(newRow(ordinal, { variant: `v${ordinal % 3}`, model: `m${Math.floor(ordinal / 3) % 3}` }))
        groups.push({ ordinal, group: [null, 'p1:a', 'p1:b'][Math.floor(ordinal / 9) % 3]! })
      }
      const fence = await prepared(runs, rows)
      assert.equal(await runs.assignGroups(RUN, fence, groups), 'ok')
      await runs.startRun(RUN, fence, '{}', rows.length)
      const whole = await runs.pendingRows(RUN, AT, null, 1_000)
      assert.deepEqual(whole, [...whole].sort(byLane))
      assert.equal(whole.length, rows.length)
      assert.deepEqual(whole[0], {
        ordinal: 0,
        variant: 'v0',
        model: 'm0',
        group: null,
        paramsBytes: 100,
        promptTokens: 40,
        promptTokensHigh: 50,
        maxTokens: 64,
        webSearchesMax: 0,
        inferenceGeo: null,
        speed: 'standard',
        ownMarkTtl: null,
        userId: 'user-0',
        attempts: 0,
        revision: null,
      })
      for (const limit of [1, 2, 5, 53, 54]) {
        const paged: PendingRow[] = []
        for (let after: PendingRow | null = null; ; after = paged.at(-1)!) {
          const page: PendingRow[] = await runs.pendingRows(RUN, AT, after, limit)
          if (page.length === 0) break
          assert.ok(page.length <= limit && paged.length < whole.length)
          paged.push(...page)
        }
        assert.deepEqual(paged, whole, `pages of ${limit}`)
      }
    })

    stored('a group is assigned, changed and taken away', async ({ runs }) => {
      const fence = await prepared(runs, [newRow(0), newRow(1)])
      await runs.assignGroups(RUN, fence, [{ ordinal: 0, group: 'g1' }])
      await runs.assignGroups(RUN, fence, [{ ordinal: 1, group: 'g1' }])
      await runs.assignGroups(RUN, fence, [{ ordinal: 0, group: null }])
      const rows = await runs.rowsPage(RUN, -1, 10)
      assert.deepEqual(rows, [rowRecord(newRow(0)), { ...rowRecord(newRow(1)), group: 'g1' }])
      await assert.rejects(
        runs.assignGroups(RUN, fence, [
          { ordinal: 0, group: 'g2' },
          { ordinal: 9, group: 'g2' },
        ]),
      )
      assert.equal((await runs.rowsPage(RUN, -1, 1))[0]?.group, null)
    })

    stored('a row waits for its notBefore', async ({ runs }) => {
      const fence = await started(
        runs,
        [0, 1, 2, 3].map((ordinal) => newRow(ordinal)),
      )
      const number = await plan(runs, fence, [1, 2])
      const waiting = (ordinal: number, at: Instant) => result(number, ordinal, { next: again(at) })
      await runs.recordResults(RUN, fence, number, [waiting(1, LATER), waiting(2, instant(LATER + 5))])
      const now = await runs.pendingRows(RUN, AT, null, 10)
      assert.deepEqual(ordinals(now), [0, 3])
      assert.deepEqual(ordinals(await runs.pendingRows(RUN, AT, now[0]!, 10)), [3])
      assert.deepEqual(ordinals(await runs.pendingRows(RUN, LATER, now[0]!, 10)), [1, 3])
      assert.deepEqual(ordinals(await runs.pendingRows(RUN, LATER, null, 10)), [0, 1, 3])
      assert.equal(await runs.nextRowAt(RUN, AT), LATER)
      assert.equal(await runs.nextRowAt(RUN, LATER), LATER + 5)
      assert.equal(await runs.nextRowAt(RUN, instant(LATER + 5)), null)
      const [row] = await runs.rowsByOrdinal(RUN, [1])
      assert.deepEqual([row?.state, row?.notBefore, row?.attempts, row?.outcome], ['pending', LATER, 1, null])
      await plan(runs, fence, [1])
      assert.equal((await runs.rowsByOrdinal(RUN, [1]))[0]?.notBefore, null)
    })

    stored('a block keeps its first place', async ({ runs }) => {
      await runs.createRun(runRecord())
      await runs.createRun(runRecord({ id: 'r2' }))
      const fence = await take(runs)
      const first = { file: 1, offset: 10, length: 5 }
      const other = { file: 1, offset: 15, length: 7 }
      assert.equal(await runs.putBlocks(RUN, fence, [{ hash: 'a', ref: first }]), 'ok')
      const again = [
        { hash: 'a', ref: other },
        { hash: 'b', ref: other },
      ]
      assert.equal(await runs.putBlocks(RUN, fence, again), 'ok')
      assert.deepEqual(await runs.blocks(RUN, ['b', 'missing', 'a']), [
        { hash: 'b', ref: other },
        { hash: 'a', ref: first },
      ])
      assert.deepEqual(await runs.blocks('r2', ['a']), [])
    })

    stored('pending rows are canceled, rows of a submission are not', async ({ runs }) => {
      const fence = await started(runs, [newRow(0), newRow(1), newRow(2)])
      await plan(runs, fence, [1])
      assert.equal(await runs.cancelPendingRows(RUN, fence), 2)
      assert.equal(await runs.cancelPendingRows(RUN, fence), 0)
      const rows = await runs.rowsPage(RUN, -1, 10)
      assert.deepEqual(
        rows.map(({ state, outcome, decidedBy }) => [state, outcome, decidedBy]),
        [
          ['done', 'canceled', null],
          ['submitted', null, null],
          ['done', 'canceled', null],
        ],
      )
      assert.deepEqual(await runs.pendingRows(RUN, AT, null, 10), [])
      assert.equal((await runs.counts(RUN)).canceled, 2)
    })
  })

  describe(`${under.name}: submissions`, () => {
    stored('submissions are numbered from 1 and take their rows', async ({ runs }) => {
      const fence = await started(
        runs,
        [0, 1, 2, 3].map((ordinal) => newRow(ordinal)),
      )
      const planned = submissionRecord({ rows: 2, marksJson: '{"g":[]}', kind: 'primer', sizeBytes: 2 ** 33 })
      assert.deepEqual(await runs.planSubmission(fence, planned, [3, 1]), { kind: 'planned', number: 1 })
      assert.equal(await plan(runs, fence, [0]), 2)
      assert.deepEqual((await runs.submissions(RUN))[0], { ...planned, number: 1 })
      assert.deepEqual(await runs.submissionRows(RUN, 1, -1, 10), [1, 3])
      assert.deepEqual(await runs.submissionRows(RUN, 1, 1, 10), [3])
      assert.deepEqual(await runs.submissionRows(RUN, 1, -1, 1), [1])
      assert.deepEqual(await runs.submissionRows(RUN, 9, -1, 10), [])
      const rows = await runs.rowsPage(RUN, -1, 10)
      assert.deepEqual(
        rows.map((row) => [row.state, row.attempts]),
        [
          ['submitted', 1],
          ['submitted', 1],
          ['pending', 0],
          ['submitted', 1],
        ],
      )
      assert.deepEqual(ordinals(await runs.pendingRows(RUN, AT, null, 10)), [2])
    })

    stored('one taken row refuses the whole submission', async ({ runs }) => {
      const fence = await started(runs, [newRow(0), newRow(1), newRow(2)])
      await plan(runs, fence, [1])
      for (const wanted of [
        [0, 1],
        [0, 9],
        [0, 0],
      ]) {
        const answer = await runs.planSubmission(fence, submissionRecord({ rows: 2 }), wanted)
        assert.deepEqual(answer, { kind: 'rows_taken' }, `rows ${wanted}`)
      }
      assert.deepEqual(ordinals(await runs.pendingRows(RUN, AT, null, 10)), [0, 2])
      assert.equal((await runs.submissions(RUN)).length, 1)
      assert.equal(await plan(runs, fence, [0, 2]), 2)
    })

    stored('an event moves a submission once, with what it learnt', async ({ runs }) => {
      const fence = await started(runs, [newRow(0)])
      const number = await plan(runs, fence, [0])
      const intent = { kind: 'intent_recorded', from: 'planned', at: AT, detail: '1 row' } as const
      const change = {
        intentAt: AT,
        fingerprint: 'f',
        newestIdBefore: null,
        because: 'sent',
        sizeBytes: 9,
        rows: 1,
      }
      assert.equal(await runs.recordEvent(RUN, fence, number, intent, change), 'ok')
      assert.equal(await runs.recordEvent(RUN, fence, number, intent, { because: 'twice' }), 'not_in_state')
      const accepted = { kind: 'accepted', from: 'submitting', at: LATER, detail: '' } as const
      const ids = { upstreamBatchId: 'msgbatch_1', createdAt: AT, expiresAt: LATER, nextPollAt: LATER }
      assert.equal(await runs.recordEvent(RUN, fence, number, accepted, ids), 'ok')
      const [submission] = await runs.submissions(RUN)
      assert.deepEqual(submission, { ...submissionRecord(), number, ...change, ...ids, state: 'in_progress' })
      assert.deepEqual(await runs.events(RUN), [
        { run: RUN, at: AT, submission: number, kind: 'intent_recorded', detail: '1 row' },
        { run: RUN, at: LATER, submission: number, kind: 'accepted', detail: '' },
      ])
    })

    stored('an event that cannot happen in the state changes nothing', async ({ runs }) => {
      const fence = await started(runs, [newRow(0)])
      const number = await plan(runs, fence, [0])
      const impossible = { kind: 'ingested', from: 'planned', at: AT, detail: '' } as const
      assert.equal(await runs.recordEvent(RUN, fence, number, impossible, { because: 'no' }), 'not_in_state')
      const absent = { kind: 'intent_recorded', from: 'planned', at: AT, detail: '' } as const
      assert.equal(await runs.recordEvent(RUN, fence, 9, absent, {}), 'not_in_state')
      assert.deepEqual(await runs.submissions(RUN), [{ ...submissionRecord(), number }])
      assert.deepEqual(await runs.events(RUN), [])
    })

    stored('a change without an event sets what it names and empties what it nulls', async ({ runs }) => {
      const fence = await started(runs, [newRow(0)])
      const number = await plan(runs, fence, [0])
      const change = { nextPollAt: LATER, because: 'waits', endedAt: AT, rows: 0 }
      assert.equal(await runs.touchSubmission(RUN, fence, number, change), 'ok')
      assert.equal(
        await runs.touchSubmission(RUN, fence, number, { nextPollAt: null, because: undefined }),
        'ok',
      )
      const [submission] = await runs.submissions(RUN)
      assert.deepEqual(submission, { ...submissionRecord(), number, ...change, nextPollAt: null })
      assert.deepEqual(await runs.events(RUN), [])
    })

    stored('rows of a refused submission go back, their attempt not counted', async ({ runs }) => {
      const fence = await started(runs, [newRow(0), newRow(1), newRow(2)])
      const number = await plan(runs, fence, [0, 1])
      const back = { kind: 'pending', notBefore: LATER } as const
      await events(runs, fence, number, ['intent_recorded', 'refused'])
      await runs.recordResults(RUN, fence, number, [result(number, 1, { outcome: 'invalid', billed: false })])
      assert.equal(await runs.returnRows(RUN, fence, number, back), 1)
      assert.equal(await runs.returnRows(RUN, fence, number, back), 0)
      const [row, decided] = await runs.rowsByOrdinal(RUN, [0, 1])
      assert.deepEqual([row?.state, row?.attempts, row?.notBefore], ['pending', 0, LATER])
      assert.deepEqual([decided?.state, decided?.attempts], ['done', 1])
      assert.deepEqual(ordinals(await runs.pendingRows(RUN, LATER, null, 10)), [0, 2])
    })

    stored('rows of a batch that may be paid for do not go back', async ({ runs }) => {
      const fence = await started(runs, [newRow(0)])
      const number = await plan(runs, fence, [0])
      const back = { kind: 'pending', notBefore: null } as const
      for (const kind of ['intent_recorded', 'accepted', 'cancel_requested', 'ended'] as const) {
        await events(runs, fence, number, [kind])
        await assert.rejects(runs.returnRows(RUN, fence, number, back), /may be paid for/)
      }
      assert.equal((await runs.rowsPage(RUN, -1, 1))[0]?.state, 'submitted')
    })

    stored(
      'rows of a batch that was overtaken go back, and what it answers decides none',
      async ({ runs }) => {
        const fence = await started(runs, [newRow(0)])
        const number = await plan(runs, fence, [0])
        await events(runs, fence, number, ['intent_recorded', 'accepted'])
        await runs.touchSubmission(RUN, fence, number, { isDuplicate: true })
        assert.equal(await runs.returnRows(RUN, fence, number, { kind: 'pending', notBefore: null }), 1)
        await runs.recordResults(RUN, fence, number, [result(number, 0)])
        assert.equal((await runs.rowsPage(RUN, -1, 1))[0]?.state, 'pending')
        assert.equal((await runs.submissions(RUN))[0]?.isDuplicate, true)
      },
    )

    stored('rows that were never sent go back, and those of realtime calls', async ({ runs }) => {
      const fence = await started(runs, [newRow(0)])
      const back = { kind: 'pending', notBefore: null } as const
      assert.equal(await runs.returnRows(RUN, fence, await plan(runs, fence, [0]), back), 1)
      const answer = await runs.planSubmission(fence, submissionRecord({ kind: 'realtime' }), [0])
      const number = answer.kind === 'planned' ? answer.number : 0
      await events(runs, fence, number, ['intent_recorded', 'accepted'])
      assert.equal(await runs.returnRows(RUN, fence, number, back), 1)
      await assert.rejects(runs.returnRows(RUN, fence, 9, back))
    })

    stored(
      'rows of a known batch whose results are gone end unretrievable, without an attempt',
      async ({ runs }) => {
        const fence = await started(runs, [newRow(0), newRow(1), newRow(2)])
        const number = await plan(runs, fence, [0, 1, 2])
        await events(runs, fence, number, ['intent_recorded'])
        await assert.rejects(runs.endUnretrievable(RUN, fence, number), /known batch that is lost/)
        const accepted = { kind: 'accepted', from: 'submitting', at: AT, detail: '' } as const
        await runs.recordEvent(RUN, fence, number, accepted, { upstreamBatchId: 'msgbatch_1' })
        await runs.recordResults(RUN, fence, number, [result(number, 1)])
        await events(runs, fence, number, ['gone'])
        assert.equal(await runs.endUnretrievable(RUN, fence, number), 2)
        assert.equal(await runs.endUnretrievable(RUN, fence, number), 0)
        const rows = await runs.rowsPage(RUN, -1, 10)
        assert.deepEqual(
          rows.map(({ outcome, decidedBy }) => [outcome, decidedBy]),
          [
            ['unretrievable', number],
            ['succeeded', number],
            ['unretrievable', number],
          ],
        )
        const { unretrievable, succeeded, submitted } = await runs.counts(RUN)
        assert.deepEqual([unretrievable, succeeded, submitted], [2, 1, 0])
        assert.equal((await runs.resultsPage(RUN, -1, 1))[0]?.attempt, null)
      },
    )

    stored('a submission of a rebuilt run has the number that its custom_ids carry', async ({ runs }) => {
      const fence = await started(runs, [newRow(0), newRow(1)])
      const ended = {
        ...submissionRecord({
          state: 'ended',
          rows: 2,
          upstreamBatchId: 'msgbatch_3',
          createdAt: AT,
          endedAt: LATER,
        }),
        number: 3,
      }
      assert.equal(await runs.adoptSubmission(fence, ended, [0, 1]), 'ok')
      assert.equal(await runs.adoptSubmission(fence, ended, [0, 1]), 'known')
      const [first, second, third] = await runs.submissions(RUN)
      assert.deepEqual(
        [first?.state, first?.rows, second?.number, second?.upstreamBatchId],
        ['refused', 0, 2, null],
      )
      assert.deepEqual(
        [third?.state, third?.upstreamBatchId, third?.createdAt, third?.endedAt],
        ['ended', 'msgbatch_3', AT, LATER],
      )
      assert.deepEqual(await runs.missingResults(RUN, 3, 10), [0, 1])
      const next = { kind: 'pending', notBefore: LATER, revision: null } as const
      await runs.recordResults(RUN, fence, 3, [
        result(3, 0),
        result(3, 1, { outcome: 'errored', billed: false, next }),
      ])
      // A row that waits is taken as well: what its batch answered has happened already.
      const later = { ...ended, number: 4, rows: 2, upstreamBatchId: 'msgbatch_4' }
      assert.equal(await runs.adoptSubmission(fence, later, [0, 1]), 'ok')
      const rows = await runs.rowsPage(RUN, -1, 10)
      assert.deepEqual(
        rows.map(({ state, attempts }) => [state, attempts]),
        [
          ['done', 1],
          ['submitted', 2],
        ],
      )
      // Batch 2 has ended since: it takes the place that was kept for it.
      const found = { ...ended, number: 2, rows: 1, upstreamBatchId: 'msgbatch_2' }
      assert.equal(await runs.adoptSubmission(fence, found, [0]), 'ok')
      assert.deepEqual(await runs.missingResults(RUN, 2, 10), [0])
      assert.equal((await runs.submissions(RUN))[1]?.upstreamBatchId, 'msgbatch_2')
      assert.equal(await plan(runs, fence, []), 5)
    })

    stored(
      'a second batch of one create is a submission of its own, which takes no row',
      async ({ runs }) => {
        const fence = await started(runs, [newRow(0), newRow(1)])
        const number = await plan(runs, fence, [0, 1])
        await events(runs, fence, number, ['intent_recorded'])
        const accepted = { kind: 'accepted', from: 'submitting', at: AT, detail: '' } as const
        await runs.recordEvent(RUN, fence, number, accepted, { upstreamBatchId: 'msgbatch_1' })
        const batch = { createdAt: AT, expiresAt: LATER, endedAt: LATER, because: 'it came twice' }
        const known = { ...batch, upstreamBatchId: 'msgbatch_1' }
        assert.equal(await runs.addDuplicate(RUN, fence, number, known), null)
        const second = { ...batch, upstreamBatchId: 'msgbatch_2' }
        const copy = await runs.addDuplicate(RUN, fence, number, second)
        assert.equal(copy, 2)
        assert.equal(await runs.addDuplicate(RUN, fence, number, second), null)
        const record = (await runs.submissions(RUN))[1]!
        assert.deepEqual(
          [record.state, record.isDuplicate, record.answersFor, record.rows, record.createdAt],
          ['ended', true, number, 2, AT],
        )
        assert.deepEqual(await runs.missingResults(RUN, 2, 10), [0, 1])
        await runs.recordResults(RUN, fence, 2, [result(2, 0), result(2, 1)])
        assert.equal((await runs.counts(RUN)).submitted, 2, 'its results decide no row')
        assert.equal((await runs.ledgerPage(RUN, null, 10)).length, 2)
      },
    )

    stored('the rows that a submission still holds come page by page', async ({ runs }) => {
      const fence = await started(
        runs,
        [0, 1, 2, 3, 4].map((ordinal) => newRow(ordinal)),
      )
      await runs.assignGroups(RUN, fence, [{ ordinal: 0, group: 'p1:a' }])
      const first = await plan(runs, fence, [0, 2, 3, 4])
      await runs.recordResults(RUN, fence, first, [
        result(first, 2),
        result(first, 3, { next: { kind: 'pending', notBefore: null, revision: null } }),
      ])
      const revision = { maxTokens: 64, continues: [] }
      await runs.recordResults(RUN, fence, first, [
        result(first, 4, { next: { kind: 'pending', notBefore: null, revision } }),
      ])
      const second = await plan(runs, fence, [3, 4, 1])
      const toSend = async (number: number) =>
        (await runs.rowsByOrdinal(RUN, number === first ? [0] : [1, 3, 4])).map((row) => ({
          ordinal: row.ordinal,
          userId: row.userId,
          request: row.request,
          group: row.group,
          revision: row.revision,
        }))
      assert.deepEqual(await runs.rowsToSend(RUN, first, -1, 10), await toSend(first))
      assert.deepEqual(await runs.rowsToSend(RUN, second, -1, 10), await toSend(second))
      assert.deepEqual(ordinals(await runs.rowsToSend(RUN, second, 1, 1)), [3])
      assert.deepEqual(await runs.rowsToSend(RUN, second, 4, 1), [])
      assert.deepEqual(await runs.rowsToSend('r0', 1, -1, 1), [])
    })

    stored('what a row sends next time is kept until its next result says otherwise', async ({ runs }) => {
      const fence = await started(runs, [newRow(0)])
      const first = await plan(runs, fence, [0])
      const revision = { maxTokens: 128, continues: [first] }
      const next = { kind: 'pending', notBefore: null, revision } as const
      await runs.recordResults(RUN, fence, first, [result(first, 0, { next })])
      assert.deepEqual((await runs.rowsByOrdinal(RUN, [0]))[0]?.revision, revision)
      assert.deepEqual((await runs.pendingRows(RUN, AT, null, 10))[0]?.revision, revision)
      const second = await plan(runs, fence, [0])
      assert.deepEqual((await runs.rowsByOrdinal(RUN, [0]))[0]?.revision, revision)
      await runs.recordResults(RUN, fence, second, [result(second, 0, { next: again(null) })])
      assert.equal((await runs.rowsByOrdinal(RUN, [0]))[0]?.revision, null)
    })

    stored('the sizes of what is planned or sent are known, of every run', async ({ runs }) => {
      const fence = await started(runs, [newRow(0), newRow(1), newRow(2)])
      assert.deepEqual(await runs.openSizes(), [])
      const first = await plan(runs, fence, [0])
      const second = await plan(runs, fence, [1, 2])
      assert.deepEqual((await runs.openSizes()).toSorted(), [1, 2])
      await events(runs, fence, first, ['refused'])
      await events(runs, fence, second, ['intent_recorded', 'accepted'])
      assert.deepEqual(await runs.openSizes(), [2])
      await events(runs, fence, second, ['ended'])
      assert.deepEqual(await runs.openSizes(), [])
    })

    stored('a row that went on to another submission is not returned by the first', async ({ runs }) => {
      const fence = await started(runs, [newRow(0)])
      const first = await plan(runs, fence, [0])
      await events(runs, fence, first, ['intent_recorded', 'presumed_lost'])
      await runs.returnRows(RUN, fence, first, { kind: 'pending', notBefore: null })
      const second = await plan(runs, fence, [0])
      assert.equal(await runs.returnRows(RUN, fence, first, { kind: 'pending', notBefore: null }), 0)
      const late = await runs.recordResults(RUN, fence, first, [result(first, 0)])
      assert.deepEqual(late, ['recorded'])
      const [row] = await runs.rowsByOrdinal(RUN, [0])
      assert.deepEqual([row?.state, row?.decidedBy, row?.attempts], ['submitted', null, 1])
      await runs.recordResults(RUN, fence, second, [result(second, 0)])
      const [whole] = await runs.resultsPage(RUN, -1, 10)
      assert.deepEqual([whole?.row.decidedBy, whole?.attempt?.submission], [second, second])
      assert.deepEqual(
        whole?.entries.map((entry) => entry.submission),
        [first, second],
      )
    })
  })

  describe(`${under.name}: results and ledger`, () => {
    stored(
      'a result is recorded once: again changes nothing, another one is a conflict',
      async ({ runs }) => {
        const fence = await started(runs, [newRow(0), newRow(1)])
        const number = await plan(runs, fence, [0, 1])
        const first = result(number, 0)
        assert.deepEqual(await runs.recordResults(RUN, fence, number, [first, first]), [
          'recorded',
          'already_recorded',
        ])
        const different = result(number, 0, {
          resultDigest: 'another',
          outcome: 'errored',
          next: again(null),
        })
        const answers = await runs.recordResults(RUN, fence, number, [different, first, result(number, 1)])
        assert.deepEqual(answers, ['conflict', 'already_recorded', 'recorded'])
        const [whole] = await runs.resultsPage(RUN, -1, 1)
        assert.deepEqual(whole?.attempt, first.attempt)
        assert.deepEqual(whole?.entries, [first.entry])
        assert.deepEqual(
          [whole?.row.state, whole?.row.outcome, whole?.row.decidedBy],
          ['done', 'succeeded', number],
        )
        assert.equal((await runs.submissions(RUN))[0]?.ingestedRows, 2)
        assert.equal((await runs.ledgerPage(RUN, null, 10)).length, 2)
      },
    )

    stored('a chunk with a row of no such submission records nothing', async ({ runs }) => {
      const fence = await started(runs, [newRow(0), newRow(1)])
      const number = await plan(runs, fence, [0])
      await assert.rejects(runs.recordResults(RUN, fence, number, [result(number, 0), result(number, 1)]))
      const foreign = { ...result(number, 0), entry: entry(number, 1) }
      await assert.rejects(runs.recordResults(RUN, fence, number, [foreign]))
      assert.deepEqual(await runs.missingResults(RUN, number, 10), [0])
      assert.deepEqual(await runs.ledgerPage(RUN, null, 10), [])
      assert.equal((await runs.submissions(RUN))[0]?.ingestedRows, 0)
    })

    stored('an attempt comes back as it was recorded, with all that may be absent', async ({ runs }) => {
      const fence = await started(runs, [newRow(0), newRow(1), newRow(2)])
      const number = await plan(runs, fence, [0, 1, 2])
      const full = {
        stopReason: 'end_turn',
        errorType: 'api_error',
        errorMessage: 'why',
        result: { file: 2, offset: 2 ** 33, length: 17 },
        schemaValid: false,
        schemaProblem: 'answer/label must be string',
        score: 0.125,
      }
      const results = [
        result(number, 0, full),
        result(number, 1, { outcome: 'expired', billed: false, result: null }),
        result(number, 2, { schemaValid: true, score: 1 }),
      ]
      await runs.recordResults(RUN, fence, number, results)
      const page = await runs.resultsPage(RUN, -1, 10)
      assert.deepEqual(
        page.map((record) => record.attempt),
        results.map((each) => each.attempt),
      )
      assert.deepEqual(
        page.map((record) => record.entries),
        results.map((each) => (each.entry === null ? [] : [each.entry])),
      )
    })

    stored('what is missing of a submission is known, in pages', async ({ runs }) => {
      const fence = await started(
        runs,
        [0, 1, 2, 3].map((ordinal) => newRow(ordinal)),
      )
      const number = await plan(runs, fence, [3, 2, 1, 0])
      await runs.recordResults(RUN, fence, number, [result(number, 2)])
      assert.deepEqual(await runs.missingResults(RUN, number, 10), [0, 1, 3])
      assert.deepEqual(await runs.missingResults(RUN, number, 2), [0, 1])
    })

    stored('every attempt of a row stays: the last one decides, all of them cost', async ({ runs }) => {
      const fence = await started(runs, [newRow(0), newRow(1)])
      const first = await plan(runs, fence, [0, 1])
      await runs.recordResults(RUN, fence, first, [
        result(first, 0, { outcome: 'errored', billed: false, next: again(null) }),
        result(first, 1, { next: again(null) }),
      ])
      const second = await plan(runs, fence, [0, 1])
      await runs.recordResults(RUN, fence, second, [result(second, 0), result(second, 1)])
      const page = await runs.resultsPage(RUN, -1, 10)
      assert.deepEqual(
        page.map(({ row, attempt, entries }) => [
          row.attempts,
          attempt?.submission,
          entries.map((each) => each.submission),
        ]),
        [
          [2, second, [second]],
          [2, second, [first, second]],
        ],
      )
      assert.deepEqual(await runs.resultsPage(RUN, 0, 10), page.slice(1))
      assert.deepEqual(await runs.resultsPage(RUN, -1, 1), page.slice(0, 1))
      const { errored, succeeded } = await runs.attemptCounts(RUN, first)
      assert.deepEqual([errored, succeeded], [1, 1])
    })

    stored('an open row has no attempt that decides it', async ({ runs }) => {
      const fence = await started(runs, [newRow(0), newRow(1)])
      const number = await plan(runs, fence, [0])
      await runs.recordResults(RUN, fence, number, [result(number, 0, { next: again(null) })])
      const page = await runs.resultsPage(RUN, -1, 10)
      assert.deepEqual(
        page.map(({ attempt, entries, row }) => [attempt, entries.length, row.state]),
        [
          [null, 1, 'pending'],
          [null, 0, 'pending'],
        ],
      )
    })

    stored('the ledger comes by submission and ordinal, page after page', async ({ runs }) => {
      const fence = await started(
        runs,
        [0, 1, 2, 3, 4].map((ordinal) => newRow(ordinal)),
      )
      const first = await plan(runs, fence, [4, 0, 2])
      const second = await plan(runs, fence, [3, 1])
      await runs.recordResults(RUN, fence, second, [result(second, 3), result(second, 1)])
      await runs.recordResults(RUN, fence, first, [
        result(first, 4),
        result(first, 2, { billed: false, outcome: 'expired' }),
        result(first, 0),
      ])
      const expected = [entry(first, 0), entry(first, 4), entry(second, 1), entry(second, 3)]
      assert.deepEqual(await runs.ledgerPage(RUN, null, 10), expected)
      for (const limit of [1, 2, 3, 4]) {
        const paged: LedgerEntry[] = []
        for (;;) {
          const page = await runs.ledgerPage(RUN, paged.at(-1) ?? null, limit)
          if (page.length === 0) break
          assert.ok(page.length <= limit && paged.length < expected.length)
          paged.push(...page)
        }
        assert.deepEqual(paged, expected, `pages of ${limit}`)
      }
    })

    stored(
      'the ledger of all runs is added up by certainty, model, tier and the days of its batches',
      async ({ runs }) => {
        const fence = await started(
          runs,
          [0, 1, 2, 3].map((ordinal) => newRow(ordinal)),
        )
        const DAY_MS = 86_400_000
        const across = await plan(runs, fence, [0, 1])
        const times = { createdAt: instant(AT - DAY_MS), endedAt: instant(AT - 1), because: 'test' }
        await runs.touchSubmission(RUN, fence, across, times)
        await runs.recordResults(RUN, fence, across, [result(across, 0), result(across, 1)])
        const realtime = await plan(runs, fence, [2, 3])
        await runs.touchSubmission(RUN, fence, realtime, { endedAt: instant(AT + DAY_MS) })
        const local = result(realtime, 3)
        await runs.recordResults(RUN, fence, realtime, [
          result(realtime, 2),
          { ...local, entry: { ...local.entry!, certainty: 'simulated', kind: 'duplicate' } },
        ])
        const tokens = { cache_write_5m: 0, cache_write_1h: 0, web_search: 0 }
        const same = { model: 'claude-haiku-4-5-20251001', tier: 'batch', lastDay: '2026-11-22' } as const
        const one = { ...tokens, input: 10, cache_read: 2_000, output: 20 }
        const two = { ...tokens, input: 20, cache_read: 4_000, output: 40 }
        const byText = (a: LedgerUsage, b: LedgerUsage) =>
          `${a.certainty} ${a.firstDay}` < `${b.certainty} ${b.firstDay}` ? -1 : 1
        assert.deepEqual((await runs.ledgerUsage()).sort(byText), [
          { ...same, certainty: 'measured', firstDay: '2026-11-21', entries: 2, quantities: two },
          { ...same, certainty: 'measured', firstDay: '2026-11-22', entries: 1, quantities: one },
          { ...same, certainty: 'simulated', firstDay: '2026-11-22', entries: 1, quantities: one },
        ])
      },
    )

    stored('the ledger of a run is added up by submission and group', async ({ runs }) => {
      const models = ['claude-haiku-4-5', 'claude-sonnet-4-5']
      const fence = await started(
        runs,
        [0, 1, 2, 3, 4].map((ordinal) => newRow(ordinal, { model: models[ordinal % 2]! })),
      )
      const group = (ordinal: number) => (ordinal === 4 ? null : `p1:${ordinal % 3}`)
      await runs.assignGroups(
        RUN,
        fence,
        [0, 1, 2, 3, 4].map((ordinal) => ({ ordinal, group: group(ordinal) })),
      )
      const billed = (submission: number, ordinal: number, change: Partial<LedgerEntry>) => ({
        ...result(submission, ordinal, { next: { kind: 'pending', notBefore: null, revision: null } }),
        entry: { ...entry(submission, ordinal), ...change },
      })
      const first = await plan(runs, fence, [0, 1, 2, 3, 4])
      const most = picoUsd(2n ** 63n - 1n)
      const written = { ...entry(first, 3).usage, cacheReadTokens: 0, cacheWrite5mTokens: 3_000 }
      await runs.recordResults(RUN, fence, first, [
        billed(first, 0, { costPicoUsd: most }),
        billed(first, 1, {}),
        billed(first, 2, { costPicoUsd: null }),
        billed(first, 3, { costPicoUsd: most, usage: { ...written, cacheWrite1hTokens: 1_000 } }),
        billed(first, 4, { kind: 'duplicate' }),
      ])
      const second = await plan(runs, fence, [0, 3])
      await runs.recordResults(RUN, fence, second, [
        billed(second, 3, { upstreamBatchId: null }),
        result(second, 0, { billed: false, outcome: 'expired' }),
      ])
      const same = { submission: first, isRealtime: false, entries: 1, readingEntries: 1, unpricedEntries: 0 }
      const tokens = { promptTokens: 2_010, outputTokens: 20, cachedTokensMax: 2_000 }
      const costPicoUsd = picoUsd(155_000_000n)
      const one = { ...same, ...tokens, costPicoUsd }
      assert.deepEqual(joined(await runs.ledgerSums(RUN)), [
        { ...one, group: null },
        {
          ...one,
          group: 'p1:0',
          entries: 2,
          promptTokens: 6_020,
          outputTokens: 40,
          cachedTokensMax: 4_000,
          costPicoUsd: picoUsd(2n * most),
        },
        { ...one, group: 'p1:1' },
        { ...one, group: 'p1:2', unpricedEntries: 1, costPicoUsd: picoUsd(0n) },
        { ...one, group: 'p1:0', submission: second, isRealtime: true },
      ])
      assert.deepEqual(await runs.ledgerSums('r0'), [])
    })

    stored('money is exact past 2⁵³, and a ledger whose sum passes 2⁶³ is read', async ({ runs }) => {
      const fence = await started(runs, [newRow(0), newRow(1), newRow(2)])
      const number = await plan(runs, fence, [0, 1, 2])
      const most = picoUsd(2n ** 63n - 1n)
      const odd = picoUsd(2n ** 53n + 1n)
      await runs.recordResults(RUN, fence, number, [
        { ...result(number, 0), entry: { ...entry(number, 0), costPicoUsd: most, realtimePicoUsd: most } },
        { ...result(number, 1), entry: { ...entry(number, 1), costPicoUsd: most, realtimePicoUsd: odd } },
        { ...result(number, 2), entry: { ...entry(number, 2), costPicoUsd: null, realtimePicoUsd: null } },
      ])
      const ledger = await runs.ledgerPage(RUN, null, 10)
      assert.deepEqual(
        ledger.map((each) => [each.costPicoUsd, each.realtimePicoUsd]),
        [
          [most, most],
          [most, odd],
          [null, null],
        ],
      )
      const page = await runs.resultsPage(RUN, -1, 10)
      assert.deepEqual(
        page.flatMap((record) => record.entries),
        ledger,
      )
      assert.equal((await runs.counts(RUN)).succeeded, 3)
    })

    stored('usage comes back token by token', async ({ runs }) => {
      const fence = await started(runs, [newRow(0)])
      const number = await plan(runs, fence, [0])
      const odd: LedgerEntry = {
        ...entry(number, 0),
        upstreamBatchId: null,
        usage: {
          inputTokens: 1,
          cacheWrite5mTokens: 2,
          cacheWrite1hTokens: 3,
          cacheReadTokens: 4,
          outputTokens: 5,
          webSearchRequests: 6,
          serviceTier: 'priority',
          inferenceGeo: null,
          speed: 'fast',
        },
        certainty: 'simulated',
        kind: 'duplicate',
      }
      await runs.recordResults(RUN, fence, number, [{ ...result(number, 0), entry: odd }])
      assert.deepEqual(await runs.ledgerPage(RUN, null, 10), [odd])
    })

    stored('every attempt of a row comes back, in the order of its submissions', async ({ runs }) => {
      const fence = await started(runs, [newRow(0), newRow(1), newRow(2)])
      const first = await plan(runs, fence, [0, 1, 2])
      const results = [0, 1].map((ordinal) =>
        result(first, ordinal, { stopReason: 'max_tokens', next: again(null) }),
      )
      await runs.recordResults(RUN, fence, first, results)
      const second = await plan(runs, fence, [0])
      await runs.recordResults(RUN, fence, second, [result(second, 0)])
      const attempts = await runs.attemptsOf(RUN, [1, 0, 2, 9])
      assert.deepEqual(attempts, [results[1]!.attempt, results[0]!.attempt, result(second, 0).attempt])
    })

    stored('rows are counted by state and outcome, flaws among the succeeded', async ({ runs }) => {
      const fence = await started(runs, [
        ...Array.from({ length: 10 }, (_, ordinal) => newRow(ordinal)),
        newRow(10, { invalidProblem: 'no' }),
      ])
      const first = await plan(runs, fence, [0, 1, 2, 3, 4, 5, 6, 7, 8])
      await runs.recordResults(RUN, fence, first, [
        result(first, 0, { stopReason: 'refusal' }),
        result(first, 1, { stopReason: 'max_tokens', schemaValid: false }),
        result(first, 2, { stopReason: 'model_context_window_exceeded' }),
        result(first, 3, { schemaValid: true }),
        result(first, 4, { outcome: 'errored', billed: false }),
        result(first, 5, { outcome: 'canceled', billed: false }),
        result(first, 6, { outcome: 'expired', billed: false }),
        result(first, 7, { stopReason: 'max_tokens', schemaValid: false, next: again(null) }),
        result(first, 8, { stopReason: 'pause_turn' }),
      ])
      const outcomes = { succeeded: 5, errored: 1, canceled: 1, expired: 1 }
      const flaws = { refused: 1, truncated: 2, schemaInvalid: 1, unfinished: 1 }
      assert.deepEqual(await runs.counts(RUN), {
        pending: 2,
        submitted: 0,
        invalid: 1,
        unretrievable: 0,
        ...outcomes,
        ...flaws,
      })
      assert.deepEqual(await runs.attemptCounts(RUN, first), {
        ...outcomes,
        succeeded: 6,
        invalid: 0,
        refused: 1,
        truncated: 3,
        schemaInvalid: 2,
        unfinished: 1,
      })
      const second = await plan(runs, fence, [7])
      await runs.recordResults(RUN, fence, second, [result(second, 7)])
      const counts = await runs.counts(RUN)
      assert.deepEqual([counts.succeeded, counts.truncated, counts.pending], [6, 2, 1])
    })

    stored('two runs in one store do not meet', async ({ runs }) => {
      const other = 'rbbbbbbbb1'
      const fence = await started(runs, [newRow(0)])
      await runs.createRun(runRecord({ id: other }))
      const otherFence = await take(runs, other)
      await runs.addRows(other, otherFence, [newRow(0), newRow(1)])
      await runs.startRun(other, otherFence, '{}', 2)
      const number = await plan(runs, fence, [0])
      await runs.recordResults(RUN, fence, number, [result(number, 0)])
      assert.deepEqual(ordinals(await runs.pendingRows(other, AT, null, 10)), [0, 1])
      assert.deepEqual(await runs.ledgerPage(other, null, 10), [])
      assert.deepEqual(await runs.submissions(other), [])
      assert.equal((await runs.counts(other)).pending, 2)
      assert.equal((await runs.resultsPage(other, -1, 10)).length, 2)
    })
  })

  describe(`${under.name}: rows that are sent again, runs that are forgotten`, () => {
    /** A run with a row that errored, one that succeeded, one that is invalid and one that waits. */
    const answered = async ({ runs, bodies }: Store): Promise<number> => {
      const refs = await Promise.all(['request', 'columns'].map((text) => bodies.append(Buffer.from(text))))
      await bodies.sync()
      const rows = [
        newRow(0),
        newRow(1),
        newRow(2, { invalidProblem: 'no such file: canary.png' }),
        newRow(3),
      ]
      const stored = rows.map((row) => ({
        ...row,
        request: refs[0]!,
        columns: refs[1]!,
        expectedJson: '"canary"',
      }))
      const fence = await started(runs, stored)
      await runs.putBlocks(RUN, fence, [{ hash: 'shared', ref: refs[0]! }])
      const number = await plan(runs, fence, [0, 1])
      await events(runs, fence, number, ['intent_recorded', 'accepted', 'ended'])
      const line = await bodies.append(Buffer.from('an answer'))
      const errored = { outcome: 'errored', stopReason: null, errorMessage: 'canary', billed: false } as const
      const customId = (ordinal: number) => `${RUN}-${number}-${ordinal}-canary`
      await runs.recordResults(RUN, fence, number, [
        result(number, 0, { ...errored, customId: customId(0), result: line }),
        result(number, 1, {
          customId: customId(1),
          result: line,
          schemaValid: false,
          schemaProblem: 'canary',
        }),
      ])
      await events(runs, fence, number, ['ingested'])
      return fence
    }

    stored(
      'a row that is done is pending again, and its attempts are history that is no longer counted',
      async (store) => {
        const { runs } = store
        const fence = await answered(store)
        await runs.setRunState(RUN, fence, { from: ['running'], to: 'finished', stopReason: null, at: AT })
        assert.equal(
          await runs.reopenRows(
            RUN,
            fence,
            [0, 3, 9].map((ordinal) => ({ ordinal, replacement: null })),
          ),
          1,
        )
        const [row] = await runs.rowsByOrdinal(RUN, [0])
        assert.deepEqual(
          [row?.state, row?.outcome, row?.decidedBy, row?.attempts, row?.attemptsBefore],
          ['pending', null, null, 1, 1],
        )
        assert.deepEqual(ordinals(await runs.pendingRows(RUN, AT, null, 10)), [0, 3])
        assert.equal((await runs.attemptsOf(RUN, [0])).length, 1)
        const { errored, pending, succeeded } = await runs.counts(RUN)
        assert.deepEqual([errored, pending, succeeded], [0, 2, 1])
        const again = await plan(runs, fence, [0])
        await events(runs, fence, again, ['intent_recorded', 'accepted', 'ended'])
        await runs.recordResults(RUN, fence, again, [result(again, 0)])
        const [done] = await runs.resultsPage(RUN, -1, 1)
        assert.deepEqual(
          [done?.row.decidedBy, done?.row.attempts, done?.attempt?.outcome],
          [again, 2, 'succeeded'],
        )
      },
    )

    stored(
      'what takes the place of a row is what is sent, in its lane, and an invalid row can be sent then',
      async (store) => {
        const { runs } = store
        const fence = await answered(store)
        const row = newRow(2, { model: 'claude-opus-4-8', variant: 'v2', maxTokens: 9, promptTokens: 7 })
        assert.equal(await runs.reopenRows(RUN, fence, [{ ordinal: 2, replacement: { row, group: 'g' } }]), 1)
        assert.deepEqual(await runs.rowsByOrdinal(RUN, [2]), [{ ...rowRecord(row), group: 'g' }])
        const pending = await runs.pendingRows(RUN, AT, null, 10)
        assert.deepEqual(
          pending.map((one) => [one.ordinal, one.model, one.variant, one.group]),
          [
            [3, newRow(3).model, newRow(3).variant, null],
            [2, 'claude-opus-4-8', 'v2', 'g'],
          ],
        )
        const invalid = newRow(0, { invalidProblem: 'too large' })
        await assert.rejects(
          runs.reopenRows(RUN, fence, [{ ordinal: 0, replacement: { row: invalid, group: null } }]),
        )
      },
    )

    stored('settings are replaced', async ({ runs }) => {
      const fence = await started(runs, [])
      assert.equal(await runs.saveSettings(RUN, fence, '{"new":1}'), 'ok')
      assert.equal((await runs.findRuns(RUN))[0]?.settingsJson, '{"new":1}')
    })

    stored('what is forgotten is content: outcomes, tokens and money stay', async (store) => {
      const { runs } = store
      const fence = await answered(store)
      const kept = { at: LATER, settingsJson: '{"s":1}', planJson: '{"p":1}', eventKinds: ['budget'] }
      await runs.addEvent({ run: RUN, at: AT, submission: 0, kind: 'budget', detail: '25' })
      await runs.addEvent({ run: RUN, at: AT, submission: 0, kind: 'other', detail: 'canary' })
      await assert.rejects(runs.forgetRun(RUN, fence, kept), 'not while it is running')
      await runs.setRunState(RUN, fence, { from: ['running'], to: 'canceled', stopReason: null, at: AT })
      const before = { counts: await runs.counts(RUN), ledger: await runs.ledgerPage(RUN, null, 10) }
      assert.equal(await runs.forgetRun(RUN, fence, kept), 'ok')
      assert.equal(await runs.forgetRun(RUN, fence, { ...kept, at: AT }), 'ok')
      assert.deepEqual(await runs.counts(RUN), before.counts)
      const identity = (ordinal: number) => `${RUN}-1-${ordinal}`
      assert.deepEqual(
        await runs.ledgerPage(RUN, null, 10),
        before.ledger.map((entry) => ({ ...entry, customId: identity(entry.ordinal) })),
      )
      const page = await runs.resultsPage(RUN, -1, 10)
      assert.deepEqual(
        page.map(({ attempt }) => attempt && [attempt.customId, attempt.result, attempt.outcome]),
        [[identity(0), null, 'errored'], [identity(1), null, 'succeeded'], null, null],
      )
      const [run] = await runs.findRuns(RUN)
      assert.deepEqual(
        [run?.forgottenAt, run?.settingsJson, run?.planJson, run?.fingerprint],
        [LATER, '{"s":1}', '{"p":1}', ''],
      )
      assert.deepEqual(await runs.blocks(RUN, ['shared']), [])
      const everything = [page, await runs.submissions(RUN), await runs.events(RUN)]
      assert.doesNotMatch(
        JSON.stringify(everything, (_, value: unknown) =>
          typeof value === 'bigint' ? String(value) : value,
        ),
        /canary|user-/,
      )
      assert.deepEqual(
        (await runs.events(RUN)).filter((event) => event.detail !== '').map((event) => event.kind),
        ['budget'],
      )
      await runs.scrub()
    })

    stored(
      'bodies that nobody refers to any more are gone, and the others are as they were',
      async (store) => {
        const { runs, bodies } = store
        const fence = await answered(store)
        const other = 'raaaaaaaa2'
        await runs.createRun(runRecord({ id: other }))
        const ref = await bodies.append(Buffer.from('of another run'))
        await bodies.sync()
        const theirs = await take(runs, other)
        await runs.addRows(other, theirs, [newRow(0, { request: ref, columns: NO_REF })])
        const [answer] = (await runs.resultsPage(RUN, 0, 1)).map(({ attempt }) => attempt?.result)
        await runs.setRunState(RUN, fence, { from: ['running'], to: 'finished', stopReason: null, at: AT })
        const kept = { at: AT, settingsJson: '{}', planJson: '{}', eventKinds: [] }
        await runs.forgetRun(RUN, fence, kept)
        assert.deepEqual(await runs.bodyRanges(), [ref])
        await bodies.keepOnly(await bodies.extents(), await runs.bodyRanges())
        assert.equal(Buffer.from(await bodies.read(ref)).toString(), 'of another run')
        const left = await bodies.read(answer!).then(
          (bytes) => bytes.every((byte) => byte === 0),
          () => true,
        )
        assert.ok(left)
      },
    )
  })

  describe(`${under.name}: bodies`, () => {
    stored('bytes are read back from where they were appended, synced or not', async ({ bodies }) => {
      const bytes = Buffer.from('größer — ✓')
      const first = await bodies.append(bytes)
      const empty = await bodies.append(new Uint8Array())
      const reused = new Uint8Array([1, 2, 3])
      const second = await bodies.append(reused)
      reused.fill(9)
      assert.deepEqual(Buffer.from(await bodies.read(first)), bytes)
      await bodies.sync()
      assert.deepEqual([...(await bodies.read(second))], [1, 2, 3])
      assert.equal((await bodies.read(empty)).length, 0)
      const third = await bodies.append(new Uint8Array([4]))
      assert.deepEqual([...(await bodies.read(third))], [4])
      assert.deepEqual(Buffer.from(await bodies.read(first)), bytes)
    })

    stored('a body of several megabytes is one body', async ({ bodies }) => {
      const large = Buffer.alloc(3_000_001, 'abc')
      const before = await bodies.append(Buffer.from('before'))
      const ref = await bodies.append(large)
      const after = await bodies.append(Buffer.from('after'))
      assert.ok(large.equals(await bodies.read(ref)))
      assert.equal(Buffer.from(await bodies.read(before)).toString(), 'before')
      assert.equal(Buffer.from(await bodies.read(after)).toString(), 'after')
    })

    stored('bytes that are not there are an error, not silence', async ({ bodies }) => {
      const ref = await bodies.append(Buffer.from('abc'))
      await bodies.sync()
      const corrupt = (error: unknown) => error instanceof TitheError && error.code === 'store_corrupt'
      await assert.rejects(bodies.read({ ...ref, length: 4 }), corrupt)
      await assert.rejects(bodies.read({ ...ref, file: ref.file + 1_000 }), corrupt)
    })
  })

  const { reopen } = under
  if (reopen === undefined) return

  describe(`${under.name}: durability`, () => {
    test('what was answered is there after the store was opened again', async (context) => {
      const store = await under.open(context)
      const fence = await started(store.runs, [newRow(0), newRow(1)])
      const ref = await store.bodies.append(Buffer.from('{"result":1}'))
      await store.bodies.sync()
      const number = await plan(store.runs, fence, [0])
      await store.runs.recordResults(RUN, fence, number, [result(number, 0, { result: ref })])
      const before = await snapshot(store)
      await store.runs.close()
      await store.bodies.close()
      const again = await reopen(store)
      try {
        assert.deepEqual(await snapshot(again), before)
        assert.equal(Buffer.from(await again.bodies.read(ref)).toString(), '{"result":1}')
        const own = await again.bodies.append(Buffer.from('new'))
        assert.notEqual(own.file, ref.file)
        assert.equal(await again.runs.savePlan(RUN, fence, '{}'), 'ok')
        assert.deepEqual(ordinals(await again.runs.pendingRows(RUN, AT, null, 10)), [1])
      } finally {
        await again.runs.close()
        await again.bodies.close()
      }
    })
  })
}

export function runRecord(fields: Partial<RunRecord> = {}): RunRecord {
  return {
    id: RUN,
    fingerprint: 'c1:f',
    name: 'tickets',
    jobPath: '/jobs/tickets.yaml',
    createdAt: AT,
    finishedAt: null,
    forgottenAt: null,
    state: 'preparing',
    stopReason: null,
    upstream: 'local',
    upstreamKind: 'local',
    organizationId: null,
    workspaceId: null,
    settingsJson: '{}',
    planJson: '{}',
    rows: 0,
    ...fields,
  }
}

export function newRow(ordinal: number, fields: Partial<NewRow> = {}): NewRow {
  return {
    ordinal,
    userId: `user-${ordinal}`,
    line: ordinal + 1,
    model: 'claude-haiku-4-5',
    variant: '2023-06-01',
    request: { file: 1, offset: ordinal * 100, length: 100 },
    paramsBytes: 100,
    columns: { file: 1, offset: ordinal * 100, length: 10 },
    expectedJson: null,
    prefixesJson: '["p1:a"]',
    promptTokens: 40,
    promptTokensHigh: 50,
    maxTokens: 64,
    webSearchesMax: 0,
    inferenceGeo: null,
    speed: 'standard',
    ownMarkTtl: null,
    invalidProblem: null,
    ...fields,
  }
}

function rowRecord(row: NewRow) {
  return {
    ...row,
    state: 'pending',
    group: null,
    attempts: 0,
    attemptsBefore: 0,
    notBefore: null,
    revision: null,
    outcome: null,
    decidedBy: null,
  }
}

export function submissionRecord(fields: Partial<SubmissionRecord> = {}): Omit<SubmissionRecord, 'number'> {
  return {
    run: RUN,
    wave: 1,
    kind: 'bulk',
    variant: '2023-06-01',
    state: 'planned',
    rows: 1,
    sizeBytes: 100,
    marksJson: '{}',
    fingerprint: null,
    intentAt: null,
    newestIdBefore: null,
    serverIntentAt: null,
    organizationId: null,
    workspaceId: null,
    upstreamBatchId: null,
    createdAt: null,
    endedAt: null,
    expiresAt: null,
    cancelInitiatedAt: null,
    countsJson: null,
    nextPollAt: null,
    isDuplicate: false,
    answersFor: null,
    deletedAt: null,
    ingestedRows: 0,
    because: null,
    ...fields,
  }
}

function entry(submission: number, ordinal: number): LedgerEntry {
  return {
    run: RUN,
    submission,
    ordinal,
    upstreamBatchId: `msgbatch_${submission}`,
    customId: `${RUN}-${submission}-${ordinal}`,
    at: AT,
    model: 'claude-haiku-4-5-20251001',
    usage: {
      inputTokens: 10,
      cacheWrite5mTokens: 0,
      cacheWrite1hTokens: 0,
      cacheReadTokens: 2_000,
      outputTokens: 20,
      webSearchRequests: 0,
      serviceTier: 'batch',
      inferenceGeo: 'not_available',
      speed: 'standard',
    },
    costPicoUsd: picoUsd(155_000_000n),
    realtimePicoUsd: picoUsd(2_110_000_000n),
    certainty: 'measured',
    priceBook: 'b1',
    kind: 'paid',
  }
}

/** A result that decides its row and was billed, unless `fields` say otherwise. */
/** In order, and one sum of each submission and group. */
function joined(sums: readonly LedgerSum[]): LedgerSum[] {
  const key = ({ submission, group }: LedgerSum) => `${submission} ${group ?? ''}`
  return [...Map.groupBy(sums, key)]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, parts]) => parts.reduce((sum, part) => addSums(sum, part)))
}

export function result(
  submission: number,
  ordinal: number,
  fields: Partial<AttemptRecord> & { billed?: boolean; next?: ResultToRecord['next'] } = {},
): ResultToRecord {
  const { billed = true, next = { kind: 'done' }, ...attempt } = fields
  return {
    attempt: {
      run: RUN,
      submission,
      ordinal,
      customId: `${RUN}-${submission}-${ordinal}`,
      at: AT,
      outcome: 'succeeded',
      stopReason: 'end_turn',
      errorType: null,
      errorMessage: null,
      result: { file: 1, offset: 0, length: 10 },
      resultDigest: `digest-${submission}-${ordinal}`,
      schemaValid: null,
      schemaProblem: null,
      score: null,
      ...attempt,
    },
    entry: billed ? entry(submission, ordinal) : null,
    next,
  }
}

function again(notBefore: Instant | null): ResultToRecord['next'] {
  return { kind: 'pending', notBefore, revision: null }
}

type Runs = Store['runs']

async function take(runs: Runs, run = RUN): Promise<number> {
  const answer = await runs.acquireLease(run, 'driver', AT, LATER)
  assert.equal(answer.kind, 'held')
  return answer.kind === 'held' ? answer.fence : 0
}

async function prepared(runs: Runs, rows: readonly NewRow[]): Promise<number> {
  await runs.createRun(runRecord())
  const fence = await take(runs)
  assert.equal(await runs.addRows(RUN, fence, rows), 'ok')
  return fence
}

/** A running run with these rows, and the fence of its driver. */
export async function started(runs: Runs, rows: readonly NewRow[]): Promise<number> {
  const fence = await prepared(runs, rows)
  assert.equal(await runs.startRun(RUN, fence, '{}', rows.length), 'ok')
  return fence
}

export async function plan(runs: Runs, fence: number, rows: readonly number[]): Promise<number> {
  const answer = await runs.planSubmission(fence, submissionRecord({ rows: rows.length }), rows)
  assert.equal(answer.kind, 'planned')
  return answer.kind === 'planned' ? answer.number : 0
}

async function events(
  runs: Runs,
  fence: number,
  number: number,
  kinds: readonly SubmissionEvent[],
): Promise<void> {
  for (const kind of kinds) {
    const from: SubmissionState = (await runs.submissions(RUN))[number - 1]!.state
    assert.equal(await runs.recordEvent(RUN, fence, number, { kind, from, at: AT, detail: '' }, {}), 'ok')
  }
}

/** Every method that writes, with the fence of a driver that was replaced. */
async function assertFenced(runs: Runs, fence: number): Promise<void> {
  const event = { kind: 'intent_recorded', from: 'planned', at: AT, detail: '' } as const
  const change = { from: ['running'], to: 'finished', stopReason: null, at: AT } as const
  const answers = {
    startRun: await runs.startRun(RUN, fence, '{}', 0),
    setRunState: await runs.setRunState(RUN, fence, change),
    savePlan: await runs.savePlan(RUN, fence, '{"stale":1}'),
    recordWorkspace: await runs.recordWorkspace(RUN, fence, { organizationId: 'o', workspaceId: 'w' }),
    renewLease: await runs.renewLease(RUN, fence, LATER),
    addRows: await runs.addRows(RUN, fence, [newRow(99)]),
    assignGroups: await runs.assignGroups(RUN, fence, [{ ordinal: 0, group: 'stale' }]),
    putBlocks: await runs.putBlocks(RUN, fence, [{ hash: 'stale', ref: NO_REF }]),
    planSubmission: (await runs.planSubmission(fence, submissionRecord(), [0])).kind,
    recordEvent: await runs.recordEvent(RUN, fence, 1, event, {}),
    addDuplicate: await runs.addDuplicate(RUN, fence, 1, {
      upstreamBatchId: 'stale',
      createdAt: AT,
      expiresAt: AT,
      endedAt: AT,
      because: 'stale',
    }),
    adoptSubmission: await runs.adoptSubmission(fence, { ...submissionRecord(), number: 9 }, []),
    touchSubmission: await runs.touchSubmission(RUN, fence, 1, { because: 'stale' }),
    returnRows: await runs.returnRows(RUN, fence, 1, { kind: 'pending', notBefore: null }),
    endUnretrievable: await runs.endUnretrievable(RUN, fence, 1),
    cancelPendingRows: await runs.cancelPendingRows(RUN, fence),
    saveSettings: await runs.saveSettings(RUN, fence, '{"stale":1}'),
    reopenRows: await runs.reopenRows(RUN, fence, [{ ordinal: 0, replacement: null }]),
    forgetRun: await runs.forgetRun(RUN, fence, {
      at: AT,
      settingsJson: '{}',
      planJson: '{"stale":1}',
      eventKinds: [],
    }),
    recordResults: await runs.recordResults(RUN, fence, 1, [result(1, 0)]),
  }
  for (const [method, answer] of Object.entries(answers)) assert.equal(answer, 'fenced', method)
  assert.deepEqual(await runs.blocks(RUN, ['stale']), [])
  const [run] = await runs.findRuns(RUN)
  assert.deepEqual([run?.state, run?.planJson, run?.organizationId], ['running', '{}', null])
}

async function stateOf(runs: Runs) {
  const [run] = await runs.findRuns(RUN)
  return { state: run?.state, stopReason: run?.stopReason, finishedAt: run?.finishedAt }
}

async function snapshot({ runs }: Store) {
  return {
    runs: await runs.findRuns(''),
    results: await runs.resultsPage(RUN, -1, 100),
    ledger: await runs.ledgerPage(RUN, null, 100),
    submissions: await runs.submissions(RUN),
    counts: await runs.counts(RUN),
  }
}

function ids(runs: readonly RunRecord[]): string[] {
  return runs.map((run) => run.id)
}

function ordinals(rows: readonly { readonly ordinal: number }[]): number[] {
  return rows.map((row) => row.ordinal)
}

function byLane(a: PendingRow, b: PendingRow): number {
  const key = (row: PendingRow) => [row.variant, row.model, row.group ?? ''].join(' ')
  return key(a) === key(b) ? a.ordinal - b.ordinal : key(a) < key(b) ? -1 : 1
}
