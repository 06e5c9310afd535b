import { HOUR_MS } from '../../src/core/instant.ts'
import type { JsonObject } from '../../src/core/json.ts'
import type { LedgerEntry } from '../../src/core/ledger.ts'
import type { RunDeps } from '../../src/runs/run-deps.ts'
import type { ResultToRecord, RunRecord, RunStore, Store, SubmissionRecord } from '../../src/stores/store.ts'
import type { BatchBody, MessageBatch, Upstream } from '../../src/upstreams/upstream.ts'
import type { World } from './harness.ts'
import { around } from './machine-faults.ts'
import { customIdOf, replaced } from './watch.ts'

// Bugs on purpose. Each stands between a driver and its world and makes the driver behave as if it had that bug: a check of
// the simulation that lets one of them pass checks nothing. None is a switch in the product.

export interface Break {
  readonly what: string
  /** The store itself, for every driver. */
  readonly store?: (store: Store) => Store
  /** What one driver sees. */
  readonly deps?: (deps: RunDeps, world: World) => RunDeps
}

export const BREAKS: Readonly<Record<string, Break>> = {
  'intent-after-call': {
    what: 'the intent is recorded once the create was answered',
    deps: (deps) => {
      let intent: (() => unknown) | null = null
      const recordLate = async () => {
        await intent?.()
        intent = null
      }
      const runs = around(deps.store.runs, (name, call, args) => {
        if (name !== 'recordEvent' || (args[3] as { kind: string }).kind !== 'intent_recorded') return call()
        intent = call
        return Promise.resolve('ok')
      })
      const upstream = replaced<Upstream>(deps.upstream, {
        createBatch: (body, context) => deps.upstream.createBatch(body, context).finally(recordLate),
      })
      return { ...deps, store: { ...deps.store, runs }, upstream }
    },
  },

  'ingest-twice': {
    what: 'results that are read a second time are paid for a second time',
    store: (store) => {
      const again: LedgerEntry[] = []
      return withRuns(store, {
        async recordResults(run, fence, submission, results) {
          const answers = await store.runs.recordResults(run, fence, submission, results)
          if (answers !== 'fenced') {
            again.push(
              ...results.flatMap(({ entry }, index) =>
                entry && answers[index] === 'already_recorded' ? [entry] : [],
              ),
            )
          }
          return answers
        },
        async ledgerPage(run, after, limit) {
          const page = await store.runs.ledgerPage(run, after, limit)
          return after === null ? [...again.filter((entry) => entry.run === run), ...page] : page
        },
      })
    },
  },

  'no-fence': {
    what: 'a driver whose run was taken goes on writing',
    store: (store) => {
      const fences = new Map<string, number>()
      const runs = around(store.runs, async (name, call, args) => {
        if (name === 'acquireLease') {
          const lease = (await call()) as Awaited<ReturnType<RunStore['acquireLease']>>
          if (lease.kind === 'held') fences.set(String(args[0]), lease.fence)
          return lease
        }
        const method = Reflect.get(store.runs, name) as (...all: unknown[]) => unknown
        if (name === 'planSubmission') {
          return method.call(store.runs, fences.get((args[1] as { run: string }).run), ...args.slice(1))
        }
        const isFenced = typeof args[1] === 'number' && fences.has(String(args[0])) && FENCED.has(name)
        return isFenced
          ? method.call(store.runs, args[0], fences.get(String(args[0])), ...args.slice(2))
          : call()
      })
      return { ...store, runs }
    },
  },

  'short-stream-accepted': {
    what: 'a results file that ends early is taken for whole',
    deps: (deps) => {
      const runs = replaced<RunStore>(deps.store.runs, {
        async missingResults(run, submission, limit) {
          const { kind } = (await submissionOf(deps.store, run, submission))!
          return kind === 'realtime' ? deps.store.runs.missingResults(run, submission, limit) : []
        },
      })
      return { ...deps, store: { ...deps.store, runs } }
    },
  },

  'foreign-adopted': {
    what: 'count and time of a batch are taken for proof that it is ours',
    deps: (deps) => ({
      ...deps,
      upstream: replaced<Upstream>(deps.upstream, {
        async *batchResults(id) {
          const unanswered = await waitingFor(deps, id)
          for await (const line of deps.upstream.batchResults(id)) {
            const ordinal = unanswered?.ordinals.shift()
            if (unanswered === null || ordinal === undefined) {
              yield line
              continue
            }
            const { run, number } = unanswered.submission
            const value = JSON.parse(Buffer.from(line).toString('utf8')) as JsonObject
            yield Buffer.from(
              JSON.stringify({ ...value, custom_id: `${run}-${number}-${ordinal.toString(36)}` }),
            )
          }
        },
      }),
    }),
  },

  'candidates-canceled': {
    what: 'what could be our lost batch is canceled before it is sent again',
    deps: (deps, world) => ({
      ...deps,
      upstream: replaced<Upstream>(deps.upstream, {
        async listBatches(query) {
          const page = await deps.upstream.listBatches(query)
          for (const batch of page.data) {
            if (
              batch.processing_status === 'in_progress' &&
              (await waitingFor(deps, batch.id, batch)) !== null
            ) {
              await world.local.cancelBatch(batch.id)
            }
          }
          return page
        },
      }),
    }),
  },

  'create-retried': {
    what: 'a create without an answer is called again, as an SDK does',
    deps: (deps) => ({
      ...deps,
      upstream: replaced<Upstream>(deps.upstream, {
        async createBatch(body, context) {
          const answer = await deps.upstream.createBatch(body, context)
          return answer.kind === 'ambiguous' ? deps.upstream.createBatch(body, context) : answer
        },
      }),
    }),
  },

  'resubmit-on-404': {
    what: 'a known batch that is 404 for a moment is sent again',
    deps: (deps, world) => {
      const sent = sentBatches(deps)
      const instead = notesOf(world).instead
      return {
        ...deps,
        upstream: replaced<Upstream>(sent.upstream, {
          async retrieveBatch(id) {
            const answer = await deps.upstream.retrieveBatch(instead.get(id) ?? id)
            const body = sent.bodies.get(id)
            if (answer !== null || body === undefined) return answer
            const again = await deps.upstream.createBatch(body.body, body.context)
            if (again.kind === 'accepted') instead.set(id, again.batch.id)
            return again.kind === 'accepted' ? { batch: again.batch, headers: again.headers } : null
          },
          batchResults: (id) => deps.upstream.batchResults(instead.get(id) ?? id),
        }),
      }
    },
  },

  'cancel-not-waited-for': {
    what: 'a batch that is being canceled is taken for ended, with nothing done',
    deps: (deps, world) => ({
      ...deps,
      upstream: replaced<Upstream>(deps.upstream, {
        async retrieveBatch(id) {
          const answer = await deps.upstream.retrieveBatch(id)
          if (answer?.batch.processing_status !== 'canceling') return answer
          const { batch, headers } = answer
          return { batch: { ...batch, processing_status: 'ended', ended_at: batch.created_at }, headers }
        },
        async *batchResults(id) {
          const answer = await deps.upstream.retrieveBatch(id)
          if (answer?.batch.processing_status !== 'canceling') {
            yield* deps.upstream.batchResults(id)
            return
          }
          for (const custom_id of notesOf(world).sentIds.get(id) ?? []) {
            yield Buffer.from(JSON.stringify({ custom_id, result: { type: 'canceled' } }))
          }
        },
        async createBatch(body, context) {
          const ids: string[] = []
          async function* elements() {
            for await (const element of body.elements()) {
              ids.push(customIdOf(element))
              yield element
            }
          }
          const answer = await deps.upstream.createBatch({ ...body, elements }, context)
          if (answer.kind === 'accepted') notesOf(world).sentIds.set(answer.batch.id, ids)
          return answer
        },
      }),
    }),
  },

  'entry-dropped': {
    what: 'the first answer of each chunk of results has no ledger entry',
    deps: (deps) => ({
      ...deps,
      store: withRuns(deps.store, {
        recordResults: (run, fence, submission, results) =>
          deps.store.runs.recordResults(
            run,
            fence,
            submission,
            results.map(
              (result, index): ResultToRecord => (index === 0 ? { ...result, entry: null } : result),
            ),
          ),
      }),
    }),
  },

  'budget-not-reserved': {
    what: 'a wave is sent without setting aside what it may cost',
    deps: (deps) => ({
      ...deps,
      store: withRuns(deps.store, {
        pendingRows: async (...args) =>
          (await deps.store.runs.pendingRows(...args)).map((row) => {
            return { ...row, promptTokens: 0, promptTokensHigh: 0, maxTokens: 0 }
          }),
      }),
    }),
  },

  'presumed-lost-too-early': {
    what: 'a create that the list does not show at once is presumed lost',
    deps: (deps) => ({
      ...deps,
      store: withRuns(deps.store, {
        findRuns: async (prefix) =>
          (await deps.store.runs.findRuns(prefix)).map((run) => withSettings(run, { presumeLostAfterMs: 0 })),
      }),
    }),
  },

  'latecomer-forgotten': {
    what: 'a batch that was presumed lost and turns up is not looked for',
    deps: (deps) => ({
      ...deps,
      upstream: replaced<Upstream>(deps.upstream, {
        async listBatches(query) {
          const page = await deps.upstream.listBatches(query)
          const known = new Set<string | null>()
          let oldestOpen = Number.POSITIVE_INFINITY
          for (const run of await deps.store.runs.findRuns('')) {
            for (const one of await deps.store.runs.submissions(run.id)) {
              known.add(one.upstreamBatchId)
              if (one.state === 'submitting') oldestOpen = Math.min(oldestOpen, one.serverIntentAt ?? 0)
            }
          }
          const data = page.data.filter(
            (batch) => known.has(batch.id) || Date.parse(batch.created_at) >= oldestOpen - HOUR_MS / 6,
          )
          return { ...page, data }
        },
      }),
    }),
  },

  'conflict-overwritten': {
    what: 'a second, different result of a row is taken for the same again',
    deps: (deps) => ({
      ...deps,
      store: withRuns(deps.store, {
        async recordResults(run, fence, submission, results) {
          const answers = await deps.store.runs.recordResults(run, fence, submission, results)
          return answers === 'fenced'
            ? answers
            : answers.map((one) => (one === 'conflict' ? 'already_recorded' : one))
        },
      }),
    }),
  },

  'retry-of-anything': {
    what: 'a row that failed for good is sent again',
    deps: (deps) => ({
      ...deps,
      store: withRuns(deps.store, {
        recordResults: (run, fence, submission, results) =>
          deps.store.runs.recordResults(
            run,
            fence,
            submission,
            results.map((result): ResultToRecord => {
              const isHopeless = result.attempt.errorType === 'invalid_request_error'
              const next = { kind: 'pending', notBefore: null, revision: null } as const
              return isHopeless ? { ...result, next } : result
            }),
          ),
      }),
    }),
  },

  'deleted-before-ingested': {
    what: 'a batch is deleted at the upstream as soon as it has ended',
    deps: (deps) => ({
      ...deps,
      upstream: replaced<Upstream>(deps.upstream, {
        async retrieveBatch(id) {
          const answer = await deps.upstream.retrieveBatch(id)
          if (answer?.batch.processing_status === 'ended') await deps.upstream.deleteBatch(id)
          return answer
        },
      }),
    }),
  },

  'message-repeated': {
    what: 'a realtime call that was answered is made once more',
    deps: (deps) => ({
      ...deps,
      upstream: replaced<Upstream>(deps.upstream, {
        async createMessage(body, context) {
          await deps.upstream.createMessage(body, context)
          return deps.upstream.createMessage(body, context)
        },
      }),
    }),
  },

  'deadline-missed-silently': {
    what: 'a deadline that is missed is not announced',
    deps: (deps) => ({
      ...deps,
      store: withRuns(deps.store, {
        addEvent: (event) =>
          event.kind === 'deadline_missed' ? Promise.resolve() : deps.store.runs.addEvent(event),
      }),
    }),
  },
}

