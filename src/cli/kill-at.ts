import { TitheError } from '../core/errors.ts'
import type { RunEvent } from '../runs/run-deps.ts'
import type { Upstream } from '../upstreams/upstream.ts'

/** The three instants at which dying costs the most (docs/guides/crashes.md). */
const INSTANTS = ['submitting', 'in_progress', 'ingesting'] as const

/**
 * `TITHE_KILL_AT=submitting:2` kills this very process with SIGKILL in its second create, after the upstream took it and
 * before its answer is recorded; `in_progress` after a poll, `ingesting` with a part of a batch's results recorded. For
 * trying what a crash does, on the state that a real one would leave: nothing is cleaned up.
 */
export function killAt(environment: NodeJS.ProcessEnv): {
  onEvent(event: RunEvent): void
  around(upstream: Upstream): Upstream
} {
  const stated = environment['TITHE_KILL_AT']
  if (!stated) return { onEvent: () => {}, around: (upstream) => upstream }
  const [instant = '', count = '1'] = stated.split(':')
  if (!(INSTANTS as readonly string[]).includes(instant) || !/^[1-9]\d*$/.test(count)) {
    throw new TitheError('bad_environment', `TITHE_KILL_AT is ${stated}`, {
      hint: `say one of ${INSTANTS.join(', ')}, with a count if it is not the first: submitting:2`,
    })
  }
  let left = Number(count)
  const reach = (reached: (typeof INSTANTS)[number]) => {
    if (reached !== instant) return
    left -= 1
    if (left === 0) process.kill(process.pid, 'SIGKILL')
  }
  return {
    onEvent(event) {
      if (event.kind === 'polled') reach('in_progress')
      if (event.kind === 'results_recorded' && event.recorded < event.submission.rows) reach('ingesting')
    },
    around: (upstream) =>
      new Proxy(upstream, {
        get(target, name) {
          if (name !== 'createBatch') {
            const value: unknown = Reflect.get(target, name, target)
            return typeof value === 'function' ? value.bind(target) : value
          }
          return async (...args: Parameters<Upstream['createBatch']>) => {
            const answer = await target.createBatch(...args)
            if (answer.kind === 'accepted') reach('submitting')
            return answer
          }
        },
      }),
  }
}
