import { TitheError } from '../core/errors.ts'
import { planWithoutContent, settingsWithoutContent } from '../core/forget.ts'
import type { Instant } from '../core/instant.ts'
import { settingsFromJson, settingsToJson } from '../core/job.ts'
import { parsePlanJson, planJson } from '../core/plan-json.ts'
import { compareWorkspace } from '../core/recovery.ts'
import type { Clock } from '../runtime/runtime.ts'
import type { RunRecord } from '../stores/store.ts'
import type { Batches } from '../upstreams/upstream.ts'
import { DEADLINE_EVENTS } from './deadline.ts'
import { deletable, deleteBatch } from './delete-remote.ts'
import { holdRun, type LeaseDeps } from './lease.ts'
import { RETRY_EVENT } from './retry-events.ts'
import { BUDGET_EVENT } from './run-budget.ts'
import { unfenced } from './run-context.ts'

export interface ForgetDeps extends LeaseDeps {
  readonly clock: Clock
  /** Where the run's batches are deleted as well; null: they stay. */
  readonly remote: Pick<Batches, 'listBatches' | 'deleteBatch'> | null
}

export interface Forgotten {
  readonly at: Instant
  /** Batches that were deleted at the upstream, by now or before. */
  readonly deleted: readonly string[]
  /** Batches that are still there, and why; null where nobody asked for their deletion. */
  readonly left: readonly { readonly batchId: string; readonly problem: string | null }[]
}

/** Details of these say counts, instants and amounts, and nothing of what was asked. */
const KEPT_EVENTS: readonly string[] = [BUDGET_EVENT, RETRY_EVENT, ...Object.values(DEADLINE_EVENTS)]

/**
 * Removes the content of a run from the home, and its batches from the upstream where that is asked for; the ledger stays.
 * May be asked again: what a crash or the upstream has left is removed then.
 * @throws as `checkForgettable`; `other_workspace`; `store_busy`.
 */
export async function forgetRun(run: RunRecord, deps: ForgetDeps): Promise<Forgotten> {
  const { store, remote } = deps
  // Looked at before the drivers are: what a driver that begins now appends lies beyond, or in files of its own.
  const extents = await store.bodies.extents()
  await checkForgettable(run, deps)
  return holdRun(run.id, deps, async (fence) => {
    const problems = remote === null ? null : await deleteBatches(run, deps, remote, fence)
    const at = run.forgottenAt ?? deps.clock.now()
    const kept = {
      at,
      settingsJson: settingsToJson(settingsWithoutContent(settingsFromJson(run.settingsJson))),
      planJson: JSON.stringify(planJson(planWithoutContent(parsePlanJson(run.planJson)))),
      eventKinds: KEPT_EVENTS,
    }
    unfenced(await store.runs.forgetRun(run.id, fence, kept), run.id)
    await store.runs.scrub()
    await store.bodies.keepOnly(extents, await store.runs.bodyRanges())
    const submissions = await store.runs.submissions(run.id)
    return {
      at,
      deleted: submissions.flatMap((one) => (one.deletedAt === null ? [] : one.upstreamBatchId!)),
      left: deletable(submissions).map(({ upstreamBatchId }) => ({
        batchId: upstreamBatchId!,
        problem: problems?.get(upstreamBatchId!) ?? null,
      })),
    }
  })
}

/**
 * While a run is driven, bytes that nobody refers to yet would be taken for bytes that nobody refers to any more.
 * @throws `not_over`; `home_driven`: some run of this home is being driven.
 */
export async function checkForgettable(
  run: RunRecord,
  { store, wallClock, isHolderGone }: Omit<LeaseDeps, 'holder'>,
): Promise<void> {
  if (run.state !== 'finished' && run.state !== 'canceled') {
    throw new TitheError(
      'not_over',
      `run ${run.id} is ${run.state}, and is not forgotten before it is over`,
      {
        hint: `'tithe resume ${run.id}' ends it, 'tithe cancel ${run.id}' too`,
      },
    )
  }
  const now = wallClock.now()
  for (const { id } of await store.runs.findRuns('')) {
    const lease = await store.runs.leaseHolder(id)
    if (lease === null || lease.until <= now || isHolderGone(lease.holder)) continue
    throw new TitheError('home_driven', `run ${id} of this home is being driven by process ${lease.holder}`, {
      hint: 'wait for it, or interrupt it first: nothing is lost by that',
    })
  }
}

/** Answers why a batch could not be deleted, by its id. */
async function deleteBatches(
  run: RunRecord,
  { store, clock }: ForgetDeps,
  remote: NonNullable<ForgetDeps['remote']>,
  fence: number,
): Promise<Map<string, string>> {
  const problems = new Map<string, string>()
  const there = deletable(await store.runs.submissions(run.id))
  if (there.length === 0) return problems
  // To another workspace, every batch of the run is one that is not there.
  const { headers } = await remote.listBatches({ limit: 1 })
  if (compareWorkspace(run, headers) !== 'same') {
    throw new TitheError(
      'other_workspace',
      `the batches of run ${run.id} are in organisation ${run.organizationId ?? 'unknown'}, workspace ${run.workspaceId ?? 'unknown'}, and this key is of another`,
      { hint: 'use a key of that workspace; nothing was forgotten' },
    )
  }
  for (const { number, state, upstreamBatchId } of there) {
    const id = upstreamBatchId!
    const problem = await deleteBatch(remote, id)
    if (problem !== null) {
      problems.set(id, problem)
      continue
    }
    const at = clock.now()
    const event = { kind: 'deleted', from: state, at, detail: id } as const
    unfenced(await store.runs.recordEvent(run.id, fence, number, event, { deletedAt: at }), run.id)
  }
  return problems
}
