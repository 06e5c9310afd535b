import { costOf, worstCasePicoUsd } from './cost.ts'
import { formatDuration, type Instant, parseTimestamp } from './instant.ts'
import type { JsonObject } from './json.ts'
import type { Visit } from './measured.ts'
import {
  type ApiRules,
  type Catalogue,
  isRetired,
  type Model,
  minimumCacheableTokens,
  type Price,
  priceAt,
} from './models.ts'
import { formatUsd, type PicoUsd, picoUsd, ZERO_USD } from './money.ts'
import type { Ttl } from './request.ts'
import type { Usage } from './usage.ts'

// What `tithe doctor` checks on an upstream: which calls each check makes, what they can cost at most, and what their
// answers mean. A check begins only when the worst case of all its calls fits into what is left of the stated spend.

export type CheckName =
  | 'workspace'
  | 'versions'
  | 'primed_hits'
  | 'realtime_reads_batch'
  | 'reads_across_ttl'
  | 'batch_latency'
  | 'cancel_latency'
  | 'batch_reads_realtime'

/** One call, before it is made. Rows that name the same prefix share it, byte for byte. */
export interface DoctorCall {
  readonly tier: 'standard' | 'batch'
  readonly apiVersion: string
  readonly rows: number
  readonly prefix: 'first' | 'second' | null
  readonly ttl: Ttl | null
  /** Cancels the batch as soon as it was accepted. */
  readonly cancel: boolean
}

/** Calls after one another, each when the one before has been answered or its batch has ended. */
export interface PaidCheck {
  readonly name: CheckName
  readonly calls: readonly DoctorCall[]
  /** The check whose calls wrote what this one tries to read. */
  readonly needs: CheckName | null
}

/** Enough to tell one miss from none, few enough to cost next to nothing. */
const ROWS_BEHIND_PRIMER = 3
const ROWS_CANCELED = 3

/** In the order in which they run, the dearest and least needed last. */
export function paidChecks(rules: Pick<ApiRules, 'apiVersions'>): PaidCheck[] {
  const plain = { apiVersion: rules.apiVersions[0]!.id, rows: 1, prefix: null, ttl: null, cancel: false }
  const realtime = { ...plain, tier: 'standard' } as const
  const batch = { ...plain, tier: 'batch' } as const
  const first = { prefix: 'first', ttl: '1h' } as const
  const second = { prefix: 'second', ttl: '1h' } as const
  return [
    {
      name: 'versions',
      calls: rules.apiVersions.map(({ id }) => ({ ...realtime, apiVersion: id })),
      needs: null,
    },
    {
      name: 'primed_hits',
      calls: [
        { ...batch, ...first },
        { ...batch, ...first, rows: ROWS_BEHIND_PRIMER },
      ],
      needs: null,
    },
    { name: 'realtime_reads_batch', calls: [{ ...realtime, ...first }], needs: 'primed_hits' },
    {
      name: 'reads_across_ttl',
      calls: [{ ...realtime, ...first, ttl: '5m' }],
      needs: 'realtime_reads_batch',
    },
    { name: 'cancel_latency', calls: [{ ...batch, rows: ROWS_CANCELED, cancel: true }], needs: null },
    {
      name: 'batch_reads_realtime',
      calls: [
        { ...realtime, ...second },
        { ...batch, ...second },
      ],
      needs: null,
    },
  ]
}

/** The model that checks are made with, and its price. */
export interface DoctorModel {
  readonly model: Model
  readonly price: Price
  readonly minimumTokens: number
}

/** The active model on which the shortest prefix that is cached costs least to write. Null when none has a price. */
export function cheapestToCheck(catalogue: Catalogue, at: Instant): DoctorModel | null {
  let cheapest: (DoctorModel & { readonly cost: bigint }) | null = null
  for (const model of catalogue.models) {
    const price = priceAt(model, at)
    if (model.status !== 'active' || isRetired(model, at) || price === null) continue
    const minimumTokens = minimumCacheableTokens(model, at)
    const cost = BigInt(minimumTokens) * price.bands[0]!.rates.write1h
    if (cheapest === null || cost < cheapest.cost) cheapest = { model, price, minimumTokens, cost }
  }
  return cheapest
}

const WORDS = 'the tithe is a tenth of the field and what is read again costs a tenth of what was read before'
const MAX_TOKENS = 1

/**
 * A text just above a minimum of tokens, whatever the vocabulary: each of its words is at least one token.
 * @param salt makes it one that no cache has seen.
 */
