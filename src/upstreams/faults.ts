import { TitheError } from '../core/errors.ts'
import { HOUR_MS, type Instant, MINUTE_MS, plusMs, SECOND_MS } from '../core/instant.ts'
import { isObject, type JsonObject } from '../core/json.ts'
import type { Clock } from '../runtime/runtime.ts'
import type {
  AnswerHeaders,
  BatchBody,
  BatchPage,
  CallContext,
  CreateAnswer,
  MessageAnswer,
  MessageBatch,
  Upstream,
} from './upstream.ts'

// An upstream that misbehaves in named ways, for the simulation (tests/sim) and for demonstrations over the local one.
// One fault a call: what two at once would do is found by a driver that meets one after the other.
//
// A run survives all of these, in that every row ends once, nothing is paid twice without a duplicate entry, and the
// ledger is the bill. Most pass by themselves; it stops for a human, with a reason, on refusals of the key or the account,
// on two different results of a row, in another workspace and where a known batch is gone. What is not claimed:
// - a create that lands after its run has ended is not looked for any more (`create: lands very late` shows the
//   duplicate of one that lands before);
// - a realtime call whose answer was lost (`message: answer lost`) may be paid twice: it has no list to look into;
// - results that are gone before they were read are lost, and what they cost is unknown.
// Not simulated at all: an upstream that bills what it does not report, that answers one id with another batch, or whose
// list never shows a batch that runs.

/** What each fault does. The word before the colon is the call that meets it; `upstream` is any. */
export const FAULTS = {
  'create: answer lost': 'the batch is created, and the answer does not arrive',
  'create: timeout': 'the batch is created, and the call times out',
  'create: cut 200': 'the batch is created, and the answer breaks off in the middle',
  'create: never arrived': 'nothing is created, and no answer says so',
  'create: lands late': 'no answer; the batch is created 5 to 18 minutes later',
  'create: lands very late':
    'no answer; the batch is created 35 to 90 minutes later, when it may be presumed lost',
  'create: 429 with retry-after': 'refused for a while that the server names',
  'create: 429 without retry-after': 'refused for a while, or until a spend cap is raised',
  'create: 529': 'overloaded: nothing is created, and the status does not prove it',
  'create: 500, took place': 'the batch is created, and the answer is an error',
  'create: 500, did not': 'nothing is created, and the status does not prove it',
  'create: 408': 'the batch is created, and the answer is an error',
  'create: 409': 'nothing is created, and the status does not prove it',
  'create: unreachable before sending': 'no connection',
  'create: broken in the middle of the body': 'the connection breaks before the end of the body was sent',
  'create: refused for the key': '401',
  'create: refused for the account': '402, billing',
  'create: spend limit reached': '400, the limit that the account has set itself',
  'retrieve: 404': 'a batch that exists is not there for a moment',
  'retrieve: unreachable': 'no answer',
  'retrieve: another workspace for ten minutes': 'the key has become that of another workspace',
  'list: unreachable': 'no answer',
  'list: ten minutes late': 'batches of the last ten minutes are not shown',
  'list: one batch a page': 'pages are as short as they can be',
  'list: no workspace headers': 'the answer no longer says whose list it is',
  'results: short': 'the file ends early and cleanly',
  'results: cut': 'the connection breaks in the middle of the file',
  'results: lines twice': 'some lines are there twice',
  'results: foreign lines': 'lines that nobody asked for',
  'results: malformed line': 'one line is cut in its middle, the others are whole',
  'results: shuffled': 'another order than last time',
  'results: another result for a row': 'one row has two results that differ',
  'results: 404': 'the file is not there yet',
  'results: errors of many kinds': 'rows that failed name every type of error in turn',
  'results: billing error in a row': 'rows that failed did so for the account',
  'results: archived': 'the batch is there and its results are gone for good',
  'results: deleted': 'the batch is gone for good',
  'cancel: unreachable': 'nothing is canceled',
  'cancel: answer lost': 'the batch is canceled, and the answer does not arrive',
  'cancel: refused': '400, as for a batch that has ended',
  'cancel: slow': 'the answer takes ten minutes',
  'delete: unreachable': 'nothing is deleted',
  'delete: answer lost': 'the batch is deleted, and the answer does not arrive',
  'message: 429': 'refused for a while',
  'message: 529': 'overloaded',
  'message: 500': 'an error on the side of the service',
  'message: unreachable': 'no connection',
  'message: answer lost': 'the call is answered and billed, and the answer does not arrive',
  'upstream: away for half an hour': 'nothing answers',
  'upstream: slow': 'the answer takes a minute',
} as const satisfies Record<`${Call | 'upstream'}: ${string}`, string>

