import { sha256Hex } from './digest.ts'
import type { Json } from './json.ts'

/**
 * Does it mean the same? `c1:` and SHA-256 of the value with its keys in order: key order does not matter, numbers and
 * strings are exact, a key that is `undefined` is absent. For idempotence; the prompt cache sees key order, and asks
 * prefix-hash.ts.
 */
export function contentHash(value: Json): string {
  return `c1:${sha256Hex(canonicalJson(value))}`
}

/**
 * Are they the same bytes? `b1:` and SHA-256. Equal bytes mean the same; of different ones `contentHash` has to be asked.
 */
export function byteDigest(bytes: Uint8Array): string {
  return `b1:${sha256Hex(bytes)}`
}

function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members: string[] = []
  // Not localeCompare: the order must not depend on where we run.
  for (const [key, member] of Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (member !== undefined) members.push(`${JSON.stringify(key)}:${canonicalJson(member)}`)
  }
  return `{${members.join(',')}}`
}
