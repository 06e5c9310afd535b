import { type Static, type TSchema, Type } from 'typebox'

// The shape of the fact files. Every fact says since when it holds, where it stands and when someone last looked.
// `facts-schema.test.ts` holds the files against it. Not checked again at start-up: the files are part of the package
// and cannot differ from what the test saw, and importing a validator costs every command 110 to 140 ms (2 cores,
// Node 24.21), more than everything else that `tithe status` does.

const strict = { additionalProperties: false }
const count = Type.Integer({ minimum: 0 })
const name = Type.String({ minLength: 1 })
const date = Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}$' })
const provenance = {
  from: date,
  source: name,
  checked: date,
  sure: Type.Union([Type.Literal('H'), Type.Literal('M'), Type.Literal('L'), Type.Literal('?')]),
}

function fact<Value extends TSchema>(value: Value) {
  return Type.Object({ value, ...provenance }, strict)
}

function oneOf<const Words extends string[]>(...words: Words) {
  return Type.Unsafe<Words[number]>(Type.Union(words.map((word) => Type.Literal(word))))
}

const ModelFacts = Type.Array(
  fact(
    Type.Object(
      {
        id: name,
        aliases: Type.Array(name),
        displayName: name,
        status: oneOf('active', 'limited', 'deprecated', 'retired'),
        released: Type.Union([Type.String({ pattern: '^\\d{4}-\\d{2}(-\\d{2})?$' }), Type.Null()]),
        retires: Type.Union([Type.Object({ date, notBefore: Type.Boolean() }, strict), Type.Null()]),
        contextTokens: count,
        outputTokensMax: count,
        outputTokensMaxBatchBeta: Type.Union([count, Type.Null()]),
        tokenizer: oneOf('old', 'new'),
        rateClass: oneOf('standard', 'fable'),
        minimumCacheable: Type.Array(fact(count), { minItems: 1 }),
      },
      strict,
    ),
  ),
)

const thinkingType = oneOf('adaptive', 'enabled', 'disabled', 'between_tools')
const effort = oneOf('low', 'medium', 'high', 'xhigh', 'max')

const ParameterFacts = Type.Object(
  {
    parameters: Type.Array(
      Type.Object(
        {
          models: Type.Array(name, { minItems: 1 }),
          value: Type.Object(
            {
              thinkingByDefault: Type.Boolean(),
              thinkingTypes: Type.Array(thinkingType),
              thinkingTypesDeprecated: Type.Array(thinkingType),
              thinkingDisabledEffortMax: Type.Union([effort, Type.Null()]),
              dropsOldThinking: Type.Boolean(),
              samplingParameters: Type.Boolean(),
              samplingDefaults: Type.Boolean(),
              forcedToolChoice: Type.Boolean(),
              prefill: Type.Boolean(),
              systemMessages: Type.Boolean(),
              efforts: Type.Array(effort),
              effortsUnsure: Type.Array(effort),
              effortDefault: Type.Union([effort, Type.Null()]),
              inferenceGeo: Type.Boolean(),
              fastMode: oneOf('supported', 'ignored', 'refused'),
              fastModeBeta: Type.Union([name, Type.Null()]),
              imageTier: oneOf('standard', 'high'),
            },
            strict,
          ),
          ...provenance,
        },
        strict,
      ),
    ),
    toolPromptTokens: Type.Array(
      Type.Object(
        {
          models: Type.Array(name, { minItems: 1 }),
          value: Type.Object({ auto: count, forced: Type.Union([count, Type.Null()]) }, strict),
          ...provenance,
        },
        strict,
      ),
    ),
  },
  strict,
)

/** Dollars per million tokens. */
const rates = Type.Object(
  Object.fromEntries(
    ['input', 'write5m', 'write1h', 'read', 'output'].map((key) => [
      key,
      Type.Number({ exclusiveMinimum: 0 }),
    ]),
  ) as Record<'input' | 'write5m' | 'write1h' | 'read' | 'output', ReturnType<typeof Type.Number>>,
  strict,
)
const ratio = Type.Object({ numerator: count, denominator: Type.Integer({ minimum: 1 }) }, strict)

const PriceFacts = Type.Object(
  {
    prices: Type.Array(
      Type.Object(
        {
          model: name,
          value: Type.Object(
            {
              bands: Type.Array(
                Type.Object({ promptTokensMax: Type.Union([count, Type.Null()]), rates }, strict),
                { minItems: 1 },
              ),
              fast: Type.Union([rates, Type.Null()]),
            },
            strict,
          ),
          ...provenance,
        },
        strict,
      ),
    ),
    batchRatio: fact(ratio),
    usInferenceRatio: fact(ratio),
    webSearchUsd: fact(Type.Number({ exclusiveMinimum: 0 })),
  },
  strict,
)

const byContext = Type.Object({ context200k: count, larger: count }, strict)
const minuteLimits = { requestsPerMinute: count, inputTokensPerMinute: count, outputTokensPerMinute: count }
const tier = Type.Object(
  {
    queuedRowsMax: count,
    batchRequestsPerMinute: count,
    ...minuteLimits,
    fableClass: Type.Object(minuteLimits, strict),
  },
  strict,
)

const apiVersion = Type.Object(
  {
    id: date,
    removesSamplingParameters: Type.Boolean(),
    refusesAssistantDocuments: Type.Boolean(),
    refusesUserCitations: Type.Boolean(),
  },
  strict,
)

const LimitFacts = Type.Object(
  {
    cacheLookbackPositions: fact(count),
    cacheMarksMax: fact(count),
    cacheTtlMs: fact(Type.Object({ '5m': count, '1h': count }, strict)),
    batchRowsMax: fact(count),
    batchBytesMax: fact(count),
    batchExpiryMs: fact(count),
    resultsKeptMs: fact(count),
    messageBytesMax: fact(count),
    imageBytesMax: fact(count),
    imageSideMax: fact(count),
    imageSideMaxWhenMany: fact(count),
    imagesMany: fact(count),
    imagesMax: fact(byContext),
    pdfPagesMax: fact(byContext),
    largerContextTokens: fact(count),
    messagesMax: fact(count),
    userIdCharactersMax: fact(count),
    documentTitleCharactersMax: fact(count),
    thinkingBudgetTokensMin: fact(count),
    strictToolsMax: fact(count),
    schemaOptionalsMax: fact(count),
    schemaUnionsMax: fact(count),
    schemaFormats: fact(Type.Array(name)),
    apiVersions: fact(Type.Array(apiVersion, { minItems: 1 })),
    batchOutputBeta: fact(name),
    tiers: fact(Type.Object({ start: tier, build: tier, scale: tier }, strict)),
    batchLatencyMs: fact(Type.Array(count, { minItems: 1 })),
    outputTokenMs: fact(Type.Number({ exclusiveMinimum: 0 })),
    cancelLatencyMs: fact(count),
  },
  strict,
)

export const FactFiles = Type.Object(
  { models: ModelFacts, parameters: ParameterFacts, prices: PriceFacts, limits: LimitFacts },
  strict,
)
export type FactFiles = Static<typeof FactFiles>
