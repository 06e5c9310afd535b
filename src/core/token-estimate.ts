import { type AttachmentSource, isAttachmentSource } from './attachment.ts'
import { type ImageTier, imageTokens, type PixelSize } from './image-tokens.ts'
import { isObject, type Json, type JsonObject } from './json.ts'
import type { Model } from './models.ts'
import { lastUserTurn, type PromptBlock } from './prompt.ts'
import { RecentMap } from './recent-map.ts'
import type { MessageRequest } from './request.ts'
import type { Band } from './run-plan.ts'

// How many tokens a prompt will be billed as, offline. Two steps, because they cost so differently: *measuring* counts a
// block's text in a public vocabulary, slowly, once per distinct block and for every model alike; *estimating* turns
// measures into tokens of one model by a few fitted constants (facts/tokenizers.json), by arithmetic alone. How well
// that holds against recorded usage is judged by tests/recordings/tokens-judge.ts.

/** Tokens of a text in the vocabulary that the constants were fitted for (`tokens/text-counter.ts`). */
export type CountText = (text: string) => number

/** Pixels of a base64 image; null when its bytes say nothing. */
export type SizeOfImage = (base64: string) => PixelSize | null

/** A base64 PDF that was looked into, text in tokens of the vocabulary; null when nobody has. */
export type SizeOfPdf = (base64: string) => { readonly pages: number; readonly textTokens: number } | null

/** What the constants of one tokenizer are; all in its tokens unless said otherwise. */
export interface TokenizerFacts {
  /** Per token of the vocabulary, in texts and in the JSON of tool definitions. */
  readonly perTextToken: number
  /** Around the first message, of which `wrapperTail` comes after the last block, where no mark can reach. */
  readonly wrapper: number
  readonly wrapperTail: number
  readonly perFurtherMessage: number
  /** `thinking: {type: "enabled"}`. */
  readonly thinkingEnabled: number
  /** Around each tool definition. */
  readonly perTool: number
  /** `tool_choice: {type: "tool"}`, over what any forced choice costs. */
  readonly namedToolChoice: number
  /** The hidden system prompt of tools, where the model's own is not published. */
  readonly toolPrompt: { readonly auto: number; readonly forced: number }
  /** Around a `tool_use` or `tool_result`, and around each argument of a `tool_use`. */
  readonly perToolBlock: number
  readonly perToolArgument: number
  /** `output_config.format`: the hidden system prompt, and per token of the vocabulary in the schema's JSON. */
  readonly schemaPrompt: number
  readonly perSchemaToken: number
  /** Once, when any document or search result has citations enabled. */
  readonly citations: number
  /** Half of the band as a share of the estimate, images and PDF pages apart; and in tokens, for short prompts. */
  readonly bandOfText: number
  /** With tools or an output schema. */
  readonly bandOfTools: number
  readonly bandTokensMin: number
}

/** What does not depend on the tokenizer. */
export interface MediaFacts {
  readonly imageCellPixels: number
  readonly imageTiers: Readonly<Record<Model['parameters']['imageTier'], ImageTier>>
  readonly perImage: number
  /** The image of one page, and text of a page whose text was not extracted. */
  readonly perPdfPage: number
  readonly pageText: Band<number>
  readonly perDocument: number
  /** Pages of a PDF that cannot be looked into (by URL or file id). */
  readonly unseenPages: Band<number>
  /** Half of the band of images and pages whose size is known, as a share. */
  readonly band: number
  /** Tools that Anthropic defines, by the beginning of their `type`. */
  readonly builtInTools: readonly {
    readonly type: string
    readonly old: number
    readonly new: number
  }[]
}

export interface TokenFacts {
  readonly tokenizers: Readonly<Record<Model['tokenizer'], TokenizerFacts>>
  readonly media: MediaFacts
}

/** What the estimate needs of a model; every `Model` of the catalogue has it. */
export type EstimatedModel = Pick<Model, 'tokenizer' | 'toolPromptTokens'> & {
  readonly parameters: Pick<Model['parameters'], 'imageTier' | 'dropsOldThinking'>
}

/** A block, counted. Holds for every model. */
export interface BlockMeasure {
  /** In tokens of the vocabulary. */
  readonly text: number
  readonly thinking: number
  readonly tools: number
  readonly toolBlocks: number
  readonly toolArguments: number
  /** Fixed tokens of tools that Anthropic defines, by tokenizer. */
  readonly builtInTools: Readonly<Record<Model['tokenizer'], number>>
  /** Images whose size is known: their tokens by tier. Others are only counted, in `unseenImages`. */
  readonly imageTokens: Readonly<Record<Model['parameters']['imageTier'], number>>
  readonly images: number
  readonly unseenImages: number
  readonly documents: number
  readonly pages: number
  /** Pages of which `text` does not hold the text. */
  readonly pagesWithoutText: number
  readonly unseenDocuments: number
}

