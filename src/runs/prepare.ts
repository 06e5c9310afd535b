import { groupOf } from '../core/cache-plan.ts'
import type { RowDescriber, RowDescription } from '../core/describe-row.ts'
import type { Problem } from '../core/errors.ts'
import type { JobProfile, JobProfiler } from '../core/job-profile.ts'
import { dearestTtl } from '../core/request.ts'
import { type InputRow, type InvalidRow, nameOf } from '../core/rows.ts'
import type { RunPlan } from '../core/run-plan.ts'
import type { BodyRef, Fenced, NewRow, Store } from '../stores/store.ts'
import { unfenced } from './run-context.ts'

/** Rows rendered, stored and committed together. */
const CHUNK_ROWS = 1_000
/** A chunk of rows with large requests of their own ends earlier: memory is bounded by bytes, not by rows. */
const CHUNK_BYTES = 16_000_000
const PROBLEM_ROWS_SHOWN = 20

export interface Prepared {
  readonly profile: JobProfile
  readonly rows: number
  /** Rows that cannot be sent, counted; the problems of the first few. */
  readonly invalidRows: number
  readonly problems: readonly Problem[]
  /** A row's request, for asking what other models would refuse. */
  readonly sample: InputRow | null
}

/** Where prepared rows go; null when only the profile is wanted, as by `plan`. */
export interface RowSink {
  add(row: InputRow | InvalidRow, described: RowDescription | null, problem: string | null): Promise<void>
  end(): Promise<void>
}

/** One pass over the rows of a job: each is described, profiled and handed to the sink. */
export async function prepareRows(
  rows: AsyncIterable<InputRow | InvalidRow>,
  describer: RowDescriber,
  profiler: JobProfiler,
  counting: JobProfile['counting'] | (() => JobProfile['counting']),
  sink: RowSink | null,
): Promise<Prepared> {
  const problems: Problem[] = []
  let count = 0
  let invalidRows = 0
  let sample: InputRow | null = null
  for await (const row of rows) {
    count += 1
    let found: readonly Problem[] = row.kind === 'invalid' ? row.problems : []
    let described: RowDescription | null = null
    if (row.kind === 'row') {
      described = describer.describe(row)
      found = described.problems
      sample ??= row
    }
    const errors = found.filter((one) => one.severity === 'error')
    if (errors.length > 0) {
      invalidRows += 1
      if (invalidRows <= PROBLEM_ROWS_SHOWN) problems.push(...errors)
      profiler.addInvalid()
    } else {
      profiler.add(described!.profile)
    }
    await sink?.add(row, described, errors[0]?.message ?? null)
  }
  await sink?.end()
  const profile = profiler.profile(typeof counting === 'function' ? counting() : counting)
  return { profile, rows: count, invalidRows, problems, sample }
}

/** What a row's cost is reckoned from. */
type RowSizes = Pick<
  NewRow,
  | 'model'
  | 'promptTokens'
  | 'promptTokensHigh'
  | 'maxTokens'
  | 'webSearchesMax'
  | 'inferenceGeo'
  | 'speed'
  | 'ownMarkTtl'
>

export function sizesOf({ profile }: RowDescription): RowSizes {
  const { model, promptTokens, maxTokens, webSearchesMax, inferenceGeo, speed, prefixes } = profile
  return {
    model,
    promptTokens: promptTokens.best,
    promptTokensHigh: promptTokens.high,
    maxTokens,
    webSearchesMax,
    inferenceGeo,
    speed,
    ownMarkTtl: dearestTtl(prefixes.map((prefix) => prefix.mark)),
  }
}

/** Of a row that cannot be sent. */
const NO_SIZES: RowSizes = {
  model: '',
  promptTokens: 0,
  promptTokensHigh: 0,
  maxTokens: 0,
  webSearchesMax: 0,
  inferenceGeo: null,
  speed: 'standard',
  ownMarkTtl: null,
}

/** Stores rows in chunks: bodies first, then the transaction that refers to them. */
export class StoreSink implements RowSink {
  readonly #store: Store
  readonly #run: string
  readonly #fence: number
  readonly #commit: (rows: readonly NewRow[]) => Promise<'ok' | Fenced>
  readonly #blocks = new Set<string>()
  #rows: NewRow[] = []
  #newBlocks: { hash: string; ref: BodyRef }[] = []
  #chunkBytes = 0

  /** @param commit what is done with a chunk of rows once everything that they refer to is stored; they are added when left out. */
  constructor(
    store: Store,
    run: string,
    fence: number,
    commit: (rows: readonly NewRow[]) => Promise<'ok' | Fenced> = (rows) =>
      store.runs.addRows(run, fence, rows),
  ) {
    this.#store = store
    this.#run = run
    this.#fence = fence
    this.#commit = commit
  }

  async add(
    row: InputRow | InvalidRow,
    described: RowDescription | null,
    invalid: string | null,
  ): Promise<void> {
    const { bodies } = this.#store
    for (const block of described?.stored.blocks ?? []) {
      if (this.#blocks.has(block.hash)) continue
      this.#blocks.add(block.hash)
      this.#newBlocks.push({ hash: block.hash, ref: await bodies.append(Buffer.from(block.json)) })
      this.#chunkBytes += block.json.length
    }
    const request = described?.stored.json ?? '{}'
    this.#chunkBytes += request.length
    this.#rows.push({
      ordinal: row.ordinal,
      userId: nameOf(row),
      line: row.line,
      variant: described?.profile.variant ?? '',
      request: await bodies.append(Buffer.from(request)),
      paramsBytes: described?.profile.paramsBytes ?? 0,
      columns: await bodies.append(Buffer.from(JSON.stringify(row.columns))),
      expectedJson: row.kind === 'row' && row.expected !== undefined ? JSON.stringify(row.expected) : null,
      prefixesJson: JSON.stringify(described?.profile.prefixes.map((prefix) => prefix.hash) ?? []),
      ...(described === null ? NO_SIZES : sizesOf(described)),
      invalidProblem: invalid,
    })
    if (this.#rows.length >= CHUNK_ROWS || this.#chunkBytes >= CHUNK_BYTES) await this.#flush()
  }

  end(): Promise<void> {
    return this.#flush()
  }

  async #flush(): Promise<void> {
    const { runs, bodies } = this.#store
    await bodies.sync()
    unfenced(await runs.putBlocks(this.#run, this.#fence, this.#newBlocks), this.#run)
    unfenced(await this.#commit(this.#rows), this.#run)
    this.#rows = []
    this.#newBlocks = []
    this.#chunkBytes = 0
  }
}

/** Gives every stored row the group that the plan found for it. */
export async function assignGroups(store: Store, run: string, fence: number, plan: RunPlan): Promise<void> {
  if (plan.groups.length === 0) return
  let after = -1
  for (;;) {
    const rows = await store.runs.rowsPage(run, after, CHUNK_ROWS)
    if (rows.length === 0) return
    const groups = rows.map((row) => ({
      ordinal: row.ordinal,
      group: groupOf(plan, JSON.parse(row.prefixesJson) as string[])?.group ?? null,
    }))
    unfenced(await store.runs.assignGroups(run, fence, groups), run)
    after = rows.at(-1)!.ordinal
  }
}
