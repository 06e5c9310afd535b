import { formatDuration, type Instant, MINUTE_MS, plusMs } from './instant.ts'
import type { GroupPlan, MarkPlan, RouteName } from './run-plan.ts'

// Which rows go next. Waves follow one another: the primer writes the cache entries, the probe measures while it is still
// cheap, then the bulk ramps up, each wave at most ten times the one before, so that a surprise is met with a small wave.

const PROBE_SHARE = 0.01
const PROBE_ROWS_MIN = 30
const PROBE_ROWS_MAX = 1_000
const RAMP_FACTOR = 10
/** A primer that has not ended after this is no longer waited for; with `within`, a tenth of it if that is less. */
const PRIMER_PATIENCE_MS = 30 * MINUTE_MS

/** A wave that was released, open or settled. One that was refused or lost whole was none, and is left out. */
export interface WaveSummary {
  readonly wave: number
  readonly kind: 'primer' | 'probe' | 'bulk' | 'retry' | 'realtime'
  /** Rows that were sent, or will be: 0 when not one of them could be. */
  readonly rows: number
  readonly open: boolean
  /** When its first create was intended; null when nothing was sent yet. */
  readonly startedAt: Instant | null
}

export interface WaveView {
  readonly now: Instant
  readonly route: RouteName
  readonly groups: readonly Pick<GroupPlan, 'group' | 'prime'>[]
  /** Rows that can be sent, whole run. */
  readonly rows: number
  /** Rows that may be taken now. */
  readonly pending: number
  /** When the next waiting row may be taken; null when none waits. */
  readonly nextRowAt: Instant | null
  readonly waves: readonly WaveSummary[]
  readonly withinMs: number | null
  readonly rowsInFlightMax: number
}

export type WaveDecision =
  | { readonly kind: 'primer'; readonly groups: readonly string[]; readonly because: string }
  | { readonly kind: 'probe'; readonly rows: number; readonly because: string }
  | { readonly kind: 'bulk'; readonly rows: number; readonly because: string }
  | { readonly kind: 'realtime'; readonly rows: number; readonly because: string }
  | { readonly kind: 'wait'; readonly until: Instant | null; readonly because: string }
  | { readonly kind: 'done' }

/** 1 % of the rows, 30 to 1,000; 0 for a job so small that a probe would be most of it. */
export function probeRows(rows: number): number {
  const size = Math.min(PROBE_ROWS_MAX, Math.max(PROBE_ROWS_MIN, Math.ceil(rows * PROBE_SHARE)))
  return rows < 2 * size ? 0 : size
}

export function primerPatienceMs(withinMs: number | null): number {
  return withinMs === null ? PRIMER_PATIENCE_MS : Math.min(PRIMER_PATIENCE_MS, withinMs / 10)
}

/** Rows of the next bulk wave, after waves of at most `largest` rows. */
export function bulkRows(pending: number, largest: number, rowsInFlightMax: number): number {
  const ramped = largest === 0 ? pending : largest * RAMP_FACTOR
  // A last wave of a few rows would cost a whole batch's latency: take the rest along.
  const size = pending <= ramped * 1.5 ? pending : ramped
  return Math.min(size, rowsInFlightMax)
}

