import { parentPort, workerData } from 'node:worker_threads'
import { openSqliteRuns } from './sqlite/sqlite-store.ts'
import type { RunStore } from './store.ts'
import { type Call, type Reply, sendableError } from './store-messages.ts'

// The store's thread, started by worker.ts. Calls are served one after another, in the order in which they came.

const port = parentPort!

async function serve(runs: RunStore, { id, method, args }: Call): Promise<Reply> {
  try {
    const called = runs[method] as (...args: unknown[]) => Promise<unknown>
    return { id, kind: 'answer', answer: await called.apply(runs, [...args]) }
  } catch (error) {
    return { id, kind: 'error', error: sendableError(error) }
  }
}

try {
  const runs = openSqliteRuns(workerData as { dir: string })
  port.on('message', async (call: Call) => {
    port.postMessage(await serve(runs, call))
    if (call.method === 'close') port.close()
  })
  port.postMessage({ id: 0, kind: 'answer', answer: null } satisfies Reply)
} catch (error) {
  port.postMessage({ id: 0, kind: 'error', error: sendableError(error) } satisfies Reply)
}
