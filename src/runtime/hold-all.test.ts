import assert from 'node:assert/strict'
import { test } from 'node:test'
import { instant } from '../core/instant.ts'
import { holdAll } from './hold-all.ts'
import type { Clock } from './runtime.ts'
import { systemClock } from './system.ts'
import { virtualClock } from './virtual.ts'

class Counter {
  #reads = 0
  readonly kind = 'counter'
  readonly inner = { read: () => Promise.resolve(7) }
  async read(step: number): Promise<number> {
    this.#reads += step
    return this.#reads
  }
  name(): string {
    return `counter ${this.#reads}`
  }
  async sleep(): Promise<void> {}
  async *lines(): AsyncGenerator<string> {
    yield 'a'
    yield 'b'
  }
}

function countingClock(): { clock: Clock; held: () => number } {
  let held = 0
  const base = virtualClock(instant(0))
  const clock: Clock = {
    kind: 'virtual',
    now: () => base.now(),
    sleepUntil: (at, signal) => base.sleepUntil(at, signal),
    hold: (operation) => {
      held += 1
      return base.hold(operation)
    },
  }
  return { clock, held: () => held }
}

test('promises of methods are held, plain answers and properties pass', async () => {
  const { clock, held } = countingClock()
  const counter = holdAll(new Counter(), clock)
  assert.equal(counter.kind, 'counter')
  assert.equal(counter.name(), 'counter 0')
  assert.equal(held(), 0)
  assert.equal(await counter.read(2), 2)
  assert.equal(await counter.read(3), 5)
  assert.equal(held(), 2)
})

test('every step of an async iterable is held, also its early end', async () => {
  const { clock, held } = countingClock()
  const counter = holdAll(new Counter(), clock)
  const lines: string[] = []
  for await (const line of counter.lines()) lines.push(line)
  assert.deepEqual(lines, ['a', 'b'])
  assert.equal(held(), 3)
  for await (const line of counter.lines()) {
    assert.equal(line, 'a')
    break
  }
  assert.equal(held(), 5)
})

test('objects held as properties are held likewise', async () => {
  const { clock, held } = countingClock()
  assert.equal(await holdAll(new Counter(), clock).inner.read(), 7)
  assert.equal(held(), 1)
})

test('a method that sleeps on the clock is excepted', async () => {
  const { clock, held } = countingClock()
  await holdAll(new Counter(), clock, { except: ['sleep'] }).sleep()
  assert.equal(held(), 0)
})

test('under real time the object itself comes back', () => {
  const counter = new Counter()
  assert.equal(holdAll(counter, systemClock()), counter)
})
