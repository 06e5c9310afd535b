import { assert } from './assert.ts'
import { type Instant, plusMs } from './instant.ts'
import type { ApiRules } from './models.ts'
import type { Ttl } from './request.ts'

/**
 * The prompt cache of the service, as far as it is documented (claude-api.md 3) and recorded.
 *
 * An entry is the whole prefix up to one block, found by its hash. Two things happen to a request, in this order.
 *
 * Reading. From the last mark the service walks back block by block, the marked block being the first of 20 positions,
 * and takes the first prefix that has a living entry; failing that it goes on from the mark before. So the deepest
 * reachable entry wins, an entry more than 19 blocks before every mark is never found, and a mark need not stand where
 * the entry was written. The TTL is no part of what is looked up: a 5m mark reads what a 1h mark wrote.
 *
 * Writing. Entries come into being at marks only, at those deeper than what was read, and only when the prefix has the
 * model's minimum of tokens; a shorter one is passed over in silence. With A the tokens read, B those at the deepest 1h
 * mark beyond A (else A) and C those at the last mark (else A): A are billed as read, B − A as 1h write, C − B as 5m
 * write, the rest as plain input.
 *
 * An entry lives for its TTL from the *start* of the request that wrote or last read it; a read renews it for free and
 * leaves its TTL as it was (undocumented; claude-api.md 8). It can be read once the writer's answer has begun, so
 * identical requests sent together each write. Entries are shared by nobody outside their workspace, pool (realtime
 * and batch never read each other's) and model.
 *
 * What the service does beyond this and we do not: it adds marks of its own after server tools, it sometimes misses,
 * and it deletes some time after the TTL, not at it.
 */

/** `standard`: Messages calls; `batch`: rows of Message Batches. */
export type CachePool = 'standard' | 'batch'

export interface CacheEntry {
  readonly ttl: Ttl
  /** First instant at which it can be read. */
  readonly readableAt: Instant
  /** First instant at which it is gone. */
  readonly expiresAt: Instant
}

/** Where entries are looked up: nothing is shared across any of these. */
export interface CacheScope {
  readonly workspace?: string
  readonly pool: CachePool
  readonly model: string
}

export interface CacheRules
  extends Pick<ApiRules, 'cacheLookbackPositions' | 'cacheMarksMax' | 'cacheTtlMs'> {}

export interface SimulatedRequest extends CacheScope {
  /** Prefix hash of every block, in prompt order. */
  readonly hashes: readonly string[]
  /** Tokens of the prompt up to and including every block; never falls. */
  readonly cumulativeTokens: readonly number[]
  /** Tokens of the whole prompt, with what the service adds after the last block; the last cumulative when absent. */
  readonly totalTokens?: number
  /** By ascending position, valid: at most 4, no 1h after a 5m. */
  readonly marks: readonly { readonly index: number; readonly ttl: Ttl }[]
  /** When the service began with the request. */
  readonly at: Instant
  /** When its answer begins, from which on what it wrote can be read. */
  readonly readableAt: Instant
  /** Of the model at that date (claude-api.md 3.3). */
  readonly minimumTokens: number
  readonly rules: CacheRules
}

/** How the prompt is billed; the four classes add up to the whole prompt. */
export interface SimulatedUsage {
  readonly readTokens: number
  readonly write5mTokens: number
  readonly write1hTokens: number
  readonly inputTokens: number
  /** Position of the block at which the entry that was read ends; null when none was. */
  readonly readIndex: number | null
  /** Positions at which entries were written. */
  readonly writtenIndexes: readonly number[]
}

/** The entries that exist. A value to hand from request to request; `copy` it to ask what would be. */
export class CacheState {
  readonly #entries: Map<string, CacheEntry>

  constructor(entries: Iterable<readonly [string, CacheEntry]> = []) {
    this.#entries = new Map(entries)
  }

