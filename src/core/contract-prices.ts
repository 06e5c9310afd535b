import { sha256Hex } from './digest.ts'
import { type Problem, problem, TitheError } from './errors.ts'
import type { ContractPrice } from './job.ts'
import { type Catalogue, findModel, type Model, type Price, type PriceBand, type Rates } from './models.ts'
import { parseUsd } from './money.ts'
import { nearest } from './nearest.ts'

/** A job's own `prices:`, by model id or alias. */
export type ContractPrices = Readonly<Record<string, ContractPrice>>

const FIELDS = {
  input: 'input',
  output: 'output',
  write_5m: 'write5m',
  write_1h: 'write1h',
  read: 'read',
} as const satisfies Record<keyof ContractPrice, keyof Rates>

/** Rates are multiplied by 1/2 and 11/10: a multiple of this many picodollars stays whole under both. */
const GRAIN = 20n
const STEPS = 'in dollars per million tokens, in steps of 0.00002'

/**
 * A catalogue whose named models cost what the contract says. What the contract leaves out keeps its published ratio:
 * cache classes follow `input`, higher price bands follow the lowest. Fast mode keeps its published rates. The version
 * changes with the rates, so that entries tell which book priced them.
 *
 * `foreign` names models of another Messages server, which may be unknown here: they join the catalogue.
 *
 * Throws `invalid_contract_price` with every problem found: an unknown model, a rate that is no exact decimal, a model
 * without published prices whose contract does not name all classes.
 */
export function withContractPrices(
  catalogue: Catalogue,
  contract: ContractPrices,
  foreign: ReadonlySet<string> = new Set(),
): Catalogue {
  if (Object.keys(contract).length === 0) return catalogue
  const problems: Problem[] = []
  const replaced = new Map<string, Price>()
  const models = [...catalogue.models]
  for (const [name, given] of Object.entries(contract)) {
    let model = findModel(catalogue, name)
    if (model === null && foreign.has(name)) {
      model = foreignModel(name, catalogue)
      models.push(model)
    }
    if (model === null) {
      const near = nearest(
        name,
        catalogue.models.map((known) => known.id),
      )
      problems.push(
        problem('unknown_model', `prices: no model is called ${name}`, {
          where: { path: `prices.${name}` },
          hint: near === null ? undefined : `did you mean ${near}?`,
        }),
      )
      continue
    }
    const price = contractPrice(model, catalogue.priceRatios, name, given, problems)
    if (price !== null) replaced.set(model.id, price)
  }
  if (problems.length > 0) {
    const { message, hint, where } = problems[0]!
    throw new TitheError('invalid_contract_price', message, {
      hint: hint ?? undefined,
      where: where ?? undefined,
      problems,
    })
  }
  return {
    ...catalogue,
    version: `${catalogue.version}+${sha256Hex(JSON.stringify(contract)).slice(0, 8)}`,
    models: models.map((model) => {
      const price = replaced.get(model.id)
      return price === undefined ? model : { ...model, prices: [price] }
    }),
  }
}

/** Nothing is known of it but what the contract says, so nothing is refused and the strictest minimum is assumed. */
function foreignModel(name: string, catalogue: Catalogue): Model {
  const minimums = catalogue.models.flatMap((model) => model.minimumCacheable)
  return {
    id: name,
    aliases: [],
    displayName: name,
    status: 'active',
    released: null,
    retires: null,
    contextTokens: Number.MAX_SAFE_INTEGER,
    outputTokensMax: Number.MAX_SAFE_INTEGER,
    outputTokensMaxBatchBeta: null,
    tokenizer: 'new',
    rateClass: 'standard',
    minimumCacheable: minimums.toSorted((a, b) => b.value - a.value).slice(0, 1),
    prices: [],
    parameters: {
      thinkingByDefault: false,
      thinkingTypes: ['adaptive', 'enabled', 'disabled', 'between_tools'],
      thinkingTypesDeprecated: [],
      thinkingDisabledEffortMax: null,
      dropsOldThinking: false,
      samplingParameters: true,
      samplingDefaults: true,
      forcedToolChoice: true,
      prefill: true,
      systemMessages: true,
      efforts: ['low', 'medium', 'high', 'xhigh', 'max'],
      effortsUnsure: [],
      effortDefault: null,
      inferenceGeo: true,
      fastMode: 'ignored',
      fastModeBeta: null,
      imageTier: 'high',
    },
    toolPromptTokens: null,
    source: 'the job (prices:)',
    checked: '',
    sure: 'L',
  }
}

