import { createHash } from 'node:crypto'
import { growthWhenSent, isAttachmentSource } from './attachment.ts'
import { isObject, type Json, type JsonObject } from './json.ts'
import type { MessageRequest, Ttl } from './request.ts'

/**
 * The prompt of a request as the cache sees it: one list of blocks, tools then system then messages, wherever the
 * fields stand in the JSON (claude-api.md 3.2). What invalidates a block is decided in prefix-hash.ts.
 */

export type Section = 'tools' | 'system' | 'messages'

/** A block by itself, wherever it stands in a prompt. */
interface BlockContent {
  /** The block's `type`; `custom` for a tool definition without one. */
  readonly type: string
  /** The block's JSON without `cache_control`, keys in the order written. */
  readonly bytes: string
  /**
   * What enters the prefix hash: `bytes`, but for media given by their bytes, which stand as their SHA-256, so that
   * base64 and an attachment on disk with the same content are the same block; and for text blocks, whose few keys
   * stand in one order, so that `content: "…"` and its block form are the same block too.
   */
  readonly identity: string
  /** Bytes of UTF-8 JSON as sent, attachments counted as the base64 that they become; without `cache_control`. */
  readonly sizeBytes: number
  /** Whether the API accepts a mark here (claude-api.md 3.2). */
  readonly markable: boolean
  /** The explicit mark; the automatic one is not here: see `marksOf`. */
  readonly mark: Ttl | null
  readonly hasImage: boolean
  readonly hasCitations: boolean
}

export interface PromptBlock extends BlockContent {
  /** JSON path in the request: `tools[0]`, `system[0]` or `system`, `messages[0].content[1]` or `messages[0].content`. */
  readonly path: string
  readonly section: Section
  /** Role of the message; null outside messages. */
  readonly role: string | null
  /** Whether this is the first block of its message. */
  readonly opensMessage: boolean
}

/** One breakpoint of a request: `index` is the position of its block in `promptBlocks`. */
export interface Mark {
  readonly index: number
  readonly path: string
  readonly ttl: Ttl
  /** `automatic`: from `cache_control` at the top level of the body. */
  readonly source: 'explicit' | 'automatic'
}

/**
 * Remembers blocks by object identity. Rows of one template share the objects of its shared blocks, and turning a
 * handbook into JSON 100,000 times would be most of the time of a plan. The objects must not be changed afterwards.
 */
export interface BlockMemory {
  readonly contents: WeakMap<object, BlockContent>
  /** Blocks at the beginning of the prompt that come back. Later ones are not kept: that would only fill the heap. */
  readonly sharedBlocks: number
}

/**
 * The ordered blocks of a request. Tools with `defer_loading` are not in the prompt until a `tool_reference` brings
 * them in, and so are left out here; they count in the identity of the block that refers to them (claude-api.md 3.12).
 * Anything that is not a block (wrong types) is passed over: refusing it is the business of check-request.ts.
 */
export function promptBlocks(request: MessageRequest, memory?: BlockMemory): PromptBlock[] {
  const blocks: PromptBlock[] = []
  const deferred = new Map<string, JsonObject>()
  const add = (value: Json | undefined, at: Omit<PromptBlock, keyof BlockContent>): void => {
    if (!isObject(value)) return
    const contents = memory && blocks.length < memory.sharedBlocks ? memory.contents : undefined
    blocks.push({ ...blockContent(value, deferred, contents), ...at })
  }

  for (const [i, tool] of listOf(request['tools']).entries()) {
    if (isObject(tool) && tool['defer_loading'] === true) {
      if (typeof tool['name'] === 'string') deferred.set(tool['name'], tool)
    } else {
      add(tool, { path: `tools[${i}]`, section: 'tools', role: null, opensMessage: false })
    }
  }

  const system = request['system']
  if (typeof system === 'string') {
    if (system !== '') {
      add(
        { type: 'text', text: system },
        { path: 'system', section: 'system', role: null, opensMessage: false },
      )
    }
  } else {
    for (const [i, block] of listOf(system).entries()) {
      add(block, { path: `system[${i}]`, section: 'system', role: null, opensMessage: false })
    }
  }

  for (const [m, message] of listOf(request['messages']).entries()) {
    if (!isObject(message)) continue
    const role = typeof message['role'] === 'string' ? message['role'] : null
    const content = message['content']
    if (typeof content === 'string') {
      const path = `messages[${m}].content`
      add({ type: 'text', text: content }, { path, section: 'messages', role, opensMessage: true })
    } else {
      for (const [b, block] of listOf(content).entries()) {
        const path = `messages[${m}].content[${b}]`
        add(block, { path, section: 'messages', role, opensMessage: b === 0 })
      }
    }
  }
  return blocks
}

/**
 * The breakpoints of a request in prompt order. `cache_control` at the top level puts one on the last block that can
 * carry it, walking back over those that cannot; if that block has a mark of its own nothing is added, and without any
 * such block there is none (claude-api.md 3.1). Limits are not checked here.
 */
export function marksOf(request: MessageRequest, blocks: readonly PromptBlock[]): Mark[] {
  const marks: Mark[] = []
  for (const [index, block] of blocks.entries()) {
    if (block.mark !== null) marks.push({ index, path: block.path, ttl: block.mark, source: 'explicit' })
  }
  const automatic = ttlOf(request['cache_control'])
  const index = automatic === null ? -1 : blocks.findLastIndex((block) => block.markable)
  const block = blocks[index]
  if (automatic !== null && block !== undefined && block.mark === null) {
    const after = marks.findIndex((mark) => mark.index > index)
    const mark: Mark = { index, path: block.path, ttl: automatic, source: 'automatic' }
    marks.splice(after === -1 ? marks.length : after, 0, mark)
  }
  return marks
}

