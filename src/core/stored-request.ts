import { type AttachmentSource, growthWhenSent, isAttachmentSource } from './attachment.ts'
import { sha256Hex } from './digest.ts'
import { isObject, type Json, type JsonObject } from './json.ts'
import type { MessageRequest } from './request.ts'

// How a rendered request is kept: blocks that many rows share (tools, system, the template's shared part) and large
// blocks stand once in the body files and the request refers to them by digest; attachments stay on the user's disk and
// are referred to by path and digest. So a run of 100,000 rows over a 40 kB handbook stores the handbook once.

/** Stands in a stored request where a block was. */
interface BlockReference extends JsonObject {
  readonly tithe_block: string
}

/** A message block of this size or more is kept apart even when the template does not say that it is shared. */
const LARGE_BLOCK_BYTES = 4_096
/** A shared block smaller than this is cheaper kept in place than referred to. */
const SMALL_BLOCK_BYTES = 160

export interface StoredBlock {
  readonly hash: string
  /** The block's exact JSON. */
  readonly json: string
}

interface KnownBlock extends StoredBlock {
  readonly sizeBytes: number
}

export interface StoredRequest {
  /** The request with references in place of blocks, as JSON. */
  readonly json: string
  /** The blocks that it refers to. */
  readonly blocks: readonly StoredBlock[]
  /** Exact UTF-8 bytes of the request as it will be sent, without marks, attachments in base64. */
  readonly paramsBytes: number
  readonly attachments: readonly AttachmentSource[]
}

/** Whether a request uses the two keys that we reserve for references: such a request could not be read back. */
export function usesReservedKeys(request: MessageRequest): boolean {
  const search = (value: unknown, insideSource: boolean): boolean => {
    if (Array.isArray(value)) return value.some((item) => search(item, false))
    if (!isObject(value)) return false
    if ('tithe_block' in value || (value['type'] === 'tithe_attachment' && !insideSource)) return true
    return Object.entries(value).some(([key, item]) => search(item, key === 'source'))
  }
  return search(request, false)
}

/**
 * Splits requests for storing. Keep one per run: blocks that are the same object in many rows, as a template's shared
 * blocks are, are serialised and hashed once.
 */
export class RequestSplitter {
  readonly #known = new WeakMap<object, KnownBlock>()

  split(request: MessageRequest, sharedBlocks: number): StoredRequest {
    const blocks: StoredBlock[] = []
    const attachments: AttachmentSource[] = []
    let savedBytes = 0
    let position = 0

    const refer = (block: Json, shared: boolean): Json => {
      if (isObject(block) && isObject(block['source']) && isAttachmentSource(block['source'])) {
        const source = block['source']
        attachments.push(source)
        savedBytes += growthWhenSent(source)
        return block
      }
      const stored = this.#storedApart(block, shared)
      if (stored === null) return block
      const reference: BlockReference = { tithe_block: stored.hash }
      blocks.push({ hash: stored.hash, json: stored.json })
      savedBytes += stored.sizeBytes - JSON.stringify(reference).length
      return reference
    }

    const stored: Record<string, Json | undefined> = { ...request }
    if (Array.isArray(request['tools'])) {
      stored['tools'] = request['tools'].map((tool) => refer(tool, true))
      position += request['tools'].length
    }
    const system = request['system']
    if (Array.isArray(system)) {
      stored['system'] = system.map((block) => refer(block, true))
      position += system.length
    } else if (typeof system === 'string') {
      stored['system'] = refer(system, true)
      position += 1
    }
    if (Array.isArray(request['messages'])) {
      stored['messages'] = mapMessageBlocks(request['messages'], (block) =>
        refer(block, position++ < sharedBlocks),
      )
    }
    const json = JSON.stringify(stored)
    return { json, blocks, paramsBytes: Buffer.byteLength(json) + savedBytes, attachments }
  }

  /** Null when the block is so small that it stays in its request. */
  #storedApart(block: Json, shared: boolean): KnownBlock | null {
    const known = isObject(block) ? this.#known.get(block) : undefined
    if (known) return known
    const json = JSON.stringify(block)
    const sizeBytes = Buffer.byteLength(json)
    if (sizeBytes < (shared ? SMALL_BLOCK_BYTES : LARGE_BLOCK_BYTES)) return null
    const stored = { hash: sha256Hex(json), json, sizeBytes }
    // A row's own block does not come back.
    if (shared && isObject(block)) this.#known.set(block, stored)
    return stored
  }
}

/** Digests of the blocks that a stored request refers to. */
export function blocksReferred(storedJson: string): string[] {
  // Inside a JSON string the quotes would be escaped, so this can only be a reference.
  return [...storedJson.matchAll(/\{"tithe_block":"([0-9a-f]{64})"\}/g)].map((match) => match[1]!)
}

/**
 * The request as it was rendered, key order and all; attachments still stand as their sources.
 * @param block gives a block that `blocksReferred` named.
 */
export function joinRequest(storedJson: string, block: (hash: string) => Json): MessageRequest {
  const resolve = (value: Json): Json =>
    isObject(value) && typeof value['tithe_block'] === 'string' ? block(value['tithe_block']) : value
  const stored = JSON.parse(storedJson) as Record<string, Json>
  for (const key of ['tools', 'system'] as const) {
    const value = stored[key]
    if (Array.isArray(value)) stored[key] = value.map(resolve)
    else if (value !== undefined) stored[key] = resolve(value)
  }
  if (Array.isArray(stored['messages'])) {
    stored['messages'] = mapMessageBlocks(stored['messages'], resolve)
  }
  return stored
}

/** Attachments of a request, in order. */
export function attachmentsOf(request: MessageRequest): AttachmentSource[] {
  const found: AttachmentSource[] = []
  mapAttachments(request, (source) => {
    found.push(source)
    return source as AttachmentSource & JsonObject
  })
  return found
}

/** The request with every attachment's source replaced, for sending: `{type: 'base64', media_type, data}`. */
export function mapAttachments(
  request: MessageRequest,
  replace: (source: AttachmentSource) => JsonObject,
): MessageRequest {
  const messages = request['messages']
  if (!Array.isArray(messages)) return request
  const mapBlock = (block: Json): Json =>
    isObject(block) && isAttachmentSource(block['source'])
      ? { ...block, source: replace(block['source']) }
      : block
  return { ...request, messages: mapMessageBlocks(messages, mapBlock) }
}

/** Messages with each of their blocks replaced; text in place of a list of blocks stays. */
function mapMessageBlocks(messages: readonly Json[], replace: (block: Json) => Json): Json[] {
  return messages.map((message) =>
    isObject(message) && Array.isArray(message['content'])
      ? { ...message, content: message['content'].map(replace) }
      : message,
  )
}
