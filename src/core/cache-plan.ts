import { formatCount, formatPercent } from './figures.ts'
import type { Estimate, PoolProfile, SharedPrefix } from './job-profile.ts'
import type { Rates } from './models.ts'
import type { Ttl } from './request.ts'
import type { GroupPlan, RunPlan } from './run-plan.ts'

// Where marks go in a job. At most two levels: the trunk that most rows of a model share, and below it the deepest
// prefixes with enough readers of their own. Whether readers are enough is computed from the price book: a mark costs
// the write premium once and saves the read discount each time it is read (claude-api.md 3.8).

/** More than this share of a pool's rows makes the deepest prefix that they share the pool's trunk. */
const TRUNK_SHARE = 0.5

/** Rows that go with the same marks. */
export interface PlacedGroup {
  /** The deepest marked prefix. */
  readonly prefix: SharedPrefix
  /** Shallow first; the last is `prefix`. */
  readonly marks: readonly SharedPrefix[]
  readonly ttl: Ttl
  readonly rows: number
  readonly rowsByBracket: Readonly<Record<Estimate, readonly number[]>>
}

export interface Placement {
  readonly groups: readonly PlacedGroup[]
  /**
   * The trunk that groups below it write, and the rows that share it and are in no group: with a mark of the job's own
   * behind it they read it as well. Null without such rows.
   */
  readonly beside: (Counts & { readonly prefix: SharedPrefix }) | null
  /** Why the rows outside every group are not marked. */
  readonly elsewhere: string
}

export interface PlacementTerms {
  readonly ttl: Ttl
  /** Rates at which the pool's rows are billed. */
  readonly rates: Rates
  readonly minimumTokens: number
  /** Tokens of the priced model for each token in the profile. */
  readonly tokenRatio: number
  readonly marksMax: number
  /** Share of the rows after the first that are expected to read; those that do not read pay plain input. */
  readonly readShare: number
  /** Marks whatever two rows share, whether or not it pays: to price what is not done. */
  readonly atALoss?: boolean
}

function writeRate(rates: Rates, ttl: Ttl): bigint {
  return ttl === '5m' ? rates.write5m : rates.write1h
}

/** Share of reads above which marking is cheaper than not, from `(1 − h)·write + h·read < input`. */
export function breakEvenHitRate(rates: Rates, ttl: Ttl): number {
  const write = writeRate(rates, ttl)
  return Number(write - rates.input) / Number(write - rates.read)
}

/** The least uses of an entry, its writing included, that cost less than plain input. */
export function breakEvenUses(rates: Rates, ttl: Ttl): number {
  const premium = writeRate(rates, ttl) - rates.input
  const discount = rates.input - rates.read
  if (discount <= 0n) return Number.POSITIVE_INFINITY
  return Number(premium / discount) + 2
}

/** Decides where one pool's marks go for a TTL. */
export function placeMarks(pool: PoolProfile, terms: PlacementTerms): Placement {
  const candidates = [...pool.prefixes.values()].filter(
    (prefix) => prefix.markable && prefix.tokens * terms.tokenRatio >= terms.minimumTokens,
  )
  // Marks of the user take slots in every row that has them; the deepest mark is worth most, so the trunk yields first.
  const slots = terms.marksMax - pool.ownMarksMax
  const trunk = slots >= 1 ? trunkOf(pool, candidates) : null

  const taken = new Map<string, Counts>()
  const restOf = (prefix: SharedPrefix): Counts => {
    const below = taken.get(prefix.hash)
    return below === undefined ? prefix : minus(prefix, below)
  }
  const groups: PlacedGroup[] = []
  const take = (prefix: SharedPrefix, above: SharedPrefix | null) => {
    const { rows, rowsByBracket } = restOf(prefix)
    for (let at = parentOf(pool, prefix); at; at = parentOf(pool, at)) {
      const before = taken.get(at.hash)
      taken.set(
        at.hash,
        before === undefined ? { rows, rowsByBracket } : plus(before, { rows, rowsByBracket }),
      )
    }
    const marks = above && slots >= 2 ? [above, prefix] : [prefix]
    groups.push({ prefix, marks, ttl: prefix.mark ?? terms.ttl, rows, rowsByBracket })
  }

  for (const prefix of candidates.sort((a, b) => b.depth - a.depth)) {
    const { rows } = restOf(prefix)
    if (rows < 1) continue
    const above = trunk && prefix !== trunk && isBelow(pool, prefix, trunk) ? trunk : null
    // The user's own marks stand whether or not they pay.
    if (prefix.mark !== null) take(prefix, null)
    else if (slots >= 1 && worthMarking(prefix, above, rows, terms)) take(prefix, above)
  }
  const isWritten =
    groups.some(({ marks }) => marks.length > 1) && groups.every(({ prefix }) => prefix !== trunk)
  const beside = trunk !== null && isWritten ? { prefix: trunk, ...restOf(trunk) } : null
  return { groups: groups.reverse(), beside, elsewhere: whyUnmarked(pool, terms, slots) }
}

function worthMarking(
  prefix: SharedPrefix,
  above: SharedPrefix | null,
  rows: number,
  terms: PlacementTerms,
): boolean {
  return terms.atALoss ? rows > 1 : markGain(prefix, above, rows, terms) > 0
}

type Counts = Pick<SharedPrefix, 'rows' | 'rowsByBracket'>

function plus(a: Counts, b: Counts, sign: 1 | -1 = 1): Counts {
  const add = (estimate: Estimate) =>
    a.rowsByBracket[estimate].map((rows, bracket) => rows + sign * b.rowsByBracket[estimate][bracket]!)
  return {
    rows: a.rows + sign * b.rows,
    rowsByBracket: { low: add('low'), best: add('best'), high: add('high') },
  }
}

