import { parseResultLine } from '../core/answer.ts'
import {
  type Answerer,
  answererOf,
  assumptionOf,
  type BatchTimes,
  batchTimes,
  type CallEnd,
  type CheckName,
  type CheckResult,
  costOfUsages,
  type DoctorCall,
  type DoctorModel,
  factsOf,
  judge,
  judgeLatency,
  judgeWorkspace,
  mayHaveDied,
  type PaidCheck,
  Purse,
  paidChecks,
  prefixText,
  requestsOf,
  reservationOf,
  tooDear,
} from '../core/doctor.ts'
import { TitheError } from '../core/errors.ts'
import { MINUTE_MS, plusMs, SECOND_MS } from '../core/instant.ts'
import type { JsonObject } from '../core/json.ts'
import type { Visit } from '../core/measured.ts'
import type { Catalogue } from '../core/models.ts'
import { formatUsd, type PicoUsd, picoUsd, ZERO_USD } from '../core/money.ts'
import { parseUsage, type Usage } from '../core/usage.ts'
import type { Runtime } from '../runtime/runtime.ts'
import type { BatchBody, CallContext, MessageBatch, Upstream } from '../upstreams/upstream.ts'
import { askAgainAt } from './submit.ts'

// Doctor's calls on an upstream, one after the other. Each is made once: a create or a message whose answer is lost ends
// its check, and what it may have cost counts as spent. Nothing is left behind but batches, which end by themselves.

export interface DoctorDeps {
  readonly upstream: Upstream
  readonly runtime: Runtime
  readonly catalogue: Catalogue
  readonly tested: DoctorModel
  readonly signal: AbortSignal
  /** What goes on, for a person who waits. */
  say(what: string): void
}

export interface Examination {
  readonly answerer: Answerer | null
  readonly checks: readonly CheckResult[]
  readonly facts: ReturnType<typeof factsOf>
  /** Why it ended early: the upstream cannot be asked, so every other check would tell the same. */
  readonly failure: TitheError | null
}

/** Without a `retry-after`: these batches are small, and someone waits. */
const POLL_INTERVAL_MS = 10 * SECOND_MS
/** A batch that cannot be asked about for so long is given up: it ends by itself. */
const SILENCE_MAX_MS = 15 * MINUTE_MS

/** Ends a check: what it was about to find out stays unknown. */
class CheckStopped extends Error {}

/** Makes every check that fits into the spend. Throws only when it is interrupted. */
export async function examine(deps: DoctorDeps, spendPicoUsd: PicoUsd): Promise<Examination> {
  return new Doctor(deps, spendPicoUsd).examine()
}

/** The most that all checks together can cost. */
export function costOfAll({ catalogue, tested }: Pick<DoctorDeps, 'catalogue' | 'tested'>): PicoUsd {
  const prefixes = prefixesOf(tested, '')
  const calls = paidChecks(catalogue.rules).flatMap((check) => check.calls)
  return picoUsd(
    calls.reduce(
      (sum, call) => sum + reservationOf(call, requestsOf(call, tested.model, prefixes), tested),
      0n,
    ),
  )
}

/** Digits: vocabularies make the same number of tokens of all of them, so that every visit costs the same. */
const SALT_DIGITS = 12

function prefixesOf({ minimumTokens }: DoctorModel, salt: string) {
  const text = (name: string) => prefixText(`${salt.padStart(SALT_DIGITS, '0')} ${name}`, minimumTokens)
  return { first: text('1'), second: text('2') }
}

class Doctor {
  readonly #deps: DoctorDeps
  readonly #purse: Purse
  /** No cache has seen them before. */
  readonly #prefixes: ReturnType<typeof prefixesOf>
  readonly #answerers: Answerer[] = []
  readonly #completed = new Map<CheckName, readonly CallEnd[]>()
  readonly #all: CallEnd[] = []
  #batches = 0
  #failure: TitheError | null = null

