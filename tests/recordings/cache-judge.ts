import type { JsonObject } from '../../src/core/json.ts'
import type { Catalogue } from '../../src/core/models.ts'
import { parseUsage } from '../../src/core/usage.ts'
import { type Bill, type Prediction, Replay } from './cache-replay.ts'
import { type Recording, sessionsOf } from './recording.ts'

/**
 * Holds the cache rules against recorded usage: every session with cache activity is replayed (cache-replay.ts), and
 * every prediction compared with what was recorded.
 *
 * Scored are the requests that can be predicted at all: they have a mark, and some prefix of theirs was written earlier
 * in the same recording. Two kinds are counted apart and listed, each by what its own record proves: *warm* requests
 * read what this recording is not known to have written (somebody recorded minutes before), and requests in which a
 * *server tool ran* report the sum of several samplings, so that their total is not the size of their prompt. Telling
 * them apart needs their outcome, predicting them does not use it; `strict` counts both as misses. Rows without a date have a table of their own, because their TTL cannot be checked.
 */

export type TokenClass = keyof Bill
export const TOKEN_CLASSES: readonly TokenClass[] = ['read', 'write_5m', 'write_1h']

export interface CacheMiss {
  readonly cassette: string
  readonly index: number
  readonly line: number
  readonly origin: string
  readonly dated: boolean
  readonly predicted: Bill
  readonly recorded: Bill
  readonly reason: string
}

export interface CacheScore {
  readonly scored: number
  /** Requests predicted exactly, and those of which more was predicted than recorded, by class. */
  readonly exact: Bill
  readonly over: Bill
  /** Requests that a baseline predicts exactly. */
  readonly always_zero: Bill
  readonly same_as_last_time: Bill
  /** With those counted apart as misses. */
  readonly strict: { readonly scored: number; readonly exact: Bill }
}

export interface CacheReport {
  readonly recordings: number
  readonly sessions: number
  readonly requests: number
  readonly dated: CacheScore
  readonly undated: CacheScore
  readonly all: CacheScore
  /** Marked requests of all recordings whose prefix was new: whether anything was cached, as the minimums have it. */
  readonly first_of_prefix: { readonly requests: number; readonly as_predicted: number }
  readonly misses: readonly CacheMiss[]
  readonly apart: readonly CacheMiss[]
  readonly first_misses: readonly CacheMiss[]
}

interface Judged {
  readonly recording: Recording
  readonly predicted: Bill
  readonly recorded: Bill
  /** Recorded of the request before it in the same recording. */
  readonly last: Bill
  readonly apart: boolean
  readonly reason: string
}

/** A fault of our prefix hashes would show here too: what they call new must not drop out of sight. */
const UNKNOWN_READ = 'read a prefix that, by its hashes, this recording had not written'

const NOTHING: Bill = { read: 0, write_5m: 0, write_1h: 0 }

export function judgeCache(recordings: readonly Recording[], catalogue: Catalogue): CacheReport {
  const judged: Judged[] = []
  const first: Judged[] = []
  let sessions = 0
  let requests = 0
  for (const session of sessionsOf(recordings)) {
    const isActive = session.some(({ usage }) => hasCacheActivity(usage))
    if (isActive) {
      sessions++
      requests += session.length
    }
    const replay = new Replay(session, catalogue)
    let last = NOTHING
    let hasWritten = false
    for (const recording of session) {
      const usage = parseUsage({ output_tokens: 0, ...recording.usage })
      if (usage === null) continue
      const prediction = replay.next(recording, usage)
      const recorded: Bill = {
        read: usage.cacheReadTokens,
        write_5m: usage.cacheWrite5mTokens,
        write_1h: usage.cacheWrite1hTokens,
      }
      const one = { recording, predicted: prediction.bill, recorded, last }
      last = recorded
      const isLaterRead = hasWritten && recorded.read > 0
      hasWritten ||= recorded.write_5m + recorded.write_1h > 0
      if (!prediction.marked) continue
      if (!prediction.writtenBefore && isLaterRead) judged.push({ ...one, apart: true, reason: UNKNOWN_READ })
      else if (prediction.writtenBefore) judged.push({ ...one, ...verdictOn(prediction, recorded) })
      else if (!prediction.ranServerTool) first.push({ ...one, apart: false, reason: minimumReason(one) })
    }
  }
  const isDated = (one: Judged): boolean => one.recording.answeredAtMs !== null
  return {
    recordings: recordings.length,
    sessions,
    requests,
    dated: scoreOf(judged.filter(isDated)),
    undated: scoreOf(judged.filter((one) => !isDated(one))),
    all: scoreOf(judged),
    first_of_prefix: {
      requests: first.length,
      as_predicted: first.filter((one) => one.reason === 'exact').length,
    },
    misses: judged.filter((one) => !one.apart && one.reason !== 'exact').map(missOf),
    apart: judged.filter((one) => one.apart).map(missOf),
    first_misses: first.filter((one) => one.reason !== 'exact').map(missOf),
  }
}

function hasCacheActivity(usage: JsonObject): boolean {
  return Number(usage['cache_read_input_tokens'] ?? 0) + Number(usage['cache_creation_input_tokens'] ?? 0) > 0
}

