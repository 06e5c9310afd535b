import { TitheError } from '../core/errors.ts'
import { DAY_MS, plusMs, SECOND_MS } from '../core/instant.ts'
import { settingsToJson } from '../core/job.ts'
import { planJson } from '../core/plan-json.ts'
import type { RunPlan } from '../core/run-plan.ts'
import type { Clock, Ids } from '../runtime/runtime.ts'
import type { RunRecord, RunStore, Store } from '../stores/store.ts'
import { checkPlan, type PlannableJob, type PlanningDeps, type PlanningOptions, planRun } from './plan-run.ts'
import { assignGroups, StoreSink } from './prepare.ts'
import { unfenced } from './run-context.ts'
import type { RunDeps } from './run-deps.ts'

/** What tells a run from every other: job and input, and who answers. */
export interface RunIdentity {
  readonly fingerprint: string
  readonly upstream: string
  readonly upstreamKind: RunRecord['upstreamKind']
}

export interface BeginDeps extends Pick<RunDeps, 'holder' | 'isHolderGone'> {
  readonly store: Store
  readonly clock: Clock
  readonly ids: Ids
}

const LEASE_PATIENCE_MS = SECOND_MS
/** Long enough to read any input. A reader that died is known by its process being gone, on this machine at least. */
const READING_LEASE_MS = DAY_MS

/**
 * The newest run of the same identity, or null. One that died while its rows were read had sent nothing and is forgotten.
 * @throws `run_held` while another process reads the rows of this very job.
 */
export async function earlierRun(deps: BeginDeps, fingerprint: string): Promise<RunRecord | null> {
  const { runs } = deps.store
  let orphan: string | null = null
  for (;;) {
    const earlier = await runs.runByFingerprint(fingerprint)
    if (earlier?.state !== 'preparing') return earlier
    const lease = await runs.leaseHolder(earlier.id)
    if (lease === null && earlier.id !== orphan) {
      // A run stands in the store a moment before its lease does: it is an orphan only when it still is after a while.
      orphan = earlier.id
      await deps.clock.sleepUntil(plusMs(deps.clock.now(), LEASE_PATIENCE_MS))
      continue
    }
    const now = deps.clock.now()
    // One that ends later than any that is given now is of a time before the clock was set back.
    const lives = lease !== null && lease.until > now && lease.until <= plusMs(now, READING_LEASE_MS)
    if (lives && !deps.isHolderGone(lease.holder)) {
      throw new TitheError(
        'run_held',
        `this very job is being read by process ${lease.holder}, as ${earlier.id}`,
        {
          hint: `wait for it, or watch it with 'tithe status ${earlier.id}'`,
        },
      )
    }
    await runs.discardPreparing(earlier.id)
  }
}

/**
 * Reads, renders and stores the rows of a job, plans it, asks, and makes it a run that can be driven. Nothing is sent.
 * Answers null when consent was withheld; then, and when anything throws, nothing is left behind.
 * @throws what `planRun` and `checkPlan` throw; `run_held`, `run_taken` when another process is at the same job.
 */
export async function beginRun(
  deps: BeginDeps,
  job: PlannableJob,
  identity: RunIdentity,
  planning: PlanningDeps,
  options: PlanningOptions,
  consents: (plan: RunPlan) => Promise<boolean>,
): Promise<RunRecord | null> {
  const { runs } = deps.store
  const now = deps.clock.now()
  const record: RunRecord = {
    id: deps.ids.runId(now),
    ...identity,
    name: job.settings.name,
    jobPath: job.settings.path,
    createdAt: now,
    finishedAt: null,
    forgottenAt: null,
    state: 'preparing',
    stopReason: null,
    organizationId: null,
    workspaceId: null,
    settingsJson: settingsToJson(job.settings),
    planJson: '{}',
    rows: 0,
  }
  await runs.createRun(record)
  const lease = await runs.acquireLease(record.id, deps.holder, now, plusMs(now, READING_LEASE_MS))
  if (lease.kind !== 'held') throw new TitheError('run_held', `run ${record.id} is held by ${lease.holder}`)
  try {
    await refuseTwin(runs, record)
    const sink = new StoreSink(deps.store, record.id, lease.fence)
    const plan = await planRun(job, planning, options, sink, runs)
    checkPlan(plan)
    if (!(await consents(plan))) {
      await runs.discardPreparing(record.id)
      return null
    }
    await assignGroups(deps.store, record.id, lease.fence, plan)
    const planText = JSON.stringify(planJson(plan))
    const rows = plan.rows + plan.invalidRows
    unfenced(await runs.startRun(record.id, lease.fence, planText, rows), record.id)
    await runs.releaseLease(record.id, lease.fence)
    return { ...record, state: 'running', planJson: planText, rows }
  } catch (error) {
    await runs.discardPreparing(record.id)
    throw error
  }
}

/**
 * Two processes that found no earlier run a moment ago must not both buy the job. Each looks after its own run stands in
 * the store, so at least one sees the other; should both, neither goes on, which costs less than the opposite.
 */
async function refuseTwin(runs: RunStore, mine: RunRecord): Promise<void> {
  const twin = (await runs.findRuns('')).find(
    ({ id, fingerprint, state }) =>
      id !== mine.id && fingerprint === mine.fingerprint && state !== 'finished' && state !== 'canceled',
  )
  if (twin === undefined) return
  throw new TitheError('run_held', `another process has just begun this very job, as ${twin.id}`, {
    hint: 'wait for it, or begin again',
  })
}
