import { instant, MINUTE_MS } from '../core/instant.ts'
import { idsFrom } from './ids.ts'
import type { Clock, Ids } from './runtime.ts'

/** The machine's clock. */
export function systemClock(): Clock {
  const now = () => instant(Date.now())
  return {
    kind: 'real',
    now,
    hold: (operation) => operation,
    async sleepUntil(at, signal) {
      signal?.throwIfAborted()
      // Timers stand still while a laptop sleeps and end after 24 days: the wall clock is read again every minute. One that
      // was set back tells nothing of what has passed; the timer does.
      for (let before = now(), left = at - before; left > 0; ) {
        const ms = Math.min(left, MINUTE_MS)
        await timer(ms, signal)
        const after = now()
        left -= after < before ? ms : after - before
        before = after
      }
    },
  }
}

/** The environment of this process. */
export function systemEnvironment(): Readonly<Record<string, string | undefined>> {
  return process.env
}

export function systemIds(): Ids {
  return idsFrom(Math.random)
}

function timer(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(handle)
      reject(signal?.reason)
    }
    const handle = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    signal?.addEventListener('abort', stop, { once: true })
  })
}
