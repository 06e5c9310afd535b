import { assert } from '../core/assert.ts'
import { batchLimits, planBatches } from '../core/batch-plan.ts'
import { isOpen } from '../core/batch-state.ts'
import { worstCasePicoUsd } from '../core/cost.ts'
import { customIdFor } from '../core/custom-id.ts'
import { findModel, priceAt } from '../core/models.ts'
import { formatUsd } from '../core/money.ts'
import type { MarkPlan } from '../core/run-plan.ts'
import type { WaveDecision } from '../core/waves.ts'
import type { PendingRow, WaveKind } from '../stores/store.ts'
import { rowsOf } from './batch-owner.ts'
import { submissionRows } from './render-rows.ts'
import { type MarksByGroup, type RunContext, unfenced } from './run-context.ts'
import type { StopReason } from './submit.ts'

const PAGE_ROWS = 5_000
const LISTED = 100
/** Longest `,"cache_control":{"type":"ephemeral","ttl":"1h"}` and what turning a text into a block adds. */
const MARK_BYTES_MAX = 128
const ELEMENT_BYTES = '{"custom_id":"","params":}'.length + 64

type Release = Exclude<WaveDecision, { kind: 'wait' } | { kind: 'done' }>

/**
 * Chooses the rows of a wave and records its submissions as planned, as far as the budget bears them. Nothing is sent
 * here. Memory is that of one batch.
 */
export async function releaseWave(context: RunContext, release: Release, wave: number): Promise<StopReason> {
  const { deps, run, fence } = context
  const budget = new Budget(context)
  await budget.reserveOpen()
  const marksByGroup = new Map<string, readonly MarkPlan[]>()
  const marksOf = (group: string | null): readonly MarkPlan[] => {
    if (group === null) return []
    let marks = marksByGroup.get(group)
    if (marks === undefined) {
      marks =
        release.kind === 'primer' ? (context.groups.get(group)?.marks ?? []) : context.releasedMarks(group)
      marksByGroup.set(group, marks)
    }
    return marks
  }
  async function* affordable() {
    for await (const row of chosenRows(context, release)) {
      if (!budget.reserve(row)) return
      yield { ...row, bytes: elementBytesMax(run.id, row, marksOf(row.group).length) }
    }
  }

  let released = 0
  let waveKind: WaveKind = 'retry'
  const taken = release.kind === 'probe' || release.kind === 'bulk' ? await takenSizes(context) : undefined
  const batches = planBatches(affordable(), batchLimits(deps.catalogue.rules), taken)
  for await (const { rows, sizeBytes } of batches) {
    const marks: Record<string, readonly MarkPlan[]> = {}
    for (const { group } of rows)
      if (group !== null && marksOf(group).length > 0) marks[group] = marksOf(group)
    const kind = release.kind === 'bulk' && rows.every((row) => row.attempts > 0) ? 'retry' : release.kind
    const submission = {
      run: run.id,
      wave,
      kind,
      variant: rows[0]!.variant,
      state: 'planned',
      rows: rows.length,
      sizeBytes,
      marksJson: JSON.stringify(marks satisfies MarksByGroup),
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
      because: release.because,
    } as const
    const ordinals = rows.map((row) => row.ordinal)
    const planned = await deps.store.runs.planSubmission(fence, submission, ordinals)
    if (planned.kind === 'fenced') return unfenced('fenced', run.id)
    assert(planned.kind === 'planned', 'pending rows are in no submission')
    released += rows.length
    if (kind !== 'retry') waveKind = kind
  }
  if (released === 0) {
    // Another driver may have the rows by now, and the run.
    await context.renewLease()
    return budget.refusal()
  }
  deps.emit({ kind: 'wave', wave, wave_kind: waveKind, rows: released, because: release.because })
  return null
}

/**
 * Row counts by which a batch of this wave could be mistaken for another, or another for it: those of the batches that are
 * listed, whoever's they are, and of all that this home has planned or sent. A primer has the rows that it must have.
 */
async function takenSizes(context: RunContext): Promise<Set<number>> {
  const page = await context.deps.upstream.listBatches({ limit: LISTED })
  context.learn(page.headers)
  return new Set([...page.data.map(rowsOf), ...(await context.deps.store.runs.openSizes())])
}

