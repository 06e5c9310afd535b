import type { Instant } from './instant.ts'
import type { ApiRules, Model } from './models.ts'
import type { ApiSettings } from './request.ts'

/** What decides, beside the body, whether the API takes a request. */
export interface RequestConditions {
  /** The model that the request names, looked up; whether it still answers is not asked here. */
  readonly model: Model
  readonly settings: ApiSettings
  readonly at: Instant
  readonly route: 'batch' | 'realtime'
  readonly rules: ApiRules
  /** A hard budget must hold, so server tools need `max_uses`. */
  readonly hasBudget?: boolean
  /** Estimated tokens of the whole prompt; without them nothing that depends on them is reported. */
  readonly promptTokens?: number
  /** Estimated tokens up to and including the block at a path (`PromptBlock.path`), for the minimum of a mark. */
  readonly prefixTokens?: ReadonlyMap<string, number>
}
