import { isObject } from '../core/json.ts'

/** One element of `requests`, its `params` as the exact bytes that came. */
export type BatchElement =
  | { readonly kind: 'element'; readonly customId: string; readonly params: Uint8Array }
  | { readonly kind: 'refused'; readonly message: string }

const CUSTOM_ID = /^[a-zA-Z0-9_-]*$/
const CUSTOM_ID_LENGTH_MAX = 64

/** Reads `{"custom_id":…,"params":…}`; refuses in the words of claude-api.md 2.2. `index` is 0-based. */
export function parseBatchElement(bytes: Uint8Array, index: number): BatchElement {
  const refused = (message: string): BatchElement => ({ kind: 'refused', message })
  let value: unknown
  try {
    value = JSON.parse(utf8.decode(bytes))
  } catch (error) {
    return refused(`The request body is not valid JSON: ${(error as Error).name} in requests.${index}`)
  }
  if (!isObject(value)) return refused(`requests.${index}: Input should be a valid dictionary`)
  const customId = value['custom_id']
  const at = `requests.${index}.custom_id`
  if (customId === undefined) return refused(`${at}: Field required`)
  if (typeof customId !== 'string') return refused(`${at}: Input should be a valid string`)
  if (customId === '') return refused(`${at}: String should have at least 1 character`)
  if (customId.length > CUSTOM_ID_LENGTH_MAX)
    return refused(`${at}: String should have at most 64 characters`)
  if (!CUSTOM_ID.test(customId)) {
    return refused(`${at}: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'`)
  }
  const params = value['params']
  if (params === undefined) return refused(`requests.${index}.params: Field required`)
  if (!isObject(params)) return refused(`requests.${index}.params: Input should be a valid dictionary`)
  return { kind: 'element', customId, params: memberBytes(bytes, 'params') }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPENING = new Set([0x7b, 0x5b])
const CLOSING = new Set([0x7d, 0x5d])

/**
 * The bytes of a member of a JSON object that is known to be valid and to have it; of the last one, as `JSON.parse`
 * takes it, if it is there twice. Writing the parsed value again would not do: it loses key order and digits.
 */
function memberBytes(json: Uint8Array, name: string): Uint8Array {
  const view = Buffer.from(json.buffer, json.byteOffset, json.byteLength)
  let depth = 0
  let keyStart = -1
  let key = ''
  let valueStart = -1
  let found: Uint8Array | null = null
  for (let i = 0; i < json.length; i++) {
    const byte = json[i]!
    if (byte === QUOTE) {
      const start = i
      i = stringEnd(view, i)
      if (depth === 1 && valueStart === -1) {
        keyStart = start
        key = JSON.parse(utf8.decode(json.subarray(keyStart, i + 1)))
      }
    } else if (OPENING.has(byte)) {
      depth++
    } else if (CLOSING.has(byte)) {
      depth--
      if (depth === 0 && key === name) found = json.subarray(valueStart, i)
    } else if (depth === 1 && byte === COLON) {
      valueStart = i + 1
    } else if (depth === 1 && byte === COMMA) {
      if (key === name) found = json.subarray(valueStart, i)
      valueStart = -1
    }
  }
  return found!
}

/** Place of the quote that closes the string. Prompts are long strings: the next quote is looked for, not each byte. */
function stringEnd(json: Buffer, start: number): number {
  for (let end = json.indexOf(QUOTE, start + 1); ; end = json.indexOf(QUOTE, end + 1)) {
    let backslashes = 0
    while (json[end - 1 - backslashes] === BACKSLASH) backslashes++
    if (backslashes % 2 === 0) return end
  }
}
