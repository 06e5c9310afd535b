import type { Problem } from './errors.ts'
import type { Instant } from './instant.ts'
import type { StatedSizes } from './job.ts'
import { type Catalogue, priceAt } from './models.ts'
import type { Ttl } from './request.ts'
import type { Band } from './run-plan.ts'

// What planning must know of a job's rows, kept while they stream by. Memory grows with the number of distinct *shared*
// prefixes, never with the rows: a prefix that was seen once leaves only a few bits in a sketch of fixed size, and gets
// a counter of its own when it is seen again.

/** A position of the prompt where a mark could stand, or stands already. */
export interface PrefixPosition {
  /** JSON path of the block that ends the prefix: `tools[2]`, `system[0]`, `messages[0].content[1]`. */
  readonly path: string
  /** Of `core/prefix-hash.ts`: model and settings are folded in. */
  readonly hash: string
  /** Estimated tokens up to and including the block. */
  readonly tokens: number
  /** False where the API takes no mark (thinking, empty text). */
  readonly markable: boolean
  /** The user's own mark, explicit or automatic; null without one. */
  readonly mark: Ttl | null
}

/** One row, as far as planning looks at it. */
export interface RowProfile {
  readonly ordinal: number
  /** As in the catalogue where it is known there. */
  readonly model: string
  /** Rows that may share a batch have equal variants (`variantOf`). */
  readonly variant: string
  /** Candidate positions only, shallow first. */
  readonly prefixes: readonly PrefixPosition[]
  readonly promptTokens: Band<number>
  /** Of its model: a mark on fewer tokens writes nothing. Absent: unknown, every mark writes. */
  readonly minimumTokens?: number
  /** Bytes of the prompt that the template does not share. */
  readonly ownBytes: number
  /** Exact bytes of `params` as sent, without Tithe's marks. */
  readonly paramsBytes: number
  readonly maxTokens: number
  readonly inferenceGeo: string | null
  readonly speed: 'standard' | 'fast'
  /** 0 without a web search tool; null when the tool has no `max_uses`. */
  readonly webSearchesMax: number | null
  readonly warnings: readonly Problem[]
}

/** Which end of the estimate's band a figure belongs to. */
export type Estimate = keyof Band<number>
export const ESTIMATES: readonly Estimate[] = ['low', 'best', 'high']

/** Sums over the rows whose whole prompt lies between two cuts: in such a bracket every row has the same rates. */
export interface BracketSums {
  rows: number
  promptTokens: number
  maxTokens: number
  /** Tokens up to each row's deepest mark of its own that writes anything, by the TTL of that mark. */
  ownMarkTokens: { '5m': number; '1h': number }
}

/** A prefix that at least two rows have. */
export interface SharedPrefix {
  readonly hash: string
  readonly path: string
  readonly tokens: number
  readonly markable: boolean
  readonly mark: Ttl | null
  /** The next shallower candidate of the same rows; null for the shallowest. */
  readonly parent: string | null
  readonly depth: number
  rows: number
  /** Rows by bracket, for each end of the band. */
  readonly rowsByBracket: Readonly<Record<Estimate, number[]>>
}

/** Rows that are billed alike: equal model, batch variant, region and speed. */
export interface PoolProfile {
  readonly model: string
  readonly variant: string
  readonly inferenceGeo: string | null
  readonly speed: 'standard' | 'fast'
  /** The job states an output and no `max_tokens`: what stands for the limit is then in the tokens of its own model. */
  readonly limitIsOutput?: boolean
  rows: number
  paramsBytes: number
  /** Of its largest row. */
  readonly promptTokensMax: Record<Estimate, number>
  /** Rows that carry marks of their own, and the most that one row carries. */
  rowsWithOwnMarks: number
  ownMarksMax: number
  /** By bracket. */
  readonly sums: Readonly<Record<Estimate, BracketSums[]>>
  readonly prefixes: ReadonlyMap<string, SharedPrefix>
}

export interface JobProfile {
  readonly rows: number
  readonly invalidRows: number
  readonly counting: 'stated' | 'exact' | 'sampled'
  /** Upper ends of the brackets, ascending; rows above the last form one more (`promptCuts`). */
  readonly cuts: readonly number[]
  readonly pools: readonly PoolProfile[]
  readonly sharedPrefixes: number
  readonly paramsBytes: number
  readonly ownBytes: number
  readonly promptTokens: Band<number>
  readonly maxTokensMax: number
  /** All rows together; null when one has no bound. */
  readonly webSearchesMax: number | null
  /** One of each kind, saying how many rows have it. */
  readonly warnings: readonly Problem[]
}

/**
 * Prompt sizes at which some price of the catalogue changes (Haiku 5.5 at 100,000 tokens), also as seen from a row whose
 * tokens were counted for the other tokenizer: so that a profile made once prices every model by row.
 * @param ratios tokens of a target model's tokenizer per token of the counted one, every ratio that will be asked for.
 */
