import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { parseCustomId } from '../../src/core/custom-id.ts'
import { REALTIME_CONCURRENCY } from '../../src/runs/realtime.ts'
import { ledgerOf } from '../../src/runs/report-run.ts'
import { resultRows } from '../../src/runs/result-rows.ts'
import { openSqliteStore } from '../../src/stores/sqlite/sqlite-store.ts'
import type { LocalSettings } from '../../src/upstreams/local/local-upstream.ts'
import { localInvoice } from '../../src/wiring.ts'
import { type Ended, type Files, folder, start, titheJson } from '../cli/tithe.ts'

// The program with its files, killed before or after one of its writing calls, and then resumed to its end. Calls are
// counted, not timed, so that the points lie evenly over the whole run: its primer, its waves, its retries, its calls in
// realtime.

const ROWS = 150
/** Long enough to be cached: the run is primed. */
const HANDBOOK = Array.from(
  { length: 160 },
  (_, rule) => `Rule ${rule}: a ticket about matter ${rule} is for team ${rule % 7}.`,
)

/** A job and a service that make a run of one kind. */
interface World {
  readonly job: string
  readonly service: Partial<LocalSettings>
  /** The kinds of its waves. */
  readonly kinds: readonly string[]
}

export const WORLDS = {
  /** Most rows that fail do so once; eight times in a row none will. */
  retries: {
    job: 'max_attempts: 8',
    service: { erroredShare: 0.08, batchLatencyMs: [45_000] },
    kinds: ['primer', 'probe', 'bulk', 'retry'],
  },
  /** By this seed the third batch waits in the queue until it must be canceled, and is answered in realtime. */
  deadline: {
    job: 'within: 12h',
    service: { seed: 4628, batchLatencyMs: [45_000, 45_000, 86_000_000], pollAfterMs: 600_000 },
    kinds: ['primer', 'probe', 'bulk', 'realtime'],
  },
} as const satisfies Record<string, World>

const files = (world: World): Files => ({
  'job.yaml': `model: claude-opus-4-8
max_tokens: 4000
expected_output: 150
system: file:handbook.md
prompt: "Sort: {{text}}"
input: rows.csv
id: id
cache: {ttl: 1h}
${world.job}
`,
  'handbook.md': `${HANDBOOK.join('\n')}\n`,
  'rows.csv': `id,text\n${Array.from({ length: ROWS }, (_, row) => `t-${row},ticket number ${row}\n`).join('')}`,
})
const service = (world: World) => ({
  NODE_OPTIONS: `--import ${new URL('./unreliable.ts', import.meta.url)}`,
  SERVICE: JSON.stringify(world.service),
})

interface Outcome {
  /** What must not depend on how often the run was killed: each row's id, outcome, answer and billed output. */
  readonly rows: readonly object[]
  /** Answers in the ledger. */
  readonly entries: number
  /** Answers of batches on the upstream's bill without a ledger entry. */
  readonly lost: number
  /** Answers of batches on the upstream's bill beyond the first of a row. */
  readonly double: number
  /** Realtime calls that were billed and whose answers died with the process. */
  readonly underWay: number
}

/** What stands in the files of a home that nobody has open. */
async function outcomeOf(home: string): Promise<Outcome> {
  const { runs, bodies } = await openSqliteStore({ dir: home })
  try {
    const [run, ...others] = await runs.findRuns('')
    assert.deepEqual(others, [], 'a killed run is gone on with, not begun again')
    const rows: object[] = []
    for await (const { id, outcome, text, outputTokens } of resultRows({ runs, bodies }, run!.id)) {
      rows.push({ id, outcome, text, outputTokens })
    }
    const entered = new Set<string>()
    for await (const entry of ledgerOf(run!.id, runs))
      entered.add(`${entry.upstreamBatchId} ${entry.customId}`)
    let lost = 0
    let lines = 0
    let realtimeLines = 0
    const answered = new Set<number>()
    for await (const { batchId, customId } of localInvoice(home)) {
      if (batchId === null) {
        realtimeLines += 1
        continue
      }
      lines += 1
      answered.add(parseCustomId(customId)!.ordinal)
      if (!entered.has(`${batchId} ${customId}`)) lost += 1
    }
    const realtimeEntries = [...entered].filter((entry) => entry.startsWith('null ')).length
    const underWay = realtimeLines - realtimeEntries
    return { rows, entries: entered.size, lost, double: lines - answered.size, underWay }
  } finally {
    await runs.close()
    await bodies.close()
  }
}