  constructor(deps: DoctorDeps, spendPicoUsd: PicoUsd) {
    this.#deps = deps
    this.#purse = new Purse(spendPicoUsd)
    this.#prefixes = prefixesOf(
      deps.tested,
      String(Math.floor(deps.runtime.ids.random() * 10 ** SALT_DIGITS)),
    )
  }

  async examine(): Promise<Examination> {
    const { rules } = this.#deps.catalogue
    const paid: CheckResult[] = []
    for (const check of paidChecks(rules)) paid.push(await this.#check(check, paid))
    const free = (check: CheckName, judged: ReturnType<typeof judge>): CheckResult => ({
      check,
      ...judged,
      assumed: assumptionOf(check, rules),
      costPicoUsd: ZERO_USD,
      unknownPicoUsd: ZERO_USD,
    })
    return {
      answerer: answererOf(this.#answerers),
      checks: [
        free('workspace', judgeWorkspace(this.#answerers)),
        ...paid,
        free('batch_latency', judgeLatency(this.#all, rules)),
      ],
      facts: factsOf(this.#completed, this.#all, rules),
      failure: this.#failure,
    }
  }

  async #check(check: PaidCheck, before: readonly CheckResult[]): Promise<CheckResult> {
    const { catalogue, tested, say } = this.#deps
    const { rules } = catalogue
    const calls = check.calls.map((call) => {
      const requests = requestsOf(call, tested.model, this.#prefixes)
      return { call, requests, reservation: reservationOf(call, requests, tested) }
    })
    const result = (judged: ReturnType<typeof judge>, cost = 0n, unknown = 0n): CheckResult => ({
      check: check.name,
      ...judged,
      assumed: assumptionOf(check.name, rules),
      costPicoUsd: picoUsd(cost),
      unknownPicoUsd: picoUsd(unknown),
    })
    const leftOut = (found: string) => result({ verdict: 'left_out', found })
    if (this.#failure !== null) return leftOut('the upstream cannot be asked')
    const unmet = this.#unmetNeed(check, before)
    if (unmet !== null) return leftOut(unmet)
    const worstCase = picoUsd(calls.reduce((sum, one) => sum + one.reservation, 0n))
    if (!this.#purse.canHold(worstCase)) return leftOut(tooDear(worstCase, this.#purse))

    say(`${check.name}: at most ${formatUsd(worstCase)}`)
    const ends: CallEnd[] = []
    let cost = 0n
    for (const { call, requests, reservation } of calls) {
      const made = { sent: false }
      try {
        const end = await this.#make(call, requests, made)
        ends.push(end)
        this.#all.push(end)
        this.#purse.take(end.costPicoUsd)
        cost += end.costPicoUsd
      } catch (error) {
        this.#deps.signal.throwIfAborted()
        if (!(error instanceof TitheError || error instanceof CheckStopped)) throw error
        if (error instanceof TitheError) this.#failure = error
        const unknown = made.sent ? reservation : ZERO_USD
        this.#purse.take(unknown)
        const bill = unknown === ZERO_USD ? '' : `; it may cost up to ${formatUsd(unknown)}`
        return result({ verdict: 'unclear', found: `${error.message}${bill}` }, cost, unknown)
      }
    }
    this.#completed.set(check.name, ends)
    return result(judge(check.name, ends, rules), cost)
  }

  #unmetNeed({ needs }: PaidCheck, before: readonly CheckResult[]): string | null {
    if (needs === null) return null
    const { verdict } = before.find((one) => one.check === needs)!
    if (verdict === 'left_out' || verdict === 'unclear')
      return `it needs ${needs}, which is ${verdict.replace('_', ' ')}`
    return mayHaveDied(this.#completed.get(needs)!, this.#deps.catalogue.rules)
      ? `${needs} took longer than its cache entry lives`
      : null
  }

  /** @param made set as soon as the call may have reached the upstream, and unset when it was certainly refused. */
  #make(call: DoctorCall, requests: readonly JsonObject[], made: { sent: boolean }): Promise<CallEnd> {
    return call.tier === 'standard'
      ? this.#message(call, requests[0]!, made)
      : this.#batch(call, requests, made)
  }

  async #message(call: DoctorCall, request: JsonObject, made: { sent: boolean }): Promise<CallEnd> {
    const { upstream } = this.#deps
    made.sent = true
    let answer: Awaited<ReturnType<Upstream['createMessage']>>
    try {
      answer = await upstream.createMessage(Buffer.from(JSON.stringify(request)), this.#context(call))
    } catch (error) {
      made.sent = !(error instanceof TitheError && error.retry === 'safe')
      throw error
    }
    this.#answerers.push(answer.headers)
    if (answer.kind === 'answered') return this.#end(call, [usageOf(answer.message)], [], null)
    made.sent = false
    const { status, type, message } = answer.error
    const trouble = `${status} ${type}: ${message}`
    // Only a bad request is an answer about the request; anything else would be said to every other call as well.
    if (status !== 400) throw refused(upstream, trouble)
    return this.#end(call, [], [trouble], null)
  }

  async #batch(call: DoctorCall, requests: readonly JsonObject[], made: { sent: boolean }): Promise<CallEnd> {
    const { upstream, say } = this.#deps
    this.#batches += 1
    made.sent = true
    let answer: Awaited<ReturnType<Upstream['createBatch']>>
    try {
      answer = await upstream.createBatch(bodyOf(this.#batches, requests), this.#context(call))
    } catch (error) {
      // By its interface it throws only when nothing can have been created.
      made.sent = false
      throw error
    }
    if (answer.kind === 'ambiguous') {
      throw new CheckStopped(`the batch may exist or not (${answer.reason}) and is not sent again`)
    }
    this.#answerers.push(answer.headers)
    if (answer.kind === 'refused') {
      made.sent = false
      const { status, type, message } = answer.error
      throw refused(upstream, `${status} ${type}: ${message}`)
    }
    const { id } = answer.batch
    say(
      `  batch ${id}: ${requests.length} ${requests.length === 1 ? 'row' : 'rows'}; waits until it has ended`,
    )
    if (call.cancel) await this.#cancel(id)
    const ended = await this.#ended(id)
    const { usages, troubles } = await this.#results(id, requests.length)
    return this.#end(call, usages, troubles, batchTimes(ended))
  }

  /** A batch may have ended before it could be canceled: then its times say so. */
  async #cancel(id: string): Promise<void> {
    try {
      await this.#deps.upstream.cancelBatch(id)
    } catch (error) {
      if (!(error instanceof TitheError && error.code === 'invalid_request_error')) throw error
    }
  }

  async #ended(id: string): Promise<MessageBatch> {
    const { upstream } = this.#deps
    for (;;) {
      // A batch may be 404 for a short while (claude-api.md 2.5).
      const found = await this.#patiently(`batch ${id}`, () => upstream.retrieveBatch(id))
      this.#answerers.push(found.headers)
      if (found.batch.processing_status === 'ended') return found.batch
      await this.#sleep(found.headers.retryAfterMs)
    }
  }

  async #results(id: string, rows: number): Promise<{ usages: Usage[]; troubles: string[] }> {
    return this.#patiently(`the results of batch ${id}`, async () => {
      const usages: Usage[] = []
      const troubles: string[] = []
      for await (const bytes of this.#deps.upstream.batchResults(id)) {
        const line = parseResultLine(Buffer.from(bytes).toString('utf8'))
        if (line?.message) usages.push(usageOf(line.message))
        else if (line) troubles.push(line.errorMessage ?? line.outcome)
      }
      // A file that ends early is read again.
      return usages.length + troubles.length === rows ? { usages, troubles } : null
    })
  }

  /** Asks again while the answer is not there yet or the upstream is out of reach for a while. For calls that only read. */
  async #patiently<T>(what: string, ask: () => Promise<T | null>): Promise<T> {
    const { clock } = this.#deps.runtime
    const giveUpAt = plusMs(clock.now(), SILENCE_MAX_MS)
    for (;;) {
      let trouble: TitheError | null = null
      try {
        const answer = await ask()
        if (answer !== null) return answer
      } catch (error) {
        if (!(error instanceof TitheError) || error.retry !== 'safe') throw error
        trouble = error
      }
      if (clock.now() >= giveUpAt) {
        throw trouble ?? new CheckStopped(`${what} could not be found`)
      }
      await this.#sleep(trouble?.retryAfterMs ?? null)
    }
  }

  async #sleep(retryAfterMs: number | null): Promise<void> {
    const { runtime, signal } = this.#deps
    const { clock } = runtime
    await clock.sleepUntil(askAgainAt(clock.now(), retryAfterMs, POLL_INTERVAL_MS), signal)
  }

  #context({ tier, apiVersion }: DoctorCall): CallContext {
    const { upstream, runtime } = this.#deps
    const { workspace } = upstream
    return { apiVersion, betas: [], workspace, tier, receivedAt: runtime.clock.now() }
  }

  #end(
    call: DoctorCall,
    usages: readonly Usage[],
    troubles: readonly string[],
    batch: BatchTimes | null,
  ): CallEnd {
    const { tested, catalogue } = this.#deps
    return { call, usages, troubles, batch, costPicoUsd: costOfUsages(usages, tested.price, catalogue) }
  }
}

