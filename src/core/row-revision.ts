import { contentOf } from './answer.ts'
import type { Json, JsonObject } from './json.ts'
import type { MessageRequest } from './request.ts'
import type { RowRevision } from './rows.ts'

// How a further attempt of a row differs from the row as it was rendered: more room for the answer, and what paused
// answers have said so far. Everything that is planned for a row looks at it as it will be sent, so it asks here.

interface Revised {
  readonly maxTokens: number
  readonly revision: RowRevision | null
}

/** The `max_tokens` with which a row goes out. */
export function sentMaxTokens({ maxTokens, revision }: Revised): number {
  return revision?.maxTokens ?? maxTokens
}

/**
 * The most tokens that its prompt is expected to have: the upper estimate, and for each paused answer that is sent along
 * all that it may have said. What server tools found in it is no more in the estimate than in that of a first attempt.
 */
export function sentPromptTokensHigh(row: Revised & { readonly promptTokensHigh: number }): number {
  return row.promptTokensHigh + (row.revision?.continues.length ?? 0) * sentMaxTokens(row)
}

/** `,{"role":"assistant","content":[]}` and a longer `max_tokens`. */
const REVISION_BYTES = 64

/**
 * The most bytes of `params` that a revised row has. @param partsBytes of the result lines that hold the paused answers:
 * each is longer than its content, which is what is sent.
 */
export function sentBytesMax(
  row: { readonly paramsBytes: number; readonly revision: RowRevision | null },
  partsBytes: number,
): number {
  return row.paramsBytes + (row.revision === null ? 0 : REVISION_BYTES + partsBytes)
}

/**
 * The same request with the revision's room, and with paused answers as the assistant's turn, which the API goes on with
 * (claude-api.md 2.6). @param parts messages as received, in order.
 */
export function reviseRequest(
  request: MessageRequest,
  revision: Pick<RowRevision, 'maxTokens'>,
  parts: readonly JsonObject[],
): MessageRequest {
  const content: readonly Json[] = parts.flatMap(contentOf)
  const messages = Array.isArray(request['messages']) ? (request['messages'] as readonly Json[]) : []
  return {
    ...request,
    ...(revision.maxTokens === null ? {} : { max_tokens: revision.maxTokens }),
    ...(content.length === 0 ? {} : { messages: [...messages, { role: 'assistant', content }] }),
  }
}