/** The TTL of a mark. `cache_control: null` is the same as leaving it out; 5 minutes unless it says an hour. */
export function ttlOf(cacheControl: Json | undefined): Ttl | null {
  if (!isObject(cacheControl)) return null
  return cacheControl['ttl'] === '1h' ? '1h' : '5m'
}

function blockContent(
  block: JsonObject,
  deferred: ReadonlyMap<string, JsonObject>,
  memory: BlockMemory['contents'] | undefined,
): BlockContent {
  const known = memory?.get(block)
  if (known) return known
  const type = typeof block['type'] === 'string' ? block['type'] : 'custom'
  const bare = withoutMarks(block)
  const bytes = JSON.stringify(bare)
  const references = referencedTools(block, deferred)
  const content: BlockContent = {
    type,
    bytes,
    identity:
      references +
      (type === 'text' ? textIdentity(bare, bytes) : hasMedia(bare) ? mediaIdentity(bare) : bytes),
    sizeBytes: Buffer.byteLength(bytes) + attachmentGrowth(bare),
    markable: !isUnmarkable(type, block),
    mark: ttlOf(block['cache_control']) ?? nestedMark(block),
    hasImage: type === 'image' || nestedBlocks(block).some((nested) => nested['type'] === 'image'),
    hasCitations: [block, ...nestedBlocks(block)].some(
      (part) => isObject(part['citations']) && part['citations']['enabled'] === true,
    ),
  }
  // A block that refers to tools depends on more than itself.
  if (references === '') memory?.set(block, content)
  return content
}

/** Position of the last block that a user wrote, tool results aside; -1 without one. Thinking before it is of old turns. */
export function lastUserTurn(blocks: readonly Pick<PromptBlock, 'role' | 'type'>[]): number {
  return blocks.findLastIndex((block) => block.role === 'user' && block.type !== 'tool_result')
}

/** Thinking blocks and empty text carry no mark (claude-api.md 3.2). */
function isUnmarkable(type: string, block: JsonObject): boolean {
  if (type === 'thinking' || type === 'redacted_thinking') return true
  return type === 'text' && block['text'] === ''
}

/** The blocks inside a tool result, a search result or a document made of content blocks. */
export function nestedBlocks(block: JsonObject): readonly JsonObject[] {
  const source = block['source']
  const inner =
    block['type'] === 'document' ? (isObject(source) ? source['content'] : undefined) : block['content']
  return Array.isArray(inner) ? inner.filter(isObject) : []
}

/**
 * A mark inside a tool result or document holds for the whole block: positions are counted in blocks of the prompt.
 * The last one decides, as the deepest.
 */
function nestedMark(block: JsonObject): Ttl | null {
  return ttlOf(nestedBlocks(block).findLast((nested) => isObject(nested['cache_control']))?.['cache_control'])
}

function withoutMarks(block: JsonObject): JsonObject {
  const nested = nestedBlocks(block)
  let bare: JsonObject = block
  if (nested.some((inner) => inner['cache_control'] !== undefined)) {
    if (block['type'] === 'document') {
      const source = block['source'] as JsonObject
      bare = { ...bare, source: { ...source, content: nested.map(withoutMarks) } }
    } else {
      bare = { ...bare, content: nested.map(withoutMarks) }
    }
  }
  if (bare['cache_control'] === undefined) return bare
  const { cache_control: _mark, ...rest } = bare
  return rest
}

function textIdentity(block: JsonObject, bytes: string): string {
  const keys = Object.keys(block)
  // Nearly always: a second copy of every text would be half of the time that planning a row takes.
  if (keys.length === 2 && keys[0] === 'type' && keys[1] === 'text') return bytes
  const { type, text, citations, ...rest } = block
  return JSON.stringify(citations == null ? { type, text, ...rest } : { type, text, citations, ...rest })
}

function hasMedia(block: JsonObject): boolean {
  return (
    isMediaSource(block['source']) || nestedBlocks(block).some((nested) => isMediaSource(nested['source']))
  )
}

function isMediaSource(source: Json | undefined): source is JsonObject {
  return isAttachmentSource(source) || (isObject(source) && source['type'] === 'base64')
}

function mediaIdentity(block: JsonObject): string {
  return JSON.stringify(block, (key, value: Json) => {
    if (key !== 'source' || !isMediaSource(value)) return value
    const sha256 = isAttachmentSource(value) ? value.sha256 : decodedSha256(String(value['data']))
    return { media_type: value['media_type'], sha256 }
  })
}

function decodedSha256(base64: string): string {
  return createHash('sha256').update(base64, 'base64').digest('hex')
}

/** How much longer the block is when its attachments have become base64. */
function attachmentGrowth(block: JsonObject): number {
  let growth = 0
  for (const { source } of [block, ...nestedBlocks(block)]) {
    if (isAttachmentSource(source)) growth += growthWhenSent(source)
  }
  return growth
}

/** The definitions of the deferred tools that a block brings into the prompt, or an empty string. */
function referencedTools(block: JsonObject, deferred: ReadonlyMap<string, JsonObject>): string {
  if (deferred.size === 0) return ''
  const found = isObject(block['content']) ? listOf(block['content']['tool_references']) : nestedBlocks(block)
  let definitions = ''
  for (const reference of found) {
    if (!isObject(reference) || reference['type'] !== 'tool_reference') continue
    const tool = deferred.get(String(reference['tool_name']))
    if (tool) definitions += `${JSON.stringify(withoutMarks(tool))}\n`
  }
  return definitions
}

function listOf(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : []
}
