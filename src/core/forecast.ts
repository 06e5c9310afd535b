import { formatPercent } from './figures.ts'
import type { JsonObject } from './json.ts'
import type { Certainty } from './ledger.ts'
import { formatUsd, moneyFields, type PicoUsd, picoUsd } from './money.ts'
import type { RunPlan } from './run-plan.ts'

/** What a run has measured so far, over its answered rows. */
export interface Measured {
  readonly rows: number
  readonly rowsThatRead: number
  readonly promptTokens: number
  readonly outputTokens: number
  /** Null when a model is unpriced. */
  readonly costPicoUsd: PicoUsd | null
}

/** One figure as the plan said it and as it came. */
export interface ForecastLine<T = number> {
  readonly forecast: T
  readonly measured: T
  /** (measured − forecast) / forecast; null when the forecast was zero. */
  readonly error: number | null
}

/** How good the plan was. Lines are null where the plan said nothing, or where nothing was measured yet. */
export interface ForecastComparison {
  readonly rows: number
  /** Share of the rows that read from the cache. */
  readonly hitRate: ForecastLine | null
  readonly promptTokensPerRow: ForecastLine | null
  /** Null while the plan's output was only an upper bound. */
  readonly outputTokensPerRow: ForecastLine | null
  /** Of the answered rows. */
  readonly cost: ForecastLine<PicoUsd> | null
  /** What the whole job will cost if the rest goes as the answered rows did. */
  readonly expectedTotal: PicoUsd | null
}

/** Holds what was measured against the plan, row for row: after a wave as well as at the end. */
export function compareForecast(plan: RunPlan, measured: Measured): ForecastComparison {
  const { rows } = measured
  const nothing = {
    hitRate: null,
    promptTokensPerRow: null,
    outputTokensPerRow: null,
    cost: null,
    expectedTotal: null,
  }
  if (rows === 0 || plan.rows === 0) return { rows, ...nothing }
  const chosen = plan.routes.find(({ route }) => route === plan.chosen)!
  const planned = chosen.cost === null ? null : picoUsd((chosen.cost.best * BigInt(rows)) / BigInt(plan.rows))
  const { costPicoUsd } = measured
  return {
    rows,
    hitRate: chosen.hitRate && line(chosen.hitRate.expected, measured.rowsThatRead / rows),
    promptTokensPerRow: line(plan.promptTokens.best / plan.rows, measured.promptTokens / rows),
    outputTokensPerRow:
      plan.outputTokens.source === 'unknown'
        ? null
        : line(plan.outputTokens.best / plan.rows, measured.outputTokens / rows),
    cost:
      planned === null || costPicoUsd === null
        ? null
        : {
            forecast: planned,
            measured: costPicoUsd,
            error: relativeError(Number(planned), Number(costPicoUsd)),
          },
    expectedTotal: costPicoUsd === null ? null : picoUsd((costPicoUsd * BigInt(plan.rows)) / BigInt(rows)),
  }
}

/**
 * For `--json`; errors are shares, 0.1 for ten percent too little forecast. `certainty` is that of what came: `simulated`
 * on the local upstream, which counts tokens as the plan does.
 */
export function forecastJson(compared: ForecastComparison, certainty: Certainty | null): JsonObject {
  const { cost } = compared
  return {
    certainty,
    rows: compared.rows,
    hit_rate: compared.hitRate && { ...compared.hitRate },
    prompt_tokens_per_row: compared.promptTokensPerRow && { ...compared.promptTokensPerRow },
    output_tokens_per_row: compared.outputTokensPerRow && { ...compared.outputTokensPerRow },
    cost: cost && {
      ...moneyFields('forecast', cost.forecast),
      ...moneyFields('measured', cost.measured),
      error: cost.error,
    },
    ...moneyFields('expected_total', compared.expectedTotal),
  }
}

/** One line for a person: what was measured, and in brackets what the plan had said. */
export function forecastText({
  hitRate,
  outputTokensPerRow,
  expectedTotal,
  rows,
}: ForecastComparison): string {
  const parts = [`${rows} rows answered`]
  if (hitRate !== null)
    parts.push(`hits ${formatPercent(hitRate.measured)} (planned ${formatPercent(hitRate.forecast)})`)
  if (outputTokensPerRow !== null) {
    const { measured, forecast } = outputTokensPerRow
    parts.push(`${Math.round(measured)} output tokens a row (planned ${Math.round(forecast)})`)
  }
  if (expectedTotal !== null) parts.push(`the whole job at this rate ${formatUsd(expectedTotal)}`)
  return parts.join(', ')
}

function line(forecast: number, measured: number): ForecastLine {
  return { forecast, measured, error: relativeError(forecast, measured) }
}

function relativeError(forecast: number, measured: number): number | null {
  return forecast === 0 ? null : (measured - forecast) / forecast
}
