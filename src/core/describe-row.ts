import { ELEMENT_BYTES_MAX, rowTooLarge } from './batch-plan.ts'
import { checkTokens } from './check-request.ts'
import { type Problem, problem } from './errors.ts'
import type { Instant } from './instant.ts'
import { variantOf } from './job.ts'
import type { PrefixPosition, RowProfile } from './job-profile.ts'
import { isObject } from './json.ts'
import { type Catalogue, findModel, type Model, minimumCacheableTokens } from './models.ts'
import { PrefixMemory, prefixHashes } from './prefix-hash.ts'
import { type BlockMemory, marksOf, promptBlocks } from './prompt.ts'
import type { MessageRequest } from './request.ts'
import type { InputRow } from './rows.ts'
import { RequestSplitter, type StoredRequest, usesReservedKeys } from './stored-request.ts'
import { estimateBlocks, type TokenEstimate, type TokenFacts, type TokenMeasurer } from './token-estimate.ts'

/** Prefixes deeper than this are not looked at: memory per row stays bounded for long conversations. */
const CANDIDATES_MAX = 64

/** A row as planning and storing need it. */
export interface RowDescription {
  readonly profile: RowProfile
  readonly stored: StoredRequest
  /** Set when the row cannot be sent after all. */
  readonly problems: readonly Problem[]
}

/**
 * Looks at rendered rows. Keep one for a whole job: blocks that rows share are serialised, hashed and counted once.
 */
export class RowDescriber {
  readonly #catalogue: Catalogue
  readonly #measurer: TokenMeasurer
  readonly #facts: TokenFacts
  readonly #at: Instant
  readonly #contents: BlockMemory['contents'] = new WeakMap()
  readonly #prefixes = new PrefixMemory()
  readonly #splitter = new RequestSplitter()
  readonly #models = new Map<string, Model | null>()

  constructor(options: { catalogue: Catalogue; measurer: TokenMeasurer; facts: TokenFacts; at: Instant }) {
    this.#catalogue = options.catalogue
    this.#measurer = options.measurer
    this.#facts = options.facts
    this.#at = options.at
  }

  describe(row: InputRow): RowDescription {
    const { request } = row
    const name = typeof request['model'] === 'string' ? request['model'] : ''
    const model = this.#model(name)
    const blocks = promptBlocks(request, { contents: this.#contents, sharedBlocks: row.sharedBlocks })
    const settings = {
      apiVersion: row.apiVersion,
      betas: row.betas,
      effortDefault: model?.parameters.effortDefault ?? null,
      dropsOldThinking: model?.parameters.dropsOldThinking ?? false,
    }
    const hashes = prefixHashes(request, blocks, settings, this.#prefixes)
    const stored = this.#splitter.split(request, row.sharedBlocks)
    const bytes = ELEMENT_BYTES_MAX + stored.paramsBytes
    const tooLarge = rowTooLarge({ ordinal: row.ordinal, bytes }, this.#catalogue.rules.batchBytesMax)
    // Counting what no batch can hold would take minutes to say nothing more.
    const estimate =
      tooLarge === null
        ? estimateBlocks(request, blocks, model ?? FALLBACK_MODEL, this.#measurer, this.#facts)
        : { low: 0, best: 0, high: 0, prefixTokens: blocks.map(() => 0) }
    const marks = new Map(marksOf(request, blocks).map((mark) => [mark.index, mark.ttl]))
    const prefixes: PrefixPosition[] = []
    for (const [index, block] of blocks.entries()) {
      // The last block is the row's own: a mark there would be written by each and read by none.
      const candidate = index < blocks.length - 1 && index < CANDIDATES_MAX
      if (!candidate && !marks.has(index)) continue
      prefixes.push({
        path: block.path,
        hash: hashes[index]!,
        tokens: estimate.prefixTokens[index]!,
        markable: block.markable,
        mark: marks.get(index) ?? null,
      })
    }
    const problems = this.#problems(row, model, estimate, prefixes, tooLarge)
    return {
      profile: {
        ordinal: row.ordinal,
        model: model?.id ?? name,
        variant: variantOf(row),
        prefixes,
        promptTokens: { low: estimate.low, best: estimate.best, high: estimate.high },
        ...(model && { minimumTokens: minimumCacheableTokens(model, this.#at) }),
        ownBytes: blocks.slice(row.sharedBlocks).reduce((sum, block) => sum + block.sizeBytes, 0),
        paramsBytes: stored.paramsBytes,
        maxTokens: typeof request['max_tokens'] === 'number' ? request['max_tokens'] : 0,
        inferenceGeo: typeof request['inference_geo'] === 'string' ? request['inference_geo'] : null,
        speed: request['speed'] === 'fast' ? 'fast' : 'standard',
        webSearchesMax: webSearchesMax(request),
        warnings: [...row.warnings, ...problems.filter((one) => one.severity === 'warning')],
      },
      stored,
      problems: problems.filter((one) => one.severity === 'error'),
    }
  }

  #model(name: string): Model | null {
    let model = this.#models.get(name)
    if (model === undefined) {
      model = findModel(this.#catalogue, name)
      this.#models.set(name, model)
    }
    return model
  }

  /** What shows only when the tokens are counted, or when the request is to be stored. */
  #problems(
    row: InputRow,
    model: Model | null,
    estimate: Pick<TokenEstimate, 'low' | 'best'>,
    prefixes: readonly PrefixPosition[],
    tooLarge: Problem | null,
  ): Problem[] {
    const { request } = row
    const where = {
      ...(row.file === undefined ? {} : { file: row.file }),
      ...(row.line === null ? {} : { line: row.line }),
    }
    const problems: Problem[] = []
    const marked = prefixes.some((prefix) => prefix.mark !== null)
    const maxTokens = typeof request['max_tokens'] === 'number' ? request['max_tokens'] : 0
    if (model !== null && (marked || estimate.best + maxTokens > model.contextTokens)) {
      const found = checkTokens(request, {
        model,
        settings: row,
        at: this.#at,
        route: 'batch',
        rules: this.#catalogue.rules,
        // Refused only when it is too long by the lowest estimate: the API decides what lies in the band.
        promptTokens: estimate.low,
        prefixTokens: new Map(prefixes.map((prefix) => [prefix.path, prefix.tokens])),
      })
      for (const one of found) problems.push({ ...one, where: { ...where, ...one.where } })
    }
    if (usesReservedKeys(request)) {
      problems.push(
        problem('reserved_key', 'the request uses the key tithe_block or the source type tithe_attachment', {
          hint: 'rename it: these are how a stored run refers to shared blocks and files',
          where,
        }),
      )
    }
    if (tooLarge !== null) problems.push({ ...tooLarge, where })
    return problems
  }
}

/** For a model that we do not know: counted as a current one; its price is unknown anyway. */
const FALLBACK_MODEL = {
  tokenizer: 'new',
  toolPromptTokens: null,
  parameters: { imageTier: 'high', dropsOldThinking: false },
} as const

/** 0 without a web search tool; null when one has no `max_uses`. */
function webSearchesMax(request: MessageRequest): number | null {
  const tools = Array.isArray(request['tools']) ? request['tools'] : []
  let total: number | null = 0
  for (const tool of tools) {
    if (!isObject(tool) || !String(tool['type']).startsWith('web_search')) continue
    const uses = tool['max_uses']
    total = total === null || typeof uses !== 'number' ? null : total + uses
  }
  return total
}