function minus(a: Counts, b: Counts): Counts {
  return plus(a, b, -1)
}

/** The deepest prefix that most rows of the pool share. */
function trunkOf(pool: PoolProfile, candidates: readonly SharedPrefix[]): SharedPrefix | null {
  return candidates
    .filter((prefix) => prefix.mark === null && prefix.rows > pool.rows * TRUNK_SHARE)
    .reduce<SharedPrefix | null>(
      (deepest, prefix) => (prefix.depth > (deepest?.depth ?? -1) ? prefix : deepest),
      null,
    )
}

/**
 * Plain input tokens that a mark saves, less what it costs, over `rows` rows. A mark below the trunk must also pay for
 * its primer writing the trunk once more: primers go in one batch, and none can read what another has just begun.
 */
function markGain(
  prefix: SharedPrefix,
  above: SharedPrefix | null,
  rows: number,
  terms: PlacementTerms,
): number {
  const write = Number(writeRate(terms.rates, terms.ttl)) / Number(terms.rates.input)
  const read = Number(terms.rates.read) / Number(terms.rates.input)
  const trunkTokens = above?.tokens ?? 0
  const gainPerToken = (rows - 1) * terms.readShare * (1 - read) - (write - 1)
  return (prefix.tokens - trunkTokens) * gainPerToken - trunkTokens * (write - read)
}

function parentOf(pool: PoolProfile, prefix: SharedPrefix): SharedPrefix | undefined {
  return prefix.parent === null ? undefined : pool.prefixes.get(prefix.parent)
}

function isBelow(pool: PoolProfile, prefix: SharedPrefix, ancestor: SharedPrefix): boolean {
  for (let at = parentOf(pool, prefix); at; at = parentOf(pool, at)) if (at === ancestor) return true
  return false
}

function whyUnmarked(pool: PoolProfile, terms: PlacementTerms, slots: number): string {
  const shared = [...pool.prefixes.values()].filter((prefix) => prefix.markable)
  const widest = shared.reduce<SharedPrefix | null>(
    (best, prefix) =>
      best === null || prefix.rows * prefix.tokens > best.rows * best.tokens ? prefix : best,
    null,
  )
  if (widest === null) return 'no two rows begin alike at a place where a mark could stand'
  if (slots < 1)
    return `the rows carry ${pool.ownMarksMax} marks of their own, which is all that the API takes`
  const tokens = Math.round(widest.tokens * terms.tokenRatio)
  const shares = sharing(widest, tokens)
  const missing = terms.minimumTokens - tokens
  if (missing > 0) {
    return `${shares}, ${formatCount(missing)} short of the minimum of ${formatCount(terms.minimumTokens)}: nothing would be cached`
  }
  const uses = breakEvenUses(terms.rates, terms.ttl)
  return `${shares}; a ${terms.ttl} mark pays from use ${uses}, above ${formatPercent(breakEvenHitRate(terms.rates, terms.ttl))} hits`
}

/** The groups of a placement as the plan keeps them, with one without marks for the rows that stand outside. */
export function groupPlansOf(
  pool: PoolProfile,
  placement: Placement,
  terms: PlacementTerms,
  how: { readonly prime: boolean; readonly hitRate: number; readonly certainty: string },
): GroupPlan[] {
  const scaled = (prefix: SharedPrefix) => Math.round(prefix.tokens * terms.tokenRatio)
  const groups = placement.groups.map((group): GroupPlan => {
    const ours = group.marks.filter((prefix) => prefix.mark === null)
    const breakEven = formatPercent(breakEvenHitRate(terms.rates, group.ttl))
    const pays = `a ${group.ttl} mark pays above ${breakEven} hits, ${formatPercent(how.hitRate)} are expected (${how.certainty})`
    const owner = ours.length === 0 ? '; marked by the job itself, kept as it is' : ''
    return {
      group: group.prefix.hash,
      model: pool.model,
      variant: pool.variant,
      rows: group.rows,
      marks: ours.map((prefix) => ({
        path: prefix.path,
        ttl: group.ttl,
        prefixHash: prefix.hash,
        tokens: scaled(prefix),
      })),
      prime: how.prime,
      because: `${sharing(group.prefix, scaled(group.prefix), group.rows)}; ${pays}${owner}`,
    }
  })
  const outside = pool.rows - groups.reduce((sum, group) => sum + group.rows, 0)
  return outside > 0 ? [...groups, unmarkedGroup(pool, outside, placement.elsewhere)] : groups
}

/** Rows that go without marks of ours, and why. */
export function unmarkedGroup(pool: PoolProfile, rows: number, because: string): GroupPlan {
  return { group: '', model: pool.model, variant: pool.variant, rows, marks: [], prime: false, because }
}

const groupsByHash = new WeakMap<RunPlan, ReadonlyMap<string, GroupPlan>>()

/**
 * The marked group that a row belongs to, by its candidate prefix hashes, shallow first; null when it has none. Model
 * and settings are folded into the hashes, so they need not be asked for.
 */
export function groupOf(plan: RunPlan, rowPrefixes: readonly string[]): GroupPlan | null {
  let groups = groupsByHash.get(plan)
  if (!groups) {
    groups = new Map(plan.groups.filter((group) => group.group !== '').map((group) => [group.group, group]))
    groupsByHash.set(plan, groups)
  }
  for (let depth = rowPrefixes.length - 1; depth >= 0; depth--) {
    const group = groups.get(rowPrefixes[depth]!)
    if (group) return group
  }
  return null
}

function sharing(prefix: SharedPrefix, tokens: number, rows: number = prefix.rows): string {
  return `${formatCount(tokens)} tokens to the end of ${prefix.path} are shared by ${formatCount(rows)} rows`
}
