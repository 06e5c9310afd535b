import type { JsonObject } from './json.ts'

/** A Messages API body. Opaque but for the few fields that planning reads; everything else passes through. */
export type MessageRequest = JsonObject

/** What travels in HTTP headers and decides how the whole batch is read (claude-api.md 1). */
export interface ApiSettings {
  /** The header `anthropic-version`, as in `ApiRules.apiVersions`. */
  readonly apiVersion: string
  /** `anthropic-beta`, sorted. */
  readonly betas: readonly string[]
}

export type Ttl = '5m' | '1h'

/** An hour costs more to write than five minutes, whatever the model. */
export function dearestTtl(ttls: readonly (Ttl | null)[]): Ttl | null {
  return ttls.includes('1h') ? '1h' : ttls.includes('5m') ? '5m' : null
}