/** What the estimate needs of a block; every `PromptBlock` has it. */
type MeasuredBlock = Pick<PromptBlock, 'section' | 'type' | 'bytes'>

/** The slow half, with its memory: one for a whole job. */
export interface TokenMeasurer {
  block(block: MeasuredBlock): BlockMeasure
  /** Tokens of the vocabulary in the JSON of an output schema. */
  schema(schema: JsonObject): number
}

/** Tokens of one request. Integers. */
export interface TokenEstimate extends Band<number> {
  /** Of each block by itself, best guess; with what the API puts before it. Adds up, with `overheadTokens`, to `best`. */
  readonly perBlock: readonly number[]
  /** Up to and including each block, best guess. */
  readonly prefixTokens: readonly number[]
  /** After the last block; never cached. */
  readonly overheadTokens: number
  /** Images and documents by URL or file id: their share of the band is a span of what they may be. */
  readonly unseenMedia: number
}

/** UTF-16 units of the blocks whose measures are kept: the shared ones of a job come back with every row. */
const MEASURES_REMEMBERED_LENGTH = 8_000_000

/**
 * Measures blocks and schemas; a block that keeps coming back is counted twice and then known. Give it the `bytes` that
 * `promptBlocks` shares between rows rather than copies: then finding a handbook again does not read it again.
 */
export function tokenMeasurer(
  count: CountText,
  sizeOfImage: SizeOfImage,
  media: MediaFacts,
  sizeOfPdf: SizeOfPdf = () => null,
): TokenMeasurer {
  const blocks = new RecentMap<BlockMeasure>(MEASURES_REMEMBERED_LENGTH)
  const schemas = new WeakMap<JsonObject, number>()
  return {
    block(block) {
      const known = blocks.get(block.bytes)
      if (known) return known
      const measure = new Measuring(count, sizeOfImage, media, sizeOfPdf).measure(block)
      blocks.set(block.bytes, measure)
      return measure
    },
    schema(schema) {
      const known = schemas.get(schema)
      if (known !== undefined) return known
      const tokens = count(spacedJson(schema))
      schemas.set(schema, tokens)
      return tokens
    },
  }
}

