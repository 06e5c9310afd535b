import { assert } from '../core/assert.ts'
import { sha256Hex } from '../core/digest.ts'
import type { ApiRules, Catalogue, Model, Price, Rates, Ratio } from '../core/models.ts'
import { parseUsd, timesRatio } from '../core/money.ts'
import type { FactFiles } from './facts-schema.ts'
import limitsFile from './limits.json' with { type: 'json' }
import modelsFile from './models.json' with { type: 'json' }
import parametersFile from './parameters.json' with { type: 'json' }
import pricesFile from './prices.json' with { type: 'json' }

// The fact files as one value. Names and dollars are turned into what the core computes with; nothing is decided here.

type PublishedRates = FactFiles['prices']['prices'][number]['value']['bands'][number]['rates']
type PublishedRatio = FactFiles['prices']['batchRatio']['value']

/** The fact files as they stand, for the test of their shape. */
export function factFiles(): unknown {
  return { models: modelsFile, parameters: parametersFile, prices: pricesFile, limits: limitsFile }
}

let loaded: Catalogue | null = null

/** Every model, price and limit that we know, in the core's units (picodollars per token). Read once a process. */
export function loadCatalogue(): Catalogue {
  loaded ??= catalogueOf(factFiles() as FactFiles)
  return loaded
}

/** Dollars per million tokens as picodollars per token, exactly: one dollar per million is 1,000,000 of them. */
export function ratePicoUsd(usdPerMillionTokens: number): bigint {
  const picoPerMillion = parseUsd(usdPerMillionTokens)
  assert(picoPerMillion !== null, `${usdPerMillionTokens} dollars per million tokens is an exact decimal`)
  return timesRatio(picoPerMillion, 1n, 1_000_000n)
}

function catalogueOf(files: FactFiles): Catalogue {
  const { models, prices } = files
  const priceRatios = {
    batch: ratioOf(prices.batchRatio.value),
    usInference: ratioOf(prices.usInferenceRatio.value),
  }
  return {
    version: versionOf(files),
    models: models.map((fact) => modelOf(fact, files, priceRatios)),
    webSearchPicoUsd: parseUsd(prices.webSearchUsd.value)!,
    priceRatios,
    rules: Object.fromEntries(
      Object.entries(files.limits).map(([name, fact]) => [name, fact.value]),
    ) as unknown as ApiRules,
  }
}

/** The day of the newest look at any source, and a digest of every figure. */
function versionOf(files: FactFiles): string {
  const text = JSON.stringify(files)
  const newest = [...text.matchAll(/"checked":"([\d-]+)"/g)]
    .map((match) => match[1]!)
    .sort()
    .at(-1)!
  return `${newest}.${sha256Hex(text).slice(0, 12)}`
}

function modelOf(fact: FactFiles['models'][number], files: FactFiles, ratios: Price['ratios']): Model {
  const { id } = fact.value
  const parameters = files.parameters.parameters.find((row) => row.models.includes(id))
  assert(parameters, `parameters.json has a row for ${id}`)
  const toolPrompt = files.parameters.toolPromptTokens.find((row) => row.models.includes(id))
  return {
    ...fact.value,
    prices: files.prices.prices.filter((price) => price.model === id).map((price) => priceOf(price, ratios)),
    parameters: parameters.value,
    toolPromptTokens: toolPrompt?.value ?? null,
    source: fact.source,
    checked: fact.checked,
    sure: fact.sure,
  }
}

function priceOf(fact: FactFiles['prices']['prices'][number], ratios: Price['ratios']): Price {
  const { bands, fast } = fact.value
  return {
    model: fact.model,
    from: fact.from,
    bands: bands.map((band) => ({ promptTokensMax: band.promptTokensMax, rates: ratesOf(band.rates) })),
    fast: fast ? ratesOf(fast) : null,
    ratios,
    source: fact.source,
    sure: fact.sure,
    contract: false,
  }
}

function ratesOf(published: PublishedRates): Rates {
  return {
    input: ratePicoUsd(published.input),
    write5m: ratePicoUsd(published.write5m),
    write1h: ratePicoUsd(published.write1h),
    read: ratePicoUsd(published.read),
    output: ratePicoUsd(published.output),
  }
}

function ratioOf(published: PublishedRatio): Ratio {
  return { numerator: BigInt(published.numerator), denominator: BigInt(published.denominator) }
}
