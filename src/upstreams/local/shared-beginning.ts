/** Shorter ones are not worth a second table look-up. */
const BEGINNING_BYTES_MIN = 4_096

export interface SplitBody {
  /** Id of the stored beginning that the body continues; null when it is kept whole. */
  readonly beginning: number | null
  /** Bytes to be stored under that id first; null when they are there already. */
  readonly fresh: Uint8Array | null
  readonly rest: Uint8Array
}

/**
 * Bodies of a batch that begin alike are kept as one beginning and many rests: 100,000 rows over one handbook are then
 * 50 MB and not 5 GB. It looks at bytes only. The beginning is what a body has in common with the one before; a body that
 * does not begin so gets a shorter one, so after a few rows it is what all of them share.
 */
export class SharedBeginning {
  #previous: Uint8Array = new Uint8Array()
  #bytes: Uint8Array = new Uint8Array()
  #id: number | null = null

  /** @param id under which a new beginning is stored: any number that no earlier one of this batch has. */
  split(id: number, body: Uint8Array): SplitBody {
    const previous = this.#previous
    this.#previous = body
    if (this.#id !== null && beginsWith(body, this.#bytes)) {
      return { beginning: this.#id, fresh: null, rest: body.subarray(this.#bytes.length) }
    }
    const length = commonLength(previous, body)
    if (length < BEGINNING_BYTES_MIN) return { beginning: null, fresh: null, rest: body }
    this.#id = id
    this.#bytes = body.slice(0, length)
    return { beginning: id, fresh: this.#bytes, rest: body.subarray(length) }
  }
}

function beginsWith(body: Uint8Array, beginning: Uint8Array): boolean {
  return Buffer.compare(body.subarray(0, beginning.length), beginning) === 0
}

function commonLength(one: Uint8Array, other: Uint8Array): number {
  const end = Math.min(one.length, other.length)
  let length = 0
  while (length < end && one[length] === other[length]) length++
  return length
}
