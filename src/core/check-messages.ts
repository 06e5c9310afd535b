import { base64Length, isAttachmentSource } from './attachment.ts'
import { formatOf } from './check-parameters.ts'
import { isObject, type Json, type JsonObject } from './json.ts'
import { findApiVersion } from './models.ts'
import type { ProblemList } from './problem-list.ts'
import type { MessageRequest } from './request.ts'
import type { RequestConditions } from './request-conditions.ts'

// The prompt itself: roles, content, media and what must fit together (claude-api.md 1.1, 3.1, 4.2, 5.2, 7).

const IMAGE_TYPES = ['image/jpeg', 'image/png', 'image/gif', 'image/webp']
const TOOL_USE_ID = /^[a-zA-Z0-9_-]+$/

/** A block with the place where it stands; blocks inside tool results and documents included. */
interface PlacedBlock {
  readonly block: JsonObject
  readonly path: string
  readonly role: 'system' | 'user' | 'assistant'
  /** Whether it is a block of a message or of `system`, not one inside another block. */
  readonly top: boolean
}

export function checkMessages(
  request: MessageRequest,
  conditions: RequestConditions,
  problems: ProblemList,
): void {
  const blocks: PlacedBlock[] = []
  checkSystem(request, problems, blocks)
  const messages = request['messages']
  if (messages === undefined || messages === null) {
    problems.error('messages', 'messages_missing', 'messages is missing')
    return
  }
  if (!Array.isArray(messages) || messages.length === 0) {
    problems.error('messages', 'messages_empty', 'messages must be a list with at least one message')
    return
  }
  if (messages.length > conditions.rules.messagesMax) {
    problems.error(
      'messages',
      'too_many_messages',
      `${messages.length} messages; the API takes at most ${conditions.rules.messagesMax}`,
    )
  }
  for (const [m, message] of messages.entries()) {
    checkMessage(message, m, m === messages.length - 1, conditions, problems, blocks)
  }
  checkPrefill(request, messages, conditions, problems)
  checkToolTurns(messages, problems)
  checkMedia(blocks, conditions, problems)
  checkCitations(request, blocks, conditions, problems)
}

function checkSystem(request: MessageRequest, problems: ProblemList, blocks: PlacedBlock[]): void {
  const system = request['system']
  if (system === undefined || system === null || typeof system === 'string') return
  if (!Array.isArray(system)) {
    problems.error('system', 'system_invalid', 'system must be a text or a list of text blocks')
    return
  }
  for (const [i, block] of system.entries()) {
    const path = `system[${i}]`
    if (!isObject(block) || block['type'] !== 'text') {
      problems.error(path, 'system_invalid', `${path} must be a text block`)
    } else placeBlock(block, path, 'system', true, problems, blocks)
  }
}

function checkMessage(
  message: Json,
  index: number,
  last: boolean,
  { model }: RequestConditions,
  problems: ProblemList,
  blocks: PlacedBlock[],
): void {
  const path = `messages[${index}]`
  const role = isObject(message) ? message['role'] : undefined
  if (!isObject(message) || (role !== 'user' && role !== 'assistant' && role !== 'system')) {
    problems.error(`${path}.role`, 'role_invalid', `${path} must have the role user or assistant`)
    return
  }
  if (role === 'system' && !model.parameters.systemMessages) {
    problems.error(
      `${path}.role`,
      'system_role_not_supported',
      `role 'system' is not supported on ${model.id}`,
      'put the text in the top-level "system", or in a user message',
    )
  }
  const content = message['content']
  const mayBeEmpty = last && role === 'assistant'
  if (typeof content === 'string') {
    if (content === '' && !mayBeEmpty) {
      problems.error(
        `${path}.content`,
        'empty_content',
        `${path}.content is empty`,
        'the API refuses empty content',
      )
    }
  } else if (!Array.isArray(content)) {
    problems.error(`${path}.content`, 'content_invalid', `${path}.content must be a text or a list of blocks`)
  } else if (content.length === 0 && !mayBeEmpty) {
    problems.error(
      `${path}.content`,
      'empty_content',
      `${path}.content is empty`,
      'the API refuses empty content',
    )
  } else {
    for (const [b, block] of content.entries()) {
      const at = `${path}.content[${b}]`
      if (!isObject(block) || typeof block['type'] !== 'string') {
        problems.error(at, 'content_invalid', `${at} must be a block with a type`)
      } else placeBlock(block, at, role, true, problems, blocks)
    }
  }
}