/** What goes next. Pure; the driver asks whenever something settled or a time has come. */
export function nextWave(view: WaveView): WaveDecision {
  const open = view.waves.filter((wave) => wave.open)
  const blocking = open.find((wave) => wave.kind !== 'primer')
  if (blocking) {
    return { kind: 'wait', until: null, because: `wave ${blocking.wave} (${blocking.kind}) is under way` }
  }
  const primer = open[0]
  if (primer) {
    const patienceMs = primerPatienceMs(view.withinMs)
    const until = primer.startedAt === null ? null : plusMs(primer.startedAt, patienceMs)
    if (until === null || view.now < until) {
      return {
        kind: 'wait',
        until,
        because: `the primer writes the cache; its prefixes go unmarked after ${formatDuration(patienceMs)}`,
      }
    }
  }
  if (view.pending === 0) {
    if (view.nextRowAt !== null) {
      return { kind: 'wait', until: view.nextRowAt, because: 'rows wait for their next attempt' }
    }
    return open.length > 0
      ? { kind: 'wait', until: null, because: 'the last rows are under way' }
      : { kind: 'done' }
  }
  if (view.route.startsWith('realtime')) {
    const rows = Math.min(view.pending, view.rowsInFlightMax)
    return { kind: 'realtime', rows, because: 'the chosen route answers at once' }
  }
  // A primer comes first or not at all: later, too little is left that could read what it writes.
  if (isPrimed(view.route) && view.waves.length === 0) {
    const groups = view.groups.filter((group) => group.prime).map((group) => group.group)
    if (groups.length > 0) {
      return { kind: 'primer', groups, because: 'one real row of each shared prefix writes the cache entry' }
    }
  }
  const probe = probeRows(view.rows)
  if (
    probe > 0 &&
    view.pending > probe &&
    !view.waves.some((wave) => wave.kind === 'probe' && wave.rows > 0)
  ) {
    return { kind: 'probe', rows: probe, because: 'measures hit rate, output and errors before the bulk' }
  }
  const largest = Math.max(0, ...view.waves.filter((wave) => wave.kind !== 'primer').map((wave) => wave.rows))
  return {
    kind: 'bulk',
    rows: bulkRows(view.pending, largest, view.rowsInFlightMax),
    because: largest === 0 ? 'the whole job fits one wave' : `at most ${RAMP_FACTOR} times the wave before`,
  }
}

function isPrimed(route: RouteName): boolean {
  return route === 'batch_primed_5m' || route === 'batch_primed_1h'
}

/**
 * The marks with which a group's rows go out. A primed group is marked only while its entry is proven alive: `touchedAt`
 * is the created_at of the last batch whose rows of this group wrote or read it, never `ended_at`, because a lifetime
 * counts from the start of a request (claude-api.md 3.4) and a row may start as soon as its batch exists.
 */
export function marksToRelease(
  group: GroupPlan,
  route: RouteName,
  touchedAt: Instant | null,
  now: Instant,
  ttls: { readonly '5m': number; readonly '1h': number },
): { readonly marks: readonly MarkPlan[]; readonly because: string } {
  if (group.marks.length === 0) return { marks: [], because: group.because }
  if (!isPrimed(route)) return { marks: group.marks, because: group.because }
  if (touchedAt === null) return { marks: [], because: 'no answer has shown that the prefix is cached' }
  const shortestMs = Math.min(...group.marks.map((mark) => ttls[mark.ttl]))
  const ageMs = now - touchedAt
  return ageMs < shortestMs
    ? { marks: group.marks, because: `the entry was used ${formatDuration(ageMs)} ago` }
    : {
        marks: [],
        because: `the entry is ${formatDuration(ageMs)} old, past its TTL of ${formatDuration(shortestMs)}`,
      }
}

/** What the probe showed. */
export interface ProbeResult {
  readonly rows: number
  readonly errored: number
  readonly refused: number
  readonly truncated: number
  readonly schemaInvalid: number
}

/** Why the bulk must not go out, or null: more than half of the probe gave nothing usable. */
export function probeProblem(probe: ProbeResult): string | null {
  const bad = probe.errored + probe.refused + probe.truncated + probe.schemaInvalid
  if (probe.rows === 0 || bad * 2 <= probe.rows) return null
  const parts = [
    [probe.errored, 'errored'],
    [probe.refused, 'refused'],
    [probe.truncated, 'truncated at max_tokens'],
    [probe.schemaInvalid, 'not valid under the schema'],
  ]
    .filter(([count]) => Number(count) > 0)
    .map(([count, what]) => `${count} ${what}`)
  return `${bad} of ${probe.rows} probe rows are unusable: ${parts.join(', ')}`
}