type Call = 'create' | 'retrieve' | 'list' | 'results' | 'cancel' | 'delete' | 'message'
export type FaultName = keyof typeof FAULTS
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[]

/** A fault at certain calls: from the `call`-th of its kind (from 1) on, `times` calls in a row. */
export interface ScheduledFault {
  readonly name: FaultName
  readonly call: number
  readonly times: number
}

/** Which faults are to come, and how often each has fired. */
export class Faults {
  readonly fired = new Map<FaultName, number>()
  /** Batches whose results can never be read any more. */
  readonly gone = new Set<string>()
  /** Where it cuts, how long it waits. */
  readonly random: () => number
  readonly #calls = new Map<Call, number>()
  readonly #isDue: (name: FaultName, call: number) => boolean
  #left: Map<FaultName, number>

  private constructor(
    random: () => number,
    left: Iterable<readonly [FaultName, number]>,
    isDue: (name: FaultName, call: number) => boolean,
  ) {
    this.random = random
    this.#left = new Map(left)
    this.#isDue = isDue
  }

  /** Each of the faults one to three times, at calls that chance picks. */
  static atRandom(random: () => number, names: readonly FaultName[]): Faults {
    const left = names.map((name) => [name, 1 + Math.floor(random() * 3)] as const)
    return new Faults(random, left, () => random() <= 0.4)
  }

  static scheduled(random: () => number, schedule: readonly ScheduledFault[]): Faults {
    const byName = new Map(schedule.map((one) => [one.name, one]))
    const left = schedule.map(({ name, times }) => [name, times] as const)
    return new Faults(random, left, (name, call) => call >= byName.get(name)!.call)
  }

  /** The fault of this call, counted as fired; null when it goes well. */
  draw(call: Call): FaultName | null {
    const number = (this.#calls.get(call) ?? 0) + 1
    this.#calls.set(call, number)
    for (const [name, left] of this.#left) {
      const isOfCall = name.startsWith(`${call}:`) || name.startsWith('upstream:')
      if (!isOfCall || left === 0 || !this.#isDue(name, number)) continue
      this.#left.set(name, left - 1)
      this.fired.set(name, (this.fired.get(name) ?? 0) + 1)
      return name
    }
    return null
  }

  /** A fault that was drawn found nothing to spoil: it comes another time. */
  putBack(name: FaultName): void {
    this.#left.set(name, (this.#left.get(name) ?? 0) + 1)
    const fired = this.fired.get(name)! - 1
    if (fired === 0) this.fired.delete(name)
    else this.fired.set(name, fired)
  }

  /** No fault fires any more; what has happened stays so. */
  calm(): void {
    this.#left = new Map()
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit)
  }
}

/** The same upstream with faults. Some of them sleep on the clock: it must not be held by it (`hold-all.ts`). */
export function withFaults(upstream: Upstream, faults: Faults, clock: Clock): Upstream {
  return new FaultyUpstream(upstream, faults, clock)
}

class FaultyUpstream implements Upstream {
  readonly kind: Upstream['kind']
  readonly description: string
  readonly workspace: string
  readonly #upstream: Upstream
  readonly #faults: Faults
  readonly #clock: Clock
  readonly #closing = new AbortController()
  /** Batch → the types that errors of its rows have instead of their own. */
  readonly #errorTypes = new Map<string, readonly string[]>()
  #awayUntil: Instant
  #elsewhereUntil: Instant

