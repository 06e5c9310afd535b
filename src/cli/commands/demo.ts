import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { TitheError } from '../../core/errors.ts'
import { formatUsd } from '../../core/money.ts'
import { resultRows } from '../../runs/result-rows.ts'
import type { Flags } from '../flags.ts'
import type { Session } from '../session.ts'
import { runChaos } from './demo-chaos.ts'
import * as runCommand from './run.ts'

const JOBS = ['examples/tickets/job.yaml', 'examples/invoices/job.yaml'] as const
const SHOWN_RESULTS = 3

const BEFORE = `Two example jobs on the embedded upstream: no key, no network, no cost.
Its answers are made up, valid under the schema of the job, and say nothing about a model. Caching, batches, prices and
the bill follow the rules of the API. Time is virtual: what would wait for minutes or hours is skipped.`

/** Both examples, on the local upstream, whatever the environment says: a demonstration spends nothing. */
export async function run(session: Session, _args: readonly string[], flags: Flags): Promise<number> {
  if (flags['chaos'] === true) return runChaos(session, exampleAt(JOBS[0]))
  const { terminal } = session
  terminal.say(BEFORE)
  let code = 0
  for (const job of JOBS) {
    const path = exampleAt(job)
    terminal.say(`\n$ tithe run ${job}\n`)
    const local: Session = Object.create(session, {
      config: { value: { ...session.config, upstream: 'local' } },
    }) as Session
    code = Math.max(code, await runCommand.run(local, [path], { again: true }))
    await showResults(session)
  }
  terminal.say(`
next: tithe status     the batches of the last run
      tithe results    its answers, as JSONL, CSV or Parquet
      tithe init       a job of your own`)
  return code
}

function exampleAt(job: string): string {
  const path = fileURLToPath(new URL(`../../../${job}`, import.meta.url))
  if (!existsSync(path)) throw new TitheError('no_examples', `the example ${job} is not installed`)
  return path
}

/** The first answers of the latest run, beside the data of its report. */
async function showResults(session: Session): Promise<void> {
  const { store } = await session.home()
  const { id } = await session.findRun(undefined)
  session.terminal.say(`\n$ tithe results   (the first ${SHOWN_RESULTS})\n`)
  let shown = 0
  for await (const row of resultRows(store, id)) {
    const cost = row.costPicoUsd === null ? '' : ` · ${formatUsd(row.costPicoUsd)}`
    session.terminal.say(`${row.id} · ${row.outcome}${cost}\n  ${row.text ?? row.error}`)
    shown += 1
    if (shown === SHOWN_RESULTS) break
  }
}
