import { batchLimits, planBatches } from '../core/batch-plan.ts'
import { worstCasePicoUsd } from '../core/cost.ts'
import { customIdFor } from '../core/custom-id.ts'
import { findModel, priceAt } from '../core/models.ts'
import { formatUsd } from '../core/money.ts'
import type { MarkPlan } from '../core/run-plan.ts'
import { marksToRelease, type WaveDecision } from '../core/waves.ts'
import type { PendingRow, WaveKind } from '../stores/store.ts'
import { type MarksByGroup, type RunContext, unfenced } from './run-context.ts'
import type { StopReason } from './submit.ts'

const PAGE_ROWS = 5_000
/** Longest `,"cache_control":{"type":"ephemeral","ttl":"1h"}` and what turning a text into a block adds. */
const MARK_BYTES_MAX = 128
const ELEMENT_BYTES = '{"custom_id":"","params":}'.length + 64

type Release = Exclude<WaveDecision, { kind: 'wait' } | { kind: 'done' }>

/** Chooses the rows of a wave and records its submissions as planned. Nothing is sent here. */
export async function releaseWave(context: RunContext, release: Release, wave: number): Promise<StopReason> {
  const { deps, run, fence } = context
  const rows = await chooseRows(context, release)
  const affordable = withinBudget(context, rows)
  if (affordable.rows.length === 0) return affordable.because
  const kind: WaveKind =
    release.kind === 'bulk' && affordable.rows.every((row) => row.attempts > 0) ? 'retry' : release.kind
  const limits = batchLimits(deps.catalogue.rules)
  for (const variantRows of byVariant(affordable.rows)) {
    const marks = marksOfWave(context, variantRows, release.kind)
    const sized = variantRows.map((row) => ({
      row,
      ordinal: row.ordinal,
      bytes: elementBytesMax(run.id, row, marks),
    }))
    for (const batch of release.kind === 'realtime'
      ? [{ ordinals: variantRows.map((row) => row.ordinal), sizeBytes: 0 }]
      : planBatches(sized, limits)) {
      const planned = unfenced(
        await deps.store.runs
          .planSubmission(
            fence,
            {
              run: run.id,
              wave,
              kind,
              variant: variantRows[0]!.variant,
              state: 'planned',
              rows: batch.ordinals.length,
              sizeBytes: batch.sizeBytes,
              marksJson: JSON.stringify(marks),
              fingerprint: null,
              intentAt: null,
              newestIdBefore: null,
              upstreamBatchId: null,
              createdAt: null,
              endedAt: null,
              expiresAt: null,
              nextPollAt: null,
              ingestedRows: 0,
              because: release.because,
            },
            batch.ordinals,
          )
          .then((answer) => (answer.kind === 'fenced' ? 'fenced' : answer)),
        run.id,
      )
      if (planned.kind === 'rows_taken') return `rows of wave ${wave} are already in another submission`
    }
  }
  deps.emit({ kind: 'wave', wave, wave_kind: kind, rows: affordable.rows.length, because: release.because })
  return null
}

async function chooseRows(context: RunContext, release: Release): Promise<PendingRow[]> {
  if (release.kind === 'primer') {
    const wanted = new Set(release.groups)
    const chosen: PendingRow[] = []
    for await (const row of pendingRows(context)) {
      if (row.group !== null && wanted.delete(row.group)) chosen.push(row)
      if (wanted.size === 0) break
    }
    return chosen
  }
  const chosen: PendingRow[] = []
  if (release.kind === 'probe') {
    // A reservoir: every pending row has the same chance, and memory is that of the probe.
    let seen = 0
    for await (const row of pendingRows(context)) {
      seen += 1
      if (chosen.length < release.rows) chosen.push(row)
      else {
        const at = Math.floor(context.deps.runtime.ids.random() * seen)
        if (at < release.rows) chosen[at] = row
      }
    }
    return chosen.sort((a, b) => a.ordinal - b.ordinal)
  }
  for await (const row of pendingRows(context)) {
    chosen.push(row)
    if (chosen.length === release.rows) break
  }
  return chosen
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

/** Equal prefixes stay together within a variant; rows whose headers differ go into separate batches. */
function byVariant(rows: readonly PendingRow[]): PendingRow[][] {
  return [...Map.groupBy(rows, (row) => row.variant).values()]
}

function marksOfWave(context: RunContext, rows: readonly PendingRow[], kind: Release['kind']): MarksByGroup {
  const { rules } = context.deps.catalogue
  const marks: Record<string, readonly MarkPlan[]> = {}
  for (const group of new Set(rows.map((row) => row.group))) {
    const plan = group === null ? undefined : context.groups.get(group)
    if (group === null || plan === undefined) continue
    const released =
      kind === 'primer'
        ? plan.marks
        : marksToRelease(
            plan,
            context.plan.chosen,
            context.touchedAt.get(group) ?? null,
            context.serverNow(),
            rules.cacheTtlMs,
          ).marks
    if (released.length > 0) marks[group] = released
  }
  return marks
}

function elementBytesMax(run: string, row: PendingRow, marks: MarksByGroup): number {
  // The submission's number is not known yet; any number of the same width gives the same length.
  const id = customIdFor({ run, submission: 999_999, ordinal: row.ordinal, userId: row.userId })
  const marked = row.group === null ? 0 : (marks[row.group]?.length ?? 0)
  return ELEMENT_BYTES + id.length + row.paramsBytes + marked * MARK_BYTES_MAX
}

/** As many rows, from the front, as the budget can bear in the worst case. */
function withinBudget(
  context: RunContext,
  rows: readonly PendingRow[],
): { rows: readonly PendingRow[]; because: StopReason } {
  const budget = context.settings.budgetPicoUsd
  if (budget === null) return { rows, because: null }
  let reserved = 0n
  const affordable: PendingRow[] = []
  for (const row of rows) {
    const model = findModel(context.deps.catalogue, row.model)
    const price = model === null ? null : priceAt(model, context.now())
    if (price === null) return { rows: [], because: `the budget cannot be kept: ${row.model} has no price` }
    reserved += worstCasePicoUsd(
      {
        promptTokens: row.promptTokensHigh,
        outputTokens: row.maxTokens,
        serviceTier: context.plan.chosen.startsWith('batch') ? 'batch' : 'standard',
      },
      price,
    )
    if (context.spentPicoUsd + reserved > budget) break
    affordable.push(row)
  }
  return {
    rows: affordable,
    because: `the budget of ${formatUsd(budget)} is reached: ${formatUsd(context.spentPicoUsd)} spent, and the next row could cost up to ${formatUsd(reserved)}; raise it with 'tithe resume ${context.run.id} --budget <dollars>'`,
  }
}
