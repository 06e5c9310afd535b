import { createHash } from 'node:crypto'

/** Uniform in [0, 1), the same sequence for the same seed (sfc32 over the seed's digest). */
export function seededRandom(seed: string): () => number {
  const state = createHash('sha256').update(seed).digest()
  let a = state.readUInt32LE(0)
  let b = state.readUInt32LE(4)
  let c = state.readUInt32LE(8)
  let counter = state.readUInt32LE(12)
  return () => {
    const mixed = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + mixed
    return (mixed >>> 0) / 2 ** 32
  }
}

/** A positive amount with the given median; `spread` is the standard deviation of its logarithm. */
export function logNormal(random: () => number, median: number, spread: number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return median * Math.exp(spread * normal)
}