async function* chosenRows(context: RunContext, release: Release): AsyncGenerator<PendingRow> {
  if (release.kind === 'primer') {
    const wanted = new Set(release.groups)
    for await (const row of pendingRows(context)) {
      if (row.group !== null && wanted.delete(row.group)) yield row
      if (wanted.size === 0) return
    }
    return
  }
  if (release.kind === 'probe') {
    yield* await randomRows(context, release.rows)
    return
  }
  let left = release.rows
  for await (const row of pendingRows(context)) {
    yield row
    left -= 1
    if (left === 0) return
  }
}

/** A reservoir: every pending row has the same chance, and memory is that of the probe. Kept by variant. */
async function randomRows(context: RunContext, count: number): Promise<PendingRow[]> {
  const chosen: PendingRow[] = []
  let seen = 0
  for await (const row of pendingRows(context)) {
    seen += 1
    if (chosen.length < count) chosen.push(row)
    else {
      const at = Math.floor(context.deps.runtime.ids.random() * seen)
      if (at < count) chosen[at] = row
    }
  }
  return [...Map.groupBy(chosen, (row) => row.variant).values()].flatMap((rows) =>
    rows.sort((a, b) => a.ordinal - b.ordinal),
  )
}

async function* pendingRows(context: RunContext): AsyncGenerator<PendingRow> {
  let after: PendingRow | null = null
  for (;;) {
    const page: PendingRow[] = await context.deps.store.runs.pendingRows(
      context.run.id,
      context.now(),
      after,
      PAGE_ROWS,
    )
    if (page.length === 0) return
    yield* page
    after = page.at(-1)!
  }
}

function elementBytesMax(run: string, row: PendingRow, marks: number): number {
  // The submission's number is not known yet; any number of the same width gives the same length.
  const id = customIdFor({ run, submission: 999_999, ordinal: row.ordinal, userId: row.userId })
  return ELEMENT_BYTES + id.length + row.paramsBytes + marks * MARK_BYTES_MAX
}

/** What the run may spend in the worst case: what it has spent, what is under way, and the rows that are added to it. */
class Budget {
  readonly #context: RunContext
  readonly #limitPicoUsd: bigint | null
  #reservedPicoUsd = 0n
  #unpriced: string | null = null

  constructor(context: RunContext) {
    this.#context = context
    this.#limitPicoUsd = context.settings.budgetPicoUsd
    if (context.unpricedRows > 0) this.#unpriced = `${context.unpricedRows} answers`
  }

  /** For a primer that is no longer waited for. */
  async reserveOpen(): Promise<void> {
    if (this.#limitPicoUsd === null) return
    const { deps, run } = this.#context
    for (const { number, state } of await deps.store.runs.submissions(run.id)) {
      if (!isOpen(state)) continue
      for await (const row of submissionRows(deps.store, run.id, number))
        if (row.state === 'submitted') this.reserve(row)
    }
  }

  /** Whether the budget bears the row too, with everything before it. */
  reserve(row: Pick<PendingRow, 'model' | 'promptTokensHigh' | 'maxTokens'>): boolean {
    if (this.#limitPicoUsd === null) return true
    const model = findModel(this.#context.deps.catalogue, row.model)
    const price = model === null ? null : priceAt(model, this.#context.now())
    if (price === null) this.#unpriced ??= row.model
    if (price === null || this.#unpriced !== null) return false
    const { plan, spentPicoUsd } = this.#context
    const bounds = {
      promptTokens: row.promptTokensHigh,
      outputTokens: row.maxTokens,
      serviceTier: plan.chosen.startsWith('batch') ? 'batch' : 'standard',
    } as const
    this.#reservedPicoUsd += worstCasePicoUsd(bounds, price)
    return spentPicoUsd + this.#reservedPicoUsd <= this.#limitPicoUsd
  }

  /** Why not even one row more can go. */
  refusal(): string {
    assert(this.#limitPicoUsd !== null, 'without a budget, a wave that is released has rows')
    if (this.#unpriced !== null) return `the budget cannot be kept: ${this.#unpriced} without a price`
    const { run, spentPicoUsd } = this.#context
    return `the budget of ${formatUsd(this.#limitPicoUsd)} is reached: ${formatUsd(spentPicoUsd)} spent, and with the next row it could be up to ${formatUsd(this.#reservedPicoUsd)} more; raise it with 'tithe resume ${run.id} --budget <dollars>'`
  }
}
