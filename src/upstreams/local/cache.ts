import { createHash } from 'node:crypto'
import type { Instant } from '../../core/instant.ts'
import type { Json, JsonObject } from '../../core/json.ts'
import type { ApiSettings, Ttl } from '../../core/request.ts'

// The prompt cache of the local service, written straight from claude-api.md 3: a map from a prefix to its expiry. It is
// deliberately naive and shares no code with core/cache-sim.ts, whose forecasts it judges; rules arrive as data.

export interface CacheRules {
  /** Positions that a read looks at from each breakpoint, the breakpoint being the first (claude-api.md 3.2). */
  readonly lookbackPositions: number
  readonly ttlMs: { readonly '5m': number; readonly '1h': number }
}

export interface CacheEntry {
  /** Workspace, model, pool and prefix hash. */
  readonly key: string
  readonly ttl: Ttl
  /** When the first token of the writer's answer came: parallel requests before it write too. */
  readonly readableAt: Instant
  readonly expiresAt: Instant
}

export interface Breakpoint {
  /** 0-based position of the marked block. */
  readonly position: number
  readonly ttl: Ttl
}

/** A prompt as the cache sees it. */
export interface CachePrompt {
  /** One hash per position, of everything up to and including it. */
  readonly prefixHashes: readonly string[]
  /** Ascending. */
  readonly breakpoints: readonly Breakpoint[]
}

export interface CacheCall extends CachePrompt {
  readonly workspace: string
  readonly model: string
  /** Realtime and batch have a pool each (claude-api.md 3.7). */
  readonly pool: 'standard' | 'batch'
  /** Per block; what surrounds the blocks is in `totalTokens` only. */
  readonly blockTokens: readonly number[]
  readonly totalTokens: number
  /** Of the model, at this time. */
  readonly minimumTokens: number
  readonly startedAt: Instant
  readonly firstTokenAt: Instant
}

/** What a request is billed for its prompt (claude-api.md 3.5), and the entries that it wrote or refreshed. */
export interface CacheBill {
  readonly readTokens: number
  readonly write5mTokens: number
  readonly write1hTokens: number
  readonly inputTokens: number
  readonly changed: readonly CacheEntry[]
}

const SWEEP_AT_ENTRIES = 10_000

/** The entries of the whole service. `serve` is a request's start: it reads, refreshes and writes in one step. */
export class Cache {
  readonly #rules: CacheRules
  readonly #entries = new Map<string, CacheEntry>()
  #sweepAt = SWEEP_AT_ENTRIES

  constructor(rules: CacheRules, saved: Iterable<CacheEntry> = []) {
    this.#rules = rules
    for (const entry of saved) this.#entries.set(entry.key, entry)
  }

