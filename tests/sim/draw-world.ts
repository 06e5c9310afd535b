import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/core/instant.ts'
import type { JobSettings } from '../../src/core/job.ts'
import { PICO_PER_USD, picoUsd } from '../../src/core/money.ts'
import { FAULT_NAMES, FAULTS, type FaultName } from '../../src/upstreams/faults.ts'
import type { LocalSettings } from '../../src/upstreams/local/local-upstream.ts'
import { seededRandom } from '../../src/upstreams/local/seeded.ts'
import { RUN, type WorldOptions } from './harness.ts'
import { MACHINE_FAULT_NAMES, type MachineFault } from './machine-faults.ts'

// What a seed stands for, as data. Of ten seeds one has a single named fault, five have a pair and four have many; one
// after the other they go through all faults and all pairs.

export type SimFault = FaultName | MachineFault
export const SIM_FAULTS: readonly SimFault[] = [...FAULT_NAMES, ...MACHINE_FAULT_NAMES]
export const isUpstreamFault = (name: SimFault): name is FaultName => name in FAULTS

export type SeedKind = 'alone' | 'pair' | 'random'

export interface DrawnRun {
  readonly id: string
  readonly options: WorldOptions & { readonly rows: number; readonly handbooks: number }
  readonly settings: Partial<JobSettings>
  /** Whether a user cancels it in the middle. */
  readonly isCanceled: boolean
}

export interface DrawnWorld {
  readonly seed: number
  readonly kind: SeedKind
  readonly faults: readonly SimFault[]
  readonly pace: Pace
  readonly local: Partial<LocalSettings>
  readonly pollAfterMs: number
  readonly runs: readonly DrawnRun[]
}

type Pace = 'quick' | 'hours' | 'late' | 'expires' | 'expires in part'

const PAIRS = (SIM_FAULTS.length * (SIM_FAULTS.length - 1)) / 2
/** Neighbouring seeds have pairs that lie far apart. A prime that does not divide the number of pairs. */
const STRIDE = 7_919

export interface Draw {
  (): number
  below(limit: number): number
  chance(share: number): boolean
  one<T>(...values: readonly T[]): T
}