export function promptCuts(catalogue: Catalogue, at: Instant, ratios: readonly number[]): number[] {
  const limits = new Set<number>()
  for (const model of catalogue.models) {
    for (const band of priceAt(model, at)?.bands ?? []) {
      if (band.promptTokensMax === null) continue
      for (const ratio of [1, ...ratios]) limits.add(Math.floor(band.promptTokensMax / ratio))
    }
  }
  return [...limits].sort((a, b) => a - b)
}

function bracketOf(cuts: readonly number[], promptTokens: number): number {
  let bracket = 0
  while (bracket < cuts.length && promptTokens > cuts[bracket]!) bracket++
  return bracket
}

export interface JobProfiler {
  add(row: RowProfile): void
  /** A row that will not be sent. */
  addInvalid(): void
  profile(counting: JobProfile['counting']): JobProfile
}

/** Starts the fold over a job's rows. @param cuts from `promptCuts`. */
export function profileJob(cuts: readonly number[]): JobProfiler {
  const pools = new Map<string, PoolProfile & { prefixes: Map<string, SharedPrefix> }>()
  const seen = new SeenOnce()
  const warnings = new Map<string, { problem: Problem; rows: number }>()
  const promptTokens = { low: 0, best: 0, high: 0 }
  let rows = 0
  let invalidRows = 0
  let sharedPrefixes = 0
  let paramsBytes = 0
  let ownBytes = 0
  let maxTokensMax = 0
  let webSearchesMax: number | null = 0

  const poolOf = (row: RowProfile) => {
    const key = [row.model, row.variant, row.inferenceGeo, row.speed].join('\n')
    let pool = pools.get(key)
    if (!pool) {
      pool = {
        model: row.model,
        variant: row.variant,
        inferenceGeo: row.inferenceGeo,
        speed: row.speed,
        rows: 0,
        paramsBytes: 0,
        promptTokensMax: { low: 0, best: 0, high: 0 },
        rowsWithOwnMarks: 0,
        ownMarksMax: 0,
        sums: { low: emptyBrackets(cuts), best: emptyBrackets(cuts), high: emptyBrackets(cuts) },
        prefixes: new Map(),
      }
      pools.set(key, pool)
    }
    return pool
  }

  const countPrefixes = (row: RowProfile, prefixes: Map<string, SharedPrefix>, brackets: Band<number>) => {
    let parent: string | null = null
    for (const [depth, position] of row.prefixes.entries()) {
      let shared = prefixes.get(position.hash)
      let sightings = 1
      if (!shared) {
        // Nothing deeper can have been seen before either: hashes are chained.
        if (!seen.again(position.hash)) {
          for (const deeper of row.prefixes.slice(depth + 1)) seen.again(deeper.hash)
          return
        }
        shared = {
          ...position,
          parent,
          depth,
          rows: 0,
          rowsByBracket: { low: zeros(cuts), best: zeros(cuts), high: zeros(cuts) },
        }
        prefixes.set(position.hash, shared)
        sharedPrefixes++
        // The first sighting left only bits behind; its row is counted now, as if it were as long as this one.
        sightings = 2
      }
      shared.rows += sightings
      for (const estimate of ESTIMATES) shared.rowsByBracket[estimate][brackets[estimate]]! += sightings
      parent = position.hash
    }
  }

  return {
    add(row) {
      rows++
      paramsBytes += row.paramsBytes
      ownBytes += row.ownBytes
      maxTokensMax = Math.max(maxTokensMax, row.maxTokens)
      webSearchesMax =
        webSearchesMax === null || row.webSearchesMax === null ? null : webSearchesMax + row.webSearchesMax
      for (const problem of row.warnings) {
        const kind = warnings.get(problem.code)
        if (kind) kind.rows++
        else warnings.set(problem.code, { problem, rows: 1 })
      }

      const pool = poolOf(row)
      pool.rows++
      pool.paramsBytes += row.paramsBytes
      const own = row.prefixes.filter((position) => position.mark !== null)
      if (own.length > 0) pool.rowsWithOwnMarks++
      pool.ownMarksMax = Math.max(pool.ownMarksMax, own.length)
      const deepestOwn = own.findLast(({ tokens }) => tokens >= (row.minimumTokens ?? 0))
      const brackets = { low: 0, best: 0, high: 0 }
      for (const estimate of ESTIMATES) {
        const tokens = row.promptTokens[estimate]
        pool.promptTokensMax[estimate] = Math.max(pool.promptTokensMax[estimate], tokens)
        promptTokens[estimate] += tokens
        brackets[estimate] = bracketOf(cuts, tokens)
        const sums = pool.sums[estimate][brackets[estimate]]!
        sums.rows++
        sums.promptTokens += tokens
        sums.maxTokens += row.maxTokens
        if (deepestOwn) sums.ownMarkTokens[deepestOwn.mark!] += deepestOwn.tokens
      }
      countPrefixes(row, pool.prefixes, brackets)
    },
    addInvalid() {
      invalidRows++
    },
    profile: (counting) => ({
      rows,
      invalidRows,
      counting,
      cuts,
      pools: [...pools.values()],
      sharedPrefixes,
      paramsBytes,
      ownBytes,
      promptTokens: { ...promptTokens },
      maxTokensMax,
      webSearchesMax,
      warnings: [...warnings.values()].map(({ problem, rows: count }) =>
        count === 1 ? problem : { ...problem, message: `${problem.message} (${count} rows)` },
      ),
    }),
  }
}

