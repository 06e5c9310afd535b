import { isObject, type Json, type JsonObject } from '../../core/json.ts'
import type { Model } from '../../core/models.ts'
import { schemaValue } from './schema-value.ts'
import { logNormal, seededRandom } from './seeded.ts'

// What the local service answers. No model is called, and the text says so. The same prompt gets the same answer on
// every route, with marks and without.

export interface AnswerSettings {
  /** Median tokens of a free text. A request with less room gets less: the median is at most 0.4 of its `max_tokens`. */
  readonly outputTokensMedian: number
  /** Shares of requests, 0 to 1, that end otherwise: for tests and demonstrations of what may go wrong. */
  readonly refusedShare: number
  readonly truncatedShare: number
  readonly erroredShare: number
  /** Of requests with a server tool that are not continued ones: pause once, after a first use of it. */
  readonly pausedShare: number
}

export type SimulatedAnswer =
  | { readonly kind: 'errored' }
  | {
      readonly kind: 'answered'
      readonly content: readonly JsonObject[]
      readonly stopReason: 'end_turn' | 'max_tokens' | 'tool_use' | 'refusal' | 'pause_turn'
      /** Thinking included. */
      readonly outputTokens: number
      /** Null where the model did not think. */
      readonly thinkingTokens: number | null
      readonly webSearches: number
    }

export interface AnswerSeeds {
  /** Of the prompt: decides what is answered. */
  readonly content: string
  /** Of the call: decides whether it goes wrong, so that a retry has its own chance. */
  readonly call: string
}

const OPENING = 'Simulated answer; no model was called. '
const FILLER = Array.from({ length: 40 }, (_, i) =>
  [
    'This sentence stands where a model would have written one.',
    `Part ${i + 1} of the text has the length that was asked for and no meaning.`,
    'Plan, run and account for the work with it, then send the same job to a real model.',
  ].join(' '),
).join(' ')
/** Rough size of a token of our English text and of JSON: an answer of n tokens should look like one. */
const TEXT_CHARACTERS_PER_TOKEN = 4
const JSON_CHARACTERS_PER_TOKEN = 3
const OUTPUT_SPREAD = 0.3
const ROOM_SHARE = 0.4
const THINKING_TOKENS_MEDIAN = 60

export function simulateAnswer(
  request: JsonObject,
  model: Model,
  seeds: AnswerSeeds,
  settings: AnswerSettings,
): SimulatedAnswer {
  const fate = seededRandom(seeds.call)()
  const { erroredShare, refusedShare, truncatedShare, pausedShare } = settings
  if (fate < erroredShare) return { kind: 'errored' }
  const isRefused = fate < erroredShare + refusedShare
  const cutBelow = erroredShare + refusedShare + truncatedShare
  const isTruncated = !isRefused && fate < cutBelow
  const tool = isContinued(request) ? null : serverTool(request)
  const isPaused = tool !== null && fate >= cutBelow && fate < cutBelow + pausedShare

  const random = seededRandom(seeds.content)
  const maxTokens = Number(request['max_tokens'])
  // `max_tokens: 0` only warms the cache (claude-api.md 3.9).
  if (maxTokens === 0) {
    const nothing = { content: [], outputTokens: 0, thinkingTokens: null, webSearches: 0 }
    return { kind: 'answered', stopReason: 'max_tokens', ...nothing }
  }
  if (isRefused) {
    const content = [{ type: 'text', text: 'Simulated refusal; no model was called.' }]
    return {
      kind: 'answered',
      content,
      stopReason: 'refusal',
      outputTokens: Math.min(9, maxTokens),
      thinkingTokens: null,
      webSearches: 0,
    }
  }

  const said = isTruncated
    ? { content: [textOf(maxTokens, random)], tokens: maxTokens, stopReason: 'max_tokens' as const }
    : isPaused
      ? pauseIn(tool, maxTokens, random)
      : sayOf(request, maxTokens, random, settings)
  const webSearches = isPaused && tool['name'] === 'web_search' ? 1 : 0
  if (!thinks(request, model)) {
    return {
      kind: 'answered',
      content: said.content,
      stopReason: said.stopReason,
      outputTokens: said.tokens,
      thinkingTokens: null,
      webSearches,
    }
  }
  // Thinking takes of the room that the answer leaves: it adapts.
  const thought = Math.round(logNormal(random, THINKING_TOKENS_MEDIAN, OUTPUT_SPREAD))
  const thinkingTokens = Math.min(thought, maxTokens - said.tokens)
  const display = isObject(request['thinking']) ? request['thinking']['display'] : undefined
  const thinking = {
    type: 'thinking',
    thinking: display === 'summarized' ? 'Simulated thinking; no model was called.' : '',
    signature: `simulated-${seeds.content.slice(0, 32)}`,
  }
  return {
    kind: 'answered',
    content: thinkingTokens > 0 ? [thinking, ...said.content] : said.content,
    stopReason: said.stopReason,
    outputTokens: said.tokens + thinkingTokens,
    thinkingTokens,
    webSearches,
  }
}