/** One block being measured: a tool result may hold texts, images and documents of its own. */
class Measuring {
  readonly #count: CountText
  readonly #sizeOfImage: SizeOfImage
  readonly #sizeOfPdf: SizeOfPdf
  readonly #media: MediaFacts
  readonly #sum = {
    text: 0,
    thinking: 0,
    tools: 0,
    toolBlocks: 0,
    toolArguments: 0,
    builtInTools: { old: 0, new: 0 },
    imageTokens: { standard: 0, high: 0 },
    images: 0,
    unseenImages: 0,
    documents: 0,
    pages: 0,
    pagesWithoutText: 0,
    unseenDocuments: 0,
  }

  constructor(count: CountText, sizeOfImage: SizeOfImage, media: MediaFacts, sizeOfPdf: SizeOfPdf) {
    this.#count = count
    this.#sizeOfImage = sizeOfImage
    this.#sizeOfPdf = sizeOfPdf
    this.#media = media
  }

  measure(block: MeasuredBlock): BlockMeasure {
    const value = JSON.parse(block.bytes) as JsonObject
    if (block.section === 'tools') this.#tool(block.type, value)
    else this.#block(value)
    return this.#sum
  }

  #tool(type: string, tool: JsonObject): void {
    this.#sum.tools += 1
    const builtIn = this.#media.builtInTools.find((known) => type.startsWith(known.type))
    if (builtIn) {
      this.#sum.builtInTools.old += builtIn.old
      this.#sum.builtInTools.new += builtIn.new
      return
    }
    // What the model reads of a tool; `strict`, `eager_input_streaming` and the like are for the API.
    const { name, description, input_schema, input_examples } = tool
    this.#text(spacedJson({ name, description, input_schema, input_examples }))
  }

  #block(block: JsonObject): void {
    switch (block['type']) {
      case 'text':
        this.#text(block['text'])
        return
      case 'thinking':
        this.#sum.thinking += this.#countOf(block['thinking'])
        return
      case 'redacted_thinking':
        return
      case 'tool_use':
      case 'server_tool_use':
      case 'mcp_tool_use':
        this.#toolUse(block)
        return
      case 'tool_result':
      case 'mcp_tool_result':
        this.#sum.toolBlocks += 1
        this.#content(block['content'])
        return
      case 'image':
        this.#image(block['source'])
        return
      case 'document':
        this.#document(block)
        return
      case 'search_result':
        this.#text(block['title'])
        this.#text(block['source'])
        this.#content(block['content'])
        return
      default:
        // New kinds of block are text of some sort until someone has looked.
        this.#text(JSON.stringify(block))
    }
  }

  #content(content: Json | undefined): void {
    if (Array.isArray(content)) {
      for (const block of content) if (isObject(block)) this.#block(block)
    } else {
      this.#text(content)
    }
  }

  #text(text: Json | undefined): void {
    this.#sum.text += this.#countOf(text)
  }

  #countOf(text: Json | undefined): number {
    return typeof text === 'string' && text !== '' ? this.#count(text) : 0
  }

  #toolUse(block: JsonObject): void {
    this.#sum.toolBlocks += 1
    this.#text(block['name'])
    const input = block['input']
    if (!isObject(input)) return
    this.#sum.toolArguments += Object.keys(input).length
    this.#text(spacedJson(input))
  }

  #image(source: Json | undefined): void {
    const size = this.#pixelsOf(source)
    if (!size) {
      this.#sum.unseenImages += 1
      return
    }
    const { imageTiers, imageCellPixels } = this.#media
    this.#sum.images += 1
    this.#sum.imageTokens.standard += imageTokens(size, imageTiers.standard, imageCellPixels)
    this.#sum.imageTokens.high += imageTokens(size, imageTiers.high, imageCellPixels)
  }

  #pixelsOf(source: Json | undefined): PixelSize | null {
    if (isAttachmentSource(source)) {
      const { width, height } = source as AttachmentSource
      return width === undefined || height === undefined ? null : { width, height }
    }
    const isBase64 = isObject(source) && source['type'] === 'base64'
    return isBase64 && typeof source['data'] === 'string' ? this.#sizeOfImage(source['data']) : null
  }

  #document(block: JsonObject): void {
    const source = block['source']
    this.#sum.documents += 1
    this.#text(block['title'])
    this.#text(block['context'])
    if (isAttachmentSource(source)) {
      const { pages, text_tokens: textTokens } = source as AttachmentSource
      if (pages === undefined) this.#sum.unseenDocuments += 1
      else this.#sum.pages += pages
      if (textTokens === undefined) this.#sum.pagesWithoutText += pages ?? 0
      else this.#sum.text += textTokens
    } else if (isObject(source) && source['type'] === 'text') {
      this.#text(source['data'])
    } else if (isObject(source) && source['type'] === 'base64' && typeof source['data'] === 'string') {
      const size = this.#sizeOfPdf(source['data'])
      this.#sum.pages += size?.pages ?? 0
      this.#sum.text += size?.textTokens ?? 0
      this.#sum.unseenDocuments += size === null ? 1 : 0
    } else if (isObject(source) && source['type'] === 'content') {
      this.#content(source['content'])
    } else {
      this.#sum.unseenDocuments += 1
    }
  }
}

