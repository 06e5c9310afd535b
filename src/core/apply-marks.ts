import { assert } from './assert.ts'
import { isObject, type Json, type JsonObject } from './json.ts'
import { nestedBlocks, ttlOf } from './prompt.ts'
import type { MessageRequest, Ttl } from './request.ts'
import type { MarkPlan } from './run-plan.ts'

// Sets `cache_control` in a request. What the model reads stays the same: a string becomes one
// text block, which is the same prompt (prefix-hash.ts), and nothing else is touched.

/** claude-api.md 3.1; as a default so that a row can be marked without the catalogue at hand. */
const MARKS_MAX = 4

/** Where a mark may be set: the block, and what marks already stand in it. */
interface MarkSite {
  readonly path: string
  readonly own: readonly Ttl[]
}

/**
 * The marks of `marks` that can really be set in this request, with the TTL that its own marks leave possible: never
 * over the limit, never an hour after five minutes, never on a block that its author has marked. When slots are short
 * the deepest stay, which cover the most.
 * @param marks shallow first, all of one TTL or an hour before five minutes.
 */
export function fittingMarks(
  request: MessageRequest,
  marks: readonly MarkPlan[],
  marksMax: number = MARKS_MAX,
): MarkPlan[] {
  if (marks.length === 0) return []
  const sites = markSites(request)
  const indexes = new Map(sites.map((site, index) => [site.path, index]))
  const own = sites.flatMap((site, index) => site.own.map((ttl) => ({ index, ttl })))
  const automatic = ttlOf(request['cache_control'])
  // It stands on the last block that can carry it: behind everything that we mark.
  if (automatic !== null) own.push({ index: sites.length, ttl: automatic })

  const free = marks.flatMap((mark) => {
    const index = indexes.get(canonicalPath(mark.path))
    assert(index !== undefined, `a row of the group has a block at ${mark.path}`)
    const taken =
      own.some((other) => other.index === index) || (automatic !== null && index === sites.length - 1)
    return taken ? [] : [{ mark, index }]
  })
  const slots = Math.max(0, marksMax - own.length)
  const kept = slots < free.length ? free.slice(free.length - slots) : free
  return kept.map(({ mark, index }) => {
    const hourLater = own.some((other) => other.index > index && other.ttl === '1h')
    const fiveMinutesEarlier = own.some((other) => other.index < index && other.ttl === '5m')
    return { ...mark, ttl: hourLater ? '1h' : fiveMinutesEarlier ? '5m' : mark.ttl }
  })
}

/**
 * The request with the marks that fit it (`fittingMarks`). Shares everything but the marked blocks with the original.
 * Keys keep their order; `cache_control` comes last in its block.
 */
export function applyMarks(
  request: MessageRequest,
  marks: readonly MarkPlan[],
  marksMax: number = MARKS_MAX,
): MessageRequest {
  let marked = request
  for (const { path, ttl } of fittingMarks(request, marks, marksMax)) {
    marked = editBlock(marked, path, ({ cache_control: _null, ...block }) => ({
      ...block,
      cache_control: { type: 'ephemeral', ttl },
    }))
  }
  return marked
}

/** Every block of the prompt in prompt order, with the marks in it, nested ones too: each takes a slot. */
function markSites(request: MessageRequest): MarkSite[] {
  const sites: MarkSite[] = []
  const addAll = (value: Json | undefined, path: string) => {
    if (typeof value === 'string') sites.push({ path: `${path}[0]`, own: [] })
    else if (Array.isArray(value)) {
      for (const [i, block] of value.entries()) sites.push({ path: `${path}[${i}]`, own: marksIn(block) })
    }
  }
  addAll(request['tools'], 'tools')
  addAll(request['system'], 'system')
  const messages = request['messages']
  for (const [i, message] of (Array.isArray(messages) ? messages : []).entries()) {
    if (isObject(message)) addAll(message['content'], `messages[${i}].content`)
  }
  return sites
}

function marksIn(block: Json): Ttl[] {
  if (!isObject(block)) return []
  const own = ttlOf(block['cache_control'])
  const nested = nestedBlocks(block).flatMap(marksIn)
  return own === null ? nested : [...nested, own]
}

/** `system` and `messages[0].content` name the block that a string is: the same as its first block. */
function canonicalPath(path: string): string {
  return path.endsWith(']') ? path : `${path}[0]`
}

function editBlock(
  request: MessageRequest,
  path: string,
  edit: (block: JsonObject) => JsonObject,
): MessageRequest {
  const match = /^(tools|system|messages\[(\d+)\]\.content)\[(\d+)\]$/.exec(canonicalPath(path))
  assert(match, `${path} is the path of a prompt block`)
  const [, list, message, block] = match
  const editList = (value: Json | undefined): Json[] => {
    const blocks: readonly Json[] =
      typeof value === 'string' ? [{ type: 'text', text: value }] : Array.isArray(value) ? value : []
    return blocks.map((item, i) => (i === Number(block) && isObject(item) ? edit(item) : item))
  }
  if (list === 'tools' || list === 'system') return { ...request, [list]: editList(request[list]) }
  const messages = request['messages'] as readonly Json[]
  return {
    ...request,
    messages: messages.map((item, i) =>
      i === Number(message) && isObject(item) ? { ...item, content: editList(item['content']) } : item,
    ),
  }
}
