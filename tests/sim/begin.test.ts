import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RowDescriber } from '../../src/core/describe-row.ts'
import { HOUR_MS, plusMs } from '../../src/core/instant.ts'
import { tokenMeasurer } from '../../src/core/token-estimate.ts'
import { loadPriors } from '../../src/facts/priors.ts'
import { loadTokenFacts } from '../../src/facts/tokenizers.ts'
import { type BeginDeps, beginRun, earlierRun } from '../../src/runs/begin-run.ts'
import { seededIds } from '../../src/runtime/ids.ts'
import { virtualClock } from '../../src/runtime/virtual.ts'
import { openMemoryStore } from '../../src/stores/memory.ts'
import type { Store } from '../../src/stores/store.ts'
import { catalogue, SETTINGS, START, simRows } from './harness.ts'

const IDENTITY = { fingerprint: 'f', upstream: 'local', upstreamKind: 'local' } as const
const FACTS = loadTokenFacts()

function depsOf(store: Store, seed: number): BeginDeps {
  const clock = virtualClock(START)
  return { store, clock, ids: seededIds(seed), holder: `${seed}@sim`, isHolderGone: () => false }
}

function begin(deps: BeginDeps) {
  const measurer = tokenMeasurer(
    (text) => text.length,
    () => null,
    FACTS.media,
  )
  const job = {
    settings: SETTINGS,
    outline: null,
    stated: null,
    problems: [],
    async *rows() {
      yield* simRows({ rows: 3 })
    },
  }
  const planning = {
    catalogue,
    priors: loadPriors(),
    visits: [],
    at: START,
    describer: new RowDescriber({ catalogue, measurer, facts: FACTS, at: START }),
    counting: () => 'exact' as const,
    halfBandTokens: () => 0,
  }
  const options = { allModels: false, skipInvalid: false }
  return beginRun(deps, job, IDENTITY, planning, options, async () => true)
}

test('two processes that begin the same job at the same time do not both buy it', async () => {
  const store = openMemoryStore()
  const ends = await Promise.allSettled([begin(depsOf(store, 1)), begin(depsOf(store, 2))])
  const begun = ends.filter((end) => end.status === 'fulfilled')
  assert.ok(begun.length <= 1, `${begun.length} runs begun`)
  assert.equal((await store.runs.findRuns('')).length, begun.length, 'nothing is left of the others')
  const again = await begin(depsOf(store, 3)).catch(() => null)
  assert.equal(begun.length + (again === null ? 0 : 1), 1)
})

test('a run that was forgotten while its rows were read does not start', async () => {
  const store = openMemoryStore()
  const deps = depsOf(store, 1)
  const forgetful = {
    ...store,
    runs: new Proxy(store.runs, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name)
        if (name !== 'startRun') return typeof value === 'function' ? value.bind(target) : value
        return async (...args: Parameters<typeof target.startRun>) => {
          await target.discardPreparing(args[0])
          return target.startRun(...args)
        }
      },
    }),
  }
  await assert.rejects(begin({ ...deps, store: forgetful }), { code: 'run_taken' })
})

test('a reader on another machine that was not heard of for a day no longer keeps its job', async () => {
  const store = openMemoryStore()
  const { runs } = store
  await runs.createRun({ ...RECORD, id: 'r000000001', createdAt: START })
  await runs.acquireLease('r000000001', '7@elsewhere', START, plusMs(START, HOUR_MS))
  const deps = depsOf(store, 1)
  await assert.rejects(earlierRun(deps, 'f'), { code: 'run_held' })
  const later = { ...deps, clock: virtualClock(plusMs(START, HOUR_MS)) }
  assert.equal(await earlierRun(later, 'f'), null)
})

const RECORD = {
  ...IDENTITY,
  name: 'sim',
  jobPath: null,
  finishedAt: null,
  forgottenAt: null,
  state: 'preparing',
  stopReason: null,
  organizationId: null,
  workspaceId: null,
  settingsJson: '{}',
  planJson: '{}',
  rows: 0,
} as const
