import { Type } from 'typebox'

// The shape of tokenizers.json: lists of facts whose values together make one `TokenizerFacts` or `MediaFacts`.

const strict = { additionalProperties: false }
const tokens = Type.Number({ minimum: 0 })
const share = Type.Number({ minimum: 0, maximum: 1 })
const date = Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}$' })
const band = Type.Object({ low: tokens, best: tokens, high: tokens }, strict)
const tier = Type.Object({ edgePixelsMax: tokens, tokensMax: tokens }, strict)

export const TokenizerConstants = Type.Object(
  {
    perTextToken: Type.Number({ exclusiveMinimum: 0 }),
    wrapper: tokens,
    wrapperTail: tokens,
    perFurtherMessage: tokens,
    thinkingEnabled: tokens,
    perTool: tokens,
    namedToolChoice: tokens,
    toolPrompt: Type.Object({ auto: tokens, forced: tokens }, strict),
    perToolBlock: tokens,
    perToolArgument: tokens,
    schemaPrompt: tokens,
    perSchemaToken: tokens,
    citations: tokens,
    bandOfText: share,
    bandOfTools: share,
    bandTokensMin: tokens,
  },
  strict,
)

export const MediaConstants = Type.Object(
  {
    imageCellPixels: Type.Integer({ minimum: 1 }),
    imageTiers: Type.Object({ standard: tier, high: tier }, strict),
    perImage: tokens,
    perPdfPage: tokens,
    pageText: band,
    perDocument: tokens,
    unseenPages: band,
    band: share,
    builtInTools: Type.Array(
      Type.Object({ type: Type.String({ minLength: 1 }), old: tokens, new: tokens }, strict),
    ),
  },
  strict,
)

const facts = Type.Array(
  Type.Object(
    {
      value: Type.Object({}),
      from: date,
      source: Type.String({ minLength: 1 }),
      checked: date,
      sure: Type.Union([Type.Literal('H'), Type.Literal('M'), Type.Literal('L'), Type.Literal('?')]),
    },
    strict,
  ),
  { minItems: 1 },
)

export const TokenizersFile = Type.Object(
  { tokenizers: Type.Object({ old: facts, new: facts }, strict), media: facts },
  strict,
)