/**
 * The profile with a wider band: counts that were guessed from a sample may be off by `halfBandTokens` in all, beside what
 * each estimate says of itself. Spread over the rows by their tokens; no row's own band can be told apart.
 */
export function widenBand(profile: JobProfile, halfBandTokens: number): JobProfile {
  const { low, best, high } = profile.promptTokens
  if (halfBandTokens === 0 || best === 0) return profile
  const scale = {
    low: Math.max(0, low - halfBandTokens) / low,
    best: 1,
    high: (high + halfBandTokens) / high,
  }
  const promptTokens = { low: 0, best: 0, high: 0 }
  const pools = profile.pools.map((pool) => {
    const widened = (estimate: Estimate): BracketSums[] =>
      pool.sums[estimate].map((sums) => {
        const tokens = Math.round(sums.promptTokens * scale[estimate])
        promptTokens[estimate] += tokens
        return { ...sums, promptTokens: tokens }
      })
    return { ...pool, sums: { low: widened('low'), best: widened('best'), high: widened('high') } }
  })
  return { ...profile, pools, promptTokens }
}

/**
 * The profile of a job that only states its sizes: all rows alike on each model, all sharing one prefix, every figure
 * exact.
 */
export function profileStated(
  stated: StatedSizes,
  models: readonly string[],
  variant: string,
  cuts: readonly number[],
): JobProfile {
  const { rows, shared, own } = stated
  const maxTokens = Math.max(stated.output, stated.maxTokens ?? 0)
  const promptTokens = shared + own
  const bracket = bracketOf(cuts, promptTokens)
  const sums = () => {
    const brackets = emptyBrackets(cuts)
    brackets[bracket] = {
      rows,
      promptTokens: rows * promptTokens,
      maxTokens: rows * maxTokens,
      ownMarkTokens: { '5m': 0, '1h': 0 },
    }
    return brackets
  }
  const counts = () => zeros(cuts).map((_, i) => (i === bracket ? rows : 0))
  const isShared = shared > 0 && rows > 1
  const poolOn = (model: string): PoolProfile => {
    const prefix: SharedPrefix = {
      hash: `stated for ${model}`,
      path: 'the shared part',
      tokens: shared,
      markable: true,
      mark: null,
      parent: null,
      depth: 0,
      rows,
      rowsByBracket: { low: counts(), best: counts(), high: counts() },
    }
    return {
      model,
      variant,
      inferenceGeo: stated.inferenceGeo ?? null,
      speed: stated.speed ?? 'standard',
      limitIsOutput: stated.maxTokens === undefined,
      rows,
      paramsBytes: 0,
      promptTokensMax: { low: promptTokens, best: promptTokens, high: promptTokens },
      rowsWithOwnMarks: 0,
      ownMarksMax: 0,
      sums: { low: sums(), best: sums(), high: sums() },
      prefixes: new Map(isShared ? [[prefix.hash, prefix]] : []),
    }
  }
  const total = models.length * rows * promptTokens
  return {
    rows: models.length * rows,
    invalidRows: 0,
    counting: 'stated',
    cuts,
    pools: models.map(poolOn),
    sharedPrefixes: isShared ? models.length : 0,
    paramsBytes: 0,
    ownBytes: 0,
    promptTokens: { low: total, best: total, high: total },
    maxTokensMax: maxTokens,
    webSearchesMax: 0,
    warnings: [],
  }
}

function emptyBrackets(cuts: readonly number[]): BracketSums[] {
  return zeros(cuts).map(() => ({
    rows: 0,
    promptTokens: 0,
    maxTokens: 0,
    ownMarkTokens: { '5m': 0, '1h': 0 },
  }))
}

function zeros(cuts: readonly number[]): number[] {
  return new Array<number>(cuts.length + 1).fill(0)
}

/**
 * A Bloom filter of fixed size: says whether a hash was offered before. It never forgets one, and takes one for another
 * in about 2 of a million cases after 300,000 hashes, 2 of a thousand after 2 million; such a prefix is then counted as
 * shared by two rows, which no plan hangs on.
 */
class SeenOnce {
  readonly #bits = new Uint32Array(2 ** 20)

  /** Answers whether the hash was offered before, and remembers it. */
  again(hash: string): boolean {
    let all = true
    // The digest's own hexadecimal digits are as good as any further hash of it: four slices of 25 bits.
    const digits = hash.slice(hash.indexOf(':') + 1)
    for (let slice = 0; slice < 4; slice++) {
      const bit = Number.parseInt(digits.slice(slice * 8, slice * 8 + 8), 16) >>> 7
      const word = bit >>> 5
      const mask = 1 << (bit & 31)
      if ((this.#bits[word]! & mask) === 0) {
        all = false
        this.#bits[word]! |= mask
      }
    }
    return all
  }
}