/** Notes a block and those inside it, and checks what concerns it alone. */
function placeBlock(
  block: JsonObject,
  path: string,
  role: PlacedBlock['role'],
  top: boolean,
  problems: ProblemList,
  blocks: PlacedBlock[],
): void {
  blocks.push({ block, path, role, top })
  if (block['type'] === 'text') {
    if (block['text'] === '') {
      problems.error(
        `${path}.text`,
        'empty_text',
        `${path} is an empty text block`,
        'remove the block or fill it',
      )
    } else if (typeof block['text'] !== 'string') {
      problems.error(`${path}.text`, 'content_invalid', `${path}.text must be a text`)
    }
  }
  if (block['type'] === 'tool_use' && !TOOL_USE_ID.test(String(block['id']))) {
    problems.error(`${path}.id`, 'tool_use_id_invalid', `${path}.id must be letters, digits, "_" or "-"`)
  }
  const inner = block['type'] === 'tool_result' ? block['content'] : innerContent(block)
  if (!Array.isArray(inner)) return
  const innerPath = block['type'] === 'tool_result' ? `${path}.content` : `${path}.source.content`
  for (const [i, child] of inner.entries()) {
    if (isObject(child)) placeBlock(child, `${innerPath}[${i}]`, role, false, problems, blocks)
  }
}

function innerContent(block: JsonObject): Json | undefined {
  const source = block['source']
  return block['type'] === 'document' && isObject(source) && source['type'] === 'content'
    ? source['content']
    : undefined
}

function checkPrefill(
  request: MessageRequest,
  messages: readonly Json[],
  { model }: RequestConditions,
  problems: ProblemList,
): void {
  const last = messages.at(-1)
  if (!isObject(last) || last['role'] !== 'assistant') return
  const content = last['content']
  const end = Array.isArray(content) ? content.at(-1) : null
  // A turn that paused in a server tool is sent back as it is and goes on (claude-api.md 2.6, `pause_turn`).
  if (isObject(end) && /tool_(use|result)$/.test(String(end['type']))) return
  const path = `messages[${messages.length - 1}]`
  if (!model.parameters.prefill) {
    problems.error(
      path,
      'prefill_not_supported',
      `${model.id} does not continue an assistant message; the conversation must end with a user message`,
      'ask for the form in the prompt, or use output_config.format for JSON',
    )
  } else if (formatOf(request) !== null) {
    problems.error(
      path,
      'prefill_with_format',
      'an assistant message to continue is refused together with output_config.format',
      'end with a user message',
    )
  }
}

/** Every `tool_use` needs its `tool_result` in the messages of the user that follow at once; equal roles in a row are one turn. */
function checkToolTurns(messages: readonly Json[], problems: ProblemList): void {
  const unanswered = new Map<unknown, number>()
  let answering = false
  const report = (): void => {
    for (const m of new Set(unanswered.values())) {
      problems.error(
        `messages[${m}]`,
        'tool_use_without_result',
        `messages[${m}] uses a tool whose result is not in the next message`,
        'every tool_use needs a tool_result with its id right after it',
      )
    }
    unanswered.clear()
  }
  for (const [m, message] of messages.entries()) {
    if (!isObject(message)) continue
    const isAssistant = message['role'] === 'assistant'
    if (isAssistant && answering) report()
    answering = !isAssistant
    for (const block of blocksOf(message)) {
      if (isAssistant && block['type'] === 'tool_use') unanswered.set(block['id'], m)
      else if (block['type'] === 'tool_result') unanswered.delete(block['tool_use_id'])
    }
  }
  if (answering) report()
}

function blocksOf(message: JsonObject): JsonObject[] {
  return Array.isArray(message['content']) ? message['content'].filter(isObject) : []
}

