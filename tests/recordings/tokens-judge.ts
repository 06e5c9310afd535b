import { dirname, join } from 'node:path'
import type { Catalogue } from '../../src/core/models.ts'
import {
  estimateBlocks,
  type TokenEstimate,
  type TokenFacts,
  type TokenMeasurer,
  tokenMeasurer,
} from '../../src/core/token-estimate.ts'
import { sizeOfImage } from '../../src/tokens/image-size.ts'
import { textCounter } from '../../src/tokens/text-counter.ts'
import type { Recording } from './recording.ts'
import { fitTokenizers } from './token-fit.ts'
import { median, quantile, type TokenSample, type TokenSamples, tokenSamples } from './token-samples.ts'

/**
 * Holds the token estimate against recorded usage. The shipped constants were fitted on half A by hash of the text and
 * are judged on half B. Because one repository's texts resemble each other, the fit is also repeated on half of the
 * repositories and judged on texts of the other half.
 */
export interface TokenReport {
  readonly recordings: number
  /** Distinct requests, after what cannot be predicted from a request was left out. */
  readonly samples: number
  readonly left_out: Readonly<Record<string, number>>
  readonly by_text: TokenScores
  readonly by_repo: TokenScores
  readonly misses: readonly TokenMiss[]
  readonly lines: readonly string[]
}

export interface TokenScores {
  readonly fitted_on: number
  readonly judged_on: number
  /** Old tokenizer: no tools, no images, at least 100 tokens; and without that least. */
  readonly text: TokenScore
  readonly all_text: TokenScore
  readonly tools: TokenScore
  readonly schema: TokenScore
  readonly documents: TokenScore
  /** Both tokenizers. */
  readonly images: ImageScore
  /** New tokenizer: everything but images and documents. */
  readonly new_tokenizer: TokenScore & { readonly half_width_max: number }
}

export interface TokenScore {
  readonly n: number
  /** Of the absolute relative error. */
  readonly median: number
  readonly p95: number
  /** Median of the signed relative error. */
  readonly bias: number
  /** Share of samples inside their band. */
  readonly held: number
}

export interface ImageScore {
  readonly n: number
  readonly sizes: number
  /** Median over sizes of the median error in tokens. */
  readonly median_tokens_off: number
}

export interface TokenMiss {
  readonly origin: string
  readonly model: string
  readonly billed: number
  readonly best: number
}

interface Judged {
  readonly sample: TokenSample
  readonly estimate: TokenEstimate
  /** Relative, signed. */
  readonly error: number
}

const LONG_TOKENS = 100
const MISSES_LISTED = 15

/**
 * @param facts the shipped ones.
 * @param file of the recordings, beside which stands the folder `blobs`.
 */
export async function judgeTokens(
  recordings: readonly Recording[],
  catalogue: Catalogue,
  facts: TokenFacts,
  file: string,
): Promise<TokenReport> {
  const { measurer, samples, leftOut } = await prepare(recordings, catalogue, facts, file)

  const fitTexts = samples.filter((sample) => sample.textHalf === 'a')
  const heldOut = samples.filter((sample) => sample.textHalf === 'b')
  const judged = judge(heldOut, measurer, facts)

  const fitRepos = samples.filter((sample) => sample.repoHalf === 'a')
  const seen = new Set(fitRepos.map((sample) => sample.textHash))
  const otherRepos = samples.filter((sample) => sample.repoHalf === 'b' && !seen.has(sample.textHash))
  const repoFacts = fitTokenizers(fitRepos, facts, measurer)

  const report = {
    recordings: recordings.length,
    samples: samples.length,
    left_out: leftOut,
    by_text: scoresOf(fitTexts.length, judged),
    by_repo: scoresOf(fitRepos.length, judge(otherRepos, measurer, repoFacts)),
    misses: judged
      .toSorted((a, b) => Math.abs(b.error) - Math.abs(a.error))
      .slice(0, MISSES_LISTED)
      .map(({ sample, estimate }) => ({
        origin: sample.origin,
        model: sample.model.id,
        billed: sample.billedTokens,
        best: estimate.best,
      })),
  }
  return { ...report, lines: linesOf(report) }
}

/** The constants that the fit gives on half A by text: what facts/tokenizers.json must hold. */
export async function fitOnHalfA(
  recordings: readonly Recording[],
  catalogue: Catalogue,
  facts: TokenFacts,
  file: string,
): Promise<TokenFacts> {
  const { measurer, samples } = await prepare(recordings, catalogue, facts, file)
  return fitTokenizers(
    samples.filter((sample) => sample.textHalf === 'a'),
    facts,
    measurer,
  )
}

