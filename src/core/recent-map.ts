/**
 * Values by text, the least recently used forgotten first. Bounded by the length of the texts it holds, because one of
 * them may be an image of megabytes: a bound on their number would be no bound on memory.
 */
export class RecentMap<Value> {
  readonly #values = new Map<string, Value>()
  readonly #lengthMax: number
  #length = 0

  /** @param lengthMax UTF-16 units in all; a text longer than a quarter of that is not kept. */
  constructor(lengthMax: number) {
    this.#lengthMax = lengthMax
  }

  get(text: string): Value | undefined {
    const value = this.#values.get(text)
    if (value !== undefined) {
      // A Map iterates in order of insertion, so what is put in again becomes the newest.
      this.#values.delete(text)
      this.#values.set(text, value)
    }
    return value
  }

  set(text: string, value: Value): void {
    if (text.length > this.#lengthMax / 4) return
    if (!this.#values.has(text)) this.#length += text.length
    this.#values.set(text, value)
    for (const oldest of this.#values.keys()) {
      if (this.#length <= this.#lengthMax) break
      this.#values.delete(oldest)
      this.#length -= oldest.length
    }
  }
}
