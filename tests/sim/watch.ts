import { parseCustomId } from '../../src/core/custom-id.ts'
import type { BatchBody, Upstream } from '../../src/upstreams/upstream.ts'
import { RUN, type World } from './harness.ts'

// What must never happen at an upstream, seen as it happens.

/** Far more calls than any run of the simulation needs: a driver that asks without end shows itself. */
const CALLS_MAX = 20_000

export interface Watched {
  readonly upstream: Upstream
  readonly violations: string[]
}

/**
 * The same upstream, which watches each create: no row of it may be in another submission that is open and has no result
 * for it. It answers `retry-after` as `pollAfterMs`.
 */
export function watchUpstream(world: World, upstream: Upstream, pollAfterMs: number): Watched {
  const violations: string[] = []
  let calls = 0
  const watching: Partial<Upstream> = {
    createBatch: (body, context) => upstream.createBatch(watchedBody(world, body, violations), context),
    async retrieveBatch(id) {
      const answer = await upstream.retrieveBatch(id)
      if (answer === null || answer.headers.retryAfterMs === null) return answer
      return { ...answer, headers: { ...answer.headers, retryAfterMs: pollAfterMs } }
    },
  }
  const watched = new Proxy(upstream, {
    get(target, name) {
      const value: unknown = Reflect.get(name in watching ? watching : target, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        calls += 1
        if (calls > CALLS_MAX) throw new Error(`the upstream was asked ${CALLS_MAX} times`)
        return Reflect.apply(value, target, args)
      }
    },
  })
  return { upstream: watched, violations }
}

function watchedBody(world: World, body: BatchBody, violations: string[]): BatchBody {
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
          violations.push(`row ${id.ordinal} was sent while submission ${others} may have it`)
        }
        yield element
      }
    },
  }
}
