import type { Problem } from '../../core/errors.ts'
import type { Instant } from '../../core/instant.ts'
import { isObject, type Json, type JsonObject } from '../../core/json.ts'
import { type Catalogue, findApiVersion, findModel, isRetired, type Model } from '../../core/models.ts'
import type { ApiSettings } from '../../core/request.ts'
import type { ApiError } from '../upstream.ts'
import { positionsOf } from './cache.ts'

// What the API refuses, in its own words where they are known (claude-api.md 2.2, 2.8, 3.1, 4.2, 6.3); the rest of the
// parameter matrix comes from the check that planning uses, in ours.

export interface RefusalContext extends ApiSettings {
  readonly tier: 'standard' | 'batch'
  readonly at: Instant
  readonly catalogue: Catalogue
  readonly checkRequest: CheckRequest
}

/** `core/check-request.ts`, handed in: problems of severity `error` refuse the request. */
export type CheckRequest = (
  request: JsonObject,
  call: {
    readonly model: Model
    readonly settings: ApiSettings
    readonly at: Instant
    readonly route: 'batch' | 'realtime'
  },
) => readonly Problem[]

export type Checked =
  | { readonly kind: 'accepted'; readonly model: Model }
  | { readonly kind: 'refused'; readonly error: ApiError }

const KNOWN_FIELDS = new Set(
  `model max_tokens messages system tools tool_choice thinking output_config cache_control container diagnostics
   inference_geo metadata service_tier stop_sequences stream temperature top_p top_k`.split(/\s+/),
)
const SAMPLING = ['temperature', 'top_p', 'top_k'] as const

export function checkCall(request: unknown, context: RefusalContext): Checked {
  if (!isObject(request)) return refused('Input should be a valid dictionary')
  const shape = shapeProblem(request, context)
  if (shape !== null) return refused(shape)

  const model = findModel(context.catalogue, String(request['model']))
  if (model === null || isRetired(model, context.at)) {
    return refused(`model: ${String(request['model'])}`, { status: 404, type: 'not_found_error' })
  }
  const own = modelProblem(request, model, context) ?? promptProblem(request, context.catalogue)
  if (own !== null) return refused(own)
  const route = context.tier === 'batch' ? 'batch' : 'realtime'
  const { apiVersion, betas, at } = context
  const problems = context.checkRequest(request, { model, settings: { apiVersion, betas }, at, route })
  const first = problems.find(({ severity }) => severity === 'error')
  return first === undefined ? { kind: 'accepted', model } : refused(first.message)
}

export function promptTooLong(tokens: number, model: Model): ApiError | null {
  if (tokens <= model.contextTokens) return null
  const message = `prompt is too long: ${tokens} tokens > ${model.contextTokens} maximum`
  return { status: 400, type: 'invalid_request_error', message }
}

function shapeProblem(
  request: JsonObject,
  { tier, apiVersion, betas, catalogue }: RefusalContext,
): string | null {
  for (const field of ['model', 'max_tokens', 'messages']) {
    if (request[field] === undefined) return `${field}: Field required`
  }
  const { messages, max_tokens: maxTokens } = request
  if (!Array.isArray(messages)) return 'messages: Input should be a valid list'
  if (messages.length === 0) return 'messages: at least one message is required'
  if (!Number.isInteger(maxTokens)) return 'max_tokens: Input should be a valid integer'
  if (tier === 'batch') {
    if (request['stream'] === true) return '"stream=True" is not supported in the Message Batches API'
    for (const field of ['speed', 'fallbacks']) {
      if (request[field] !== undefined) return `${field}: Extra inputs are not permitted`
    }
  }
  if (Number(maxTokens) < (tier === 'batch' ? 1 : 0)) return 'max_tokens: must be greater than or equal to 1'
  if (findApiVersion(catalogue.rules, apiVersion)?.removesSamplingParameters) {
    const sampling = SAMPLING.find((field) => request[field] !== undefined)
    if (sampling !== undefined) return `${sampling}: Extra inputs are not permitted`
  }
  // A beta may bring fields that we have never heard of.
  const unknown = Object.keys(request).find((field) => !KNOWN_FIELDS.has(field) && field !== 'speed')
  return unknown !== undefined && betas.length === 0 ? `${unknown}: Extra inputs are not permitted` : null
}

function modelProblem(request: JsonObject, model: Model, context: RefusalContext): string | null {
  const { parameters } = model
  const hasBeta = context.tier === 'batch' && context.betas.includes(context.catalogue.rules.batchOutputBeta)
  const outputMax = (hasBeta ? model.outputTokensMaxBatchBeta : null) ?? model.outputTokensMax
  if (Number(request['max_tokens']) > outputMax) {
    return `max_tokens: ${request['max_tokens']} > ${outputMax}, which is the maximum allowed number of output tokens for ${model.id}`
  }
  const thinking = isObject(request['thinking']) ? request['thinking']['type'] : undefined
  if (thinking === 'enabled' && !parameters.thinkingTypes.includes('enabled')) {
    return '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort"'
  }
  const choice = isObject(request['tool_choice']) ? request['tool_choice'] : {}
  const isForced = choice['type'] === 'any' || choice['type'] === 'tool'
  if (isForced && !parameters.forcedToolChoice) {
    return 'tool_choice: type "tool" and "any" are not supported for this model.'
  }
  if (choice['type'] === 'tool') {
    const tools = Array.isArray(request['tools']) ? request['tools'].filter(isObject) : []
    if (!tools.some((tool) => tool['name'] === choice['name'])) {
      return `Tool '${String(choice['name'])}' not found in provided tools`
    }
  }
  const last = (request['messages'] as readonly Json[]).at(-1)
  if (isObject(last) && last['role'] === 'assistant' && !parameters.prefill && !isPausedTurn(last)) {
    return 'This model does not support assistant message prefill. The conversation must end with a user message.'
  }
  return null
}

/** A turn that paused in a server tool is sent back as it is and goes on (claude-api.md 2.6, `pause_turn`). */
function isPausedTurn({ content }: JsonObject): boolean {
  const end = Array.isArray(content) ? content.at(-1) : null
  return isObject(end) && /tool_(use|result)$/.test(String(end['type']))
}

/** Marks and empty text (claude-api.md 3.1). */
function promptProblem(request: JsonObject, { rules }: Catalogue): string | null {
  let marks = isObject(request['cache_control']) ? 1 : 0
  let shortMarkBefore = false
  for (const { path, block } of positionsOf(request)) {
    const mark = block['cache_control']
    if (block['type'] === 'text' && block['text'] === '') {
      return isObject(mark)
        ? `${path}.text: cache_control cannot be set for empty text blocks`
        : 'messages: text content blocks must be non-empty'
    }
    if (!isObject(mark)) continue
    marks += 1
    if (mark['ttl'] === '1h' && shortMarkBefore) {
      return `${path}.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks are processed in the following order: \`tools\`, \`system\`, \`messages\`.`
    }
    if (mark['ttl'] !== '1h') shortMarkBefore = true
  }
  if (marks <= rules.cacheMarksMax) return null
  return `A maximum of ${rules.cacheMarksMax} blocks with cache_control may be provided. Found ${marks}.`
}

function refused(
  message: string,
  { status, type }: { status: number; type: string } = { status: 400, type: 'invalid_request_error' },
): Checked {
  return { kind: 'refused', error: { status, type, message } }
}
