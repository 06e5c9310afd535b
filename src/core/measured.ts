import { TitheError } from './errors.ts'
import { formatTimestamp, type Instant, parseTimestamp } from './instant.ts'
import { isObject, type JsonObject } from './json.ts'
import type { Certainty } from './ledger.ts'
import type { ApiRules } from './models.ts'
import type { Priors } from './priors.ts'
import type { Band } from './run-plan.ts'

// What `tithe doctor` found out about an upstream, and what plans make of it. Measured on a real key and simulated on the
// local upstream are kept in one file and never meet: each is asked for by the upstream at which it was found.

/** Whose caches and queues they are. */
export interface Place {
  /** An address, or `local (simulated)`. */
  readonly upstream: string
  /** As stated by the user; null: whatever workspace the key belongs to. */
  readonly workspaceId: string | null
}

/** What one call of doctor found; null or empty where a check was left out or told nothing. */
export interface Visit {
  readonly at: Instant
  readonly upstream: string
  readonly certainty: Exclude<Certainty, 'assumed'>
  readonly organizationId: string | null
  readonly workspaceId: string | null
  readonly model: string
  /** `ended_at - created_at` of each batch that was left to end, by the upstream's own clock. */
  readonly batchLatenciesMs: readonly number[]
  /** `ended_at - cancel_initiated_at` of each batch that was canceled. */
  readonly cancelLatenciesMs: readonly number[]
  /** Rows released behind a primer, and how many of them read what it wrote. */
  readonly primed: { readonly rows: number; readonly read: number } | null
  readonly realtimeReadsBatch: boolean | null
  readonly batchReadsRealtime: boolean | null
  /** Whether a 5m mark reads an entry that was written as 1h. */
  readonly readsAcrossTtl: boolean | null
}

export const MEASURED_SCHEMA = 'tithe.measured/1'
/** Older visits are forgotten beyond these: they say little about today. */
const VISITS_MAX = 200

export function withVisit(visits: readonly Visit[], visit: Visit): Visit[] {
  return [...visits, visit].slice(-VISITS_MAX)
}

export function measuredJson(visits: readonly Visit[]): JsonObject {
  return {
    schema: MEASURED_SCHEMA,
    visits: visits.map((visit) => ({
      at: formatTimestamp(visit.at),
      upstream: visit.upstream,
      certainty: visit.certainty,
      organization_id: visit.organizationId,
      workspace_id: visit.workspaceId,
      model: visit.model,
      batch_latencies_ms: visit.batchLatenciesMs,
      cancel_latencies_ms: visit.cancelLatenciesMs,
      primed: visit.primed && { ...visit.primed },
      realtime_reads_batch: visit.realtimeReadsBatch,
      batch_reads_realtime: visit.batchReadsRealtime,
      reads_across_ttl: visit.readsAcrossTtl,
    })),
  }
}

/**
 * Reads what `measuredJson` wrote.
 * @param file where it stood, for the error.
 * @throws `measured_newer`, `measured_damaged`
 */
export function parseMeasured(text: string, file: string): Visit[] {
  let value: unknown = null
  try {
    value = JSON.parse(text)
  } catch {
    // Falls through as no object.
  }
  const schema = isObject(value) ? value['schema'] : null
  if (typeof schema === 'string' && /^tithe\.measured\/\d+$/.test(schema) && schema !== MEASURED_SCHEMA) {
    throw new TitheError('measured_newer', `what was measured is kept as ${schema}, not ${MEASURED_SCHEMA}`, {
      hint: "it was written by another version of tithe: use that one, or move the file away and let 'tithe doctor' measure again",
      where: { file },
    })
  }
  const list = isObject(value) && schema === MEASURED_SCHEMA ? value['visits'] : null
  const damaged = (path: string) =>
    new TitheError('measured_damaged', `what was measured cannot be read: ${path} is not what it should be`, {
      hint: "move the file away; 'tithe doctor' measures again",
      where: { file, path },
    })
  if (!Array.isArray(list)) throw damaged('visits')
  return list.map((one: unknown, i) => {
    const visit = isObject(one) ? one : {}
    for (const [key, isRight] of Object.entries(VISIT_FIELDS)) {
      if (!isRight(visit[key])) throw damaged(`visits[${i}].${key}`)
    }
    return visitOf(visit as unknown as WrittenVisit)
  })
}

