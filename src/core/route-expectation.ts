import type { Survival } from './batch-latency.ts'
import type { Estimate } from './job-profile.ts'
import type { Expectations } from './measured.ts'
import type { Scenario } from './pool-cost.ts'
import type { Priors } from './priors.ts'
import type { Ttl } from './request.ts'
import type { Band, HitRate } from './run-plan.ts'

// How a route may go before anything was measured: a mixture of certain ways, each with its share of the rows. The ends
// of the band take the best and the worst that is thought possible, so a cost says how sure it is of its hits too.

/** One way that rows may go. */
export interface Way {
  readonly what: string
  readonly share: number
  readonly scenario: Scenario
}

export interface RouteExpectation {
  /** For each end of the band; the shares of each add up to 1. */
  readonly ways: Readonly<Record<Estimate, readonly Way[]>>
  /** Null where nothing is marked. */
  readonly hitRate: HitRate | null
}

/** What the expectation of a marked route rests on. */
export interface MarkedRows {
  readonly rows: number
  /** Rows in groups, and groups. */
  readonly marked: number
  readonly groups: number
  readonly priors: Priors
}

export const UNMARKED: RouteExpectation = { ways: always([certain('unmarked', 'unmarked')]), hitRate: null }

/** Realtime calls: after the first of each prefix nearly all read. */
export function expectRealtime({ rows, marked, groups, priors }: MarkedRows): RouteExpectation {
  const { value, source } = priors.realtimeHitRate
  const ways = (read: number): Way[] => [
    { what: 'reads', share: read, scenario: 'primed' },
    { what: 'misses and writes', share: 1 - read, scenario: 'all_write' },
  ]
  return {
    ways: { low: ways(value.high), best: ways(value.best), high: ways(value.low) },
    hitRate: hitRateOf(value, (marked - groups) / rows, `as in recorded exchanges (${source})`),
  }
}

/** A batch whose rows all start with nothing cached. */
export function expectCold({ rows, marked, groups, priors }: MarkedRows): RouteExpectation {
  const read = coldReads({ marked, groups, priors })
  const ways = (share: number): Way[] => [
    { what: 'reads', share, scenario: 'all_read' },
    { what: 'writes', share: 1 - share, scenario: 'all_write' },
  ]
  const { from } = priors.coldBatchHitRate
  const why = `rows of a batch run at once, and one that starts before another has begun to answer writes again: ${Math.round(read.low * 100)} to ${Math.round(read.high * 100)} % of them read (prior of ${from})`
  return {
    ways: { low: ways(read.high), best: ways(read.best), high: ways(read.low) },
    hitRate: hitRateOf(read, marked / rows, why),
  }
}

/**
 * A batch that is released behind its primer: at best its entry lives and as many read as may, at worst every entry dies
 * just after release; where no latency outlasts the TTL, as few read as may.
 */
export function expectPrimed(
  { rows, marked, groups, priors }: MarkedRows,
  { survival, ttl, expectations }: { survival: Survival; ttl: Ttl; expectations: Expectations },
): RouteExpectation {
  const { reads, diesAfterRelease, goesUnmarked } = survival
  const { read, certainty, date, why } = expectations.primed
  const cold = coldReads({ marked, groups, priors }).best
  const died = 'the entry died after release'
  const living = (share: number, hit: number): Way[] => [
    { what: 'the entry lives: reads', share: share * hit, scenario: 'primed' },
    ...(hit === 1
      ? []
      : [
          {
            what: 'the entry lives, the row misses: writes',
            share: share * (1 - hit),
            scenario: 'all_write',
          } as const,
        ]),
  ]
  const mayDie = diesAfterRelease > 0
  const lifetime = `how often an entry of ${ttl} outlives the waiting, by ${expectations.latencies}`
  const hitRate = {
    low: mayDie ? 0 : reads * read.low,
    best: reads * read.best + diesAfterRelease * cold,
    high: read.high,
  }
  return {
    ways: {
      low: living(1, read.high),
      best: [
        ...living(reads, read.best),
        { what: `${died}: reads as in a cold batch`, share: diesAfterRelease * cold, scenario: 'all_read' },
        { what: `${died}: writes again`, share: diesAfterRelease * (1 - cold), scenario: 'all_write' },
        {
          what: 'the entry was dead at release: goes unmarked',
          share: goesUnmarked,
          scenario: 'primed_unmarked',
        },
      ],
      high: mayDie ? [certain(`${died}: writes again`, 'all_write')] : living(1, read.low),
    },
    hitRate: {
      ...hitRateOf(hitRate, (marked - groups) / rows, date === null ? lifetime : `${why}, and ${lifetime}`),
      certainty,
      date,
    },
  }
}

/** Shares of the marked rows; the first of each prefix can only write, so what is assumed is assumed of the others. */
function coldReads({ marked, groups, priors }: Omit<MarkedRows, 'rows'>): Band<number> {
  const { low, best, high } = priors.coldBatchHitRate.value
  const most = (marked - groups) / marked
  return { low: low * most, best: best * most, high: Math.min(high, most) }
}

function hitRateOf(read: Band<number>, shareOfRows: number, why: string): HitRate {
  return {
    expected: read.best * shareOfRows,
    low: read.low * shareOfRows,
    high: read.high * shareOfRows,
    certainty: 'assumed',
    date: null,
    why,
  }
}

function certain(what: string, scenario: Scenario): Way {
  return { what, share: 1, scenario }
}

function always(ways: readonly Way[]): RouteExpectation['ways'] {
  return { low: ways, best: ways, high: ways }
}
