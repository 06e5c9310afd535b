import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { sha256Hex } from '../../src/core/digest.ts'
import { isObject, type Json, type JsonObject } from '../../src/core/json.ts'
import { type Catalogue, findModel, type Model } from '../../src/core/models.ts'
import { lastUserTurn, type PromptBlock, promptBlocks } from '../../src/core/prompt.ts'
import type { BlockMeasure, CountText, SizeOfImage, TokenMeasurer } from '../../src/core/token-estimate.ts'
import { parseUsage, promptTokens } from '../../src/core/usage.ts'
import type { Recording } from './recording.ts'

/**
 * Recordings as the fit and the judge see them: measured, with the billed size of the prompt, once per distinct
 * request. What cannot be predicted from the request alone is left out and counted by reason.
 */
export interface TokenSample {
  readonly request: JsonObject
  readonly blocks: readonly PromptBlock[]
  readonly model: Model
  /** Everything of all blocks. */
  readonly sum: BlockMeasure
  readonly furtherMessages: number
  readonly schemaTokens: number | null
  readonly thinkingEnabled: boolean
  readonly citations: boolean
  readonly kind: 'text' | 'tools' | 'schema' | 'image' | 'document'
  /** Median over identical requests: the service itself differs by a token now and then. */
  readonly billedTokens: number
  /** Pixels of the images, for the median by size; empty without images. */
  readonly imageSizes: readonly string[]
  readonly origin: string
  /** Halves: the same text is in one half whatever the model, and so is everything from one repository. */
  readonly textHash: string
  readonly textHalf: 'a' | 'b'
  readonly repoHalf: 'a' | 'b'
}

export interface TokenSamples {
  readonly samples: readonly TokenSample[]
  readonly recordings: number
  readonly leftOut: Readonly<Record<string, number>>
}

/** @param blobs folder of the images and PDFs that requests name by digest. */
export async function tokenSamples(
  recordings: readonly Recording[],
  catalogue: Catalogue,
  measurer: TokenMeasurer,
  readers: { readonly count: CountText; readonly sizeOfImage: SizeOfImage; readonly blobs: string },
): Promise<TokenSamples> {
  const leftOut: Record<string, number> = {}
  const distinct = new Map<string, { sample: Omit<TokenSample, 'billedTokens'>; billed: number[] }>()
  const media = new RecordedMedia(readers)

  for (const recording of recordings) {
    const model = modelOf(recording, catalogue)
    const usage = parseUsage(recording.usage)
    const request = await media.resolve(recording.request)
    const blocks = promptBlocks(request)
    const measures = blocks.map((block) => measurer.block(block))
    const sum = measures.reduce(addMeasures)
    const reason = reasonToLeaveOut(recording, model, request, blocks, sum)
    if (reason !== null || model === null || usage === null) {
      leftOut[reason ?? 'no usage'] = (leftOut[reason ?? 'no usage'] ?? 0) + 1
      continue
    }
    const settings = [request['thinking'], request['tool_choice'], formatOf(request)]
    const textHash = sha256Hex(blocks.map((block) => block.bytes).join('\n'))
    const key = JSON.stringify([model.id, textHash, settings])
    const known = distinct.get(key)
    if (known) {
      known.billed.push(promptTokens(usage))
      continue
    }
    const schema = schemaOf(request)
    const repo = String(recording.row['repo'] ?? recording.origin)
    distinct.set(key, {
      billed: [promptTokens(usage)],
      sample: {
        request,
        blocks,
        model,
        sum,
        furtherMessages: Math.max(0, blocks.filter((block) => block.opensMessage).length - 1),
        schemaTokens: schema === null ? null : measurer.schema(schema),
        thinkingEnabled: isObject(request['thinking']) && request['thinking']['type'] === 'enabled',
        citations: blocks.some((block) => block.hasCitations),
        kind: kindOf(sum, schema),
        imageSizes: media.imageSizesOf(request),
        origin: recording.origin,
        textHash,
        textHalf: halfOf(textHash),
        repoHalf: halfOf(sha256Hex(repo)),
      },
    })
  }

  const samples = [...distinct.values()].map(({ sample, billed }) => ({
    ...sample,
    billedTokens: median(billed),
  }))
  return { samples, recordings: recordings.length, leftOut }
}