function checkMedia(
  blocks: readonly PlacedBlock[],
  { model, rules }: RequestConditions,
  problems: ProblemList,
): void {
  const window = model.contextTokens < rules.largerContextTokens ? 'context200k' : 'larger'
  const images = blocks.filter(({ block }) => block['type'] === 'image')
  const sideMax = images.length > rules.imagesMany ? rules.imageSideMaxWhenMany : rules.imageSideMax
  for (const { block, path } of images) checkImage(block, path, sideMax, rules.imageBytesMax, problems)
  if (images.length > rules.imagesMax[window]) {
    problems.error(
      images[rules.imagesMax[window]]!.path,
      'too_many_images',
      `${images.length} images; ${model.id} takes at most ${rules.imagesMax[window]} in a request`,
      'split the row',
    )
  }
  let pages = 0
  for (const { block, path } of blocks) {
    if (block['type'] !== 'document') continue
    const source = block['source']
    if (isAttachmentSource(source)) pages += source.pages ?? 0
    if (isObject(source) && source['type'] === 'base64' && source['media_type'] !== 'application/pdf') {
      problems.error(
        `${path}.source.media_type`,
        'document_type',
        'a document in base64 must be application/pdf',
      )
    }
    const title = block['title']
    if (typeof title === 'string' && title.length > rules.documentTitleCharactersMax) {
      problems.error(
        `${path}.title`,
        'document_title_too_long',
        `the title has ${title.length} characters; ${rules.documentTitleCharactersMax} are allowed`,
      )
    }
  }
  if (pages > rules.pdfPagesMax[window]) {
    problems.error(
      'messages',
      'too_many_pages',
      `${pages} PDF pages; ${model.id} takes at most ${rules.pdfPagesMax[window]} in a request`,
      'split the document over several rows',
    )
  }
}

function checkImage(
  block: JsonObject,
  path: string,
  sideMax: number,
  bytesMax: number,
  problems: ProblemList,
): void {
  const source = block['source']
  if (!isObject(source)) return
  const isFile = isAttachmentSource(source)
  if (!isFile && source['type'] !== 'base64') return
  const type = source['media_type']
  if (!IMAGE_TYPES.includes(String(type))) {
    problems.error(
      `${path}.source.media_type`,
      'image_type',
      `an image must be one of ${IMAGE_TYPES.join(', ')}`,
    )
  }
  const data = source['data']
  const bytes = isFile ? base64Length(source.size_bytes) : typeof data === 'string' ? data.length : 0
  const name = isFile ? source.path : path
  if (bytes > bytesMax) {
    problems.error(
      `${path}.source`,
      'image_too_large',
      `${name} is ${bytes} bytes in base64; ${bytesMax} are allowed`,
      'scale it down: the model sees at most a few megapixels',
    )
  }
  const side = isFile ? Math.max(source.width ?? 0, source.height ?? 0) : 0
  if (side > sideMax) {
    problems.error(
      `${path}.source`,
      'image_too_wide',
      `${name} has a side of ${side} pixels; ${sideMax} are allowed`,
      'scale it down, or send fewer images in one row',
    )
  }
}

function checkCitations(
  request: MessageRequest,
  blocks: readonly PlacedBlock[],
  { settings, rules }: RequestConditions,
  problems: ProblemList,
): void {
  const documents = blocks.filter(({ block }) => block['type'] === 'document')
  const citing = documents.filter(
    ({ block }) => isObject(block['citations']) && block['citations']['enabled'] === true,
  )
  if (citing.length > 0 && citing.length < documents.length) {
    const silent = documents.find((document) => !citing.includes(document))!
    problems.error(
      `${silent.path}.citations`,
      'citations_mixed',
      'some documents have citations enabled and some do not',
      'enable them for all documents of the request or for none',
    )
  }
  if (citing.length > 0 && formatOf(request) !== null) {
    problems.error(
      `${citing[0]!.path}.citations`,
      'citations_with_format',
      'citations are refused together with output_config.format',
      'remove one of the two',
    )
  }
  const version = findApiVersion(rules, settings.apiVersion)
  for (const { block, path, role, top } of blocks) {
    if (version?.refusesAssistantDocuments && top && role === 'assistant' && block['type'] === 'document') {
      problems.error(
        path,
        'assistant_document',
        `API version ${settings.apiVersion} refuses a document in an assistant message`,
        'move it to a user message',
      )
    }
    if (!version?.refusesUserCitations) continue
    const citations = block['citations']
    if (role === 'user' && block['type'] === 'text' && Array.isArray(citations) && citations.length > 0) {
      problems.error(
        `${path}.citations`,
        'user_citations',
        `API version ${settings.apiVersion} refuses citations on the text of a user`,
        'remove them',
      )
    }
  }
}
