import { TitheError } from '../core/errors.ts'
import { DAY_MS, plusMs } from '../core/instant.ts'
import { settingsToJson } from '../core/job.ts'
import { planJson } from '../core/plan-json.ts'
import type { RunPlan } from '../core/run-plan.ts'
import type { Clock, Ids } from '../runtime/runtime.ts'
import type { RunRecord, Store } from '../stores/store.ts'
import { checkPlan, type PlannableJob, type PlanningDeps, type PlanningOptions, planRun } from './plan-run.ts'
import { assignGroups, StoreSink } from './prepare.ts'
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

/** Long enough to read any input; the lease of a reader that died is seen by its process being gone. */
const READING_LEASE_MS = DAY_MS

/**
 * The newest run of the same identity, or null. One that died while its rows were read had sent nothing and is forgotten.
 * @throws `run_held` while another process reads the rows of this very job.
 */
export async function earlierRun(deps: BeginDeps, fingerprint: string): Promise<RunRecord | null> {
  const { runs } = deps.store
  for (;;) {
    const earlier = await runs.runByFingerprint(fingerprint)
    if (earlier?.state !== 'preparing') return earlier
    const lease = await runs.leaseHolder(earlier.id)
    if (lease !== null && !deps.isHolderGone(lease.holder)) {
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
    await runs.startRun(record.id, lease.fence, planText, rows)
    await runs.releaseLease(record.id, lease.fence)
    return { ...record, state: 'running', planJson: planText, rows }
  } catch (error) {
    await runs.discardPreparing(record.id)
    throw error
  }
}
