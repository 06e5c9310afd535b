/** A programmer's error, not a user's: says which promise of ours was broken. */
export class AssertionError extends Error {
  override name = 'AssertionError'
}

export function assert(condition: unknown, whyThisMustHold: string): asserts condition {
  if (!condition) throw new AssertionError(whyThisMustHold)
}

export function assertNever(value: never, where: string): never {
  throw new AssertionError(`${where}: unexpected ${JSON.stringify(value)}`)
}
