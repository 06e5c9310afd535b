import type { Instant } from './instant.ts'

/** A dated fact: its value held from `from` (a date) until the next entry of the same list begins. */
export interface Fact<T> {
  readonly value: T
  /** ISO date; `0000-01-01` when it always held. */
  readonly from: string
  readonly source: string
  /** ISO date on which a person last compared it with the source. */
  readonly checked: string
  /** claude-api.md 0.2: official and current, official but older, single third party, unknown. */
  readonly sure: 'H' | 'M' | 'L' | '?'
}

/** Picodollars per token, by class. */
export interface Rates {
  readonly input: bigint
  readonly write5m: bigint
  readonly write1h: bigint
  readonly read: bigint
  readonly output: bigint
}

/** Rates for prompts of up to `promptTokensMax` tokens; null in the last price band (claude-api.md 4, Haiku 5.5). */
export interface PriceBand {
  readonly promptTokensMax: number | null
  readonly rates: Rates
}

/** An exact factor on every token rate: one half for a batch, eleven tenths for US inference (claude-api.md 3.13). */
export interface Ratio {
  readonly numerator: bigint
  readonly denominator: bigint
}

/** The prices of one model from one date on, price bands by ascending prompt size. */
export interface Price {
  readonly model: string
  readonly from: string
  readonly bands: readonly PriceBand[]
  /** Rates of `speed: "fast"`, where the model has it. */
  readonly fast: Rates | null
  readonly ratios: { readonly batch: Ratio; readonly usInference: Ratio }
  readonly source: string
  readonly sure: Fact<unknown>['sure']
  /** Set when the job's own `prices:` replaced the published rates. */
  readonly contract: boolean
}

export type ThinkingType = 'adaptive' | 'enabled' | 'disabled' | 'between_tools'
export type Effort = 'low' | 'medium' | 'high' | 'xhigh' | 'max'

/** One row of the parameter matrix (claude-api.md 4.2). */
export interface ParameterRules {
  /** What the model does when `thinking` is left out. */
  readonly thinkingByDefault: boolean
  readonly thinkingTypes: readonly ThinkingType[]
  /** Accepted still, but on their way out. */
  readonly thinkingTypesDeprecated: readonly ThinkingType[]
  /** Highest effort at which `disabled` / `between_tools` is accepted; null where effort does not matter. */
  readonly thinkingDisabledEffortMax: Effort | null
  /**
   * Whether thinking is taken out of the prompt once a new user turn has begun: before Opus 4.5 and Sonnet 4.6, and
   * Haiku 4.5 (claude-api.md 3.6, 5.1). That newer models drop *foreign* thinking (3.6, 4.2) shows in no request.
   */
  readonly dropsOldThinking: boolean
  /** Where the API version has them at all (`ApiVersion`). */
  readonly samplingParameters: boolean
  /** Where they are refused: whether stating the default (`temperature: 1`) passes all the same. */
  readonly samplingDefaults: boolean
  /** `tool_choice` any / tool. */
  readonly forcedToolChoice: boolean
  readonly prefill: boolean
  readonly systemMessages: boolean
  /** Empty where the model has no effort. */
  readonly efforts: readonly Effort[]
  /** Among `efforts`, those that the API may yet refuse: its Models API says, the documentation does not. */
  readonly effortsUnsure: readonly Effort[]
  readonly effortDefault: Effort | null
  readonly inferenceGeo: boolean
  /** What `speed: "fast"` does in realtime, and the beta it needs (claude-api.md 3.13); never in a batch. */
  readonly fastMode: 'supported' | 'ignored' | 'refused'
  readonly fastModeBeta: string | null
  readonly imageTier: 'standard' | 'high'
}

export type ModelStatus = 'active' | 'limited' | 'deprecated' | 'retired'

export interface Model {
  readonly id: string
  readonly aliases: readonly string[]
  readonly displayName: string
  readonly status: ModelStatus
  readonly released: string | null
  /** `notBefore`: the date is a promise that it lives at least until then; otherwise it is the day it goes. */
  readonly retires: { readonly date: string; readonly notBefore: boolean } | null
  readonly contextTokens: number
  readonly outputTokensMax: number
  /** With the beta `output-300k-2026-03-24`, in batches only; null where the beta does not apply. */
  readonly outputTokensMaxBatchBeta: number | null
  readonly tokenizer: 'old' | 'new'
  /** Which of a tier's limits per minute hold for it: `minuteLimitsOf`. */
  readonly rateClass: 'standard' | 'fable'
  /** Cumulative prefix tokens below which nothing is cached, ascending by date. */
  readonly minimumCacheable: readonly Fact<number>[]
  readonly prices: readonly Price[]
  readonly parameters: ParameterRules
  /** Tokens of the hidden system prompt added when tools are present; null where not published. */
  readonly toolPromptTokens: { readonly auto: number; readonly forced: number | null } | null
  readonly source: string
  readonly checked: string
  readonly sure: Fact<unknown>['sure']
}

