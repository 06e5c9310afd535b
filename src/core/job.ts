import { MINUTE_MS } from './instant.ts'
import type { JsonObject } from './json.ts'
import type { TierName } from './models.ts'
import type { PicoUsd } from './money.ts'
import type { ApiSettings, Ttl } from './request.ts'

/** How a column of expected values is compared with the answer. `fields`: each expected key, one by one. */
export type ExpectMatch = 'exact' | 'json' | 'fields'

/** Where the right answers stand and how they are compared. */
export interface Expectation {
  readonly column: string
  readonly match: ExpectMatch
  /** The key of a JSON answer that is compared; the whole answer when absent. */
  readonly field?: string
}

/**
 * What the user decided, resolved: paths absolute, durations in milliseconds, money in picodollars. Everything the
 * planner and the driver need to know about a job but its rows; stored with the run, so that resume reads only the home.
 */
export interface JobSettings extends ApiSettings {
  readonly name: string
  /** Absolute path of the job file; null for `defineJob()`. */
  readonly path: string | null
  /** The models of the job, resolved through aliases, in the order written; at least one unless rows carry their own. */
  readonly models: readonly string[]
  /** Milliseconds that the user can wait; null when unsaid (the batch API's own 24 h apply). */
  readonly withinMs: number | null
  readonly budgetPicoUsd: PicoUsd | null
  /** `hard` reserves the worst case of what is sent, `soft` the upper end of what is expected. */
  readonly budgetMode: BudgetMode
  readonly cache: 'auto' | 'off' | { readonly ttl: Ttl }
  readonly batch: 'auto' | 'off'
  readonly tier: TierName
  readonly expect: Expectation | null
  /** The JSON Schema of `output.schema`; null for text. */
  readonly outputSchema: JsonObject | null
  /** Tokens; `expected_output` of the job, null when unsaid. */
  readonly expectedOutputTokens: number | null
  /** `prices:` of the job file: contract rates by model id, in dollars per million tokens. */
  readonly contractPrices: Readonly<Record<string, ContractPrice>>
  readonly maxAttempts: number
  /** Whether an answer cut at `max_tokens` is asked for again, with twice the room. */
  readonly onTruncated: AnswerPolicy
  readonly onRefused: AnswerPolicy
  readonly onSchemaInvalid: AnswerPolicy
  readonly onDeadline: DeadlinePolicy
  readonly deleteRemote: 'never' | 'after_ingest'
  /** How long the upstream's list may not show a create whose answer was lost before it is presumed lost. An assumption. */
  readonly presumeLostAfterMs: number
  readonly upstream: string | null
}

export type BudgetMode = 'hard' | 'soft'
/** An answer that is paid for and unusable: kept as it is, or asked for again, which is paid for again. */
export type AnswerPolicy = 'keep' | 'retry'
/**
 * What `within` means when batches are late. realtime: whole batches are canceled in time, and what they verifiably have
 * not done is answered in realtime. pay_twice: as well what a batch has not given back by then. announce: nothing is
 * canceled; the miss is said.
 */
export type DeadlinePolicy = 'realtime' | 'pay_twice' | 'announce'

/** What a job that says nothing of it means; also of runs that were stored before these settings were. */
export const POLICY_DEFAULTS = {
  budgetMode: 'hard',
  onTruncated: 'keep',
  onRefused: 'keep',
  onSchemaInvalid: 'keep',
  onDeadline: 'realtime',
  deleteRemote: 'never',
  presumeLostAfterMs: 30 * MINUTE_MS,
} as const satisfies Partial<JobSettings>

export interface ContractPrice {
  readonly input?: number
  readonly output?: number
  readonly write_5m?: number
  readonly write_1h?: number
  readonly read?: number
}

/** A plan-only job that states its sizes instead of giving rows: `rows: 1000`, `tokens: {shared, own, output}`. */
export interface StatedSizes {
  readonly rows: number
  readonly shared: number
  readonly own: number
  readonly output: number
  /** What the job says beside them; an output that is no limit follows the tokenizer of each model. */
  readonly maxTokens?: number
  readonly inferenceGeo?: string
  readonly speed?: 'fast'
}

/** How the template was split: shown by `plan`. */
export interface TemplateOutline {
  readonly parts: readonly TemplatePart[]
}
export interface TemplatePart {
  /** JSON path in the request, `system[0]`, `messages[0].content[1]`. */
  readonly path: string
  readonly kind: 'shared' | 'own' | 'attachment' | 'uncacheable'
  readonly bytes: number | null
  readonly note: string | null
}

/** Settings as the store keeps them: bigints as decimal strings. */
export function settingsToJson(settings: JobSettings): string {
  return JSON.stringify(settings, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  )
}

export function settingsFromJson(json: string): JobSettings {
  const settings = JSON.parse(json) as Omit<JobSettings, 'budgetPicoUsd'> & { budgetPicoUsd: string | null }
  return {
    ...POLICY_DEFAULTS,
    ...settings,
    budgetPicoUsd: settings.budgetPicoUsd === null ? null : (BigInt(settings.budgetPicoUsd) as PicoUsd),
  }
}

/** Rows that may share a batch have equal variants: the headers of the create call cover all its rows. */
export function variantOf(settings: ApiSettings): string {
  return [settings.apiVersion, ...settings.betas].join(',')
}

export function settingsOfVariant(variant: string): ApiSettings {
  const [apiVersion = '', ...betas] = variant.split(',')
  return { apiVersion, betas }
}
