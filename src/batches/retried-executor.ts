import { TitheError } from '../core/errors.ts'
import { type Instant, plusMs, SECOND_MS } from '../core/instant.ts'
import type { Clock } from '../runtime/runtime.ts'
import type { AnswerHeaders, MessageAnswer, Messages, RowExecutor } from '../upstreams/upstream.ts'

const CALLS_MAX = 5
const WAIT_FIRST_MS = SECOND_MS

/**
 * Rows over plain Messages calls. A call that failed for the moment (429, 5xx, no connection) is made again after
 * `retry-after`, or twice the wait before; the last answer stands.
 */
export function retriedExecutor(messages: Messages, clock: Clock): RowExecutor<null> {
  return {
    async executeRow(body, context) {
      let waitMs = WAIT_FIRST_MS
      for (let call = 1; ; call++) {
        const answer = await messages
          .createMessage(body, context)
          .catch((error: unknown) => unreachable(error, clock.now()))
        if (call === CALLS_MAX || !isMomentary(answer)) return { answer, endsAt: clock.now(), effects: null }
        await clock.sleepUntil(plusMs(clock.now(), answer.headers.retryAfterMs ?? waitMs))
        waitMs *= 2
      }
    },
  }
}

function isMomentary(answer: MessageAnswer): boolean {
  if (answer.kind === 'answered') return false
  const { status } = answer.error
  return status === 408 || status === 409 || status === 429 || status >= 500
}

/** A lost connection as the answer that a row gets for it. */
function unreachable(error: unknown, date: Instant): MessageAnswer {
  if (!(error instanceof TitheError)) throw error
  const headers: AnswerHeaders = {
    requestId: null,
    organizationId: null,
    workspaceId: null,
    retryAfterMs: null,
    date,
  }
  const { message } = error
  return { kind: 'refused', error: { status: 500, type: 'api_error', message }, body: {}, headers }
}