/** A new prefix may be read all the same, from an earlier recording: what counts is whether anything was cached. */
function minimumReason({ predicted, recorded }: Pick<Judged, 'predicted' | 'recorded'>): string {
  const isCached = (bill: Bill): boolean => bill.read + bill.write_5m + bill.write_1h > 0
  if (isCached(predicted) === isCached(recorded)) return 'exact'
  return isCached(predicted)
    ? 'cached nothing above the minimum'
    : 'cached below the minimum (sizes never seen are estimated)'
}

function verdictOn(prediction: Prediction, recorded: Bill): Pick<Judged, 'apart' | 'reason'> {
  const { bill, knownSizes } = prediction
  if (prediction.ranServerTool) {
    return { apart: true, reason: 'a server tool ran: usage is the sum of several samplings' }
  }
  if (recorded.read > bill.read && !knownSizes.has(recorded.read)) {
    return prediction.guessedRead
      ? { apart: false, reason: 'the size of the prefix that was read had never been seen: estimated' }
      : { apart: true, reason: 'warm: read more than this recording had written' }
  }
  return { apart: false, reason: reasonOf(prediction, recorded) }
}

function reasonOf({ bill, guessedRead, guessedWrite }: Prediction, recorded: Bill): string {
  if (bill.read !== recorded.read) {
    if (guessedRead) return 'the size of the prefix that was read had never been seen: estimated'
    if (bill.read < recorded.read) return 'read an entry that should have been gone or out of reach'
    return 'the service read less than its rules allow: sent in parallel with the writer, or a miss of its own'
  }
  if (TOKEN_CLASSES.every((name) => bill[name] === recorded[name])) return 'exact'
  return guessedWrite
    ? 'the tokens after the mark had never been seen: estimated'
    : 'more or fewer tokens after the mark than last time'
}

function scoreOf(judged: readonly Judged[]): CacheScore {
  const scored = judged.filter((one) => !one.apart)
  const exact = (one: Judged, name: TokenClass): boolean => one.predicted[name] === one.recorded[name]
  return {
    scored: scored.length,
    exact: countByClass(scored, exact),
    over: countByClass(scored, (one, name) => one.predicted[name] > one.recorded[name]),
    always_zero: countByClass(scored, (one, name) => one.recorded[name] === 0),
    same_as_last_time: countByClass(scored, (one, name) => one.recorded[name] === one.last[name]),
    strict: { scored: judged.length, exact: countByClass(scored, exact) },
  }
}

function countByClass(judged: readonly Judged[], holds: (one: Judged, name: TokenClass) => boolean): Bill {
  const count = (name: TokenClass): number => judged.filter((one) => holds(one, name)).length
  return { read: count('read'), write_5m: count('write_5m'), write_1h: count('write_1h') }
}

function missOf({ recording, predicted, recorded, reason }: Judged): CacheMiss {
  const { cassette, index, line, origin, answeredAtMs } = recording
  return { cassette, index, line, origin, dated: answeredAtMs !== null, predicted, recorded, reason }
}

/** For people; every miss with its reason. */
export function cacheSummary(report: CacheReport): string[] {
  const { dated, undated, first_of_prefix: first } = report
  const lines = [
    `Cache: ${report.sessions} recordings with cache activity, ${report.requests} requests`,
    '  scored: marked requests of which a prefix was written earlier in the same recording, each predicted from the usage',
    '  of the requests before it and its own total; strict: those counted apart below are misses',
    ...scoreLines('with a date', dated),
    ...scoreLines('without a date (TTL not checked)', undated),
    `  new prefixes cached or not as the minimum says: ${share(first.as_predicted, first.requests)}`,
    `  missed: ${report.misses.length}`,
    ...report.misses.map(missLine),
    `  counted apart, as their outcome shows: ${report.apart.length}`,
    ...report.apart.map(missLine),
  ]
  if (report.first_misses.length > 0) lines.push('  new prefixes against the minimum:')
  return [...lines, ...report.first_misses.map(missLine)]
}

function scoreLines(name: string, score: CacheScore): string[] {
  return [
    `  ${name}: ${score.scored} scored`,
    ...TOKEN_CLASSES.map(
      (tokens) =>
        `    ${tokens.padEnd(8)} exact ${share(score.exact[tokens], score.scored)}, too high ${share(score.over[tokens], score.scored)}` +
        `; always zero ${share(score.always_zero[tokens], score.scored)}` +
        `, same as last time ${share(score.same_as_last_time[tokens], score.scored)}` +
        `; strict ${share(score.strict.exact[tokens], score.strict.scored)}`,
    ),
  ]
}

function share(count: number, total: number): string {
  return total === 0 ? '0 of 0' : `${count} of ${total} (${((100 * count) / total).toFixed(1)} %)`
}

function missLine(miss: CacheMiss): string {
  const bill = ({ read, write_5m, write_1h }: Bill): string => `${read}/${write_5m}/${write_1h}`
  const where = `line ${miss.line}, ${miss.cassette}#${miss.index}${miss.dated ? '' : ', no date'}`
  return `    ${where}: read/5m/1h predicted ${bill(miss.predicted)}, recorded ${bill(miss.recorded)}: ${miss.reason}`
}
