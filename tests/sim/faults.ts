import { parseCustomId } from '../../src/core/custom-id.ts'
import { TitheError } from '../../src/core/errors.ts'
import { HOUR_MS, MINUTE_MS, plusMs, SECOND_MS } from '../../src/core/instant.ts'
import type { AnswerHeaders, BatchBody, MessageBatch, Upstream } from '../../src/upstreams/upstream.ts'
import { RUN, type World, withUpstream } from './harness.ts'

// An upstream that misbehaves in named ways, as often as a seed says. One fault a call: what two at once would do is
// found by a driver that meets one after the other.

export const FAULTS = [
  'create: answer lost',
  'create: never arrived',
  'create: 429 with retry-after',
  'create: 429 without retry-after',
  'create: 500, took place',
  'create: 500, did not',
  'create: unreachable before sending',
  'create: broken in the middle of the body',
  'create: refused for the key',
  "create: answer lost beside a stranger's batch",
  'retrieve: 404',
  'retrieve: unreachable',
  'list: unreachable',
  'list: ten minutes late',
  'list: one batch a page',
  'results: short',
  'results: cut',
  'results: lines twice',
  'results: foreign lines',
  'results: shuffled',
  'results: another result for a row',
  'results: 404',
  'cancel: unreachable',
  'upstream: away for half an hour',
  'message: 429',
  'message: 529',
  'message: answer lost',
  'message: unreachable',
] as const
export type Fault = (typeof FAULTS)[number]

/** Which faults there are in a world, and how often each has fired. */
export class Faults {
  readonly fired = new Map<Fault, number>()
  readonly #left: Map<Fault, number>
  readonly #random: () => number

  constructor(random: () => number, names: readonly Fault[]) {
    this.#random = random
    this.#left = new Map(names.map((name) => [name, 1 + Math.floor(random() * 3)]))
  }