interface Said {
  readonly content: readonly JsonObject[]
  readonly tokens: number
  readonly stopReason: 'end_turn' | 'max_tokens' | 'tool_use' | 'pause_turn'
}

function sayOf(request: JsonObject, maxTokens: number, random: () => number, settings: AnswerSettings): Said {
  const tool = forcedTool(request, random)
  if (tool !== null) {
    const input = schemaValue(tool['input_schema'] ?? {}, random)
    const { tokens } = jsonTokens(input)
    const id = `toolu_01${tokenOf(random)}`
    const use = { type: 'tool_use', id, name: tool['name'] ?? '', input: isObject(input) ? input : {} }
    return tokens <= maxTokens
      ? { content: [use], tokens, stopReason: 'tool_use' }
      : { content: [{ ...use, input: {} }], tokens: maxTokens, stopReason: 'max_tokens' }
  }

  const schema = outputSchema(request)
  if (schema !== null) {
    const { text, tokens } = jsonTokens(schemaValue(schema, random))
    if (tokens <= maxTokens) return { content: [{ type: 'text', text }], tokens, stopReason: 'end_turn' }
    const cut = text.slice(0, maxTokens * JSON_CHARACTERS_PER_TOKEN)
    return { content: [{ type: 'text', text: cut }], tokens: maxTokens, stopReason: 'max_tokens' }
  }

  const median = Math.min(settings.outputTokensMedian, Math.max(1, maxTokens * ROOM_SHARE))
  const wanted = Math.max(1, Math.round(logNormal(random, median, OUTPUT_SPREAD)))
  const tokens = Math.min(wanted, maxTokens)
  return {
    content: [textOf(tokens, random)],
    tokens,
    stopReason: wanted > maxTokens ? 'max_tokens' : 'end_turn',
  }
}

/** What the service runs itself, and may pause in (claude-api.md 2.8). */
const SERVER_TOOL = /^(web_search|web_fetch|code_execution)_\d/
const PAUSE_TOKENS = 60

function serverTool(request: JsonObject): JsonObject | null {
  const { tools } = request
  if (!Array.isArray(tools)) return null
  return tools.filter(isObject).find((tool) => SERVER_TOOL.test(String(tool['type']))) ?? null
}

/** A conversation that ends with the assistant goes on where it paused. */
function isContinued(request: JsonObject): boolean {
  const { messages } = request
  const last = Array.isArray(messages) ? messages.at(-1) : null
  return isObject(last) && last['role'] === 'assistant'
}

function pauseIn(tool: JsonObject, maxTokens: number, random: () => number): Said {
  const name = String(tool['name'])
  const id = `srvtoolu_01${tokenOf(random)}`
  return {
    content: [
      { type: 'text', text: 'Simulated first part; no model was called. ' },
      { type: 'server_tool_use', id, name, input: { query: 'simulated' } },
      { type: `${name}_tool_result`, tool_use_id: id, content: [] },
    ],
    tokens: Math.min(PAUSE_TOKENS, maxTokens),
    stopReason: 'pause_turn',
  }
}

function tokenOf(random: () => number): string {
  return Math.floor(random() * 2 ** 48)
    .toString(36)
    .padStart(22, 'S')
}

function textOf(tokens: number, random: () => number): JsonObject {
  const length = tokens * TEXT_CHARACTERS_PER_TOKEN
  let text = OPENING
  for (let start = Math.floor(random() * FILLER.length); text.length < length; start = 0) {
    text += FILLER.slice(start, start + length - text.length)
  }
  return { type: 'text', text }
}

function jsonTokens(value: Json): { text: string; tokens: number } {
  const text = JSON.stringify(value)
  return { text, tokens: Math.max(1, Math.ceil(text.length / JSON_CHARACTERS_PER_TOKEN)) }
}

/** The tool that `tool_choice` demands: the named one, or any. */
function forcedTool(request: JsonObject, random: () => number): JsonObject | null {
  const { tool_choice: choice, tools } = request
  if (!isObject(choice) || !Array.isArray(tools)) return null
  const all = tools.filter(isObject)
  if (choice['type'] === 'tool') return all.find((tool) => tool['name'] === choice['name']) ?? null
  return choice['type'] === 'any' ? (all[Math.floor(random() * all.length)] ?? null) : null
}

function outputSchema(request: JsonObject): Json | null {
  const config = request['output_config']
  const format = isObject(config) ? config['format'] : undefined
  return isObject(format) && format['type'] === 'json_schema' ? (format['schema'] ?? null) : null
}

function thinks(request: JsonObject, model: Model): boolean {
  const thinking = request['thinking']
  if (!isObject(thinking)) return model.parameters.thinkingByDefault
  return thinking['type'] !== 'disabled'
}
