import { isObject } from '../../src/core/json.ts'
import {
  estimateBlocks,
  type MediaFacts,
  type TokenEstimate,
  type TokenFacts,
  type TokenizerFacts,
  type TokenMeasurer,
} from '../../src/core/token-estimate.ts'
import { median, quantile, type TokenSample } from './token-samples.ts'

// The constants of facts/tokenizers.json from recordings. Everything is a median: least absolute deviations where there
// are several unknowns, so that a few strange recordings decide nothing. Fitted in steps, each on recordings that have
// one thing more than those of the step before. The newer tokenizer has too few recordings for all of that: only its
// tokens per counted token are fitted. What the service writes around tools and schemas is taken to be the same words as
// on older models, in its tokens, and the wrapper, which is no words, the same.

/** Share of the fitted half that a band holds, so that nine in ten of what was not fitted are safely inside. */
const BAND_SHARE = 0.95
const LONG_TOKENS = 100

/**
 * @param samples one half of the recordings.
 * @param given what is published rather than fitted: limits of image tiers, tokens after the last block, built-in tools.
 */
export function fitTokenizers(
  samples: readonly TokenSample[],
  given: TokenFacts,
  measurer: TokenMeasurer,
): TokenFacts {
  const fit = new Fit(given, measurer)
  fit.old(samples.filter((sample) => sample.model.tokenizer === 'old'))
  fit.new(samples.filter((sample) => sample.model.tokenizer === 'new'))
  return fit.facts
}

class Fit {
  facts: TokenFacts
  readonly #given: TokenFacts['tokenizers']
  readonly #measurer: TokenMeasurer

  constructor(given: TokenFacts, measurer: TokenMeasurer) {
    this.facts = given
    this.#given = given.tokenizers
    this.#measurer = measurer
  }