/** What a driver forgets when it dies, and a bug need not. */
const NOTES = new WeakMap<World, { sentIds: Map<string, readonly string[]>; instead: Map<string, string> }>()

function notesOf(world: World) {
  const notes = NOTES.get(world) ?? { sentIds: new Map(), instead: new Map() }
  NOTES.set(world, notes)
  return notes
}

const FENCED = new Set([
  'startRun',
  'setRunState',
  'savePlan',
  'recordWorkspace',
  'renewLease',
  'addRows',
  'assignGroups',
  'putBlocks',
  'recordEvent',
  'touchSubmission',
  'addDuplicate',
  'returnRows',
  'endUnretrievable',
  'cancelPendingRows',
  'recordResults',
])

function withRuns(store: Store, methods: Partial<RunStore>): Store {
  return { ...store, runs: replaced(store.runs, methods) }
}

async function submissionOf(
  store: Store,
  run: string,
  number: number,
): Promise<SubmissionRecord | undefined> {
  return (await store.runs.submissions(run)).find((one) => one.number === number)
}

function withSettings(run: RunRecord, settings: JsonObject): RunRecord {
  return {
    ...run,
    settingsJson: JSON.stringify({ ...(JSON.parse(run.settingsJson) as JsonObject), ...settings }),
  }
}