export function prefixText(salt: string, minimumTokens: number): string {
  const words = WORDS.split(' ')
  const count = Math.ceil(minimumTokens * 1.05)
  return [`${salt}:`, ...Array.from({ length: count }, (_, i) => words[i % words.length])].join(' ')
}

/** The Messages bodies of a call. */
export function requestsOf(
  { rows, prefix, ttl }: DoctorCall,
  model: Model,
  prefixes: Readonly<Record<'first' | 'second', string>>,
): JsonObject[] {
  const system =
    prefix === null
      ? {}
      : {
          system: [
            { type: 'text', text: prefixes[prefix], cache_control: { type: 'ephemeral', ttl: ttl ?? '5m' } },
          ],
        }
  return Array.from({ length: rows }, (_, row) => ({
    model: model.id,
    max_tokens: MAX_TOKENS,
    ...system,
    messages: [{ role: 'user', content: `Say the number ${row + 1}.` }],
  }))
}

/**
 * The most that a call can cost: a token is at least a byte, everything is written at the dearer rate of its mark, all of
 * `max_tokens` is used, and the workspace may be one that pays for US inference. Integer picodollars.
 */
export function reservationOf(
  { tier, ttl }: DoctorCall,
  requests: readonly JsonObject[],
  { model, price }: DoctorModel,
): PicoUsd {
  const total = requests.reduce(
    (sum, request) =>
      sum +
      worstCasePicoUsd(
        {
          promptTokens: Buffer.byteLength(JSON.stringify(request)),
          outputTokens: MAX_TOKENS,
          webSearches: 0,
          serviceTier: tier,
          speed: 'standard',
          markTtl: ttl,
          inferenceGeo: model.parameters.inferenceGeo ? 'us' : null,
        },
        price,
        { webSearchPicoUsd: 0n },
      ),
    0n,
  )
  return picoUsd(total)
}

/** How a call ended. Rows without an answer have no usage and are not billed (claude-api.md 2.9). */
export interface CallEnd {
  readonly call: DoctorCall
  readonly usages: readonly Usage[]
  /** In words, of rows and of the call itself: refused, errored, canceled. */
  readonly troubles: readonly string[]
  readonly batch: BatchTimes | null
  /** Measured from usage. */
  readonly costPicoUsd: PicoUsd
}

/** By the upstream's own clock. */
export interface BatchTimes {
  readonly createdAt: Instant
  readonly endedAt: Instant
  readonly cancelInitiatedAt: Instant | null
}

export function batchTimes(batch: {
  readonly created_at: string
  readonly ended_at: string | null
  readonly cancel_initiated_at: string | null
}): BatchTimes | null {
  const createdAt = parseTimestamp(batch.created_at)
  const endedAt = parseTimestamp(batch.ended_at ?? '')
  if (createdAt === null || endedAt === null) return null
  return { createdAt, endedAt, cancelInitiatedAt: parseTimestamp(batch.cancel_initiated_at ?? '') }
}

export function costOfUsages(usages: readonly Usage[], price: Price, catalogue: Catalogue): PicoUsd {
  return picoUsd(usages.reduce((sum, usage) => sum + costOf(usage, price, catalogue).totalPicoUsd, 0n))
}

/** `unclear`: it was tried, and its answers do not tell. `left_out`: it was not tried. */
export type Verdict = 'as_assumed' | 'differs' | 'unclear' | 'left_out'

export interface CheckResult {
  readonly check: CheckName
  readonly verdict: Verdict
  /** What was found, in words. */
  readonly found: string
  /** What plans and the driver take for granted. */
  readonly assumed: string
  /** Measured from usage. */
  readonly costPicoUsd: PicoUsd
  /** What may have been billed beyond that and is not known. */
  readonly unknownPicoUsd: PicoUsd
}

export function assumptionOf(check: CheckName, rules: ApiRules): string {
  switch (check) {
    case 'workspace':
      return 'every answer names the same organisation and workspace'
    case 'versions':
      return `${rules.apiVersions.map(({ id }) => id).join(' and ')} are accepted`
    case 'primed_hits':
      return 'rows behind a primer read what it wrote'
    case 'realtime_reads_batch':
      return 'realtime does not read what a batch wrote'
    case 'batch_reads_realtime':
      return 'a batch does not read what realtime wrote'
    case 'reads_across_ttl':
      return 'a 5m mark reads what was written as 1h'
    case 'batch_latency':
      return `a batch ends within ${formatDuration(rules.batchLatencyMs.at(-1)!)}, the longest recorded`
    case 'cancel_latency':
      return `a canceled batch ends within ${formatDuration(rules.cancelLatencyMs)}`
  }
}

