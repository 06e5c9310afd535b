import type { Band } from './run-plan.ts'

/** Output tokens of answered rows: enough for a mean and how sure it is. */
export interface OutputSample {
  readonly rows: number
  readonly tokens: number
  readonly squares: number
}

export const NO_OUTPUT: OutputSample = { rows: 0, tokens: 0, squares: 0 }

export function withAnswer(sample: OutputSample, outputTokens: number): OutputSample {
  return {
    rows: sample.rows + 1,
    tokens: sample.tokens + outputTokens,
    squares: sample.squares + outputTokens * outputTokens,
  }
}

/** Output tokens of a row, as a mean over the job. `unknown` is priced up to `max_tokens`, and says so. */
export interface OutputEstimate {
  readonly source: 'given' | 'history' | 'probe' | 'unknown'
  /** Null when unknown. */
  readonly perRow: Band<number> | null
}

/** Samples below this say too little: one answer has no spread. */
const SAMPLE_ROWS_MIN = 5
/** Half-width of a 95 % interval, in standard errors. */
const STANDARD_ERRORS = 1.96

/**
 * What a row will answer: as the job says, else as earlier runs of the same job answered, else as the probe did, else
 * unknown. Never a guess from the prompt: answers do not follow its length.
 */
export function estimateOutput(known: {
  readonly expectedOutputTokens: number | null
  readonly history?: OutputSample
  readonly probe?: OutputSample
}): OutputEstimate {
  const given = known.expectedOutputTokens
  if (given !== null) return { source: 'given', perRow: { low: given, best: given, high: given } }
  for (const source of ['history', 'probe'] as const) {
    const sample = known[source]
    if (sample && sample.rows >= SAMPLE_ROWS_MIN) return { source, perRow: bandOfMean(sample) }
  }
  return { source: 'unknown', perRow: null }
}

function bandOfMean(sample: OutputSample): Band<number> {
  const mean = sample.tokens / sample.rows
  const variance = Math.max(0, (sample.squares - sample.rows * mean * mean) / (sample.rows - 1))
  const halfWidth = STANDARD_ERRORS * Math.sqrt(variance / sample.rows)
  return { low: Math.max(0, mean - halfWidth), best: mean, high: mean + halfWidth }
}