interface WrittenVisit {
  readonly at: string
  readonly upstream: string
  readonly certainty: Visit['certainty']
  readonly organization_id: string | null
  readonly workspace_id: string | null
  readonly model: string
  readonly batch_latencies_ms: readonly number[]
  readonly cancel_latencies_ms: readonly number[]
  readonly primed: Visit['primed']
  readonly realtime_reads_batch: boolean | null
  readonly batch_reads_realtime: boolean | null
  readonly reads_across_ttl: boolean | null
}

type Check = (value: unknown) => boolean
const isText: Check = (value) => typeof value === 'string' && value !== ''
const isTextOrNull: Check = (value) => value === null || isText(value)
const isYesNoOrNull: Check = (value) => value === null || typeof value === 'boolean'
const isCount: Check = (value) => Number.isSafeInteger(value) && Number(value) >= 0
const areCounts: Check = (value) => Array.isArray(value) && value.every(isCount)

const VISIT_FIELDS: Readonly<Record<keyof WrittenVisit, Check>> = {
  at: (value) => typeof value === 'string' && parseTimestamp(value) !== null,
  upstream: isText,
  certainty: (value) => value === 'measured' || value === 'simulated',
  organization_id: isTextOrNull,
  workspace_id: isTextOrNull,
  model: isText,
  batch_latencies_ms: areCounts,
  cancel_latencies_ms: areCounts,
  primed: (value) =>
    value === null ||
    (isObject(value) &&
      isCount(value['rows']) &&
      isCount(value['read']) &&
      Number(value['rows']) > 0 &&
      Number(value['read']) <= Number(value['rows'])),
  realtime_reads_batch: isYesNoOrNull,
  batch_reads_realtime: isYesNoOrNull,
  reads_across_ttl: isYesNoOrNull,
}

function visitOf(written: WrittenVisit): Visit {
  return {
    at: parseTimestamp(written.at)!,
    upstream: written.upstream,
    certainty: written.certainty,
    organizationId: written.organization_id,
    workspaceId: written.workspace_id,
    model: written.model,
    batchLatenciesMs: written.batch_latencies_ms,
    cancelLatenciesMs: written.cancel_latencies_ms,
    primed: written.primed,
    realtimeReadsBatch: written.realtime_reads_batch,
    batchReadsRealtime: written.batch_reads_realtime,
    readsAcrossTtl: written.reads_across_ttl,
  }
}

/**
 * The visits to a place, oldest first. Before a call nobody knows to which workspace a key belongs: where several were
 * visited and none is stated, none is taken, since queues and caches of one say nothing about another.
 */
export function visitsTo(place: Place, visits: readonly Visit[]): Visit[] {
  const found = visits.filter(
    ({ upstream, workspaceId }) =>
      upstream === place.upstream && (place.workspaceId === null || workspaceId === place.workspaceId),
  )
  const workspaces = new Set(
    found.map(({ organizationId, workspaceId }) => `${organizationId} ${workspaceId}`),
  )
  return workspaces.size > 1 ? [] : found.sort((a, b) => a.at - b.at)
}

// -- what plans make of it --

/** Measured latencies that are enough to stand alone: with fewer, one in twenty cannot have shown itself. */
const LATENCIES_ENOUGH = 20

/** What a plan reckons with, and since when. */
export interface Expectations {
  readonly batchLatenciesMs: readonly number[]
  /** `52 recorded batch latencies`; `52 recorded and 3 measured batch latencies (measured 2026-11-27)`. */
  readonly latencies: string
  /** The longest wait from a cancel until its batch has ended. */
  readonly cancelLatencyMs: number
  /** Of the rows released behind a primer whose entry lives, those that read it. */
  readonly primed: PrimedShare
}

