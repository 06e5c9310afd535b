/** Slots for texts that were met once. */
const MET_SLOTS = 2 ** 14
/** Characters of a text that tell it from others well enough. */
const SAMPLED_CHARACTERS = 64

/**
 * Values by text, for texts that come back: one is kept from its second `set` on, so that the text of a hundred thousand
 * rows passes by without being held, and the handbook that they share stays. What was not used lately is forgotten
 * first. Bounded by the length of the texts, because one of them may be an image of megabytes: a bound on their number
 * would be no bound on memory.
 */
export class RecentMap<Value> {
  // Two generations rather than one list in order of use: moving an entry to the end of a Map at every `get` makes it
  // rebuild itself again and again, which cost more than all the rest of planning a row.
  #young = new Map<string, Value>()
  #old = new Map<string, Value>()
  #youngLength = 0
  /** Of the texts held: to look for a text in a Map, all of it must be hashed. */
  readonly #lengths = new Set<number>()
  readonly #met = new Uint32Array(MET_SLOTS)
  readonly #lengthMax: number

  /** @param lengthMax UTF-16 units in all; a text longer than a quarter of that is not kept. */
  constructor(lengthMax: number) {
    this.#lengthMax = lengthMax
  }

  get(text: string): Value | undefined {
    if (!this.#lengths.has(text.length)) return undefined
    const young = this.#young.get(text)
    if (young !== undefined) return young
    const old = this.#old.get(text)
    if (old !== undefined) this.#keep(text, old)
    return old
  }

  set(text: string, value: Value): void {
    if (text.length > this.#lengthMax / 4) return
    if (this.#wasMet(text) || this.get(text) !== undefined) this.#keep(text, value)
  }

  #keep(text: string, value: Value): void {
    if (!this.#young.has(text)) this.#youngLength += text.length
    this.#young.set(text, value)
    this.#lengths.add(text.length)
    if (this.#youngLength <= this.#lengthMax / 2) return
    this.#old = this.#young
    this.#young = new Map()
    this.#youngLength = 0
  }

  /** Remembers the text by a few of its characters: two that look alike are both kept, which does no harm. */
  #wasMet(text: string): boolean {
    const step = Math.max(1, Math.floor(text.length / SAMPLED_CHARACTERS))
    let digest = text.length
    for (let i = 0; i < text.length; i += step) digest = Math.imul(digest ^ text.charCodeAt(i), 0x01000193)
    const slot = (digest ^ (digest >>> 15)) & (MET_SLOTS - 1)
    if (this.#met[slot] === digest >>> 0) return true
    this.#met[slot] = digest
    return false
  }
}
