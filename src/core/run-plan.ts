import type { Problem } from './errors.ts'
import type { TemplateOutline } from './job.ts'
import type { Certainty } from './ledger.ts'
import type { PicoUsd } from './money.ts'
import type { ApiSettings, Ttl } from './request.ts'

/** Best guess with the band that it lies in. Tokens, milliseconds or picodollars, as the field says. */
export interface Band<T> {
  readonly low: T
  readonly best: T
  readonly high: T
}

/** One `cache_control` that Tithe sets. */
export interface MarkPlan {
  /** JSON path of the marked block in the request: `tools[2]`, `system[0]`, `messages[0].content[1]`. */
  readonly path: string
  readonly ttl: Ttl
  /** The prefix that ends with the marked block (`core/prefix-hash.ts`). */
  readonly prefixHash: string
  /** Estimated cumulative tokens up to and including the block. */
  readonly tokens: number
}

/** Rows that share a marked prefix: the same model, variant and `prefixHash` at their deepest mark. */
export interface GroupPlan {
  /** The deepest mark's prefix hash; names the group. */
  readonly group: string
  readonly model: string
  readonly variant: string
  readonly rows: number
  /** Shallow first, at most 4, 1h before 5m. Empty: nothing is marked, and `because` says why. */
  readonly marks: readonly MarkPlan[]
  /** Whether one real row goes first as its own small batch. */
  readonly prime: boolean
  readonly because: string
}

export type RouteName =
  | 'realtime'
  | 'realtime_cache_5m'
  | 'realtime_cache_1h'
  | 'batch'
  | 'batch_cold_5m'
  | 'batch_cold_1h'
  | 'batch_primed_5m'
  | 'batch_primed_1h'

export interface HitRate {
  readonly expected: number
  readonly low: number
  readonly high: number
  readonly certainty: Certainty
  /** Of the measurement; null when assumed. */
  readonly date: string | null
  readonly why: string
}

export interface CostPart {
  readonly what: string
  readonly share: number
  readonly cost: PicoUsd
}

/** What the job costs as a batch at a given hit rate, for each TTL (claude-api.md 3.14). */
export interface HitRateCost {
  readonly hitRate: number
  readonly cost5m: PicoUsd
  readonly cost1h: PicoUsd
}

/** Rows that go together; waves follow one another. */
export interface WavePlan {
  readonly kind: 'primer' | 'probe' | 'bulk' | 'realtime'
  readonly rows: number
  readonly because: string
}

/** One line of the table of routes. Costs are null when a model of the job has no price: *unpriced*, never zero. */
export interface RoutePlan {
  readonly route: RouteName
  /** `best` at the expected hit rate; the ends over the bands of tokens, output and hit rate together. */
  readonly cost: Band<PicoUsd> | null
  /** If every row reads (primed, realtime + cache) or none does (cold): the figure of claude-api.md 3.14. */
  readonly costAtExtreme: PicoUsd | null
  readonly extreme: 'every row reads' | 'no row reads' | 'nothing is cached' | null
  /** Everything goes wrong: upper-bound input written by every row, `max_tokens` output. */
  readonly worstCase: PicoUsd | null
  /** Share of the rows expected to read, 0 to 1, and its band; null where nothing is marked. */
  readonly hitRate: HitRate | null
  /** What `cost.best` is made of: each way it may go, with its share of the rows and the cost if all rows went so. */
  readonly expectedParts: readonly CostPart[]
  /** 1 − cost / realtime cost, expected; never from the best case. */
  readonly savings: number | null
  readonly finishMs: { readonly median: number; readonly p95: number; readonly latest: number }
  readonly bottleneck: string
  readonly zeroDataRetention: boolean
  /** Set when the route cannot be taken, with the reason. */
  readonly refused: string | null
}

/** One more model, priced for the same job (`--models`). */
export interface ModelAlternative {
  readonly model: string
  readonly route: RouteName
  readonly cost: Band<PicoUsd> | null
  readonly promptTokens: Band<number>
  readonly note: string
  /** Why the API would refuse the job on this model; empty when it would not. */
  readonly wouldRefuse: readonly string[]
}

/** A job, planned: nothing has happened yet. Printed by `plan`, stored with the run, followed by the driver. */
export interface RunPlan {
  readonly job: string
  readonly settings: readonly ApiSettings[]
  readonly models: readonly string[]
  readonly rows: number
  readonly invalidRows: number
  /** Tokens of all rows. */
  readonly promptTokens: Band<number>
  /** Tokens of all rows. When `unknown`, `best` and `high` are `max_tokens` of every row: an upper bound, not a guess. */
  readonly outputTokens: Band<number> & { readonly source: 'given' | 'history' | 'probe' | 'unknown' }
  /** Whether text was counted whole or from a sample. */
  readonly counting: 'stated' | 'exact' | 'sampled'
  /** Exact bytes of all rows' `params`; null for stated sizes. */
  readonly requestBytes: number | null
  readonly groups: readonly GroupPlan[]
  /** Distinct shared prefixes found, whether or not they are marked. */
  readonly sharedPrefixes: number
  readonly template: TemplateOutline | null
  /** Batches that the waves come to, by rows and by mean bytes; 0 on a realtime route. */
  readonly batches: number
  readonly waves: readonly WavePlan[]
  /** The latencies that finish times and cache lifetimes are reckoned with, in words. */
  readonly batchLatencies: string
  readonly routes: readonly RoutePlan[]
  /** Empty where nothing can be marked or a model is unpriced. */
  readonly hitRates: readonly HitRateCost[]
  readonly chosen: RouteName
  readonly chosenBecause: string
  readonly alternatives: readonly ModelAlternative[]
  readonly priceBook: string
  readonly problems: readonly Problem[]
}
