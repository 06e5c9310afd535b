import { isObject, type Json, type JsonObject } from './json.ts'
import { minimumCacheableTokens } from './models.ts'
import type { ProblemList } from './problem-list.ts'
import type { MessageRequest, Ttl } from './request.ts'
import type { RequestConditions } from './request-conditions.ts'

// The marks that a request carries already (claude-api.md 3.1, 3.3). Not read from `promptBlocks`: this runs for every
// row, and writing out a handbook's JSON to learn whether it is marked would be most of the work.

interface ExplicitMark {
  readonly path: string
  readonly ttl: Ttl
}

/** Blocks that may stand inside a cached prefix but carry no mark themselves. */
const UNMARKABLE = ['thinking', 'redacted_thinking']

export function checkMarks(
  request: MessageRequest,
  conditions: RequestConditions,
  problems: ProblemList,
): void {
  const { model, at, rules, promptTokens, prefixTokens } = conditions
  const marks: ExplicitMark[] = []
  let lastBlock = ''
  for (const [path, block] of blocksInOrder(request)) {
    lastBlock = path
    const ttl = markOf(block['cache_control'], path, problems)
    if (ttl === null) continue
    if (UNMARKABLE.includes(String(block['type']))) {
      problems.error(
        `${path}.cache_control`,
        'mark_not_allowed',
        `${path} is a ${block['type']} block, which takes no mark`,
        'mark the block after it',
      )
    }
    marks.push({ path, ttl })
  }
  const automatic = markOf(request['cache_control'], '', problems)
  checkCount(marks, automatic, rules.cacheMarksMax, problems)
  checkOrder(marks, automatic, lastBlock, problems)

  const minimum = minimumCacheableTokens(model, at)
  const tooShort = (path: string, tokens: number | undefined): void => {
    if (tokens === undefined || tokens >= minimum) return
    problems.warn(
      path,
      'mark_below_minimum',
      `the prefix up to ${path === 'cache_control' ? 'the end' : path} has about ${tokens} tokens; ${model.id} caches from ${minimum} on`,
      'the API ignores the mark without a word: mark a longer prefix or none',
    )
  }
  for (const mark of marks) tooShort(mark.path, prefixTokens?.get(mark.path))
  if (automatic !== null && marks.length === 0) tooShort('cache_control', promptTokens)
}

function checkCount(
  marks: readonly ExplicitMark[],
  automatic: Ttl | null,
  marksMax: number,
  problems: ProblemList,
): void {
  if (marks.length > marksMax) {
    problems.error(
      `${marks[marksMax]!.path}.cache_control`,
      'too_many_marks',
      `${marks.length} blocks have cache_control; the API takes at most ${marksMax}`,
      'keep those at the ends of what is shared',
    )
  } else if (marks.length === marksMax && automatic !== null) {
    problems.error(
      'cache_control',
      'too_many_marks',
      `automatic caching takes one of the ${marksMax} places, and ${marks.length} blocks are marked`,
      'remove the top-level cache_control or one of the marks',
    )
  }
}

function checkOrder(
  marks: readonly ExplicitMark[],
  automatic: Ttl | null,
  lastBlock: string,
  problems: ProblemList,
): void {
  const short = marks.findIndex(({ ttl }) => ttl === '5m')
  const late = short === -1 ? undefined : marks.slice(short).find(({ ttl }) => ttl === '1h')
  if (late !== undefined) {
    problems.error(
      `${late.path}.cache_control.ttl`,
      'mark_order',
      `the 1h mark at ${late.path} comes after the 5m mark at ${marks[short]!.path}`,
      'blocks count in the order tools, system, messages; 1h marks must come first',
    )
  }
  const last = marks.at(-1)
  if (automatic !== null && last !== undefined && last.path === lastBlock && last.ttl !== automatic) {
    problems.error(
      'cache_control.ttl',
      'mark_conflict',
      `automatic caching asks for ${automatic}, and the last block is marked ${last.ttl}`,
      'give both the same ttl, or remove one',
    )
  } else if (automatic === '1h' && short !== -1) {
    problems.error(
      'cache_control.ttl',
      'mark_order',
      `automatic caching with 1h comes after the 5m mark at ${marks[short]!.path}`,
      'use 5m for it, or 1h for the mark',
    )
  }
}

/** The TTL of a well-formed mark; null without one. */
function markOf(control: Json | undefined, path: string, problems: ProblemList): Ttl | null {
  if (control === undefined || control === null) return null
  const at = path === '' ? 'cache_control' : `${path}.cache_control`
  if (!isObject(control) || control['type'] !== 'ephemeral') {
    problems.error(at, 'mark_invalid', `${at} must be {"type": "ephemeral"}`, '"ttl" may be "5m" or "1h"')
    return null
  }
  const ttl = control['ttl'] ?? '5m'
  if (ttl === '5m' || ttl === '1h') return ttl
  problems.error(`${at}.ttl`, 'mark_invalid', `${at}.ttl must be "5m" or "1h"`)
  return null
}

/** Blocks in the order in which the cache sees them; blocks inside a tool result before the result. */
function* blocksInOrder(request: MessageRequest): Generator<[path: string, block: JsonObject]> {
  yield* blocksIn(request['tools'], 'tools')
  yield* blocksIn(request['system'], 'system')
  const messages = request['messages']
  if (!Array.isArray(messages)) return
  for (const [m, message] of messages.entries()) {
    if (!isObject(message)) continue
    for (const [path, block] of blocksIn(message['content'], `messages[${m}].content`)) {
      if (block['type'] === 'tool_result') yield* blocksIn(block['content'], `${path}.content`)
      yield [path, block]
    }
  }
}

function* blocksIn(list: Json | undefined, path: string): Generator<[path: string, block: JsonObject]> {
  // A text in place of a list is one block, which can carry no mark but can be the last.
  if (typeof list === 'string') yield [path, { type: 'text' }]
  if (!Array.isArray(list)) return
  for (const [i, block] of list.entries()) if (isObject(block)) yield [`${path}[${i}]`, block]
}