export interface PrimedShare {
  readonly read: Band<number>
  readonly certainty: Certainty
  /** Of the newest visit that it was measured on; null when assumed. */
  readonly date: string | null
  readonly why: string
}

/**
 * Latencies of the place stand alone from 20 on and are added to the recorded ones before; so are cancels, of which the
 * longest counts. A measured share of hits replaces the assumed one, its band as wide as its few rows make it.
 * @param visits of one place, as `visitsTo` gives them.
 */
export function expectationsFrom(
  rules: Pick<ApiRules, 'batchLatencyMs' | 'cancelLatencyMs'>,
  priors: Pick<Priors, 'primedHitRate'>,
  visits: readonly Visit[],
): Expectations {
  const batches = visits.flatMap((visit) => visit.batchLatenciesMs)
  const cancels = visits.flatMap((visit) => visit.cancelLatenciesMs)
  const recorded = batches.length < LATENCIES_ENOUGH ? rules.batchLatencyMs : []
  return {
    batchLatenciesMs: [...recorded, ...batches].sort((a, b) => a - b),
    latencies: latenciesText(recorded.length, visits),
    cancelLatencyMs: Math.max(
      ...(cancels.length < LATENCIES_ENOUGH ? [rules.cancelLatencyMs] : []),
      ...cancels,
    ),
    primed: primedShare(priors, visits),
  }
}

function latenciesText(recorded: number, visits: readonly Visit[]): string {
  const timed = visits.filter((visit) => visit.batchLatenciesMs.length > 0)
  const found = timed.reduce((sum, visit) => sum + visit.batchLatenciesMs.length, 0)
  if (found === 0) return `${recorded} recorded batch latencies`
  const { certainty } = timed[0]!
  const both = recorded === 0 ? '' : `${recorded} recorded and `
  const dates = [...new Set([dateOf(timed[0]!.at), dateOf(timed.at(-1)!.at)])].join(' to ')
  return `${both}${found} ${certainty} batch latencies (${certainty} ${dates})`
}

function primedShare(
  { primedHitRate }: Pick<Priors, 'primedHitRate'>,
  visits: readonly Visit[],
): PrimedShare {
  const primed = visits.filter((visit) => visit.primed !== null)
  if (primed.length === 0) {
    const why = `rows behind a primer are thought to read while its entry lives (prior of ${primedHitRate.from})`
    return { read: primedHitRate.value, certainty: 'assumed', date: null, why }
  }
  const rows = primed.reduce((sum, visit) => sum + visit.primed!.rows, 0)
  const read = primed.reduce((sum, visit) => sum + visit.primed!.read, 0)
  const { at, certainty } = primed.at(-1)!
  const share = shareBand(read, rows)
  const percent = (value: number) => Math.round(value * 100)
  const why = `${read} of ${rows} rows behind a primer read (${certainty} ${dateOf(at)}; ${percent(share.low)} to ${percent(share.high)} % are possible)`
  return { read: share, certainty, date: dateOf(at), why }
}

/** Standard deviations to each side of a band that holds 95 times in 100. */
const Z = 1.96

/** A share seen in a sample, with Wilson's interval: it stays between 0 and 1 and is wide for few rows, even if all agree. */
export function shareBand(count: number, sample: number): Band<number> {
  const share = count / sample
  const z2 = (Z * Z) / sample
  const middle = (share + z2 / 2) / (1 + z2)
  const half = (Z * Math.sqrt((share * (1 - share)) / sample + z2 / (4 * sample))) / (1 + z2)
  return {
    low: Math.max(0, Math.min(share, middle - half)),
    best: share,
    high: Math.min(1, Math.max(share, middle + half)),
  }
}

/** `measured 2026-11-27`; `assumed`. */
export function certaintyText({ certainty, date }: { certainty: Certainty; date: string | null }): string {
  return date === null ? certainty : `${certainty} ${date}`
}

function dateOf(at: Instant): string {
  return formatTimestamp(at).slice(0, 10)
}