export function drawer(seed: string): Draw {
  const random = seededRandom(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  return Object.assign(() => random(), {
    below,
    chance: (share: number) => random() < share,
    one: <T>(...values: readonly T[]): T => values[below(values.length)]!,
  })
}

/** @param attempt draws the world of a seed again when not enough happened in it; the same for the same two numbers. */
export function drawWorld(seed: number, attempt: number): DrawnWorld {
  const draw = drawer(`sim ${seed} ${attempt}`)
  const { below, chance, one } = draw
  const { kind, faults } = faultsOf(seed, draw)
  const asks = (prefix: string) => faults.some((name) => name.startsWith(prefix))
  const needsErrors = faults.includes('results: errors of many kinds') || asks('results: billing')

  const patient = ['quick', 'quick', 'quick', 'quick', 'hours', 'late'] as const
  // A lost create is looked for every minute until its candidates have ended: days of that would be most of the work.
  const pace: Pace = asks('create: lands')
    ? 'hours'
    : asks('create:')
      ? one(...patient)
      : one<Pace>(...patient, 'expires', 'expires in part')
  const isSlow = pace === 'expires in part'
  // A batch whose rows take their time is canceled with some done, some running and some not begun.
  const dawdles = (pace === 'hours' || pace === 'late') && chance(0.7)
  const mayPause = chance(0.1)
  const local: Partial<LocalSettings> = {
    seed,
    batchLatencyMs: {
      quick: [45 * SECOND_MS, 6 * MINUTE_MS],
      hours: [20 * MINUTE_MS, 100 * MINUTE_MS],
      late: [20 * MINUTE_MS, 5 * HOUR_MS],
      expires: [HOUR_MS, 30 * HOUR_MS],
      'expires in part': [HOUR_MS],
    }[pace],
    ...(isSlow ? { concurrency: 4, firstTokenMs: 4 * HOUR_MS } : {}),
    ...(dawdles ? { concurrency: 4, firstTokenMs: 25 * MINUTE_MS } : {}),
    erroredShare: needsErrors ? 0.3 : one(0, 0, 0.05, 0.3),
    refusedShare: one(0, 0, 0.1),
    truncatedShare: one(0, 0, 0.1),
    pausedShare: mayPause ? 0.3 : 0,
  }
  // A plan with batches needs two hours at least; a run in a hurry whose batches are quick would never cancel one.
  const within = (share: number): Partial<JobSettings> => {
    if (!chance(pace === 'late' ? share : share / 4)) return {}
    const withinMs = one(120, 180, 240) * MINUTE_MS
    return { withinMs, onDeadline: one('realtime', 'realtime', 'pay_twice', 'announce') }
  }
  const run = (id: string, rows: number, settings: Partial<JobSettings>, isCanceled: boolean): DrawnRun => {
    const handbooks = 2 + below(2)
    const variants = 1 + below(3)
    const isJson = settings.outputSchema !== undefined
    const request = (ordinal: number) => ({
      system: [{ type: 'text', text: HANDBOOKS[ordinal % handbooks]! }],
      ...(isJson ? { output_config: { format: { type: 'json_schema', schema: SCHEMA } } } : {}),
      ...(mayPause ? { tools: [SEARCH] } : {}),
    })
    const betas = (ordinal: number) => (ordinal % variants === 0 ? [] : [`simulated-${ordinal % variants}`])
    const { cache, batch, budgetPicoUsd, withinMs } = settings
    const shape = [rows, handbooks, variants, isJson, mayPause, cache, batch, budgetPicoUsd, withinMs].join()
    return { id, options: { rows, handbooks, request, betas, shape }, settings, isCanceled }
  }
  const policies = (): Partial<JobSettings> => ({
    maxAttempts: 1 + below(4),
    cache: one<JobSettings['cache']>('auto', 'auto', 'off'),
    onTruncated: one('keep', 'retry'),
    onRefused: one('keep', 'keep', 'retry'),
    ...(chance(0.15) ? { outputSchema: SCHEMA, onSchemaInvalid: one('keep', 'retry') } : {}),
    deleteRemote: asks('delete:') || chance(0.2) ? 'after_ingest' : 'never',
  })
  const budgetPicoUsd = chance(0.3) ? picoUsd((PICO_PER_USD * one(3n, 6n, 10n, 15n, 20n)) / 100n) : null
  // Realtime calls take hours where the first token does.
  const isRealtime = !isSlow && (asks('message:') || chance(0.2))
  return {
    seed,
    kind,
    faults,
    pace,
    local,
    pollAfterMs: pace === 'quick' ? MINUTE_MS / 2 : HOUR_MS / 3,
    runs: [
      run(
        RUN,
        30 + 6 * below(chance(0.15) ? 9 : 4),
        { ...policies(), ...within(0.6), budgetPicoUsd },
        chance(0.05),
      ),
      run('r0000000sj', 6 + 2 * below(4), { ...policies(), ...within(0.6) }, asks('cancel:') || chance(0.2)),
      run('r0000000sk', 6 + 2 * below(4), { ...policies(), batch: isRealtime ? 'off' : 'auto' }, chance(0.1)),
    ],
  }
}

const SCHEMA = {
  type: 'object',
  properties: { answer: { type: 'string' }, sure: { type: 'integer' } },
  required: ['answer', 'sure'],
  additionalProperties: false,
}
const SEARCH = { type: 'web_search_20250305', name: 'web_search', max_uses: 2 }

/** Some answers are called invalid, always the same ones: the local upstream's own always fit their schema. */
export function simulatedSchema(value: unknown): string | null {
  const { length } = JSON.stringify(value)
  return length % 5 === 0 ? 'not what was asked for' : null
}

/** Prefixes just over the smallest that is cached. */
const HANDBOOKS = [0, 1, 2].map((book) => `handbook ${book}. `.repeat(350))

function faultsOf(seed: number, draw: Draw): { kind: SeedKind; faults: readonly SimFault[] } {
  const ten = Math.floor(seed / 10)
  const place = seed % 10
  if (place === 0) return { kind: 'alone', faults: [SIM_FAULTS[ten % SIM_FAULTS.length]!] }
  if (place <= 5) return { kind: 'pair', faults: pairOf(((ten * 5 + place - 1) * STRIDE) % PAIRS) }
  return { kind: 'random', faults: SIM_FAULTS.filter(() => draw.chance(0.15)) }
}

function pairOf(index: number): readonly SimFault[] {
  let left = index
  for (let first = 0; ; first++) {
    const partners = SIM_FAULTS.length - 1 - first
    if (left < partners) return [SIM_FAULTS[first]!, SIM_FAULTS[first + 1 + left]!]
    left -= partners
  }
}
