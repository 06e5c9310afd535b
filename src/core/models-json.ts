import { formatCount } from './figures.ts'
import type { Instant } from './instant.ts'
import {
  type Catalogue,
  type Fact,
  isRetired,
  type Model,
  minimumCacheableTokens,
  type Price,
  priceAt,
  type Rates,
} from './models.ts'
import { toUsdNumber } from './money.ts'

/** `tithe.models/1`: every model that we know with all that is dated, retired ones included. */
export function modelsJson(catalogue: Catalogue) {
  const { batch, usInference } = catalogue.priceRatios
  return {
    schema: 'tithe.models/1',
    price_book: catalogue.version,
    /** Factors on every rate below; a batch in the United States has both. */
    price_factors: {
      batch: Number(batch.numerator) / Number(batch.denominator),
      inference_geo_us: Number(usInference.numerator) / Number(usInference.denominator),
    },
    web_search_usd: toUsdNumber(catalogue.webSearchPicoUsd),
    models: catalogue.models.map(modelJson),
  }
}

function modelJson(model: Model) {
  return {
    id: model.id,
    aliases: model.aliases,
    display_name: model.displayName,
    status: model.status,
    released: model.released,
    retires: model.retires && { date: model.retires.date, not_before: model.retires.notBefore },
    tokenizer: model.tokenizer,
    context_tokens: model.contextTokens,
    output_tokens_max: model.outputTokensMax,
    output_tokens_max_batch_beta: model.outputTokensMaxBatchBeta,
    tool_prompt_tokens: model.toolPromptTokens,
    prices: model.prices.map(priceJson),
    minimum_cacheable: model.minimumCacheable.map(minimumJson),
    parameters: parametersJson(model),
    source: model.source,
    checked: model.checked,
    sure: model.sure,
  }
}

function priceJson(price: Price) {
  return {
    from: price.from,
    contract: price.contract,
    bands: price.bands.map(({ promptTokensMax, rates }) => ({
      prompt_tokens_max: promptTokensMax,
      usd_per_million_tokens: ratesJson(rates),
    })),
    fast_usd_per_million_tokens: price.fast && ratesJson(price.fast),
    source: price.source,
    sure: price.sure,
  }
}

function ratesJson(rates: Rates) {
  return {
    input: usdPerMillion(rates.input),
    cache_write_5m: usdPerMillion(rates.write5m),
    cache_write_1h: usdPerMillion(rates.write1h),
    cache_read: usdPerMillion(rates.read),
    output: usdPerMillion(rates.output),
  }
}

function minimumJson(minimum: Fact<number>) {
  const { value, from, source, checked, sure } = minimum
  return { tokens: value, from, source, checked, sure }
}

function parametersJson({ parameters }: Model) {
  return {
    thinking_by_default: parameters.thinkingByDefault,
    thinking_types: parameters.thinkingTypes,
    efforts: parameters.efforts,
    effort_default: parameters.effortDefault,
    sampling: parameters.samplingParameters,
    forced_tool_choice: parameters.forcedToolChoice,
    prefill: parameters.prefill,
    system_messages: parameters.systemMessages,
    inference_geo: parameters.inferenceGeo,
    fast_mode: parameters.fastMode,
    image_tier: parameters.imageTier,
  }
}

/** The table for a terminal: rates in dollars per million tokens, a line for each price band. */
export const MODEL_COLUMNS = [
  { header: 'model' },
  { header: 'input', align: 'right' },
  { header: 'output', align: 'right' },
  { header: 'write 5m', align: 'right' },
  { header: 'write 1h', align: 'right' },
  { header: 'read', align: 'right' },
  { header: 'caches from', align: 'right' },
  { header: 'context', align: 'right' },
  { header: 'max output', align: 'right' },
  { header: 'tokenizer' },
  { header: 'note' },
] as const

/** `all`: retired models too. */
export function modelRows(catalogue: Catalogue, at: Instant, all: boolean): string[][] {
  return catalogue.models
    .filter((model) => all || !isRetired(model, at))
    .flatMap((model) => rowsOf(model, at))
}

function rowsOf(model: Model, at: Instant): string[][] {
  const about = [
    formatCount(minimumCacheableTokens(model, at)),
    formatCount(model.contextTokens),
    formatCount(model.outputTokensMax),
    model.tokenizer,
    noteOf(model, at),
  ]
  const price = priceAt(model, at)
  if (price === null) return [[model.id, 'unpriced', '', '', '', '', ...about]]
  return price.bands.map((band, i) => {
    const cells = [
      band.rates.input,
      band.rates.output,
      band.rates.write5m,
      band.rates.write1h,
      band.rates.read,
    ]
    const from = price.bands[i - 1]?.promptTokensMax
    const rates = cells.map((rate) => String(usdPerMillion(rate)))
    return from == null
      ? [model.id, ...rates, ...about]
      : [`  prompts over ${formatCount(from)}`, ...rates, '', '', '', '', '']
  })
}

function noteOf(model: Model, at: Instant): string {
  const { retires, status } = model
  const aliases = model.aliases.length === 0 ? [] : [`also ${model.aliases.join(', ')}`]
  if (isRetired(model, at)) return [`retired ${retires?.date ?? ''}`.trim(), ...aliases].join('; ')
  const word = status === 'limited' ? ['limited access'] : status === 'deprecated' ? ['deprecated'] : []
  const end =
    retires === null ? [] : [`${retires.notBefore ? 'lives until at least' : 'retires'} ${retires.date}`]
  return [...word, ...end, ...aliases].join('; ')
}

/** One dollar per million tokens is 1,000,000 picodollars per token. */
function usdPerMillion(rate: bigint): number {
  return Number(rate) / 1e6
}
