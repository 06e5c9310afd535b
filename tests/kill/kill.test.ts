import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, test } from 'node:test'
import { type Ended, type Files, folder, start, tithe, titheJson } from '../cli/tithe.ts'

// A real process with its real files, killed by SIGKILL: nothing is flushed, closed or cleaned up. What is left behind
// must be what `status` says, and the run must end as if nothing had happened: no row twice, no cent more.

const ROWS = 1_200
/** Long enough to be cached: the run is primed, so that a kill can cost a cache entry if anything is forgotten. */
const HANDBOOK = Array.from(
  { length: 160 },
  (_, rule) => `Rule ${rule}: a ticket about matter ${rule} is for team ${rule % 7}.`,
)

function job(extra: string): Files {
  const rows = Array.from(
    { length: ROWS },
    (_, row) => `t-${row},ticket number ${row} about matter ${row % 160}\n`,
  )
  return {
    'job.yaml': `model: claude-opus-4-8\nmax_tokens: 4000\nexpected_output: 150\nsystem: file:handbook.md\nprompt: "Sort: {{text}}"\ninput: rows.csv\nid: id\n${extra}`,
    'handbook.md': `${HANDBOOK.join('\n')}\n`,
    'rows.csv': `id,text\n${rows.join('')}`,
  }
}

interface Submission {
  readonly state: string
  readonly batch_id: string | null
  readonly rows: number
  readonly ingested_rows: number
}

async function submissionsOf(cwd: string): Promise<readonly Submission[]> {
  const status = (await titheJson(cwd, 'status')) as unknown as {
    readonly driver: string | null
    readonly submissions: readonly Submission[]
  }
  assert.equal(status.driver, null, 'a process that was killed drives nothing')
  return status.submissions
}

/** What the upstream itself wrote on its bill, also for batches that the run may have lost sight of. */
function linesInvoicedIn(cwd: string): number {
  const database = new DatabaseSync(join(cwd, '.tithe/local.sqlite'), { readOnly: true })
  try {
    return database.prepare('SELECT count(*) AS lines FROM invoice_lines').get()!['lines'] as number
  } finally {
    database.close()
  }
}

/** What must not depend on how often the run was killed. */
async function outcomeOf(cwd: string): Promise<object> {
  const report = (await titheJson(cwd, 'report')) as unknown as {
    readonly rows: Readonly<Record<string, number>>
    readonly bills: readonly { readonly cost_pico_usd: string; readonly cache: object }[]
    readonly cache_hit_rate: number | null
    readonly ledger_equals_invoice: boolean
  }
  assert.equal(report.ledger_equals_invoice, true)
  const results = (await tithe(cwd, 'results')).stdout.trimEnd().split('\n')
  const ids = results.map((line) => JSON.parse(line).id as string)
  assert.deepEqual(
    ids,
    Array.from({ length: ROWS }, (_, row) => `t-${row}`),
    'every row, once',
  )
  assert.equal(linesInvoicedIn(cwd), ROWS, 'nothing was bought twice')
  return {
    rows: report.rows,
    cost: report.bills.map((bill) => bill.cost_pico_usd),
    hitRate: report.cache_hit_rate,
  }
}

function runToItsEnd(cwd: string, args: readonly string[]): Promise<Ended> {
  return start(cwd, args).ended.then((ended) => {
    assert.equal(ended.code, 0, ended.stderr)
    return ended
  })
}

/** In this life, or in one that was killed before it could say so. */
function hasFinished({ code, stderr }: Ended): true {
  assert.ok(code === 0 || /was run already/.test(stderr), stderr)
  return true
}

describe('a run that is killed', { concurrency: 2 }, () => {
  let outcome: Promise<object> | null = null
  const undisturbed = () => {
    const primed = folder(job('cache: {ttl: 1h}\n'))
    outcome ??= runToItsEnd(primed, ['run', 'job.yaml']).then(() => outcomeOf(primed))
    return outcome
  }

  const instants: readonly {
    readonly at: string
    readonly leaves: string
    readonly proves: (last: Submission) => boolean
  }[] = [
    {
      at: 'submitting:2',
      leaves: 'an intent without a batch, although the upstream took the create',
      proves: ({ state, batch_id }) => state === 'submitting' && batch_id === null,
    },
    {
      at: 'in_progress:2',
      leaves: 'a batch in progress',
      proves: ({ state, batch_id }) => state === 'in_progress' && batch_id !== null,
    },
    {
      at: 'ingesting',
      leaves: 'a part of the results of a batch',
      proves: ({ state, ingested_rows, rows }) =>
        state === 'ended' && ingested_rows > 0 && ingested_rows < rows,
    },
  ]
  for (const { at, leaves, proves } of instants) {
    test(`at ${at} leaves ${leaves}, and resumes to the same end`, async () => {
      const cwd = folder(job('cache: {ttl: 1h}\n'))
      const killed = await start(cwd, ['run', 'job.yaml'], { TITHE_KILL_AT: at }).ended
      assert.equal(killed.signal, 'SIGKILL', killed.stderr)
      assert.ok(proves((await submissionsOf(cwd)).at(-1)!), JSON.stringify(await submissionsOf(cwd)))
      await runToItsEnd(cwd, ['resume'])
      assert.deepEqual(await outcomeOf(cwd), await undisturbed())
    })
  }

  test('twelve times at any moment ends as if it had not been killed', async (t) => {
    const calm = folder(job('cache: off\n'))
    await runToItsEnd(calm, ['run', 'job.yaml'])

    const cwd = folder(job('cache: off\n'))
    const moments: number[] = []
    let kills = 0
    let isOver = false
    while (!isOver && kills < 12) {
      // Real time in every other life: there an unanswered create is waited for longer than any life lasts.
      const pace = moments.length % 2 === 0 ? ['--real-time', '--speed', '5000'] : []
      const life = start(cwd, ['run', 'job.yaml', ...pace])
      const moment = 300 + Math.round(Math.random() * 700)
      moments.push(moment)
      const timer = setTimeout(() => life.child.kill('SIGKILL'), moment)
      const ended = await life.ended
      clearTimeout(timer)
      if (ended.signal === 'SIGKILL') kills += 1
      else isOver = hasFinished(ended)
    }
    t.diagnostic(`killed ${kills} times, after ${moments.join(', ')} ms`)
    if (!isOver) hasFinished(await tithe(cwd, 'run', 'job.yaml'))
    assert.deepEqual(await outcomeOf(cwd), await outcomeOf(calm))
  })
})
