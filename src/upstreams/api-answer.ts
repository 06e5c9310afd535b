import { errorCodeOf } from '../core/answer.ts'
import { type Instant, parseTimestamp, SECOND_MS } from '../core/instant.ts'
import { isObject, type Json, type JsonObject } from '../core/json.ts'
import type { AnswerHeaders, ApiError, BatchPage, MessageBatch } from './upstream.ts'

// Reading what came over the wire: strict about the few fields that are used, tolerant about the rest. Each parser
// answers null when the bytes are not what they should be, which a cut or foreign answer is not.

export function parseObject(bytes: Uint8Array): JsonObject | null {
  try {
    const value = JSON.parse(
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'),
    ) as Json
    return isObject(value) ? value : null
  } catch {
    // Not JSON: the answer of an edge or proxy, or a cut one.
    return null
  }
}

/** The error of a refusal (claude-api.md 6.1). The 413 of the edge has no outer `type` and no `request_id` (6.2). */
export function parseApiError(status: number, body: JsonObject | null): ApiError | null {
  const error = body?.['error']
  if (!isObject(error) || typeof error['type'] !== 'string') return null
  const code = errorCodeOf(error)
  return {
    status,
    type: error['type'],
    message: typeof error['message'] === 'string' ? error['message'] : '',
    ...(code === null ? {} : { code }),
  }
}

export function parseMessageBatch(body: JsonObject): MessageBatch | null {
  const counts = body['request_counts']
  const isBatch =
    body['type'] === 'message_batch' &&
    typeof body['id'] === 'string' &&
    ['in_progress', 'canceling', 'ended'].includes(String(body['processing_status'])) &&
    isTimestamp(body['created_at']) &&
    isTimestamp(body['expires_at']) &&
    isObject(counts) &&
    ['processing', 'succeeded', 'errored', 'canceled', 'expired'].every((name) =>
      Number.isInteger(counts[name]),
    )
  if (!isBatch) return null
  // Absent means null: the API sends all ten fields, other servers may not.
  const absent = { ended_at: null, cancel_initiated_at: null, archived_at: null, results_url: null }
  return { ...absent, ...body } as unknown as MessageBatch
}

export function parseBatchPage(body: JsonObject): Omit<BatchPage, 'headers'> | null {
  const { data, has_more: hasMore, first_id: firstId, last_id: lastId } = body
  if (!Array.isArray(data) || typeof hasMore !== 'boolean') return null
  const batches: MessageBatch[] = []
  for (const each of data as readonly Json[]) {
    const batch = isObject(each) ? parseMessageBatch(each) : null
    if (batch === null) return null
    batches.push(batch)
  }
  return {
    data: batches,
    has_more: hasMore,
    first_id: typeof firstId === 'string' ? firstId : null,
    last_id: typeof lastId === 'string' ? lastId : null,
  }
}

export type RawHeaders = Readonly<Record<string, string | string[] | undefined>>

export function parseAnswerHeaders(headers: RawHeaders): AnswerHeaders {
  const text = (name: string) => {
    const value = headers[name]
    return (Array.isArray(value) ? value[0] : value) ?? null
  }
  const date = parseTimestamp(text('date') ?? '')
  return {
    requestId: text('request-id'),
    organizationId: text('anthropic-organization-id'),
    workspaceId: text('anthropic-workspace-id'),
    retryAfterMs: milliseconds(text('retry-after-ms'), 1) ?? retryAfterMs(text('retry-after'), date),
    date,
  }
}

/** Seconds, or an HTTP date, which is a wait only beside the server's own clock. */
function retryAfterMs(text: string | null, date: Instant | null): number | null {
  const seconds = milliseconds(text, SECOND_MS)
  const until = seconds === null && text !== null && /[a-z]/i.test(text) ? parseTimestamp(text) : null
  return seconds ?? (until === null || date === null ? null : Math.max(0, until - date))
}

function milliseconds(text: string | null, unitMs: number): number | null {
  if (text === null || !/^\d+(\.\d+)?$/.test(text.trim())) return null
  return Math.ceil(Number(text) * unitMs)
}

function isTimestamp(value: Json | undefined): boolean {
  return typeof value === 'string' && parseTimestamp(value) !== null
}
