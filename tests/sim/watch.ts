import { parseCustomId } from '../../src/core/custom-id.ts'
import type { AttemptRecord, Store } from '../../src/stores/store.ts'
import type { BatchBody, Upstream } from '../../src/upstreams/upstream.ts'
import type { World } from './harness.ts'
import type { Stranger } from './stranger.ts'

// What must never happen at an upstream, seen as it happens.

/** Far more calls than any run of the simulation needs: a driver that asks without end shows itself. */
const CALLS_MAX = 20_000

export interface Watch {
  readonly violations: string[]
  /** Batch → the run that created it, or `stranger`. */
  readonly owners: Map<string, string>
  /** Every attempt that was recorded, in that order. */
  readonly attempts: AttemptRecord[]
  /** Runs of which a row came with two different results, as often as that was noticed. */
  readonly conflicts: string[]
}

export function newWatch(): Watch {
  return { violations: [], owners: new Map(), attempts: [], conflicts: [] }
}

/** The world's store, with a note of what was recorded. */
export function watchStore(store: Store, watch: Watch): Store {
  const watching: Partial<Store['runs']> = {
    async recordResults(run, fence, submission, results) {
      const answers = await store.runs.recordResults(run, fence, submission, results)
      if (answers === 'fenced') return answers
      for (const [index, answer] of answers.entries()) {
        if (answer === 'recorded') watch.attempts.push(results[index]!.attempt)
        if (answer === 'conflict') watch.conflicts.push(run)
      }
      return answers
    },
  }
  return { runs: replaced(store.runs, watching), bodies: store.bodies }
}

/** The world's upstream, with a stranger at it, and with a note of who created what. */
export function watchService(world: World, watch: Watch, stranger: Stranger | null): Upstream {
  const { local } = world
  const watching: Partial<Upstream> = {
    async createBatch(body, context) {
      await stranger?.beforeCreate(body.rows)
      let owner = 'nobody'
      async function* elements() {
        for await (const element of body.elements()) {
          owner = parseCustomId(customIdOf(element))?.run ?? 'nobody'
          yield element
        }
      }
      const answer = await local.createBatch({ ...body, elements }, context)
      if (answer.kind === 'accepted') watch.owners.set(answer.batch.id, owner)
      await stranger?.afterCreate(body.rows)
      return answer
    },
    // Each run has a connection of its own, and the service outlives them.
    close: () => Promise.resolve(),
  }
  return replaced(local, watching)
}

/**
 * What one run sees of the upstream. Watches each create: no row of it may be in another submission that is open and has
 * no result for it. What another has created must not be canceled or deleted.
 */
export function watchRun(
  world: World,
  run: string,
  upstream: Upstream,
  watch: Watch,
  stranger: Stranger | null,
  pollAfterMs: number,
): Upstream {
  let calls = 0
  const ownOnly = (what: string, id: string) => {
    const owner = watch.owners.get(id)
    if (owner !== run) watch.violations.push(`${run} ${what} batch ${id} of ${owner}`)
  }
  const watching: Partial<Upstream> = {
    createBatch: (body, context) => upstream.createBatch(watchedBody(world, run, body, watch), context),
    async retrieveBatch(id) {
      await stranger?.act()
      const answer = await upstream.retrieveBatch(id)
      if (answer === null || answer.headers.retryAfterMs === null) return answer
      return { ...answer, headers: { ...answer.headers, retryAfterMs: pollAfterMs } }
    },
    cancelBatch(id) {
      ownOnly('cancels', id)
      return upstream.cancelBatch(id)
    },
    deleteBatch(id) {
      ownOnly('deletes', id)
      return upstream.deleteBatch(id)
    },
  }
  const counted = replaced(upstream, watching)
  return new Proxy(counted, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (name !== 'close') calls += 1
        if (calls > CALLS_MAX) throw new Error(`the upstream was asked ${CALLS_MAX} times`)
        return Reflect.apply(value, target, args)
      }
    },
  })
}

/** The same object with some methods replaced. */
export function replaced<T extends object>(target: T, methods: Partial<T>): T {
  return new Proxy(target, {
    get(object, name) {
      const value: unknown = Reflect.get(name in methods ? methods : object, name)
      return typeof value === 'function' ? value.bind(object) : value
    },
  })
}

function watchedBody(world: World, run: string, body: BatchBody, watch: Watch): BatchBody {
  return {
    ...body,
    async *elements() {
      const { runs } = world.store
      const unanswered = new Map<number, number[]>()
      for (const { number, state } of await runs.submissions(run)) {
        if (!['submitting', 'in_progress', 'canceling', 'ended'].includes(state)) continue
        for (const ordinal of await runs.missingResults(run, number, 1_000)) {
          unanswered.set(ordinal, [...(unanswered.get(ordinal) ?? []), number])
        }
      }
      const found: string[] = []
      for await (const element of body.elements()) {
        const id = parseCustomId(customIdOf(element))!
        const others = (unanswered.get(id.ordinal) ?? []).filter((number) => number !== id.submission)
        if (others.length > 0) {
          found.push(`${run}: row ${id.ordinal} was sent while submission ${others} may have it`)
        }
        yield element
      }
      // A driver that breaks off before the end has sent nothing.
      watch.violations.push(...found)
    },
  }
}

const ID_AT = '{"custom_id":"'.length

/** Every element begins with its id. */
export function customIdOf(element: Uint8Array): string {
  return Buffer.from(element.buffer, element.byteOffset, element.length).toString(
    'latin1',
    ID_AT,
    element.indexOf(0x22, ID_AT),
  )
}
