import type { ErrorSeen } from './account-error.ts'
import { isObject, type Json, type JsonObject } from './json.ts'
import type { Outcome } from './rows.ts'

/** One line of a results file, read (claude-api.md 2.6). */
export interface ResultLine {
  readonly customId: string
  readonly outcome: Exclude<Outcome, 'invalid'>
  /** The complete Message of a succeeded row; null otherwise. */
  readonly message: JsonObject | null
  readonly stopReason: string | null
  readonly errorType: string | null
  readonly errorMessage: string | null
  /** `error.details.error_code`, where the API gives one. */
  readonly errorCode: string | null
  /** The whole `result`, for comparing. */
  readonly result: JsonObject
}

const OUTCOMES: ReadonlySet<string> = new Set(['succeeded', 'errored', 'canceled', 'expired'])

/** Null for a line that is not a result: the caller counts and reports it. */
export function parseResultLine(text: string): ResultLine | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  if (!isObject(value) || typeof value['custom_id'] !== 'string' || !isObject(value['result'])) return null
  const result = value['result']
  const type = result['type']
  if (typeof type !== 'string' || !OUTCOMES.has(type)) return null
  const message = isObject(result['message']) ? result['message'] : null
  if (type === 'succeeded' && message === null) return null
  const error = innerError(result['error'])
  return {
    customId: value['custom_id'],
    outcome: type as ResultLine['outcome'],
    message: type === 'succeeded' ? message : null,
    stopReason: typeof message?.['stop_reason'] === 'string' ? message['stop_reason'] : null,
    errorType: error.type,
    errorMessage: error.message,
    errorCode: error.code,
    result,
  }
}

/** A row's error comes in a double envelope: `{type: "error", error: {type, message}}`; a bare one is read as well. */
function innerError(value: unknown): ErrorSeen {
  if (!isObject(value)) return { type: null, message: null, code: null }
  const inner = isObject(value['error']) ? value['error'] : value
  return {
    type: typeof inner['type'] === 'string' ? inner['type'] : null,
    message: typeof inner['message'] === 'string' ? inner['message'] : null,
    code: errorCodeOf(inner),
  }
}

/** `details.error_code` of an error (claude-api.md 6.1); null for most. */
export function errorCodeOf(error: JsonObject): string | null {
  const details = error['details']
  const code = isObject(details) ? details['error_code'] : null
  return typeof code === 'string' ? code : null
}

/** Why a succeeded answer is of no use as it is. One reason each: a refusal or a cut answer breaks any schema. */
export type AnswerFlaw = 'refused' | 'truncated' | 'unfinished' | 'schema_invalid'

export function flawOf(attempt: {
  readonly outcome: Outcome
  readonly stopReason: string | null
  readonly schemaValid: boolean | null
}): AnswerFlaw | null {
  if (attempt.outcome !== 'succeeded') return null
  switch (attempt.stopReason) {
    case 'refusal':
      return 'refused'
    case 'max_tokens':
    case 'model_context_window_exceeded':
      return 'truncated'
    case 'pause_turn':
      return 'unfinished'
    default:
      return attempt.schemaValid === false ? 'schema_invalid' : null
  }
}

/** An answer that was paused and continued, as one: all its content, and the rest of the last part. */
export function joinParts(parts: readonly JsonObject[], last: JsonObject): JsonObject {
  if (parts.length === 0) return last
  return { ...last, content: [...parts, last].flatMap(contentOf) }
}

/** The content blocks of a message; none where it has no list of them. */
export function contentOf(message: JsonObject): readonly Json[] {
  const content = message['content']
  return Array.isArray(content) ? content : []
}

/**
 * The text of an answer: its text blocks joined. Found by type, never by position: `content[0]` is often a thinking
 * block on the newest models (claude-api.md 4.2).
 */
export function answerText(message: JsonObject): string {
  return contentOf(message)
    .map((block: Json) => (isObject(block) && block['type'] === 'text' ? String(block['text'] ?? '') : ''))
    .join('')
}

/** The answer as JSON, for structured outputs; undefined when the text is not JSON. */
export function answerJson(message: JsonObject): Json | undefined {
  try {
    return JSON.parse(answerText(message)) as Json
  } catch {
    return undefined
  }
}
