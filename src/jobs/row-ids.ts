import { hash } from 'node:crypto'

const SLOT_WORDS = 4

/**
 * Which line first used an id. Keeps 12 bytes of digest and the line, in one flat array: a million rows take some
 * 32 MB, whatever their ids look like. (A false alarm among a million ids: once in 10¹⁷ jobs.)
 */
export class RowIds {
  #slots = new Uint32Array(1024 * SLOT_WORDS)
  #used = 0

  /** The number under which `id` was added before; null when it is new, and then it is remembered. `line` ≥ 1. */
  add(id: string, line: number): number | null {
    if (this.#used * 2 >= this.#slots.length / SLOT_WORDS) this.#grow()
    const digest = hash('sha256', id, 'buffer')
    const words = [digest.readUInt32LE(0), digest.readUInt32LE(4), digest.readUInt32LE(8)] as const
    const at = findSlot(this.#slots, ...words)
    const earlier = this.#slots[at + 3]!
    if (earlier !== 0) return earlier
    this.#slots.set([...words, line], at)
    this.#used += 1
    return null
  }

  #grow(): void {
    const slots = new Uint32Array(this.#slots.length * 2)
    for (let from = 0; from < this.#slots.length; from += SLOT_WORDS) {
      if (this.#slots[from + 3] === 0) continue
      const [a, b, c] = [this.#slots[from]!, this.#slots[from + 1]!, this.#slots[from + 2]!]
      slots.set(this.#slots.subarray(from, from + SLOT_WORDS), findSlot(slots, a, b, c))
    }
    this.#slots = slots
  }
}

/** The slot of a digest, or the free one where it belongs (open addressing, the next slot on a collision). */
function findSlot(slots: Uint32Array, a: number, b: number, c: number): number {
  let at = (a * SLOT_WORDS) % slots.length
  while (slots[at + 3] !== 0 && (slots[at] !== a || slots[at + 1] !== b || slots[at + 2] !== c)) {
    at = (at + SLOT_WORDS) % slots.length
  }
  return at
}