/** Every model that we know, retired ones included, and rules that hold for all. */
export interface Catalogue {
  /** Changes with any fact below; stored in every ledger entry so that an old report reproduces. */
  readonly version: string
  readonly models: readonly Model[]
  readonly webSearchPicoUsd: bigint
  /** The same in every price of the book. */
  readonly priceRatios: Price['ratios']
  /** `claude-api.md` 3 and 2.9 as data. */
  readonly rules: ApiRules
}

/** Limits and cache rules of the service (claude-api.md 2.9, 3, 5.2, 6.2). */
export interface ApiRules {
  readonly cacheLookbackPositions: number
  readonly cacheMarksMax: number
  readonly cacheTtlMs: { readonly '5m': number; readonly '1h': number }
  readonly batchRowsMax: number
  readonly batchBytesMax: number
  readonly batchExpiryMs: number
  readonly resultsKeptMs: number
  readonly messageBytesMax: number
  readonly imageBytesMax: number
  readonly imageSideMax: number
  readonly imageSideMaxWhenMany: number
  readonly imagesMany: number
  readonly imagesMax: { readonly context200k: number; readonly larger: number }
  readonly pdfPagesMax: { readonly context200k: number; readonly larger: number }
  /** From this context window on, the `larger` limits above hold. */
  readonly largerContextTokens: number
  readonly messagesMax: number
  readonly userIdCharactersMax: number
  readonly documentTitleCharactersMax: number
  readonly thinkingBudgetTokensMin: number
  readonly strictToolsMax: number
  /** Over all strict schemas of a request together. */
  readonly schemaOptionalsMax: number
  readonly schemaUnionsMax: number
  readonly schemaFormats: readonly string[]
  /** Oldest first. */
  readonly apiVersions: readonly ApiVersion[]
  /** The beta that raises `max_tokens` in batches to `outputTokensMaxBatchBeta`. */
  readonly batchOutputBeta: string
  readonly tiers: Readonly<Record<TierName, TierLimits>>
  /** Batch latencies in ms, ascending, from recordings: the prior for waits (data/README.md, claude-api.md 2.9). */
  readonly batchLatencyMs: readonly number[]
  /** How long one token of an answer takes to generate, in ms: the prior for calls in realtime (claude-api.md 6.5). */
  readonly outputTokenMs: number
  /** From the cancel of a batch until it had ended, in ms: the prior until it was measured (claude-api.md 2.5). */
  readonly cancelLatencyMs: number
}

/** A value of `anthropic-version`, and what it no longer takes (claude-api.md 1.1). */
export interface ApiVersion {
  readonly id: string
  /** `temperature`, `top_p` and `top_k`, whatever the model. */
  readonly removesSamplingParameters: boolean
  /** A `document` block placed directly in a message of the assistant. */
  readonly refusesAssistantDocuments: boolean
  /** `citations` on a text block of the user. */
  readonly refusesUserCitations: boolean
}

export type TierName = 'start' | 'build' | 'scale'
export interface MinuteLimits {
  readonly requestsPerMinute: number
  readonly inputTokensPerMinute: number
  readonly outputTokensPerMinute: number
}
export interface TierLimits extends MinuteLimits {
  readonly queuedRowsMax: number
  readonly batchRequestsPerMinute: number
  /** Fable and Mythos have limits of their own in realtime (claude-api.md 6.4). */
  readonly fableClass: MinuteLimits
}

/** The realtime limits per minute of one model in a tier. */
export function minuteLimitsOf(rules: ApiRules, tier: TierName, model: Model): MinuteLimits {
  return model.rateClass === 'fable' ? rules.tiers[tier].fableClass : rules.tiers[tier]
}

export function findApiVersion(
  { apiVersions }: Pick<ApiRules, 'apiVersions'>,
  id: string,
): ApiVersion | null {
  return apiVersions.find((version) => version.id === id) ?? null
}

export function findModel(catalogue: Catalogue, name: string): Model | null {
  return catalogue.models.find((model) => model.id === name || model.aliases.includes(name)) ?? null
}

/** Whether the model answers no more. */
export function isRetired({ status, retires }: Model, at: Instant): boolean {
  return status === 'retired' || (retires !== null && !retires.notBefore && Date.parse(retires.date) <= at)
}

/** The fact in force at an instant; the earliest one for instants before all of them; null for an empty list. */
function factAt<T extends { readonly from: string }>(facts: readonly T[], at: Instant): T | null {
  let inForce: T | null = facts[0] ?? null
  for (const fact of facts) {
    if (Date.parse(fact.from) <= at) inForce = fact
  }
  return inForce
}

/** Cumulative prefix tokens below which the API caches nothing, without an error (claude-api.md 3.3). */
export function minimumCacheableTokens(model: Model, at: Instant): number {
  return factAt(model.minimumCacheable, at)?.value ?? 0
}

/** Null when we know the model but not its price: such usage is *unpriced*, never zero. */
export function priceAt(model: Model, at: Instant): Price | null {
  return factAt(model.prices, at)
}