  /** The fault of this call, if any. */
  draw(call: string): Fault | null {
    for (const [name, left] of this.#left) {
      if (!name.startsWith(`${call}:`) || left === 0 || this.#random() > 0.4) continue
      this.#left.set(name, left - 1)
      this.fired.set(name, (this.fired.get(name) ?? 0) + 1)
      return name
    }
    return null
  }

  /** No fault fires any more. */
  calm(): void {
    this.#left.clear()
  }
}

/** Far more calls than any run of the simulation needs: a driver that asks without end shows itself. */
const CALLS_MAX = 20_000

/** What the upstream saw and what must not have been. */
export interface Watched {
  readonly violations: string[]
  lostMessages: number
}

export interface FaultyWorld {
  readonly upstream: Upstream
  readonly watched: Watched
}

/**
 * The world's upstream with faults. It also watches each create: no row of it may be in another submission that is open
 * and has no result for it.
 */
export function faultyUpstream(
  world: World,
  faults: Faults,
  random: () => number,
  pollAfterMs: number,
): FaultyWorld {
  const watched: Watched = { violations: [], lostMessages: 0 }
  const below = (limit: number) => Math.floor(random() * limit)
  const unreachable = (retry: 'safe' | 'unknown' = 'safe') =>
    new TitheError('upstream_unreachable', 'the connection was lost', { retry, exitCode: 3 })
  let calls = 0
  let awayUntil = world.clock.now()
  const draw = (call: string) => {
    calls += 1
    if (calls > CALLS_MAX) throw new Error(`the upstream was asked ${CALLS_MAX} times`)
    if (faults.draw('upstream') !== null) awayUntil = plusMs(world.clock.now(), HOUR_MS / 2)
    if (world.clock.now() < awayUntil) throw unreachable()
    return faults.draw(call)
  }
  let strangers = 0

  const upstream = withUpstream(world, (local) => ({
    async createBatch(body, context) {
      const fault = draw('create')
      const seen = watchedBody(world, body, watched)
      switch (fault) {
        case 'create: 429 with retry-after':
          return refusal(429, 'rate_limit_error', (1 + below(600)) * SECOND_MS)
        case 'create: 429 without retry-after':
          return refusal(429, 'rate_limit_error', null)
        case 'create: refused for the key':
          return refusal(401, 'authentication_error', null)
        case 'create: unreachable before sending':
          throw unreachable()
        case 'create: broken in the middle of the body': {
          let left = below(body.rows)
          for await (const _element of seen.elements()) if (left-- <= 0) break
          throw unreachable()
        }
        case 'create: never arrived':
          return { kind: 'ambiguous', reason: 'timeout' }
        case 'create: 500, did not':
          return { kind: 'ambiguous', reason: 'HTTP 500' }
        case "create: answer lost beside a stranger's batch":
          await local.createBatch(strangersBody(body.rows, ++strangers), context)
          break
      }
      const answer = await local.createBatch(seen, context)
      if (fault === null || answer.kind !== 'accepted') return answer
      return { kind: 'ambiguous', reason: fault }
    },

    async retrieveBatch(id) {
      const fault = draw('retrieve')
      if (fault === 'retrieve: 404') return null
      if (fault !== null) throw unreachable()
      const answer = await local.retrieveBatch(id)
      if (answer === null || answer.headers.retryAfterMs === null) return answer
      return { ...answer, headers: { ...answer.headers, retryAfterMs: pollAfterMs } }
    },

    async listBatches(query) {
      const fault = draw('list')
      if (fault === 'list: unreachable') throw unreachable()
      const isPaged = fault === 'list: one batch a page'
      const page = await local.listBatches(isPaged ? { ...query, limit: 1 } : query)
      if (fault === null || isPaged) return page
      const isOld = (batch: MessageBatch) => Date.parse(batch.created_at) < world.clock.now() - 10 * MINUTE_MS
      const data = page.data.filter(isOld)
      return { ...page, data, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null }
    },

    async *batchResults(id) {
      const fault = draw('results')
      if (fault === 'results: 404') {
        throw new TitheError('not_found_error', 'no available results', { exitCode: 3 })
      }
      let lines: Uint8Array[] = []
      for await (const line of local.batchResults(id)) lines.push(line)
      const at = below(lines.length + 1)
      if (fault === 'results: short' || fault === 'results: cut') lines = lines.slice(0, at)
      if (fault === 'results: lines twice') lines.splice(at, 0, ...lines.slice(below(lines.length)))
      if (fault === 'results: foreign lines') lines.splice(at, 0, ...foreignLines())
      if (fault === 'results: shuffled') lines.sort(() => random() - 0.5)
      const [first] = lines
      if (fault === 'results: another result for a row' && first !== undefined) {
        const { custom_id } = JSON.parse(Buffer.from(first).toString('utf8')) as { custom_id: string }
        lines.push(Buffer.from(JSON.stringify({ custom_id, result: { type: 'expired' } })))
      }
      yield* lines
      if (fault === 'results: cut') throw unreachable()
    },

    async cancelBatch(id) {
      if (draw('cancel') !== null) throw unreachable()
      return local.cancelBatch(id)
    },

    async createMessage(body, context) {
      const fault = draw('message')
      const refused = (status: number, type: string, retryAfterMs: number | null) =>
        ({
          kind: 'refused',
          error: { status, type, message: 'not now' },
          body: {},
          headers: headers(retryAfterMs),
        }) as const
      if (fault === 'message: 429') return refused(429, 'rate_limit_error', (1 + below(90)) * SECOND_MS)
      if (fault === 'message: 529') return refused(529, 'overloaded_error', null)
      if (fault === 'message: unreachable') throw unreachable()
      const answer = await local.createMessage(body, context)
      if (fault === null) return answer
      watched.lostMessages += 1
      throw unreachable('unknown')
    },
  }))
  return { upstream, watched }
}

function headers(retryAfterMs: number | null): AnswerHeaders {
  return { requestId: null, organizationId: null, workspaceId: null, retryAfterMs, date: null }
}

function refusal(status: number, type: string, retryAfterMs: number | null) {
  const error = { status, type, message: 'not now' }
  return { kind: 'refused', error, headers: headers(retryAfterMs) } as const
}

/** Lines that no submission of the run has asked for. */
function foreignLines(): Uint8Array[] {
  const ids = ['stranger-1', 'r000000zzz-1-0', `${RUN}-999-0`]
  return ids.map((id) => Buffer.from(JSON.stringify({ custom_id: id, result: { type: 'expired' } })))
}

function strangersBody(rows: number, number: number): BatchBody {
  const messages = [{ role: 'user', content: 'Hello' }]
  const params = { model: 'claude-sonnet-4-6', max_tokens: 10, messages }
  return {
    rows,
    sizeBytes: rows * 200,
    async *elements() {
      for (let row = 0; row < rows; row++) {
        yield Buffer.from(JSON.stringify({ custom_id: `stranger-${number}-${row}`, params }))
      }
    },
  }
}

function watchedBody(world: World, body: BatchBody, watched: Watched): BatchBody {
  return {
    ...body,
    async *elements() {
      const unanswered = new Map<number, number[]>()
      for (const { number, state } of await world.store.runs.submissions(RUN)) {
        if (!['submitting', 'in_progress', 'canceling', 'ended'].includes(state)) continue
        for (const ordinal of await world.store.runs.missingResults(RUN, number, 1_000)) {
          unanswered.set(ordinal, [...(unanswered.get(ordinal) ?? []), number])
        }
      }
      for await (const element of body.elements()) {
        const { custom_id } = JSON.parse(Buffer.from(element).toString('utf8')) as { custom_id: string }
        const id = parseCustomId(custom_id)!
        const others = (unanswered.get(id.ordinal) ?? []).filter((number) => number !== id.submission)
        if (others.length > 0) {
          watched.violations.push(`row ${id.ordinal} was sent while submission ${others} may have it`)
        }
        yield element
      }
    },
  }
}

export const SLOW_POLL_MS = HOUR_MS / 3
