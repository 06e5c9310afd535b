import { TitheError } from '../../src/core/errors.ts'
import { HOUR_MS, MINUTE_MS, plusMs } from '../../src/core/instant.ts'
import type { RunDeps } from '../../src/runs/run-deps.ts'
import type { Clock } from '../../src/runtime/runtime.ts'
import { READS } from './harness.ts'

// What goes wrong on the machine that drives: its disk, its clock, its lid.

export const MACHINE_FAULTS = {
  'store: disk full': 'a write finds no space left',
  'clock: set back': 'the clock of the machine goes back by three hours',
  'clock: jumps ahead': 'the clock of the machine goes ahead by thirty hours',
  'driver: sleeps before a create':
    'forty minutes between an intent and its create; another driver goes on meanwhile',
  'driver: sleeps for a day': 'thirty hours between two calls',
} as const
export type MachineFault = keyof typeof MACHINE_FAULTS
export const MACHINE_FAULT_NAMES = Object.keys(MACHINE_FAULTS) as MachineFault[]

/** The faults of one machine, which many drivers may live on one after the other. */
export class MachineFaults {
  readonly fired = new Map<MachineFault, number>()
  readonly #left: Map<MachineFault, number>
  readonly #random: () => number
  #clockAheadMs = 0

  constructor(random: () => number, names: readonly MachineFault[]) {
    this.#random = random
    this.#left = new Map(names.map((name) => [name, 1]))
  }

  calm(): void {
    this.#left.clear()
  }

  /** The same driver on this machine. `meanwhile` is what happens while it sleeps before a create. */
  befall(deps: RunDeps, meanwhile: () => Promise<unknown>): RunDeps {
    const worldClock = deps.runtime.clock
    const sleep = (ms: number) => worldClock.sleepUntil(plusMs(worldClock.now(), ms), deps.signal)
    const clock: Clock = {
      kind: worldClock.kind,
      now: () => plusMs(worldClock.now(), this.#clockAheadMs),
      sleepUntil: (at, signal) => worldClock.sleepUntil(plusMs(at, -this.#clockAheadMs), signal),
      hold: (operation) => worldClock.hold(operation),
    }
    const beforeCall = async (name: PropertyKey) => {
      if (this.#strikes('clock: set back', 0.1)) this.#clockAheadMs -= 3 * HOUR_MS
      if (this.#strikes('clock: jumps ahead', 0.1)) this.#clockAheadMs += 30 * HOUR_MS
      if (this.#strikes('driver: sleeps for a day', 0.1)) await sleep(30 * HOUR_MS)
      if (name === 'createBatch' && this.#strikes('driver: sleeps before a create', 0.5)) {
        await sleep(40 * MINUTE_MS)
        await meanwhile()
      }
    }
    const upstream = around(deps.upstream, (name, call) =>
      name === 'batchResults' ? call() : beforeCall(name).then(() => call()),
    )
    const diskMayBeFull = <T extends object>(store: T): T =>
      around(store, (name, call) => {
        if (READS.has(name) || !this.#strikes('store: disk full', 0.05)) return call()
        return Promise.reject(
          new TitheError('store_unavailable', 'there is no space left for it', { exitCode: 3 }),
        )
      })
    const store = { runs: diskMayBeFull(deps.store.runs), bodies: diskMayBeFull(deps.store.bodies) }
    return { ...deps, upstream, store, runtime: { ...deps.runtime, clock } }
  }

  #strikes(name: MachineFault, share: number): boolean {
    const left = this.#left.get(name) ?? 0
    if (left === 0 || this.#random() > share) return false
    this.#left.set(name, left - 1)
    this.fired.set(name, (this.fired.get(name) ?? 0) + 1)
    return true
  }
}

/** The same object; each call of a method goes through `how`. */
export function around<T extends object>(
  target: T,
  how: (name: string, call: () => unknown, args: readonly unknown[]) => unknown,
): T {
  return new Proxy(target, {
    get(object, name) {
      const value: unknown = Reflect.get(object, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => how(String(name), () => Reflect.apply(value, object, args), args)
    },
  })
}
