import { isObject } from './json.ts'

/**
 * Tokens of one answered request, by class. `inputTokens` excludes cached tokens: the whole prompt is
 * `promptTokens(usage)` (claude-api.md 3.5, 3.15).
 */
export interface Usage {
  readonly inputTokens: number
  readonly cacheWrite5mTokens: number
  readonly cacheWrite1hTokens: number
  readonly cacheReadTokens: number
  readonly outputTokens: number
  readonly webSearchRequests: number
  readonly serviceTier: 'standard' | 'priority' | 'batch'
  readonly inferenceGeo: string | null
  readonly speed: 'standard' | 'fast'
}

/** What is billed by the piece. */
export type BilledQuantities = Pick<
  Usage,
  | 'inputTokens'
  | 'cacheWrite5mTokens'
  | 'cacheWrite1hTokens'
  | 'cacheReadTokens'
  | 'outputTokens'
  | 'webSearchRequests'
>

export function promptTokens(usage: Usage): number {
  return usage.inputTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens + usage.cacheReadTokens
}

/**
 * Reads the API's `usage`. Absent counters are 0. What `cache_creation_input_tokens` has beyond the split by TTL is a
 * 5-minute write: all of it where the split is absent (claude-api.md 3.15), and what the service wrote at its own
 * breakpoints after a server tool, always 5-minute, which recordings up to early 2026 leave out of the split. Null when
 * it is not a usage object.
 */
export function parseUsage(raw: unknown): Usage | null {
  if (!isObject(raw) || typeof raw['input_tokens'] !== 'number' || typeof raw['output_tokens'] !== 'number') {
    return null
  }
  const count = (value: unknown): number => (typeof value === 'number' ? value : 0)
  const creation = isObject(raw['cache_creation']) ? raw['cache_creation'] : null
  const written = count(raw['cache_creation_input_tokens'])
  const cacheWrite1hTokens = creation ? count(creation['ephemeral_1h_input_tokens']) : 0
  const split5m = creation ? count(creation['ephemeral_5m_input_tokens']) : 0
  const cacheWrite5mTokens = Math.max(split5m, written - cacheWrite1hTokens)
  const serverTools = isObject(raw['server_tool_use']) ? raw['server_tool_use'] : {}
  const tier = raw['service_tier']
  return {
    inputTokens: raw['input_tokens'],
    cacheWrite5mTokens,
    cacheWrite1hTokens,
    cacheReadTokens: count(raw['cache_read_input_tokens']),
    outputTokens: raw['output_tokens'],
    webSearchRequests: count(serverTools['web_search_requests']),
    serviceTier: tier === 'batch' || tier === 'priority' ? tier : 'standard',
    inferenceGeo: typeof raw['inference_geo'] === 'string' ? raw['inference_geo'] : null,
    speed: raw['speed'] === 'fast' ? 'fast' : 'standard',
  }
}