  constructor(upstream: Upstream, faults: Faults, clock: Clock) {
    this.kind = upstream.kind
    this.description = upstream.description
    this.workspace = upstream.workspace
    this.#upstream = upstream
    this.#faults = faults
    this.#clock = clock
    this.#awayUntil = clock.now()
    this.#elsewhereUntil = clock.now()
  }

  async createBatch(unsent: BatchBody, context: CallContext): Promise<CreateAnswer> {
    const fault = await this.#meet('create')
    if (this.#isElsewhere()) return refusal(403, 'permission_error', 'not in this workspace', null)
    switch (fault) {
      case 'create: 429 with retry-after':
        return refusal(429, 'rate_limit_error', 'later', (1 + this.#faults.below(600)) * SECOND_MS)
      case 'create: 429 without retry-after':
        return refusal(429, 'rate_limit_error', 'later', null)
      case 'create: refused for the key':
        return refusal(401, 'authentication_error', 'invalid x-api-key', null)
      case 'create: refused for the account':
        return refusal(402, 'billing_error', 'there is a problem with the billing', null)
      case 'create: spend limit reached':
        return refusal(
          400,
          'invalid_request_error',
          'You have reached your specified API usage limits.',
          null,
        )
      case 'create: unreachable before sending':
        throw unreachable()
      case 'create: broken in the middle of the body': {
        let left = this.#faults.below(unsent.rows)
        for await (const _element of unsent.elements()) if (left-- <= 0) break
        throw unreachable()
      }
      case 'create: never arrived':
      case 'create: 500, did not':
      case 'create: 409':
      case 'create: 529':
        return { kind: 'ambiguous', reason: fault }
    }
    const body = await drained(unsent)
    switch (fault) {
      case 'create: lands late':
        return this.#landLater(body, context, 5 + this.#faults.below(14), fault)
      case 'create: lands very late':
        return this.#landLater(body, context, 35 + this.#faults.below(55), fault)
    }
    const answer = await this.#upstream.createBatch(body, context)
    const isLost = fault?.startsWith('create:') && answer.kind === 'accepted'
    return isLost ? { kind: 'ambiguous', reason: fault! } : answer
  }

  /** The bytes are on their way, whatever becomes of the process that sent them. */
  #landLater(body: BatchBody, context: CallContext, minutes: number, reason: string): CreateAnswer {
    this.#clock
      .sleepUntil(plusMs(this.#clock.now(), minutes * MINUTE_MS), this.#closing.signal)
      .then(() => this.#upstream.createBatch(body, context))
      .catch((error) => {
        if (!this.#closing.signal.aborted) throw error
      })
    return { kind: 'ambiguous', reason }
  }

  async retrieveBatch(id: string) {
    const fault = await this.#meet('retrieve')
    if (this.#isElsewhere() || fault === 'retrieve: 404') return null
    if (fault === 'retrieve: unreachable') throw unreachable()
    const answer = await this.#upstream.retrieveBatch(id)
    return answer === null ? null : { ...answer, batch: this.#asArchived(answer.batch) }
  }

  async listBatches(query: { limit?: number; after_id?: string; before_id?: string }): Promise<BatchPage> {
    const fault = await this.#meet('list')
    if (fault === 'list: unreachable') throw unreachable()
    const page = await this.#upstream.listBatches(
      fault === 'list: one batch a page' ? { ...query, limit: 1 } : query,
    )
    const { headers } = page
    if (this.#isElsewhere()) {
      const elsewhere = { ...headers, workspaceId: 'wrkspc_of_another_key' }
      return { data: [], has_more: false, first_id: null, last_id: null, headers: elsewhere }
    }
    if (fault === 'list: no workspace headers') {
      return { ...page, headers: { ...headers, organizationId: null, workspaceId: null } }
    }
    const isShown = ({ created_at }: MessageBatch) =>
      fault !== 'list: ten minutes late' || Date.parse(created_at) < this.#clock.now() - 10 * MINUTE_MS
    const data = page.data.filter(isShown).map((batch) => this.#asArchived(batch))
    return { ...page, data, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null }
  }

  async cancelBatch(id: string): Promise<MessageBatch> {
    const fault = await this.#meet('cancel')
    if (this.#isElsewhere()) throw apiError('not_found_error', `Message Batch ${id} not found.`)
    if (fault === 'cancel: unreachable') throw unreachable()
    if (fault === 'cancel: refused') {
      throw apiError('invalid_request_error', 'Batch cannot be canceled: it is not in progress.')
    }
    if (fault === 'cancel: slow') await this.#sleep(10 * MINUTE_MS)
    const batch = await this.#upstream.cancelBatch(id)
    if (fault === 'cancel: answer lost') throw unreachable()
    return batch
  }

  async deleteBatch(id: string): Promise<void> {
    const fault = await this.#meet('delete')
    if (this.#isElsewhere()) throw apiError('not_found_error', `Message Batch ${id} not found.`)
    if (fault === 'delete: unreachable') throw unreachable()
    await this.#upstream.deleteBatch(id)
    if (fault === 'delete: answer lost') throw unreachable()
  }

  async *batchResults(id: string): AsyncGenerator<Uint8Array> {
    const fault = await this.#meet('results')
    if (this.#isElsewhere()) throw apiError('not_found_error', `Message Batch ${id} not found.`)
    if (fault === 'results: deleted') await this.#upstream.deleteBatch(id)
    if (fault === 'results: archived' || fault === 'results: deleted') this.#faults.gone.add(id)
    if (fault === 'results: 404' || this.#faults.gone.has(id)) {
      throw apiError('not_found_error', `Message Batch ${id} has no available results.`)
    }
    const lines: Uint8Array[] = []
    for await (const line of this.#upstream.batchResults(id)) {
      if (fault === null && !this.#errorTypes.has(id)) yield line
      else lines.push(line)
    }
    if (fault === 'results: errors of many kinds') this.#errorTypes.set(id, ERROR_TYPES)
    if (fault === 'results: billing error in a row') this.#errorTypes.set(id, ['billing_error'])
    const types = this.#errorTypes.get(id)
    if (types !== undefined) {
      let changed = 0
      for (const [index, line] of lines.entries()) {
        const other = withErrorType(line, types)
        if (other === null) continue
        lines[index] = other
        changed += 1
      }
      const isNew = fault === 'results: errors of many kinds' || fault === 'results: billing error in a row'
      if (isNew && changed === 0) {
        this.#faults.putBack(fault)
        this.#errorTypes.delete(id)
      }
    }
    yield* spoiled(lines, fault, this.#faults)
    if (fault === 'results: cut') throw unreachable()
  }

  async createMessage(body: Uint8Array, context: CallContext): Promise<MessageAnswer> {
    const fault = await this.#meet('message')
    if (this.#isElsewhere()) return refusedMessage(403, 'permission_error', null)
    switch (fault) {
      case 'message: 429':
        return refusedMessage(429, 'rate_limit_error', (1 + this.#faults.below(90)) * SECOND_MS)
      case 'message: 529':
        return refusedMessage(529, 'overloaded_error', null)
      case 'message: 500':
        return refusedMessage(500, 'api_error', null)
      case 'message: unreachable':
        throw unreachable()
    }
    const answer = await this.#upstream.createMessage(body, context)
    if (fault !== 'message: answer lost') return answer
    throw unreachable('unknown')
  }

  countTokens(body: Uint8Array, context: CallContext): Promise<number> {
    return this.#upstream.countTokens(body, context)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#upstream.close()
  }

  /** The fault of this call, after what befalls every call. */
  async #meet(call: Call): Promise<FaultName | null> {
    const now = this.#clock.now()
    const fault = this.#faults.draw(call)
    if (fault === 'upstream: away for half an hour') this.#awayUntil = plusMs(now, HOUR_MS / 2)
    if (fault === 'retrieve: another workspace for ten minutes') {
      this.#elsewhereUntil = plusMs(now, 10 * MINUTE_MS)
    }
    if (now < this.#awayUntil) throw unreachable()
    if (fault === 'upstream: slow') await this.#sleep(MINUTE_MS)
    return fault
  }

  #isElsewhere(): boolean {
    return this.#clock.now() < this.#elsewhereUntil
  }

  #sleep(ms: number): Promise<void> {
    return this.#clock.sleepUntil(plusMs(this.#clock.now(), ms), this.#closing.signal)
  }

  #asArchived(batch: MessageBatch): MessageBatch {
    if (!this.#faults.gone.has(batch.id)) return batch
    return { ...batch, archived_at: batch.ended_at, results_url: null }
  }
}

/**
 * With its bytes in memory. An embedded service holds the clock while it takes a body in, and what is asked meanwhile may
 * be made to sleep.
 */
async function drained(body: BatchBody): Promise<BatchBody> {
  const sent: Uint8Array[] = []
  for await (const element of body.elements()) sent.push(element)
  return {
    ...body,
    async *elements() {
      yield* sent
    },
  }
}

/** Types of a row's error (claude-api.md 2.6) but that of the account, which stops a run. */
const ERROR_TYPES = [
  'invalid_request_error',
  'rate_limit_error',
  'timeout_error',
  'overloaded_error',
  'not_found_error',
  'a_type_of_next_year',
]

/** The line of a row that failed, with a type of error that is always the same for it; null for any other line. */
function withErrorType(line: Uint8Array, types: readonly string[]): Uint8Array | null {
  const value = JSON.parse(Buffer.from(line).toString('utf8')) as JsonObject
  const result = value['result']
  if (!isObject(result) || result['type'] !== 'errored') return null
  const id = String(value['custom_id'])
  const type = types[[...id].reduce((sum, character) => sum + character.charCodeAt(0), 0) % types.length]!
  const error = { type: 'error', error: { type, message: 'simulated' }, request_id: null }
  return Buffer.from(JSON.stringify({ ...value, result: { type: 'errored', error } }))
}

function spoiled(lines: Uint8Array[], fault: FaultName | null, faults: Faults): Uint8Array[] {
  const at = faults.below(lines.length)
  switch (fault) {
    case 'results: short':
    case 'results: cut':
      return lines.slice(0, at)
    case 'results: lines twice':
      return lines.toSpliced(at, 0, ...lines.slice(faults.below(lines.length)))
    case 'results: foreign lines':
      return lines.toSpliced(at, 0, ...FOREIGN_LINES)
    case 'results: malformed line':
      return lines.map((line, index) => (index === at ? line.subarray(0, line.length >> 1) : line))
    case 'results: shuffled':
      return lines
        .map((line) => ({ line, order: faults.random() }))
        .sort((a, b) => a.order - b.order)
        .map(({ line }) => line)
    case 'results: another result for a row': {
      const [first] = lines
      if (first === undefined) return lines
      const { custom_id } = JSON.parse(Buffer.from(first).toString('utf8')) as { custom_id: string }
      return [...lines, Buffer.from(JSON.stringify({ custom_id, result: { type: 'expired' } }))]
    }
    default:
      return lines
  }
}

/** Lines that no submission has asked for. */
const FOREIGN_LINES = ['stranger-1', 'r000000zzz-1-0', 'not ours'].map((id) =>
  Buffer.from(JSON.stringify({ custom_id: id, result: { type: 'expired' } })),
)

function unreachable(retry: 'safe' | 'unknown' = 'safe'): TitheError {
  return new TitheError('upstream_unreachable', 'the connection was lost', { retry, exitCode: 3 })
}

function apiError(type: string, message: string): TitheError {
  return new TitheError(type, message, { exitCode: 3 })
}

function headers(retryAfterMs: number | null): AnswerHeaders {
  return { requestId: null, organizationId: null, workspaceId: null, retryAfterMs, date: null }
}

function refusal(status: number, type: string, message: string, retryAfterMs: number | null) {
  return { kind: 'refused', error: { status, type, message }, headers: headers(retryAfterMs) } as const
}

function refusedMessage(status: number, type: string, retryAfterMs: number | null) {
  return { ...refusal(status, type, 'not now', retryAfterMs), body: {} } as const
}