/** The lower of the middle two where there are two; 0 of nothing. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** The least of the values that at least this share of them does not exceed; 0 of nothing. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0
}

function halfOf(hash: string): 'a' | 'b' {
  return Number.parseInt(hash.slice(0, 2), 16) < 128 ? 'a' : 'b'
}

function modelOf(recording: Recording, catalogue: Catalogue): Model | null {
  const names = [recording.row['resp_model'], recording.row['model'], recording.model]
  for (const name of names) {
    const model = typeof name === 'string' ? findModel(catalogue, name) : null
    if (model) return model
  }
  return null
}

function reasonToLeaveOut(
  recording: Recording,
  model: Model | null,
  request: JsonObject,
  blocks: readonly PromptBlock[],
  sum: BlockMeasure,
): string | null {
  const { row, usage } = recording
  if (row['quality'] !== undefined && row['quality'] !== 'ok') return `quality ${row['quality']}`
  if (row['provider'] !== undefined && row['provider'] !== 'anthropic')
    return 'another provider than the API itself'
  if (model === null) return 'model not in the catalogue'
  if (isObject(usage['server_tool_use']) || hasServerTools(request)) {
    return 'server tools: the service adds tokens that no request shows'
  }
  if (request['mcp_servers'] !== undefined || request['container'] !== undefined)
    return 'MCP server or container'
  if (hasUnsureThinking(blocks)) {
    return 'thinking of finished turns, kept or dropped by rules of each model; or thinking without its text'
  }
  if (sum.unseenImages > 0 || sum.unseenDocuments > 0)
    return 'image or document not in the recording (URL, file id)'
  if (
    Array.isArray(request['tools']) &&
    request['tools'].some((tool) => isObject(tool) && tool['defer_loading'])
  ) {
    return 'deferred tools'
  }
  if (isObject(request['output_config']) && request['output_config']['task_budget']) return 'task budget'
  return null
}

function hasUnsureThinking(blocks: readonly PromptBlock[]): boolean {
  const turn = lastUserTurn(blocks)
  return blocks.some(
    ({ type, bytes }, i) =>
      type === 'redacted_thinking' ||
      (type === 'thinking' && (i < turn || !(JSON.parse(bytes) as JsonObject)['thinking'])),
  )
}

function hasServerTools(request: JsonObject): boolean {
  const tools = Array.isArray(request['tools']) ? request['tools'] : []
  const typed = tools.some(
    (tool) => isObject(tool) && typeof tool['type'] === 'string' && tool['type'] !== 'custom',
  )
  return (
    typed ||
    hasType(
      request['messages'],
      /^(server_tool_use|mcp_|container_upload|tool_(addition|removal)|.+_tool_result$)/,
    )
  )
}

/** Whether any content block of the messages has such a type. */
function hasType(messages: Json | undefined, type: RegExp): boolean {
  if (!Array.isArray(messages)) return false
  return messages.some(
    (message) =>
      isObject(message) &&
      Array.isArray(message['content']) &&
      message['content'].some((block) => isObject(block) && type.test(String(block['type']))),
  )
}

function kindOf(sum: BlockMeasure, schema: JsonObject | null): TokenSample['kind'] {
  if (sum.documents > 0) return 'document'
  if (sum.images > 0) return 'image'
  if (schema !== null) return 'schema'
  return sum.tools > 0 || sum.toolBlocks > 0 ? 'tools' : 'text'
}

