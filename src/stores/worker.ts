import { once } from 'node:events'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { TitheError } from '../core/errors.ts'
import { openBodyFiles } from './body-files.ts'
import type { RunStore, Store } from './store.ts'
import { type Call, type Method, type Reply, receivedError } from './store-messages.ts'

/**
 * `openSqliteStore` with its SQL on a thread of its own, so that no commit holds up the event loop. Body files stay on
 * the calling thread: copying every body through a port would cost more than writing it, and only `sync` waits for the
 * disk. Throws `store_*` errors, exit code 3.
 */
export async function openSqliteStoreInWorker({ dir }: { dir: string }): Promise<Store> {
  // From source the thread runs the source, from a build the built file beside this one.
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const worker = new Worker(new URL(`./worker-main.${extension}`, import.meta.url), {
    workerData: { dir },
    // Not the flags of this process: `--input-type`, for one, forbids a thread to load a file.
    execArgv: [],
  })
  const runs = await runsInWorker(worker, dir)
  return { runs, bodies: openBodyFiles({ dir: join(dir, 'bodies') }) }
}

/** Resolves when the thread has opened its store. When the thread ends unasked, every open and later call is an error. */
export async function runsInWorker(worker: Worker, dir: string): Promise<RunStore> {
  const link = new WorkerLink(worker, dir)
  await link.opened
  const methods = new Map<string | symbol, (...args: unknown[]) => Promise<unknown>>()
  return new Proxy({} as RunStore, {
    get(_, name) {
      // A promise that resolves to the store would call it.
      if (name === 'then' || typeof name === 'symbol') return undefined
      let method = methods.get(name)
      if (method === undefined) {
        method = name === 'close' ? () => link.close() : (...args) => link.call(name as Method, args)
        methods.set(name, method)
      }
      return method
    },
  })
}

interface Waiting {
  resolve(answer: unknown): void
  reject(error: unknown): void
}

class WorkerLink {
  readonly opened: Promise<unknown>
  readonly #worker: Worker
  readonly #dir: string
  readonly #waiting = new Map<number, Waiting>()
  #nextId = 1
  /** Why no call can be answered any more. */
  #ended: Error | null = null
  #closing: Promise<void> | null = null

  constructor(worker: Worker, dir: string) {
    this.#worker = worker
    this.#dir = dir
    this.opened = this.#reply(0)
    worker.on('message', (reply: Reply) => this.#settle(reply))
    worker.on('messageerror', (error) => this.#end(this.#gone(error.message)))
    worker.on('error', (error: unknown) => this.#end(this.#gone(String(error))))
    worker.on('exit', (code) => this.#end(this.#gone(`it exited with code ${code}`)))
  }

  call(method: Method, args: readonly unknown[]): Promise<unknown> {
    if (this.#ended !== null) return Promise.reject(this.#ended)
    const id = this.#nextId++
    try {
      this.#worker.postMessage({ id, method, args } satisfies Call)
    } catch (error) {
      return Promise.reject(error)
    }
    return this.#reply(id)
  }

  /** Resolves when the thread is gone, so that the process can exit and another can open the store. */
  close(): Promise<void> {
    this.#closing ??= this.#ended === null ? this.#close() : Promise.resolve()
    return this.#closing
  }

  async #close(): Promise<void> {
    const exited = once(this.#worker, 'exit')
    await this.call('close', [])
    this.#worker.ref()
    await exited
  }

  #reply(id: number): Promise<unknown> {
    // A thread with nothing to do must not keep the process alive; one that owes an answer must.
    this.#worker.ref()
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }

  #settle(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if (this.#waiting.size === 0) this.#worker.unref()
    if (reply.kind === 'answer') waiting?.resolve(reply.answer)
    else waiting?.reject(receivedError(reply.error))
  }

  #end(error: Error): void {
    this.#ended ??= error
    for (const waiting of this.#waiting.values()) waiting.reject(this.#ended)
    this.#waiting.clear()
  }

  #gone(why: string): TitheError {
    const path = join(this.#dir, 'tithe.sqlite')
    return new TitheError('store_unavailable', `${path}: the thread of the store has ended: ${why}`, {
      hint: 'Run the command again, or resume: everything recorded so far is safe.',
      where: { file: path },
      exitCode: 3,
    })
  }
}