  serve(call: CacheCall): CacheBill {
    const { startedAt, firstTokenAt, minimumTokens } = call
    const cumulative: number[] = []
    let sum = 0
    for (const tokens of call.blockTokens) {
      sum += tokens
      cumulative.push(sum)
    }
    const keyAt = (position: number) =>
      `${call.workspace} ${call.model} ${call.pool} ${call.prefixHashes[position]}`
    const changed: CacheEntry[] = []

    const hit = this.#highestHit(call, keyAt)
    if (hit !== null) {
      const entry = this.#entries.get(keyAt(hit))!
      // Refreshed for its own TTL, whatever the mark says that led to it (claude-api.md 3.4).
      const refreshed = {
        ...entry,
        expiresAt: later(entry.expiresAt, plus(startedAt, this.#rules.ttlMs[entry.ttl])),
      }
      this.#entries.set(entry.key, refreshed)
      changed.push(refreshed)
    }

    // A mark below the minimum does nothing, without an error (claude-api.md 3.3).
    const marks = call.breakpoints.filter(({ position }) => cumulative[position]! >= minimumTokens)
    for (const { position, ttl } of marks) {
      if (hit !== null && position <= hit) continue
      const written = this.#write(keyAt(position), ttl, startedAt, firstTokenAt)
      changed.push(written)
    }
    this.#sweep(startedAt)

    const a = hit === null ? 0 : cumulative[hit]!
    let b = a
    let c = a
    for (const { position, ttl } of marks) {
      const at = cumulative[position]!
      if (at > a && ttl === '1h') b = at
      if (at > c) c = at
    }
    return {
      readTokens: a,
      write1hTokens: b - a,
      write5mTokens: c - b,
      inputTokens: call.totalTokens - c,
      changed,
    }
  }

  /** The deepest breakpoint looks first, so its hit is the highest there is. */
  #highestHit(call: CacheCall, keyAt: (position: number) => string): number | null {
    for (const { position: breakpoint } of [...call.breakpoints].reverse()) {
      const last = Math.max(0, breakpoint - this.#rules.lookbackPositions + 1)
      for (let position = breakpoint; position >= last; position--) {
        const entry = this.#entries.get(keyAt(position))
        if (entry === undefined) continue
        if (entry.readableAt <= call.startedAt && call.startedAt < entry.expiresAt) return position
      }
    }
    return null
  }

  /** Two parallel writers leave one entry: readable from the earlier answer on, alive as long as the longer of the two. */
  #write(key: string, ttl: Ttl, startedAt: Instant, firstTokenAt: Instant): CacheEntry {
    let entry: CacheEntry = {
      key,
      ttl,
      readableAt: firstTokenAt,
      expiresAt: plus(startedAt, this.#rules.ttlMs[ttl]),
    }
    const other = this.#entries.get(key)
    if (other !== undefined && startedAt < other.expiresAt) {
      entry = {
        key,
        ttl: other.expiresAt > entry.expiresAt ? other.ttl : ttl,
        readableAt: other.readableAt < firstTokenAt ? other.readableAt : firstTokenAt,
        expiresAt: later(other.expiresAt, entry.expiresAt),
      }
    }
    this.#entries.set(key, entry)
    return entry
  }

  /** Requests that mark what varies write an entry each that nobody reads. */
  #sweep(now: Instant): void {
    if (this.#entries.size < this.#sweepAt) return
    for (const [key, entry] of this.#entries) if (entry.expiresAt <= now) this.#entries.delete(key)
    this.#sweepAt = Math.max(SWEEP_AT_ENTRIES, 2 * this.#entries.size)
  }
}

/** One content block, tool definition or system text, in the order in which the model reads them. */
export interface PromptPosition {
  readonly section: 'tools' | 'system' | 'messages'
  /** As the API writes it: `system.0`, `messages.0.content.4`. */
  readonly path: string
  readonly block: JsonObject
  /** The role of the message that begins with this block; null for every other block. */
  readonly opens: string | null
}

/**
 * The positions of a prompt: tools, system, messages; a string stands for one text block. Deferred tools are not in the
 * prompt (claude-api.md 3.12).
 */
export function positionsOf(request: JsonObject): PromptPosition[] {
  const positions: PromptPosition[] = []
  list(request['tools']).forEach((tool, i) => {
    if (!isObject(tool) || tool['defer_loading'] === true) return
    positions.push({ section: 'tools', path: `tools.${i}`, block: tool, opens: null })
  })
  if (request['system'] !== '') {
    blocksOf(request['system']).forEach((block, i) => {
      positions.push({ section: 'system', path: `system.${i}`, block, opens: null })
    })
  }
  list(request['messages']).forEach((message, m) => {
    if (!isObject(message)) return
    blocksOf(message['content']).forEach((block, i) => {
      const opens = i === 0 ? String(message['role']) : null
      positions.push({ section: 'messages', path: `messages.${m}.content.${i}`, block, opens })
    })
  })
  return positions
}

/**
 * Hashes and breakpoints of a request. What changes the rendered prompt is hashed in front of the section from which on
 * it invalidates (claude-api.md 3.6); `effortDefault` because stating the default is the same as leaving it out. Thinking
 * that the model drops is no part of what it reads.
 */
export function cachePromptOf(
  request: JsonObject,
  positions: readonly PromptPosition[],
  settings: ApiSettings,
  model: { readonly effortDefault: string | null; readonly dropsOldThinking: boolean },
): CachePrompt {
  const before = settingsBySection(request, positions, settings, model.effortDefault)
  const finished = model.dropsOldThinking ? finishedPositions(positions) : 0
  let chain = digest('', before.tools)
  let section: PromptPosition['section'] = 'tools'
  const prefixHashes: string[] = []
  for (const [index, position] of positions.entries()) {
    if (section === 'tools' && position.section !== 'tools') {
      section = 'system'
      chain = digest(chain, before.system)
    }
    if (section === 'system' && position.section === 'messages') {
      section = 'messages'
      chain = digest(chain, before.messages)
    }
    const isDropped = index < finished && isThinking(position.block)
    chain = digest(chain, position.opens ?? '', isDropped ? '' : contentOf(position.block))
    prefixHashes.push(chain)
  }
  return { prefixHashes, breakpoints: breakpointsOf(request, positions) }
}

/** How many positions stand before what a user last said; tool results are not said by a user. */
function finishedPositions(positions: readonly PromptPosition[]): number {
  let role: string | null = null
  let finished = 0
  for (const [index, { section, block, opens }] of positions.entries()) {
    if (section !== 'messages') continue
    role = opens ?? role
    if (role === 'user' && block['type'] !== 'tool_result') finished = index
  }
  return finished
}

/** Explicit marks, and the automatic one of a top-level `cache_control` (claude-api.md 3.1). */
function breakpointsOf(request: JsonObject, positions: readonly PromptPosition[]): Breakpoint[] {
  const breakpoints: Breakpoint[] = []
  positions.forEach(({ block }, position) => {
    const ttl = ttlOf(markOf(block))
    if (ttl !== null) breakpoints.push({ position, ttl })
  })
  const automatic = ttlOf(request['cache_control'])
  if (automatic !== null) {
    const position = positions.findLastIndex(({ block }) => isMarkable(block))
    if (position >= 0 && !breakpoints.some((one) => one.position === position)) {
      breakpoints.push({ position, ttl: automatic })
      breakpoints.sort((one, other) => one.position - other.position)
    }
  }
  return breakpoints
}

function settingsBySection(
  request: JsonObject,
  positions: readonly PromptPosition[],
  settings: ApiSettings,
  effortDefault: string | null,
): { tools: string; system: string; messages: string } {
  const outputConfig = isObject(request['output_config']) ? request['output_config'] : {}
  const blocks = positions.map(({ block }) => block)
  const toolTypes = positions
    .filter(({ section }) => section === 'tools')
    .map(({ block }) => String(block['type']))
  return {
    tools: JSON.stringify([
      request['model'] ?? null,
      request['thinking'] ?? null,
      outputConfig['effort'] ?? effortDefault,
      settings.apiVersion,
      settings.betas,
      request['mcp_servers'] ?? null,
      isObject(request['container']) ? (request['container']['skills'] ?? null) : null,
      outputConfig['task_budget'] ?? null,
    ]),
    system: JSON.stringify([
      toolTypes.filter((type) => type.startsWith('web_search') || type.startsWith('web_fetch')),
      blocks.some((block) => isCited(block) || innerBlocks(block).some(isCited)),
      request['speed'] ?? 'standard',
      outputConfig['format'] ?? null,
    ]),
    messages: JSON.stringify([
      request['tool_choice'] ?? null,
      blocks.some((block) => isImage(block) || innerBlocks(block).some(isImage)),
      request['context_management'] ?? null,
    ]),
  }
}

function ttlOf(mark: Json | undefined): Ttl | null {
  if (!isObject(mark)) return null
  return mark['ttl'] === '1h' ? '1h' : '5m'
}

function isMarkable(block: JsonObject): boolean {
  if (isThinking(block)) return false
  return !(block['type'] === 'text' && block['text'] === '')
}

function isThinking(block: JsonObject): boolean {
  return block['type'] === 'thinking' || block['type'] === 'redacted_thinking'
}

function isImage(block: JsonObject): boolean {
  return block['type'] === 'image'
}

function isCited(block: JsonObject): boolean {
  return isObject(block['citations']) && block['citations']['enabled'] === true
}

/** The blocks inside a tool result, a search result or a document made of blocks; they have no position of their own. */
function innerBlocks(block: JsonObject): readonly JsonObject[] {
  const source = block['source']
  return list(isObject(source) ? source['content'] : block['content']).filter(isObject)
}

/** A mark inside a block counts for the block. */
function markOf(block: JsonObject): Json | undefined {
  const inner = innerBlocks(block).findLast((one) => isObject(one['cache_control']))
  return block['cache_control'] ?? inner?.['cache_control']
}

/** A mark is not part of what is cached: moving it does not break a hit (claude-api.md 3.2, point 4). */
function contentOf(block: JsonObject): string {
  const { type, text, cache_control: _, ...rest } = block
  if (innerBlocks(block).every((inner) => inner['cache_control'] === undefined)) {
    return JSON.stringify({ type, text, ...rest })
  }
  const inner = innerBlocks(block).map(contentOf)
  return JSON.stringify({ type, text, ...rest, content: null, source: null, inner })
}

function blocksOf(content: Json | undefined): JsonObject[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  return list(content).filter(isObject)
}

function list(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : []
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function digest(...parts: string[]): string {
  const hash = createHash('sha256')
  // Lengths in front, so that no two lists of parts meet in one text.
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return hash.digest('hex')
}

function plus(at: Instant, ms: number): Instant {
  return (at + ms) as Instant
}

function later(one: Instant, other: Instant): Instant {
  return one > other ? one : other
}