type Judged = Pick<CheckResult, 'verdict' | 'found'>

/** What the answers of a paid check mean. */
export function judge(check: CheckName, ends: readonly CallEnd[], rules: ApiRules): Judged {
  switch (check) {
    case 'versions': {
      const refused = ends.filter((end) => end.usages.length === 0)
      return refused.length === 0
        ? {
            verdict: 'as_assumed',
            found: `${ends.map(({ call }) => call.apiVersion).join(' and ')} answered`,
          }
        : { verdict: 'differs', found: refused.map(troubleText).join('; ') }
    }
    case 'primed_hits': {
      const [primer, rest] = ends
      const primerWrote = primer?.usages.some(wrote) ?? false
      if (!primerWrote) return unclear(primer, 'the primer wrote nothing')
      if (rest === undefined || rest.usages.length === 0) {
        return unclear(rest, 'no row behind the primer was answered')
      }
      const primed = primedOf(ends, rules)
      if (primed === null) return unclear(undefined, OUTLIVED)
      const { rows, read } = primed
      const writes = rest.usages.filter((usage) => !didRead(usage) && wrote(usage)).length
      return {
        verdict: read === rows ? 'as_assumed' : 'differs',
        found: `${read} of ${rows} rows read, ${writes} wrote`,
      }
    }
    case 'realtime_reads_batch':
    case 'batch_reads_realtime': {
      const reads = readsOf(ends, rules)
      if (reads === null) return unclear(ends.at(-1), mayHaveDied(ends, rules) ? OUTLIVED : UNCACHED)
      return reads
        ? { verdict: 'differs', found: 'it read: the caches are one' }
        : { verdict: 'as_assumed', found: 'it wrote again: the caches are apart' }
    }
    case 'reads_across_ttl': {
      const reads = readsOf(ends, rules)
      if (reads === null) return unclear(ends.at(-1), UNCACHED)
      return reads
        ? { verdict: 'as_assumed', found: 'it read' }
        : { verdict: 'differs', found: 'it wrote an entry of its own' }
    }
    case 'cancel_latency': {
      const [latency] = cancelLatenciesOf(ends)
      if (latency === undefined) return unclear(ends[0], 'the batch had ended before it could be canceled')
      return {
        verdict: latency <= rules.cancelLatencyMs ? 'as_assumed' : 'differs',
        found: formatDuration(latency),
      }
    }
    case 'workspace':
    case 'batch_latency':
      throw new TypeError(`${check} has no calls of its own`)
  }
}

/** Judged over every batch that was left to end. */
export function judgeLatency(ends: readonly CallEnd[], rules: ApiRules): Judged {
  const latencies = batchLatenciesOf(ends)
  if (latencies.length === 0) return { verdict: 'left_out', found: 'no batch was left to end' }
  const longest = Math.max(...latencies)
  return {
    verdict: longest <= rules.batchLatencyMs.at(-1)! ? 'as_assumed' : 'differs',
    found: latencies.map((latency) => formatDuration(latency)).join(', '),
  }
}

/** Who answered, as the headers of one answer say. */
export interface Answerer {
  readonly organizationId: string | null
  readonly workspaceId: string | null
}

export function judgeWorkspace(answerers: readonly Answerer[]): Judged {
  if (answerers.length === 0) return { verdict: 'left_out', found: 'nothing was answered' }
  const names = [...new Set(answerers.map((one) => `${one.organizationId} / ${one.workspaceId}`))]
  const complete = answerers.every((one) => one.organizationId !== null && one.workspaceId !== null)
  if (names.length === 1 && complete) {
    return { verdict: 'as_assumed', found: `${names[0]} in ${answerers.length} answers` }
  }
  return {
    verdict: 'differs',
    found: complete
      ? `${names.length} of them in ${answerers.length} answers: ${names.join(', ')}`
      : `${answerers.filter((one) => one.organizationId === null || one.workspaceId === null).length} of ${answerers.length} answers lack a header`,
  }
}

/** Null when the answers disagree: then nobody knows whose facts they are. */
export function answererOf(answerers: readonly Answerer[]): Answerer | null {
  const [first] = answerers
  const same = answerers.every(
    (one) => one.organizationId === first!.organizationId && one.workspaceId === first!.workspaceId,
  )
  return first !== undefined && same ? first : null
}