async function prepare(
  recordings: readonly Recording[],
  catalogue: Catalogue,
  facts: TokenFacts,
  file: string,
): Promise<TokenSamples & { readonly measurer: TokenMeasurer }> {
  const count = textCounter()
  const measurer = tokenMeasurer(count, sizeOfImage, facts.media)
  const readers = { count, sizeOfImage, blobs: join(dirname(file), 'blobs') }
  return { ...(await tokenSamples(recordings, catalogue, measurer, readers)), measurer }
}

function judge(samples: readonly TokenSample[], measurer: TokenMeasurer, facts: TokenFacts): Judged[] {
  return samples.map((sample) => {
    const estimate = estimateBlocks(sample.request, sample.blocks, sample.model, measurer, facts)
    return { sample, estimate, error: (estimate.best - sample.billedTokens) / sample.billedTokens }
  })
}

function scoresOf(fittedOn: number, judged: readonly Judged[]): TokenScores {
  const of = (tokenizer: 'old' | 'new', ...kinds: TokenSample['kind'][]): Judged[] =>
    judged.filter(({ sample }) => sample.model.tokenizer === tokenizer && kinds.includes(sample.kind))
  const texts = of('old', 'text')
  const news = of('new', 'text', 'tools', 'schema')
  return {
    fitted_on: fittedOn,
    judged_on: judged.length,
    text: scoreOf(texts.filter(({ sample }) => sample.billedTokens >= LONG_TOKENS)),
    all_text: scoreOf(texts),
    tools: scoreOf(of('old', 'tools')),
    schema: scoreOf(of('old', 'schema')),
    documents: scoreOf([...of('old', 'document'), ...of('new', 'document')]),
    // Next to tools the error would be that of the tools.
    images: imageScoreOf([...of('old', 'image'), ...of('new', 'image')].filter(hasNoTools)),
    new_tokenizer: {
      ...scoreOf(news),
      half_width_max: Math.max(
        0,
        ...news.map(({ estimate: { low, best, high } }) => (high - low) / 2 / best),
      ),
    },
  }
}

function hasNoTools({ sample }: Judged): boolean {
  return sample.sum.tools === 0 && sample.sum.toolBlocks === 0
}

function scoreOf(judged: readonly Judged[]): TokenScore {
  const errors = judged.map(({ error }) => error)
  const sizes = errors.map(Math.abs)
  const held = judged.filter(
    ({ sample, estimate }) => estimate.low <= sample.billedTokens && sample.billedTokens <= estimate.high,
  )
  return {
    n: judged.length,
    median: median(sizes),
    p95: quantile(sizes, 0.95),
    bias: median(errors),
    held: judged.length === 0 ? 0 : held.length / judged.length,
  }
}

function imageScoreOf(judged: readonly Judged[]): ImageScore {
  const bySize = new Map<string, number[]>()
  for (const { sample, estimate } of judged) {
    const size = sample.imageSizes.join(' ')
    const off = Math.abs(estimate.best - sample.billedTokens)
    bySize.set(size, [...(bySize.get(size) ?? []), off])
  }
  return {
    n: judged.length,
    sizes: bySize.size,
    median_tokens_off: median([...bySize.values()].map(median)),
  }
}

function linesOf(report: Omit<TokenReport, 'lines'>): string[] {
  const leftOut = Object.entries(report.left_out).toSorted((a, b) => b[1] - a[1])
  return [
    `tokens: ${report.recordings} recordings, ${report.samples} distinct requests judged or fitted on`,
    ...leftOut.map(([reason, n]) => `  left out ${String(n).padStart(4)}  ${reason}`),
    ...scoreLines('half of the texts (shipped constants)', report.by_text),
    ...scoreLines('half of the repositories (fitted anew)', report.by_repo),
    '  largest errors:',
    ...report.misses.map(
      ({ origin, model, billed, best }) =>
        `    ${percent((best - billed) / billed).padStart(8)}  ${billed} billed, ${best} estimated  ${model}  ${origin}`,
    ),
  ]
}

function scoreLines(title: string, scores: TokenScores): string[] {
  const line = (name: string, score: TokenScore): string =>
    `    ${name.padEnd(28)} n ${String(score.n).padStart(4)}  median ${percent(score.median)}  p95 ${percent(score.p95)}` +
    `  bias ${percent(score.bias)}  in band ${percent(score.held)}`
  const { images, new_tokenizer: newer } = scores
  return [
    `  ${title}: fitted on ${scores.fitted_on}, judged on ${scores.judged_on}`,
    line('text, 100 tokens or more', scores.text),
    line('text of any length', scores.all_text),
    line('with tools', scores.tools),
    line('with an output schema', scores.schema),
    line('with documents', scores.documents),
    `    ${'images'.padEnd(28)} n ${String(images.n).padStart(4)}  of ${images.sizes} sizes, ${images.median_tokens_off} tokens off at the median of sizes`,
    `${line('newer tokenizer', newer)}  half-width up to ${percent(newer.half_width_max)}`,
  ]
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`
}