  old(samples: readonly TokenSample[]): void {
    this.#set('old', NOTHING_YET)
    this.#setMedia({ perImage: 0, perPdfPage: 0, perDocument: 0 })

    const texts = samples.filter((sample) => sample.kind === 'text')
    const plain = texts.filter((sample) => !sample.thinkingEnabled)
    this.#set('old', { wrapper: 0, wrapperTail: 0 })
    const [wrapper, perTextToken, perFurtherMessage] = this.#solve(plain, (sample) => [
      1,
      sample.sum.text,
      sample.furtherMessages,
    ])
    const { wrapperTail } = this.#given.old
    this.#set('old', { wrapper, wrapperTail, perTextToken, perFurtherMessage })
    this.#set('old', {
      thinkingEnabled: median(this.#residuals(texts.filter((sample) => sample.thinkingEnabled))),
    })

    const tools = samples.filter((sample) => sample.kind === 'tools')
    const published = tools.filter((sample) => sample.model.toolPromptTokens !== null)
    const definitions = published.filter((sample) => sample.sum.toolBlocks === 0)
    const [perTool, namedToolChoice] = this.#solve(definitions, (sample) => [
      sample.sum.tools,
      toolChoice(sample) === 'tool' ? 1 : 0,
    ])
    this.#set('old', { perTool, namedToolChoice })
    const turns = published.filter((sample) => sample.sum.toolBlocks > 0)
    const [perToolBlock, perToolArgument] = this.#solve(turns, (sample) => [
      sample.sum.toolBlocks,
      sample.sum.toolArguments,
    ])
    this.#set('old', { perToolBlock, perToolArgument })
    const unpublished = tools.filter(
      (sample) => sample.model.toolPromptTokens === null && sample.sum.tools > 0,
    )
    const isForced = (sample: TokenSample): boolean => /^(any|tool)$/.test(toolChoice(sample))
    this.#set('old', {
      toolPrompt: {
        auto: median(this.#residuals(unpublished.filter((sample) => !isForced(sample)))),
        forced: median(this.#residuals(unpublished.filter(isForced))),
      },
    })

    const schemas = samples.filter((sample) => sample.kind === 'schema' && sample.sum.tools === 0)
    const [schemaPrompt, perSchemaToken] = this.#solve(schemas, (sample) => [1, sample.schemaTokens!])
    this.#set('old', { schemaPrompt, perSchemaToken })

    const images = samples.filter((sample) => sample.kind === 'image')
    this.#setMedia({ perImage: median(this.#residuals(images, (sample) => sample.sum.images)) })
    const documents = samples.filter((sample) => sample.kind === 'document')
    const texted = documents.filter((sample) => sample.sum.pages === 0)
    const uncited = (sample: TokenSample): boolean => !sample.citations
    this.#setMedia({
      perDocument: median(this.#residuals(texted.filter(uncited), (sample) => sample.sum.documents)),
    })
    const pdfs = documents.filter((sample) => sample.sum.pages > 0)
    this.#setMedia({
      perPdfPage: median(this.#residuals(pdfs.filter(uncited), (sample) => sample.sum.pages)),
    })
    this.#set('old', { citations: this.#citations(documents) })

    // Shorter texts are held by the band's least number of tokens.
    const long = (sample: TokenSample): boolean => sample.billedTokens >= LONG_TOKENS
    const structured = samples.filter((sample) => sample.kind === 'tools' || sample.kind === 'schema')
    this.#set('old', {
      bandOfText: this.#spread(plain.filter(long)),
      bandOfTools: this.#spread(structured.filter(long)),
      bandTokensMin: this.#given.old.bandTokensMin,
    })
    this.#setMedia({ band: this.#spread([...images, ...pdfs]) })
  }

  new(samples: readonly TokenSample[]): void {
    const old = this.facts.tokenizers.old
    const { wrapperTail, toolPrompt, bandOfText, bandOfTools, bandTokensMin } = this.#given.new
    this.#set('new', { ...NOTHING_YET, toolPrompt, bandOfText, bandOfTools, bandTokensMin })
    const alike = samples.filter(
      (sample) =>
        (sample.kind === 'text' || sample.kind === 'tools') &&
        sample.sum.toolBlocks === 0 &&
        (sample.sum.tools === 0 || sample.model.toolPromptTokens !== null),
    )
    const { wrapper, perFurtherMessage } = old
    this.#set('new', { wrapper, wrapperTail, perFurtherMessage })
    const [perTextToken] = this.#solve(alike, (sample) => [sample.sum.text])
    this.#set('new', { perTextToken, ...scaled(perTextToken! / old.perTextToken, old) })
    this.#set('new', { citations: this.#citations(samples.filter((sample) => sample.kind === 'document')) })
  }

  /** What no constant explains yet, per unit of `by`. */
  #residuals(samples: readonly TokenSample[], by: (sample: TokenSample) => number = () => 1): number[] {
    return samples.map((sample) => (sample.billedTokens - this.#estimate(sample).best) / by(sample))
  }

  #citations(documents: readonly TokenSample[]): number {
    return median(this.#residuals(documents.filter((sample) => sample.citations)))
  }

  #spread(samples: readonly TokenSample[]): number {
    const errors = samples.map((sample) => {
      const { best } = this.#estimate(sample)
      return Math.abs(sample.billedTokens - best) / best
    })
    return quantile(errors, BAND_SHARE)
  }

  #solve(samples: readonly TokenSample[], terms: (sample: TokenSample) => number[]): number[] {
    return leastAbsoluteDeviations(samples.map(terms), this.#residuals(samples))
  }

  #estimate(sample: TokenSample): TokenEstimate {
    return estimateBlocks(sample.request, sample.blocks, sample.model, this.#measurer, this.facts)
  }

  #set(name: keyof TokenFacts['tokenizers'], constants: Partial<TokenizerFacts>): void {
    const { tokenizers } = this.facts
    this.facts = {
      ...this.facts,
      tokenizers: { ...tokenizers, [name]: { ...tokenizers[name], ...rounded(constants) } },
    }
  }

  #setMedia(constants: Partial<MediaFacts>): void {
    this.facts = { ...this.facts, media: { ...this.facts.media, ...rounded(constants) } }
  }
}

