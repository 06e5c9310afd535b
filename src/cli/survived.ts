import { assert } from '../core/assert.ts'
import { type Instant, instant } from '../core/instant.ts'
import type { StoredEvent, SubmissionRecord } from '../stores/store.ts'
import type { Upstream } from '../upstreams/upstream.ts'

// What befell a run and what Tithe did about it, told from what was called and what the store recorded: nothing is said
// that did not happen.

/** One call of an upstream, as it went. */
export interface WatchedCall {
  readonly method: 'createBatch' | 'retrieveBatch' | 'listBatches' | 'batchResults'
  readonly at: Instant
  /** Null when it went well. */
  readonly fault: string | null
  /** Lines of a results file that came. */
  readonly lines: number
}

export interface Survived {
  /** Since the run's first create. */
  readonly afterMs: number
  readonly fault: string
  /** Until what the call was for was done. */
  readonly delayMs: number
  readonly did: string
}

/** The same upstream; its calls are put down in `calls`, with the fault that fired in each. */
export function watched(
  upstream: Upstream,
  fired: ReadonlyMap<string, number>,
  now: () => Instant,
  calls: WatchedCall[],
): Upstream {
  const begin = (method: WatchedCall['method']) => {
    const at = now()
    const before = new Map(fired)
    return (lines = 0) => {
      const fault = [...fired].find(([name, times]) => times > (before.get(name) ?? 0))?.[0] ?? null
      calls.push({ method, at, fault, lines })
    }
  }
  return new Proxy(upstream, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      switch (name) {
        case 'createBatch':
        case 'retrieveBatch':
        case 'listBatches':
          return async (...args: unknown[]) => {
            const end = begin(name)
            try {
              return await Reflect.apply(value, target, args)
            } finally {
              end()
            }
          }
        case 'batchResults':
          return async function* (id: string) {
            const end = begin(name)
            let lines = 0
            try {
              for await (const line of target.batchResults(id)) {
                lines += 1
                yield line
              }
            } finally {
              end(lines)
            }
          }
        default:
          return value.bind(target)
      }
    },
  })
}

/** What the store knows of the run when it is over. */
export interface RunHistory {
  readonly events: readonly StoredEvent[]
  readonly submissions: readonly SubmissionRecord[]
  /** Submission → its attempts that expired. */
  readonly expired: ReadonlyMap<number, number>
}

/** Everything that fired, by time, beginning with the kill of the process that had sent `unanswered`. */
export function survivedOf(
  calls: readonly WatchedCall[],
  history: RunHistory,
  unanswered: number,
): Survived[] {
  const creates = calls.filter(({ method }) => method === 'createBatch')
  // Every create follows its recorded intent, so that the last ones belong to these calls.
  const intents = history.events.filter(({ kind }) => kind === 'intent_recorded').slice(-creates.length)
  const faults = calls.flatMap((call, index) => {
    if (call.fault === null) return []
    const { at, fault } = call
    if (call.method === 'createBatch') {
      return [{ at, fault, ...afterCreate(at, intents[creates.indexOf(call)]!, history) }]
    }
    const again = calls.find((other, later) => later > index && other.method === call.method && !other.fault)
    assert(again !== undefined, `${fault} is over`)
    const did =
      call.method === 'batchResults'
        ? `noticed that of ${again.lines} lines ${call.lines} came; read the file again`
        : 'asked again; nothing was given up'
    return [{ at, fault, delayMs: again.at - at, did }]
  })
  const all = [killOf(unanswered, history), ...faults, ...expiries(history)]
  const began = history.submissions[0]!.intentAt!
  return all
    .map(({ at, ...told }) => ({ ...told, afterMs: at - began }))
    .sort((one, other) => one.afterMs - other.afterMs)
}

function afterCreate(at: Instant, intent: StoredEvent, { events, submissions }: RunHistory) {
  const { submission } = intent
  const later = events.slice(events.indexOf(intent) + 1).filter((event) => event.submission === submission)
  const [next] = later
  const { rows } = submissions.find(({ number }) => number === submission)!
  switch (next?.kind) {
    case 'put_off': {
      const sent = later.find(({ kind }) => kind === 'intent_recorded')
      return { delayMs: (sent ?? next).at - at, did: `waited as told, and sent the ${rows} rows then` }
    }
    case 'presumed_lost':
      return {
        delayMs: next.at - at,
        did: `looked in the list of batches until it could only be lost, and sent its ${rows} rows again`,
      }
    case 'adopted':
      return { delayMs: next.at - at, did: `${FOUND}; its ${rows} rows were not sent again` }
    default:
      throw new Error(`a create without an answer became ${next?.kind}`)
  }
}

const FOUND = 'found the batch in the list, proved by the custom_ids in its results'

type Told = Omit<Survived, 'afterMs'> & { readonly at: Instant }

function killOf(unanswered: number, { events, submissions }: RunHistory): Told {
  const ofIt = events.filter(({ submission }) => submission === unanswered)
  const sent = ofIt.find(({ kind }) => kind === 'intent_recorded')!
  const adopted = ofIt.find(({ kind }) => kind === 'adopted')
  assert(adopted !== undefined, 'the batch of the killed process was adopted')
  const { rows } = submissions.find(({ number }) => number === unanswered)!
  return {
    at: sent.at,
    fault: 'process: kill -9',
    delayMs: adopted.at - sent.at,
    did: `the next process ${FOUND}; its ${rows} rows were not sent again`,
  }
}

function expiries({ submissions, expired }: RunHistory): Told[] {
  return submissions.flatMap(({ number, createdAt, endedAt }) => {
    const rows = expired.get(number) ?? 0
    if (rows === 0 || createdAt === null || endedAt === null) return []
    const did = `put its ${rows} rows, which are not billed, into a later batch`
    return [{ at: instant(createdAt), fault: 'batch: expired', delayMs: endedAt - createdAt, did }]
  })
}