function usageOf(message: JsonObject): Usage {
  const usage = parseUsage(message['usage'])
  if (usage === null) throw new CheckStopped('an answer came without its usage')
  return usage
}

function refused({ description }: Upstream, trouble: string): TitheError {
  return new TitheError('refused', `${description} refused the check: ${trouble}`, {
    hint: 'mend what it says, or try again later; no other call was made after it',
    exitCode: 3,
  })
}

function bodyOf(batch: number, requests: readonly JsonObject[]): BatchBody {
  const elements = requests.map((params, row) =>
    Buffer.from(JSON.stringify({ custom_id: `tithe-doctor-${batch}-${row}`, params })),
  )
  const commas = elements.length - 1
  return {
    rows: elements.length,
    sizeBytes: '{"requests":[]}'.length + commas + elements.reduce((sum, one) => sum + one.length, 0),
    async *elements() {
      yield* elements
    },
  }
}

/** The visit that plans may use; null when the answers do not say whose facts they are. */
export function visitOf(
  { answerer, facts }: Examination,
  told: Pick<Visit, 'at' | 'upstream' | 'certainty' | 'model'>,
): Visit | null {
  return answerer === null
    ? null
    : { ...told, organizationId: answerer.organizationId, workspaceId: answerer.workspaceId, ...facts }
}
