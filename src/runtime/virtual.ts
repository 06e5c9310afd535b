import { assert } from '../core/assert.ts'
import type { Instant } from '../core/instant.ts'
import { Heap } from './heap.ts'
import type { Clock } from './runtime.ts'

// Time that passes only when there is nothing else to do. The clock goes to its earliest sleeper when no held operation
// is pending and the event loop has turned, so that whatever was woken has had its say and asked for its next operation
// or sleep. All sleepers of an instant wake together, in the order in which they lay down. The turns keep the process
// alive while someone sleeps; while an operation holds the clock, no turn is taken and the operation must do so.
//
// Danger: an operation that itself sleeps on the clock must not be held, or time waits for it and it for time
// (`holdAll` has `except` for such methods).

export interface VirtualClock extends Clock {
  readonly kind: 'virtual'
  /**
   * Calls the listener with the new time after each advance, before anyone wakes, so that it can be saved. Answers a
   * function that removes the listener.
   */
  onAdvance(listener: (now: Instant) => void): () => void
  /** Goes to `at` at once, held or not, through the instants of all sleepers on the way. Never goes back. */
  advanceTo(at: Instant): void
}

/** Turns of the event loop without a held operation before time advances: one lets I/O callbacks run, one their echo. */
const QUIET_TURNS = 2

interface Sleeper {
  readonly at: Instant
  readonly order: number
  readonly signal: AbortSignal | undefined
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
  asleep: boolean
}

export function virtualClock(start: Instant): VirtualClock {
  return new HeapClock(start)
}

class HeapClock implements VirtualClock {
  readonly kind = 'virtual'
  readonly #sleepers = new Heap<Sleeper>((a, b) => a.at < b.at || (a.at === b.at && a.order < b.order))
  readonly #bySignal = new Map<AbortSignal, { readonly group: Set<Sleeper>; readonly stop: () => void }>()
  readonly #listeners = new Set<(now: Instant) => void>()
  #now: Instant
  #order = 0
  /** Aborted sleepers that still lie in the heap. */
  #aborted = 0
  #held = 0
  #quietTurns = 0
  #turnIsComing = false

  constructor(start: Instant) {
    this.#now = start
  }

  now(): Instant {
    return this.#now
  }

  hold<T>(operation: Promise<T>): Promise<T> {
    this.#held += 1
    const release = () => {
      this.#held -= 1
      this.#quietTurns = 0
      this.#askForTurn()
    }
    operation.then(release, release)
    return operation
  }

  sleepUntil(at: Instant, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    // No time has to pass, so nobody has to be waited for; a turn is taken so that a loop of such sleeps starves nobody.
    if (at <= this.#now) return new Promise((resolve) => setImmediate(resolve))
    return new Promise((resolve, reject) => {
      const sleeper: Sleeper = { at, order: this.#order++, signal, resolve, reject, asleep: true }
      this.#sleepers.add(sleeper)
      if (signal !== undefined) this.#watch(signal, sleeper)
      this.#quietTurns = 0
      this.#askForTurn()
    })
  }

  onAdvance(listener: (now: Instant) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  advanceTo(at: Instant): void {
    assert(at >= this.#now, 'virtual time never goes back')
    for (let next = this.#next(); next !== undefined && next.at <= at; next = this.#next())
      this.#wakeAllAt(next.at)
    if (at > this.#now) this.#moveTo(at)
  }

  #askForTurn(): void {
    if (this.#turnIsComing || this.#held > 0 || this.#next() === undefined) return
    this.#turnIsComing = true
    setImmediate(() => this.#turn())
  }

  #turn(): void {
    this.#turnIsComing = false
    const next = this.#next()
    if (this.#held > 0 || next === undefined) return
    this.#quietTurns += 1
    if (this.#quietTurns >= QUIET_TURNS) this.#wakeAllAt(next.at)
    this.#askForTurn()
  }

  #wakeAllAt(at: Instant): void {
    this.#quietTurns = 0
    this.#moveTo(at)
    for (let sleeper = this.#next(); sleeper?.at === at; sleeper = this.#next()) {
      this.#sleepers.takeFirst()
      sleeper.asleep = false
      this.#unwatch(sleeper)
      sleeper.resolve()
    }
  }

  #moveTo(at: Instant): void {
    this.#now = at
    for (const listener of this.#listeners) listener(at)
  }

  /** The earliest sleeper that was not aborted. */
  #next(): Sleeper | undefined {
    let first = this.#sleepers.first()
    while (first !== undefined && !first.asleep) {
      this.#sleepers.takeFirst()
      this.#aborted -= 1
      first = this.#sleepers.first()
    }
    return first
  }

  // One listener a signal, not one a sleeper: adding a listener walks all earlier ones.
  #watch(signal: AbortSignal, sleeper: Sleeper): void {
    let watched = this.#bySignal.get(signal)
    if (watched === undefined) {
      watched = { group: new Set(), stop: () => this.#abort(signal) }
      this.#bySignal.set(signal, watched)
      signal.addEventListener('abort', watched.stop, { once: true })
    }
    watched.group.add(sleeper)
  }

  #unwatch(sleeper: Sleeper): void {
    const watched = sleeper.signal && this.#bySignal.get(sleeper.signal)
    if (watched === undefined) return
    watched.group.delete(sleeper)
    if (watched.group.size > 0) return
    this.#bySignal.delete(sleeper.signal!)
    sleeper.signal!.removeEventListener('abort', watched.stop)
  }

  #abort(signal: AbortSignal): void {
    const { group } = this.#bySignal.get(signal)!
    this.#bySignal.delete(signal)
    for (const sleeper of group) {
      sleeper.asleep = false
      sleeper.reject(signal.reason)
    }
    this.#aborted += group.size
    // Timeouts that are set and called off by the thousand lie far ahead and would otherwise never be taken out.
    if (this.#aborted * 2 > this.#sleepers.size) {
      this.#sleepers.keep((sleeper) => sleeper.asleep)
      this.#aborted = 0
    }
  }
}