const NOTHING_YET: TokenizerFacts = {
  perTextToken: 0,
  wrapper: 0,
  wrapperTail: 0,
  perFurtherMessage: 0,
  thinkingEnabled: 0,
  perTool: 0,
  namedToolChoice: 0,
  toolPrompt: { auto: 0, forced: 0 },
  perToolBlock: 0,
  perToolArgument: 0,
  schemaPrompt: 0,
  perSchemaToken: 0,
  citations: 0,
  bandOfText: 0,
  bandOfTools: 0,
  bandTokensMin: 0,
}

/** The words around tools and schemas, in tokens of another tokenizer. */
function scaled(scale: number, from: TokenizerFacts): Partial<TokenizerFacts> {
  const { perTool, namedToolChoice, perToolBlock, perToolArgument, schemaPrompt, perSchemaToken } = from
  const words = {
    perTool,
    namedToolChoice,
    perToolBlock,
    perToolArgument,
    schemaPrompt,
    perSchemaToken,
  }
  return Object.fromEntries(Object.entries(words).map(([name, tokens]) => [name, tokens * scale]))
}

/** To a hundredth of a token, or a thousandth where it is multiplied: more digits would not be the recordings'. */
function rounded<Constants extends object>(constants: Constants): Constants {
  const round = (value: unknown): unknown => {
    if (typeof value === 'number') return Number(value.toFixed(3))
    return isObject(value)
      ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, round(item)]))
      : value
  }
  return Object.fromEntries(Object.entries(constants).map(([key, value]) => [key, round(value)])) as Constants
}

function toolChoice(sample: TokenSample): string {
  const choice = sample.request['tool_choice']
  return isObject(choice) ? String(choice['type']) : 'auto'
}

/** Deviations below this are as good as none: recordings of one request differ by a token themselves. */
const TOKENS_NO_DEVIATION = 0.05

/** The `b` for which the sum of `|y - x·b|` is least, by reweighted least squares. */
export function leastAbsoluteDeviations(xs: readonly (readonly number[])[], ys: readonly number[]): number[] {
  let solution: number[] = []
  let weights = ys.map(() => 1)
  for (let round = 0; round < 100; round++) {
    solution = leastSquares(xs, ys, weights)
    weights = xs.map((x, i) => 1 / Math.max(Math.abs(ys[i]! - dot(x, solution)), TOKENS_NO_DEVIATION))
  }
  return solution
}

/** Normal equations by Gauss and Jordan; a term that never varies alone gets a little pull towards nothing. */
function leastSquares(
  xs: readonly (readonly number[])[],
  ys: readonly number[],
  weights: readonly number[],
): number[] {
  const size = xs[0]?.length ?? 0
  const rows = Array.from({ length: size }, (_, j) => {
    const row = Array.from({ length: size }, (_, k) => weightedSum(xs, weights, (x) => x[j]! * x[k]!))
    row[j]! += 1e-9
    return [...row, weightedSum(xs, weights, (x, i) => x[j]! * ys[i]!)]
  })
  for (let j = 0; j < size; j++) {
    const pivot = rows[j]!
    for (const [k, row] of rows.entries()) {
      if (k === j) continue
      const factor = row[j]! / pivot[j]!
      for (let l = j; l <= size; l++) row[l]! -= factor * pivot[l]!
    }
  }
  return rows.map((row, j) => row[size]! / row[j]!)
}

function weightedSum(
  xs: readonly (readonly number[])[],
  weights: readonly number[],
  term: (x: readonly number[], i: number) => number,
): number {
  let sum = 0
  for (const [i, x] of xs.entries()) sum += weights[i]! * term(x, i)
  return sum
}

function dot(a: readonly number[], b: readonly number[]): number {
  let sum = 0
  for (const [i, value] of a.entries()) sum += value * b[i]!
  return sum
}