/** To its end, in as many lives as it takes to come past reading the rows. */
async function resume(cwd: string, world: World): Promise<Ended> {
  const resumed = await start(cwd, ['resume'], service(world)).ended
  if (!/was interrupted while its rows were read|there is no run yet/.test(resumed.stderr)) return resumed
  return start(cwd, ['run', 'job.yaml'], service(world)).ended
}

/** Where in a run its last words fall. */
function phaseOf(stderr: string): string {
  return [...stderr.matchAll(/^wave \d+ (\w+):/gm)].at(-1)?.[1] ?? 'preparing'
}

/** A new run, killed before (even) or after (odd) one of its calls. */
async function killedAt(
  world: World,
  instant: number,
): Promise<{ readonly cwd: string; readonly life: Ended }> {
  const cwd = folder(files(world))
  const at = `call:${Math.floor(instant / 2) + 1}:${instant % 2 === 0 ? 'before' : 'after'}`
  const life = await start(cwd, ['run', 'job.yaml'], { ...service(world), TITHE_KILL_AT: at }).ended
  if (life.signal === 'SIGKILL') return { cwd, life }
  // Which rows fail is drawn for each run anew, and this one needed fewer retries: an earlier instant then.
  assert.equal(life.code, 0, life.stderr)
  return killedAt(world, instant - 41)
}

/** Kills `count` runs, each at its own point, two at a time, and holds what became of each against an undisturbed one. */
export async function tryKillPoints(t: TestContext, world: World, count: number): Promise<void> {
  const calm = folder(files(world))
  const undisturbed = await start(calm, ['run', 'job.yaml'], {
    ...service(world),
    TITHE_KILL_AT: 'call:1000000',
  }).ended
  assert.equal(undisturbed.code, 0, undisturbed.stderr)
  for (const kind of world.kinds) assert.ok(undisturbed.stderr.includes(` ${kind}:`))
  const calls = Number(/has not come: (\d+) calls/.exec(undisturbed.stderr)?.[1])
  const expected = await outcomeOf(join(calm, '.tithe'))
  assert.equal(expected.rows.length, ROWS)

  const killed = new Map<string, number>()
  let lost = 0
  let double = 0
  let underWay = 0
  await Promise.all(
    Array.from({ length: count }, (_, index) => Math.floor((index * 2 * calls) / count)).map((instant) =>
      t.test(`at instant ${instant} of ${2 * calls}`, async (point) => {
        const { cwd, life } = await killedAt(world, instant)
        const phase = phaseOf(life.stderr)
        killed.set(phase, (killed.get(phase) ?? 0) + 1)
        point.diagnostic(`${phase}: ${life.stderr.trimEnd().split('\n').at(-1)}`)

        const resumed = await resume(cwd, world)
        // Killed after its last word, a run is over; otherwise the life after tells of the whole of it.
        const isOver = /is finished/.test(resumed.stderr)
        assert.ok(resumed.code === 0 || isOver, resumed.stderr)
        const outcome = await outcomeOf(join(cwd, '.tithe'))
        lost += outcome.lost + ROWS - outcome.rows.length
        double += outcome.double
        underWay += outcome.underWay
        assert.deepEqual({ ...outcome, underWay: 0 }, expected)
        assert.ok(outcome.underWay <= REALTIME_CONCURRENCY, `${outcome.underWay} calls were under way`)
        const report = await titheJson(cwd, 'report')
        assert.equal(report['ledger_equals_invoice'], true, JSON.stringify(report['invoice']))
      }),
    ),
  )
  const phases = [...killed].map(([phase, times]) => `${phase} ${times}`).join(', ')
  const kills = [...killed.values()].reduce((sum, times) => sum + times, 0)
  t.diagnostic(`kill points ${kills} over ${calls} writing calls: ${phases}`)
  t.diagnostic(
    `lost ${lost}, double ${double}; realtime calls under way at a kill, and asked again: ${underWay}`,
  )
  assert.equal(kills, count)
}