/** JSON with a blank after every comma and colon, as the service writes it into the prompt; undefined values left out. */
export function spacedJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(spacedJson).join(', ')}]`
  if (!isObject(value)) return JSON.stringify(value)
  const members: string[] = []
  for (const [key, member] of Object.entries(value)) {
    if (member !== undefined) members.push(`${JSON.stringify(key)}: ${spacedJson(member)}`)
  }
  return `{${members.join(', ')}}`
}

/**
 * Tokens of a whole prompt and of each prefix of it. The band is meant to hold nine prompts in ten.
 * @param blocks `promptBlocks(request)`.
 */
export function estimateBlocks(
  request: MessageRequest,
  blocks: readonly PromptBlock[],
  model: EstimatedModel,
  measurer: TokenMeasurer,
  facts: TokenFacts,
): TokenEstimate {
  const tokenizer = facts.tokenizers[model.tokenizer]
  const measures = blocks.map((block) => measurer.block(block))
  const hasTools = measures.some((measure) => measure.tools > 0)
  const schema = outputSchemaOf(request)

  // Hidden prompts stand before everything else; so a change of them is a change of every prefix.
  let text = 0
  if (hasTools) text += toolPromptTokens(request, model, tokenizer)
  if (schema) text += tokenizer.schemaPrompt + tokenizer.perSchemaToken * measurer.schema(schema)
  if (thinkingType(request) === 'enabled') text += tokenizer.thinkingEnabled
  if (blocks.some((block) => block.hasCitations)) text += tokenizer.citations

  // Within a loop of tool calls every model reads its thinking again.
  const thinkingDroppedUntil = model.parameters.dropsOldThinking ? lastUserTurn(blocks) : 0
  const media = { low: 0, best: 0, high: 0 }
  const prefixTokens: number[] = []
  const perBlock: number[] = []
  let messages = 0
  let unseenMedia = 0
  for (const [i, block] of blocks.entries()) {
    const measure = measures[i]!
    if (block.opensMessage) {
      text += messages === 0 ? tokenizer.wrapper - tokenizer.wrapperTail : tokenizer.perFurtherMessage
      messages += 1
    }
    const thinking = i < thinkingDroppedUntil ? 0 : measure.thinking
    text += textTokens(measure, thinking, model.tokenizer, tokenizer)
    const blockMedia = mediaTokens(measure, model.parameters.imageTier, facts.media)
    for (const end of ['low', 'best', 'high'] as const) media[end] += blockMedia[end]
    unseenMedia += measure.unseenImages + measure.unseenDocuments
    prefixTokens.push(Math.round(text + media.best))
    perBlock.push(prefixTokens[i]! - (prefixTokens[i - 1] ?? 0))
  }

  const overheadTokens = Math.round(tokenizer.wrapperTail)
  text += overheadTokens
  const best = (prefixTokens.at(-1) ?? 0) + overheadTokens
  const band = hasTools || schema ? tokenizer.bandOfTools : tokenizer.bandOfText
  const halfBand = Math.max(tokenizer.bandTokensMin, text * band)
  return {
    perBlock,
    prefixTokens,
    overheadTokens,
    // Inwards: a whole number is in the band exactly when it is between these two.
    low: Math.min(best, Math.ceil(text - halfBand + media.low)),
    best,
    high: Math.max(best, Math.floor(text + halfBand + media.high)),
    unseenMedia,
  }
}

/** Everything of a block but images and pages. */
function textTokens(
  measure: BlockMeasure,
  thinking: number,
  name: Model['tokenizer'],
  tokenizer: TokenizerFacts,
): number {
  return (
    tokenizer.perTextToken * (measure.text + thinking) +
    tokenizer.perTool * measure.tools +
    tokenizer.perToolBlock * measure.toolBlocks +
    tokenizer.perToolArgument * measure.toolArguments +
    measure.builtInTools[name]
  )
}

function mediaTokens(
  measure: BlockMeasure,
  tier: Model['parameters']['imageTier'],
  media: MediaFacts,
): Band<number> {
  const { pagesWithoutText, unseenImages, unseenDocuments } = measure
  const seen =
    measure.imageTokens[tier] +
    media.perImage * (measure.images + unseenImages) +
    media.perPdfPage * measure.pages +
    media.perDocument * measure.documents
  const imageMax = media.imageTiers[tier].tokensMax
  const pages = (end: keyof Band<number>): number =>
    pagesWithoutText * media.pageText[end] +
    unseenDocuments * media.unseenPages[end] * (media.perPdfPage + media.pageText[end])
  return {
    low: seen * (1 - media.band) + unseenImages + pages('low'),
    // An image given by URL is usually a photograph, and those are larger than any tier.
    best: seen + unseenImages * imageMax + pages('best'),
    high: seen * (1 + media.band) + unseenImages * imageMax + pages('high'),
  }
}

function toolPromptTokens(request: MessageRequest, model: EstimatedModel, tokenizer: TokenizerFacts): number {
  const choice = isObject(request['tool_choice']) ? request['tool_choice']['type'] : 'auto'
  const prompt = model.toolPromptTokens ?? tokenizer.toolPrompt
  if (choice !== 'any' && choice !== 'tool') return prompt.auto
  return (prompt.forced ?? prompt.auto) + (choice === 'tool' ? tokenizer.namedToolChoice : 0)
}

/** `output_config.format`, or `output_format` as it was called in its beta. */
function outputSchemaOf(request: MessageRequest): JsonObject | null {
  const config = request['output_config']
  const format = isObject(config) && config['format'] != null ? config['format'] : request['output_format']
  return isObject(format) && isObject(format['schema']) ? format['schema'] : null
}

function thinkingType(request: MessageRequest): Json | undefined {
  return isObject(request['thinking']) ? request['thinking']['type'] : undefined
}