function contractPrice(
  model: Model,
  ratios: Price['ratios'],
  name: string,
  given: ContractPrice,
  problems: Problem[],
): Price | null {
  const published = model.prices.at(-1) ?? null
  const base = published?.bands[0]?.rates ?? null
  const stated: { -readonly [rate in keyof Rates]?: bigint } = {}
  const before = problems.length
  for (const [field, rate] of Object.entries(FIELDS) as [keyof ContractPrice, keyof Rates][]) {
    if (given[field] === undefined) continue
    const value = exactRate(given[field])
    if (value !== null) stated[rate] = value
    else {
      problems.push(
        problem('invalid_contract_price', `prices.${name}.${field}: ${given[field]} is not a price`, {
          hint: `write it ${STEPS}`,
          where: { path: `prices.${name}.${field}` },
        }),
      )
    }
  }
  if (problems.length > before) return null
  const rates = base === null ? allOf(stated) : completed(stated, base)
  const bands =
    rates && (published?.bands ?? [{ promptTokensMax: null, rates }]).map((band) => inBand(band, base, rates))
  if (!bands?.every((band) => band !== null)) {
    problems.push(
      problem(
        'invalid_contract_price',
        base === null
          ? `prices.${name}: no rates of this model are published, so the job must give every one`
          : `prices.${name}: what it leaves out has no exact counterpart in the published rates`,
        {
          hint: `give all of ${Object.keys(FIELDS).join(', ')}, ${STEPS}`,
          where: { path: `prices.${name}` },
        },
      ),
    )
    return null
  }
  return {
    model: model.id,
    from: '0000-01-01',
    bands,
    fast: published?.fast ?? null,
    ratios,
    source: 'the job (prices:)',
    sure: 'H',
    contract: true,
  }
}

function exactRate(usdPerMillionTokens: number): bigint | null {
  const picoPerMillion = parseUsd(usdPerMillionTokens)
  if (picoPerMillion === null || picoPerMillion < 0n || picoPerMillion % (1_000_000n * GRAIN) !== 0n)
    return null
  return picoPerMillion / 1_000_000n
}

function allOf({ input, write5m, write1h, read, output }: Partial<Rates>): Rates | null {
  if (input === undefined || output === undefined) return null
  if (write5m === undefined || write1h === undefined || read === undefined) return null
  return { input, write5m, write1h, read, output }
}

function completed(stated: Partial<Rates>, base: Rates): Rates | null {
  const input = stated.input ?? base.input
  return wholeRates({
    input,
    write5m: stated.write5m ?? inProportion(base.write5m, input, base.input),
    write1h: stated.write1h ?? inProportion(base.write1h, input, base.input),
    read: stated.read ?? inProportion(base.read, input, base.input),
    output: stated.output ?? base.output,
  })
}

function inBand(band: PriceBand, base: Rates | null, rates: Rates): PriceBand | null {
  if (base === null) return band
  const inThisBand = wholeRates({
    input: inProportion(band.rates.input, rates.input, base.input),
    write5m: inProportion(band.rates.write5m, rates.write5m, base.write5m),
    write1h: inProportion(band.rates.write1h, rates.write1h, base.write1h),
    read: inProportion(band.rates.read, rates.read, base.read),
    output: inProportion(band.rates.output, rates.output, base.output),
  })
  return inThisBand && { promptTokensMax: band.promptTokensMax, rates: inThisBand }
}

/** `amount × now / before` when that is a rate, else null. */
function inProportion(amount: bigint, now: bigint, before: bigint): bigint | null {
  return (amount * now) % (before * GRAIN) === 0n ? (amount * now) / before : null
}

function wholeRates(rates: { readonly [rate in keyof Rates]: bigint | null }): Rates | null {
  return Object.values(rates).includes(null) ? null : (rates as Rates)
}