  copy(): CacheState {
    return new CacheState(this.#entries)
  }

  get size(): number {
    return this.#entries.size
  }

  /** The entry of a prefix if it has not expired; it may not be readable yet. */
  find(scope: CacheScope, hash: string, at: Instant): CacheEntry | null {
    const entry = this.#entries.get(keyOf(scope, hash))
    return entry !== undefined && at < entry.expiresAt ? entry : null
  }

  put(scope: CacheScope, hash: string, entry: CacheEntry): void {
    this.#entries.set(keyOf(scope, hash), entry)
  }

  /** Drops what has expired, so that memory follows the living entries and not the rows; never before `at` again. */
  forgetExpired(at: Instant): void {
    for (const [key, entry] of this.#entries) {
      if (entry.expiresAt <= at) this.#entries.delete(key)
    }
  }
}

function keyOf({ workspace = '', pool, model }: CacheScope, hash: string): string {
  return `${pool} ${model} ${hash} ${workspace}`
}

/** Bills one request and leaves in `state` what it wrote and renewed. Requests come in the order of their `at`. */
export function simulateRequest(state: CacheState, request: SimulatedRequest): SimulatedUsage {
  const { hashes, cumulativeTokens, marks, at, readableAt, minimumTokens, rules } = request
  assertValidMarks(request)
  const totalTokens = request.totalTokens ?? cumulativeTokens.at(-1) ?? 0
  const tokensAt = (index: number): number => cumulativeTokens[index]!

  const readIndex = findReadable(state, request)
  const readTokens = readIndex === null ? 0 : tokensAt(readIndex)
  if (readIndex !== null) {
    const entry = state.find(request, hashes[readIndex]!, at)!
    const expiresAt = plusMs(at, rules.cacheTtlMs[entry.ttl])
    state.put(request, hashes[readIndex]!, { ...entry, expiresAt: later(entry.expiresAt, expiresAt) })
  }

  const written = marks.filter(({ index }) => index > (readIndex ?? -1) && tokensAt(index) >= minimumTokens)
  const deepest1h = written.findLast(({ ttl }) => ttl === '1h')
  const deepest = written.at(-1)
  const until1h = deepest1h === undefined ? readTokens : tokensAt(deepest1h.index)
  const until5m = deepest === undefined ? readTokens : tokensAt(deepest.index)
  for (const { index, ttl } of written) {
    const entry = { ttl, readableAt, expiresAt: plusMs(at, rules.cacheTtlMs[ttl]) }
    const parallel = state.find(request, hashes[index]!, at)
    state.put(request, hashes[index]!, parallel === null ? entry : both(parallel, entry))
  }

  return {
    readTokens,
    write1hTokens: until1h - readTokens,
    write5mTokens: until5m - until1h,
    inputTokens: totalTokens - until5m,
    readIndex,
    writtenIndexes: written.map(({ index }) => index),
  }
}

/** The deepest position with a readable entry within the lookback of any mark, or null. */
function findReadable(state: CacheState, request: SimulatedRequest): number | null {
  const { hashes, marks, at, rules } = request
  for (const mark of marks.toReversed()) {
    const last = Math.max(0, mark.index - rules.cacheLookbackPositions + 1)
    for (let index = mark.index; index >= last; index--) {
      const entry = state.find(request, hashes[index]!, at)
      if (entry !== null && entry.readableAt <= at) return index
    }
  }
  return null
}

/** Two writers of one prefix, neither of which could read the other's: readable from the first, alive until the last. */
function both(a: CacheEntry, b: CacheEntry): CacheEntry {
  const [short, long] = a.expiresAt <= b.expiresAt ? [a, b] : [b, a]
  return { ...long, readableAt: Math.min(short.readableAt, long.readableAt) as Instant }
}

function later(a: Instant, b: Instant): Instant {
  return a > b ? a : b
}

function assertValidMarks({ marks, hashes, cumulativeTokens, rules }: SimulatedRequest): void {
  assert(
    marks.length <= rules.cacheMarksMax,
    'requests with too many marks are refused before they are simulated',
  )
  assert(hashes.length === cumulativeTokens.length, 'every position has a hash and a token count')
  for (const [i, mark] of marks.entries()) {
    const before = marks[i - 1]
    assert(mark.index >= 0 && mark.index < hashes.length, 'a mark stands on a block')
    assert(before === undefined || before.index < mark.index, 'marks ascend')
    assert(!(before?.ttl === '5m' && mark.ttl === '1h'), 'a 1h mark after a 5m mark is refused by the API')
  }
}
