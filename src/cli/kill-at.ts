import { writeSync } from 'node:fs'
import { TitheError } from '../core/errors.ts'
import { READING_CALLS } from '../runs/reading-calls.ts'
import type { RunEvent } from '../runs/run-deps.ts'

/** The three instants at which dying costs the most, and any writing call at all (docs/guides/crashes.md). */
const INSTANTS = ['submitting', 'in_progress', 'ingesting', 'call'] as const
type KillInstant = (typeof INSTANTS)[number]

/**
 * What changes nothing, bodies that nothing refers to yet, and what only the embedded service is asked. Renewing a lease
 * follows the wall clock, and would number the others differently each time.
 */
export const UNCOUNTED_CALLS: ReadonlySet<PropertyKey> = new Set([
  ...READING_CALLS,
  'append',
  'close',
  'invoice',
  'invoiceTotal',
  'now',
  'renewLease',
])

export interface KillSwitch {
  onEvent(event: RunEvent): void
  /** Counts the writing calls of a store or an upstream. */
  around<T extends object>(target: T): T
  /** What to say when the process ends and the instant has not come; null without one. */
  unreached(): string | null
}

/**
 * `TITHE_KILL_AT=submitting:2` kills this very process with SIGKILL in its second create, after the upstream took it and
 * before its answer is recorded; `in_progress` after a poll, `ingesting` with a part of a batch's results recorded;
 * `call:57:before` and `call:57:after` around the 57th call that writes to store or upstream. For trying what a crash
 * does, on the state that a real one would leave: nothing is cleaned up.
 * @throws `bad_environment`
 */
export function killAt(environment: NodeJS.ProcessEnv): KillSwitch {
  const stated = environment['TITHE_KILL_AT']
  if (!stated) return { onEvent: () => {}, around: (target) => target, unreached: () => null }
  const { instant, count, when } = parseKillAt(stated)
  let left = count
  const reach = (reached: KillInstant, what: string) => {
    if (reached !== instant) return
    left -= 1
    if (left > 0) return
    writeSync(process.stderr.fd, `TITHE_KILL_AT=${stated}: ${what}\n`)
    process.kill(process.pid, 'SIGKILL')
  }
  let calls = 0
  return {
    onEvent(event) {
      if (event.kind === 'polled') reach('in_progress', 'a batch was polled')
      if (event.kind === 'results_recorded' && event.recorded < event.submission.rows) {
        reach('ingesting', `${event.recorded} of ${event.submission.rows} results are recorded`)
      }
    },
    around: (target) =>
      new Proxy(target, {
        get(object, name) {
          // Read from the target itself: methods with #private fields must see their own object.
          const value: unknown = Reflect.get(object, name, object)
          if (typeof value !== 'function') return value
          if (UNCOUNTED_CALLS.has(name)) return value.bind(object)
          return async (...args: unknown[]) => {
            calls += 1
            const what = `call ${calls}, ${String(name)}`
            if (when === 'before') reach('call', `before ${what}`)
            const answer = (await Reflect.apply(value, object, args)) as unknown
            if (name === 'createBatch' && isAccepted(answer)) reach('submitting', 'a create was accepted')
            if (when === 'after') reach('call', `after ${what}`)
            return answer
          }
        },
      }),
    unreached: () => `TITHE_KILL_AT=${stated} has not come: ${calls} calls wrote`,
  }
}

function parseKillAt(stated: string): {
  readonly instant: KillInstant
  readonly count: number
  readonly when: 'before' | 'after'
} {
  const [, instant, count = '1', when = 'after'] =
    /^(submitting|in_progress|ingesting|call)(?::([1-9]\d*))?(?::(before|after))?$/.exec(stated) ?? []
  if (instant === undefined || (when === 'before' && instant !== 'call')) {
    throw new TitheError('bad_environment', `TITHE_KILL_AT is ${stated}`, {
      hint: `say one of ${INSTANTS.join(', ')}, with a count if it is not the first: submitting:2, call:57:before`,
    })
  }
  return { instant: instant as KillInstant, count: Number(count), when: when as 'before' | 'after' }
}

function isAccepted(answer: unknown): boolean {
  return (answer as { readonly kind?: string }).kind === 'accepted'
}