function formatOf(request: JsonObject): Json | undefined {
  const config = request['output_config']
  return isObject(config) && config['format'] != null ? config['format'] : request['output_format']
}

function schemaOf(request: JsonObject): JsonObject | null {
  const format = formatOf(request)
  return isObject(format) && isObject(format['schema']) ? format['schema'] : null
}

function addMeasures(a: BlockMeasure, b: BlockMeasure): BlockMeasure {
  const add = (x: unknown, y: unknown): unknown =>
    typeof x === 'number'
      ? x + (y as number)
      : Object.fromEntries(
          Object.entries(x as object).map(([key, value]) => [key, add(value, (y as JsonObject)[key])]),
        )
  return add(a, b) as BlockMeasure
}

/** Puts the recorded files back as the attachments that Tithe would make of them. */
class RecordedMedia {
  readonly #readers: { readonly count: CountText; readonly sizeOfImage: SizeOfImage; readonly blobs: string }
  readonly #sources = new Map<string, Promise<JsonObject | null>>()

  constructor(readers: {
    readonly count: CountText
    readonly sizeOfImage: SizeOfImage
    readonly blobs: string
  }) {
    this.#readers = readers
  }

  async resolve(value: JsonObject): Promise<JsonObject> {
    return (await this.#resolve(value)) as JsonObject
  }

  imageSizesOf(value: Json | undefined): string[] {
    if (Array.isArray(value)) return value.flatMap((item) => this.imageSizesOf(item))
    if (!isObject(value)) return []
    if (typeof value['width'] === 'number' && typeof value['height'] === 'number') {
      return [`${value['width']}x${value['height']}`]
    }
    return Object.values(value).flatMap((item) => this.imageSizesOf(item))
  }

  async #resolve(value: Json | undefined): Promise<Json | undefined> {
    if (Array.isArray(value)) return (await Promise.all(value.map((item) => this.#resolve(item)))) as Json[]
    if (!isObject(value)) return value
    if (isObject(value['source'])) {
      const data = value['source']['data']
      const digest = typeof data === 'string' ? /^sha256:([0-9a-f]{64})$/.exec(data)?.[1] : undefined
      const source = digest === undefined ? null : await this.#source(digest, value['type'] === 'document')
      if (source) return { ...value, source }
    }
    const entries = Object.entries(value).map(
      async ([key, item]) => [key, await this.#resolve(item)] as const,
    )
    return Object.fromEntries(await Promise.all(entries))
  }

  #source(digest: string, isDocument: boolean): Promise<JsonObject | null> {
    const known = this.#sources.get(digest)
    if (known) return known
    const source = isDocument ? this.#pdf(digest) : this.#image(digest)
    this.#sources.set(digest, source)
    return source
  }

  async #image(digest: string): Promise<JsonObject | null> {
    const bytes = this.#bytes(digest)
    const size = bytes && this.#readers.sizeOfImage(bytes.toString('base64'))
    return size ? { ...attachment(digest, bytes, 'image/png'), ...size } : null
  }

  async #pdf(digest: string): Promise<JsonObject | null> {
    const bytes = this.#bytes(digest)
    if (!bytes) return null
    const { extractText, getDocumentProxy } = await import('unpdf')
    const pdf = await getDocumentProxy(new Uint8Array(bytes), { verbosity: 0 })
    const { text, totalPages } = await extractText(pdf, { mergePages: true })
    return {
      ...attachment(digest, bytes, 'application/pdf'),
      pages: totalPages,
      text_tokens: this.#readers.count(text),
    }
  }

  #bytes(digest: string): Buffer | null {
    const path = join(this.#readers.blobs, digest)
    return existsSync(path) ? readFileSync(path) : null
  }
}

function attachment(digest: string, bytes: Buffer, mediaType: string): JsonObject {
  return {
    type: 'tithe_attachment',
    path: digest,
    sha256: digest,
    media_type: mediaType,
    size_bytes: bytes.length,
  }
}