/**
 * What plans may learn.
 * @param completed the checks of which every call has ended.
 * @param all every call that has ended.
 */
export function factsOf(
  completed: ReadonlyMap<CheckName, readonly CallEnd[]>,
  all: readonly CallEnd[],
  rules: ApiRules,
): Pick<
  Visit,
  | 'batchLatenciesMs'
  | 'cancelLatenciesMs'
  | 'primed'
  | 'realtimeReadsBatch'
  | 'batchReadsRealtime'
  | 'readsAcrossTtl'
> {
  const of = (check: CheckName) => completed.get(check) ?? []
  return {
    batchLatenciesMs: batchLatenciesOf(all),
    cancelLatenciesMs: cancelLatenciesOf(all),
    primed: primedOf(of('primed_hits'), rules),
    realtimeReadsBatch: readsOf(of('realtime_reads_batch'), rules),
    batchReadsRealtime: readsOf(of('batch_reads_realtime'), rules),
    readsAcrossTtl: readsOf(of('reads_across_ttl'), rules),
  }
}

const UNCACHED = 'its prefix was not cached'
const OUTLIVED = 'the batches took longer than an entry lives'

/** Whether an entry that the first of these calls wrote may have died before the last one had ended. */
export function mayHaveDied(ends: readonly CallEnd[], { cacheTtlMs }: Pick<ApiRules, 'cacheTtlMs'>): boolean {
  const waitedMs = ends.reduce((sum, { batch }) => sum + (batch ? batch.endedAt - batch.createdAt : 0), 0)
  return waitedMs >= cacheTtlMs['1h']
}

function primedOf(ends: readonly CallEnd[], rules: ApiRules): Visit['primed'] {
  const [primer, rest] = ends
  if (!primer?.usages.some(wrote) || rest === undefined || rest.usages.length === 0) return null
  const rows = rest.usages.length
  const read = rest.usages.filter(didRead).length
  return read < rows && mayHaveDied(ends, rules) ? null : { rows, read }
}

/** Whether the last call of a check read what those before it wrote; null when its answer does not tell. */
function readsOf(ends: readonly CallEnd[], rules: ApiRules): boolean | null {
  const usage = ends.at(-1)?.usages[0]
  if (usage === undefined || !ends.slice(0, -1).every((end) => end.usages.some(wrote))) return null
  if (didRead(usage)) return true
  return wrote(usage) && !mayHaveDied(ends, rules) ? false : null
}

function batchLatenciesOf(ends: readonly CallEnd[]): number[] {
  return ends.flatMap(({ call, batch }) =>
    batch === null || call.cancel ? [] : batch.endedAt - batch.createdAt,
  )
}

function cancelLatenciesOf(ends: readonly CallEnd[]): number[] {
  return ends.flatMap(({ batch }) =>
    batch === null || batch.cancelInitiatedAt === null ? [] : batch.endedAt - batch.cancelInitiatedAt,
  )
}

function didRead(usage: Usage): boolean {
  return usage.cacheReadTokens > 0
}

function wrote(usage: Usage): boolean {
  return usage.cacheWrite5mTokens + usage.cacheWrite1hTokens > 0
}

function unclear(end: CallEnd | undefined, otherwise: string): Judged {
  return {
    verdict: 'unclear',
    found: end === undefined || end.troubles.length === 0 ? otherwise : troubleText(end),
  }
}

function troubleText({ call, troubles }: CallEnd): string {
  const where = call.tier === 'standard' ? `version ${call.apiVersion}: ` : ''
  return `${where}${[...new Set(troubles)].join('; ')}`
}

/** What is left of the stated spend. Money whose fate is unknown counts as spent. */
export class Purse {
  readonly #spendPicoUsd: bigint
  #gonePicoUsd = 0n

  constructor(spendPicoUsd: PicoUsd) {
    this.#spendPicoUsd = spendPicoUsd
  }

  get leftPicoUsd(): PicoUsd {
    return picoUsd(this.#spendPicoUsd - this.#gonePicoUsd)
  }

  canHold(reservation: bigint): boolean {
    return reservation <= this.leftPicoUsd
  }

  take(amount: bigint): void {
    this.#gonePicoUsd += amount
  }
}

export function tooDear(reservation: PicoUsd, { leftPicoUsd }: Purse): string {
  const left = leftPicoUsd > 0n ? leftPicoUsd : ZERO_USD
  return `may cost ${formatUsd(reservation)}, ${formatUsd(left)} of the spend are left`
}
