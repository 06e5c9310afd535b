import { assert } from '../core/assert.ts'
import { batchLimits, ELEMENT_BYTES, MARK_BYTES_MAX, planBatches } from '../core/batch-plan.ts'
import type { SendingTerms } from '../core/budget.ts'
import { customIdFor } from '../core/custom-id.ts'
import { sentBytesMax } from '../core/row-revision.ts'
import type { MarkPlan } from '../core/run-plan.ts'
import type { WaveDecision } from '../core/waves.ts'
import type { PendingRow, WaveKind } from '../stores/store.ts'
import { rowsOf } from './batch-owner.ts'
import { pausedBytes } from './paused-parts.ts'
import { RunBudget, termsOf } from './run-budget.ts'
import { type MarksByGroup, type RunContext, unfenced } from './run-context.ts'
import type { StopReason } from './submit.ts'

const PAGE_ROWS = 5_000
const LISTED = 100

type Release = Exclude<WaveDecision, { kind: 'wait' } | { kind: 'done' }>

/**
 * Chooses the rows of a wave and records its submissions as planned, as far as the budget bears them. Nothing is sent
 * here. Memory is that of one batch.
 */
export async function releaseWave(context: RunContext, release: Release, wave: number): Promise<StopReason> {
  const { deps, run, fence } = context
  const budget = await RunBudget.open(context)
  const termsOfRow = (marks: readonly MarkPlan[]) => termsOf(release.kind === 'realtime', marks)
  const crowded = release.kind === 'realtime' && context.closing ? await crowdedGroups(context) : null
  const marksFor = (group: string): readonly MarkPlan[] => {
    const planned = context.groups.get(group)?.marks ?? []
    if (release.kind === 'primer') return planned
    // What batches have cached is not read in realtime: the first row of each group writes it anew.
    if (crowded !== null) return crowded.has(group) ? planned : []
    return context.releasedMarks(group)
  }
  const marksByGroup = new Map<string, readonly MarkPlan[]>()
  const marksOf = (group: string | null): readonly MarkPlan[] => {
    if (group === null) return []
    let marks = marksByGroup.get(group)
    if (marks === undefined) {
      marks = marksFor(group)
      marksByGroup.set(group, marks)
    }
    return marks
  }
  const names = new Map<string, string>()
  async function* affordable() {
    for await (const row of chosenRows(context, release)) {
      if (!budget.reserve(row, termsOfRow(marksOf(row.group)))) return
      const paramsBytes =
        row.revision === null
          ? row.paramsBytes
          : sentBytesMax(row, await pausedBytes(deps.store, run.id, row))
      yield slim(row, elementBytesMax(run.id, row, paramsBytes, marksOf(row.group).length), names)
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
    const refusal = await budget.refusal(rest(context, termsOfRow))
    assert(refusal !== null, 'without a budget, a wave that is released has rows')
    return refusal
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

/** Every row that may be taken, with the marks that the plan has for it: which of them will still live is not known. */
async function* rest(context: RunContext, termsOfRow: (marks: readonly MarkPlan[]) => SendingTerms) {
  for await (const row of pendingRows(context)) {
    const marks = row.group === null ? [] : (context.groups.get(row.group)?.marks ?? [])
    yield { row, terms: termsOfRow(marks) }
  }
}

/** In realtime a mark pays from the third row on: one write at twice the price, or at 1.25, and reads at a tenth. */
const CROWD_ROWS = 3

/** Groups of which enough rows are left for a mark to pay. */
async function crowdedGroups(context: RunContext): Promise<ReadonlySet<string>> {
  const rows = new Map<string, number>()
  for await (const { group } of pendingRows(context)) {
    if (group !== null) rows.set(group, (rows.get(group) ?? 0) + 1)
  }
  return new Set([...rows].flatMap(([group, count]) => (count >= CROWD_ROWS ? [group] : [])))
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

/**
 * What a batch needs of a row until it is full, and no more: a whole row takes 1.8 kB, most of it names that came from the
 * store once for each row.
 */
function slim({ ordinal, attempts, variant, group }: PendingRow, bytes: number, names: Map<string, string>) {
  const shared = (name: string): string => {
    if (!names.has(name)) names.set(name, name)
    return names.get(name)!
  }
  return { ordinal, attempts, bytes, variant: shared(variant), group: group === null ? null : shared(group) }
}

function elementBytesMax(run: string, row: PendingRow, paramsBytes: number, marks: number): number {
  // The submission's number is not known yet; any number of the same width gives the same length.
  const id = customIdFor({ run, submission: 999_999, ordinal: row.ordinal, userId: row.userId })
  return ELEMENT_BYTES + id.length + paramsBytes + marks * MARK_BYTES_MAX
}
