import { hash } from 'node:crypto'
import type { CountText } from './token-estimate.ts'

// Counting runs at a few megabytes a second; a job may have hundreds of megabytes of text that no two rows share. Past a
// budget only a sample is counted, and the rest is taken to have as many tokens per byte as the sample of its own length
// class: short texts (labels, questions) and long ones (documents) differ in that more than anything else that can be
// seen without counting. Which texts are counted depends on the text and a seed alone, so a plan is the same every time.

/** Bytes of text that are all counted, before sampling begins. */
const BUDGET_BYTES = 8_000_000
/** Of the texts after that, one in so many is counted. */
const ONE_IN = 32
/** Texts of each length class that are counted whatever the sample says, so that no class is guessed from nothing. */
const FIRST_OF_CLASS = 16
/** Half of the band in standard errors: two hold 95 %. */
const STANDARD_ERRORS = 2

export interface SampledCounter {
  /** Counts the text, or says what texts like it have. */
  readonly count: CountText
  /** Whether every text so far was counted. */
  counting(): 'exact' | 'sampled'
  /**
   * Tokens by which all guesses together may be off, either way; 0 when everything was counted. Guesses are given out
   * while the sample grows, so a file that changes on the way (sorted by language) is guessed worse, and this says so.
   */
  halfBandTokens(): number
  /** UTF-8 bytes of text so far: counted, and all. */
  bytes(): { readonly counted: number; readonly all: number }
}

/** What counted texts say about texts like them. */
class TokensPerByte {
  texts = 0
  #bytes = 0
  #tokens = 0
  #bytesSquared = 0
  #tokensSquared = 0
  #product = 0

  add(bytes: number, tokens: number): void {
    this.texts += 1
    this.#bytes += bytes
    this.#tokens += tokens
    this.#bytesSquared += bytes * bytes
    this.#tokensSquared += tokens * tokens
    this.#product += bytes * tokens
  }

  tokensOf(bytes: number): number {
    return (bytes * this.#tokens) / this.#bytes
  }

  /** Square of the standard error of a guess over so many other texts, in tokens (ratio estimator). */
  variance(texts: number, bytes: number): number {
    const ratio = this.#tokens / this.#bytes
    const squares = this.#tokensSquared - 2 * ratio * this.#product + ratio * ratio * this.#bytesSquared
    const perText = Math.max(0, squares) / Math.max(1, this.texts - 1)
    return (bytes / this.#bytes) ** 2 * this.texts * perText + texts * perText
  }
}

/** Texts past the budget whose lengths are within a factor of two. */
class LengthClass {
  /** Whatever was counted. Used until the sample is large enough: it gives too much weight to the first texts. */
  readonly #all = new TokensPerByte()
  readonly #sample = new TokensPerByte()
  #guessedTexts = 0
  #guessedBytes = 0
  #guessedTokens = 0

  get isNew(): boolean {
    return this.#all.texts < FIRST_OF_CLASS
  }

  add(bytes: number, tokens: number, isSampled: boolean): void {
    this.#all.add(bytes, tokens)
    if (isSampled) this.#sample.add(bytes, tokens)
  }

  guess(bytes: number): number {
    const tokens = Math.round(this.#known().tokensOf(bytes))
    this.#guessedTexts += 1
    this.#guessedBytes += bytes
    this.#guessedTokens += tokens
    return tokens
  }

  variance(): number {
    return this.#guessedTexts === 0 ? 0 : this.#known().variance(this.#guessedTexts, this.#guessedBytes)
  }

  /** Tokens by which all guesses together would differ, had the whole sample been known at the first of them. */
  hindsight(): number {
    return this.#guessedTexts === 0 ? 0 : this.#known().tokensOf(this.#guessedBytes) - this.#guessedTokens
  }

  #known(): TokensPerByte {
    return this.#sample.texts < FIRST_OF_CLASS ? this.#all : this.#sample
  }
}

/**
 * A counter that counts everything up to a budget and a sample of what follows. Keep one per job; memory does not grow.
 * @param count the slow counter; give it texts that repeat only once (`tokenMeasurer` remembers them).
 */
export function sampledCounter(
  count: CountText,
  options: { readonly exact?: boolean; readonly seed?: string; readonly budgetBytes?: number } = {},
): SampledCounter {
  const { exact = false, seed = '', budgetBytes = BUDGET_BYTES } = options
  const classes: LengthClass[] = []
  const bytes = { counted: 0, all: 0 }

  const countNow = (text: string, textBytes: number): number => {
    bytes.counted += textBytes
    return count(text)
  }

  return {
    count(text) {
      const textBytes = Buffer.byteLength(text)
      if (textBytes === 0) return 0
      bytes.all += textBytes
      if (exact || bytes.counted < budgetBytes) return countNow(text, textBytes)
      // Only texts from here on speak for those that are not counted.
      classes[classOf(textBytes)] ??= new LengthClass()
      const lengthClass = classes[classOf(textBytes)]!
      const sampled = isSampled(text, seed)
      if (!sampled && !lengthClass.isNew) return lengthClass.guess(textBytes)
      const tokens = countNow(text, textBytes)
      lengthClass.add(textBytes, tokens, sampled)
      return tokens
    },
    counting: () => (bytes.counted < bytes.all ? 'sampled' : 'exact'),
    halfBandTokens() {
      let variance = 0
      let hindsight = 0
      classes.forEach((lengthClass) => {
        variance += lengthClass.variance()
        hindsight += lengthClass.hindsight()
      })
      return STANDARD_ERRORS * Math.sqrt(variance) + Math.abs(hindsight)
    },
    bytes: () => ({ ...bytes }),
  }
}

/** Texts within a factor of two in length are alike. */
function classOf(textBytes: number): number {
  return Math.floor(Math.log2(textBytes))
}

function isSampled(text: string, seed: string): boolean {
  const digest = hash('sha256', `${seed}\n${text}`, 'buffer')
  return digest.readUInt32LE(0) % ONE_IN === 0
}
