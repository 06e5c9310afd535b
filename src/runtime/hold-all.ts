import type { Clock } from './runtime.ts'

/**
 * The same object, with every operation that it starts held by the clock until it settles: each promise that a method
 * answers, and each step of an async iterable. Objects that it has as properties are held likewise. `except` names
 * methods that sleep on the same clock; holding those would stop time for good.
 */
export function holdAll<T extends object>(
  object: T,
  clock: Clock,
  options: { readonly except?: readonly (keyof T & string)[] } = {},
): T {
  // Real time cannot be held.
  if (clock.kind === 'real') return object
  const wrapped = new Map<PropertyKey, unknown>()
  return new Proxy(object, {
    get(target, name) {
      if (wrapped.has(name)) return wrapped.get(name)
      // Read from the target itself, so that getters and methods with #private fields see their own object.
      const value: unknown = Reflect.get(target, name, target)
      let held: unknown
      if (typeof value === 'function') {
        const isExempt = (options.except as readonly PropertyKey[] | undefined)?.includes(name) ?? false
        held = (...args: unknown[]) => {
          const answer: unknown = Reflect.apply(value, target, args)
          return isExempt ? answer : holdAnswer(answer, clock)
        }
      } else if (typeof value === 'object' && value !== null) {
        held = holdAll(value, clock)
      } else {
        return value
      }
      wrapped.set(name, held)
      return held
    },
  })
}

function holdAnswer(answer: unknown, clock: Clock): unknown {
  if (answer instanceof Promise) return clock.hold(answer)
  if (typeof answer === 'object' && answer !== null && Symbol.asyncIterator in answer) {
    return holdSteps(answer as AsyncIterable<unknown>, clock)
  }
  return answer
}

function holdSteps<T>(iterable: AsyncIterable<T>, clock: Clock): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = iterable[Symbol.asyncIterator]()
      return {
        next: () => clock.hold(Promise.resolve(iterator.next())),
        return: async (value) => {
          if (iterator.return !== undefined) await clock.hold(Promise.resolve(iterator.return(value)))
          return { done: true, value }
        },
      }
    },
  }
}
