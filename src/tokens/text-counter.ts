import { createRequire } from 'node:module'
import { assert } from '../core/assert.ts'
import { RecentMap } from '../core/recent-map.ts'
import type { CountText } from '../core/token-estimate.ts'

/**
 * Longest stretch handed to the tokenizer at once, in UTF-16 units. Its merging keeps a heap of every pair of a stretch
 * without a break (CJK prose, base64, a long run of one character): unbounded, 1 MB of those takes 2 to 4 s and 100 MB.
 */
const PIECE_LENGTH = 1_024
/** Of words that are remembered with their tokens, in UTF-16 units: some 150,000 words. */
const WORD_MEMORY_LENGTH = 1_000_000
/** Of whole texts: a job counts the same instructions, labels and schemas again and again. */
const TEXT_MEMORY_LENGTH = 2_000_000

interface Tokenizer {
  count(text: string): number
  readonly _preparedTiktoken: { cache: Map<string, unknown> }
}

/** Left to itself the tokenizer remembers every word that it has ever met, and with it the text that it came from. */
class WordMemory extends Map<string, unknown> {
  #length = 0

  override set(word: string, tokens: unknown): this {
    this.#length += word.length
    if (this.#length > WORD_MEMORY_LENGTH) {
      this.clear()
      this.#length = word.length
    }
    return super.set(copyOf(word), tokens)
  }
}

/** A part of a string keeps the whole alive unless it is a copy. */
function copyOf(part: string): string {
  return Buffer.from(part, 'utf16le').toString('utf16le')
}

/**
 * Counts tokens of the `anthropic` vocabulary of bpe-lite. That is the vocabulary of an older Claude: what the API
 * counts follows from it by the constants of `facts/tokenizers.json`, for both of today's tokenizers. The vocabulary is
 * read at the first count (about 140 ms), not at import.
 */
export function textCounter(): CountText {
  let tokenizer: Tokenizer | null = null
  const remembered = new RecentMap<number>(TEXT_MEMORY_LENGTH)

  const countPieces = (text: string): number => {
    tokenizer ??= loadTokenizer()
    let tokens = 0
    for (let start = 0; start < text.length; ) {
      const end = pieceEnd(text, start)
      tokens += tokenizer.count(text.slice(start, end))
      start = end
    }
    return tokens
  }

  return (text) => {
    const known = remembered.get(text)
    if (known !== undefined) return known
    const tokens = countPieces(text)
    remembered.set(text, tokens)
    return tokens
  }
}

/** Before the last blank of the stretch, where words are separate anyway; else wherever it does not split a character. */
function pieceEnd(text: string, start: number): number {
  const limit = start + PIECE_LENGTH
  if (limit >= text.length) return text.length
  for (let end = limit; end > start + PIECE_LENGTH / 2; end--) {
    if (isBlank(text.charCodeAt(end)) && !isBlank(text.charCodeAt(end - 1))) return end
  }
  const splitsPair = (text.charCodeAt(limit) & 0xfc00) === 0xdc00
  return splitsPair ? limit - 1 : limit
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x0a
}

function loadTokenizer(): Tokenizer {
  const { anthropic } = createRequire(import.meta.url)('bpe-lite') as { anthropic(): Tokenizer }
  const tokenizer = anthropic()
  assert(
    tokenizer._preparedTiktoken?.cache instanceof Map,
    'bpe-lite keeps its memory of words in _preparedTiktoken.cache (its version is pinned in package.json)',
  )
  tokenizer._preparedTiktoken.cache = new WordMemory()
  return tokenizer
}