/** The unanswered create that a batch nobody knows could be, by its count of rows alone. */
async function waitingFor(deps: RunDeps, id: string, known?: MessageBatch) {
  const batch = known ?? (await deps.upstream.retrieveBatch(id))?.batch
  if (batch === undefined) return null
  const counts = batch.request_counts
  const rows = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
  for (const run of await deps.store.runs.findRuns('')) {
    const all = await deps.store.runs.submissions(run.id)
    if (all.some((one) => one.upstreamBatchId === id)) return null
    const submission = all.find((one) => one.state === 'submitting' && one.rows === rows)
    if (submission === undefined) continue
    return {
      submission,
      ordinals: await deps.store.runs.submissionRows(run.id, submission.number, -1, 1_000),
    }
  }
  return null
}

/** Remembers what was sent, so that it can be sent again. */
function sentBatches(deps: RunDeps) {
  const bodies = new Map<string, { body: BatchBody; context: Parameters<Upstream['createBatch']>[1] }>()
  const upstream = replaced<Upstream>(deps.upstream, {
    async createBatch(body, context) {
      const sent: Uint8Array[] = []
      async function* elements() {
        for await (const element of body.elements()) {
          sent.push(element)
          yield element
        }
      }
      async function* again() {
        yield* sent
      }
      const answer = await deps.upstream.createBatch({ ...body, elements }, context)
      if (answer.kind === 'accepted')
        bodies.set(answer.batch.id, { body: { ...body, elements: again }, context })
      return answer
    },
  })
  return { upstream, bodies }
}
