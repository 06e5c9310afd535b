import { spawn } from 'node:child_process'
import { openSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { sha256Hex } from '../../core/digest.ts'
import { TitheError } from '../../core/errors.ts'
import { settingsFromJson } from '../../core/job.ts'
import { formatUsd } from '../../core/money.ts'
import type { RunPlan } from '../../core/run-plan.ts'
import { fingerprintJob } from '../../jobs/fingerprint.ts'
import { type BeginDeps, beginRun, earlierRun } from '../../runs/begin-run.ts'
import { driverOf, refuseHeld } from '../../runs/lease.ts'
import type { RunRecord } from '../../stores/store.ts'
import {
  catalogueFor,
  isHolderGone,
  placeOf,
  planningDeps,
  THIS_PROCESS,
  type UpstreamChoice,
} from '../../wiring.ts'
import { chooseUpstream } from '../choose-upstream.ts'
import { driveRun } from '../drive-run.ts'
import type { Flags } from '../flags.ts'
import { budgetFlag, openJob, planningOptions } from '../planning.ts'
import { renderPlan } from '../render-plan.ts'
import { outputFlag } from '../results-file.ts'
import type { Session } from '../session.ts'
import * as reportCommand from './report.ts'

export async function run(session: Session, args: readonly string[], flags: Flags): Promise<number> {
  const path = args[0]!
  const { job, catalogue } = await openJob(session, path, flags)
  if (job.stated !== null) {
    throw new TitheError(
      'plan_only',
      `${path} states sizes instead of giving rows: it can be planned, not run`,
      {
        hint: 'give it an input',
      },
    )
  }
  const choice = chooseUpstream(session, flags, job.settings.upstream)
  const output = await outputFlag(flags)
  const { terminal } = session
  const deps = { ...(await session.home()), holder: THIS_PROCESS, isHolderGone }
  const { upstream } = placeOf(choice)
  const fingerprint = sha256Hex(`${upstream}\n${await fingerprintJob(job)}`)
  const earlier = await earlierRun(deps, fingerprint)
  if (earlier?.state === 'stopped' && (budgetFlag(flags) === null || flags['detach'] === true)) {
    throw new TitheError('stopped', `this job has run ${earlier.id}, which stopped: ${earlier.stopReason}`, {
      hint: `'tithe resume ${earlier.id}' goes on, 'tithe cancel ${earlier.id}' ends it`,
      exitCode: 4,
    })
  }
  if (earlier !== null && earlier.state !== 'finished') {
    await refuseHeld(earlier.id, { ...deps, wallClock: deps.clock })
    terminal.say(`this job has an unfinished run: going on with ${earlier.id}`)
    return goOn(session, earlier, choice, flags, output)
  }
  if (earlier !== null && flags['again'] !== true) {
    await reportCommand.run(session, [earlier.id])
    throw new TitheError(
      'already_run',
      `this very job was run already, as ${earlier.id}; its report is above`,
      {
        hint: `its results: 'tithe results ${earlier.id}'. To buy it a second time: --again`,
      },
    )
  }
  if (choice.kind === 'local') await refuseBusyHome(deps)
  const begun = await beginRun(
    deps,
    job,
    { fingerprint, upstream, upstreamKind: choice.kind },
    planningDeps(catalogue, flags['exact'] === true, { dir: deps.dir, place: placeOf(choice) }),
    planningOptions(flags),
    (plan) => {
      terminal.say(renderPlan(plan, { ...terminal, allModels: false }))
      return consents(session, plan, choice, flags)
    },
  )
  if (begun === null) {
    terminal.say('nothing was sent')
    return 2
  }
  return goOn(session, begun, choice, flags, output)
}

/** The local service of a home is one process's: said before the run stands in the store, not after. */
async function refuseBusyHome(deps: BeginDeps): Promise<void> {
  for (const { id, state, upstreamKind } of await deps.store.runs.findRuns('')) {
    if (state !== 'running' || upstreamKind !== 'local') continue
    const driver = await driverOf(id, { ...deps, wallClock: deps.clock })
    if (driver === null) continue
    throw new TitheError(
      'home_busy',
      `run ${id}, driven by process ${driver}, has the local upstream of this home`,
      {
        hint: 'wait for it, or give this run a home of its own: --home <dir>',
      },
    )
  }
}

/** Asks before money is spent on a real key; the local upstream costs nothing. */
async function consents(
  session: Session,
  plan: RunPlan,
  choice: UpstreamChoice,
  flags: Flags,
): Promise<boolean> {
  if (choice.kind === 'local' || flags['yes'] === true) return true
  const route = plan.routes.find((one) => one.route === plan.chosen)
  const cost = route?.cost
    ? `about ${formatUsd(route.cost.best)}, at most ${route.worstCase === null ? 'unknown' : formatUsd(route.worstCase)}`
    : 'unpriced'
  return ask(session, `This will spend ${cost} at ${placeOf(choice).upstream}. Go on? [y/N] `)
}

export async function ask(
  session: Session,
  question: string,
  why = 'this would spend money',
): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new TitheError('no_consent', `${why}, and nobody can be asked`, {
      hint: 'look at what it would do, then say --yes',
    })
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^y(es)?$/i.test((await terminal.question(question, { signal: session.signal })).trim())
  } finally {
    terminal.close()
  }
}

async function goOn(
  session: Session,
  found: RunRecord,
  choice: UpstreamChoice,
  flags: Flags,
  output: string | null,
): Promise<number> {
  if (flags['detach'] === true) return detach(session, found, flags, output)
  const budget = budgetFlag(flags)
  return driveRun(session, {
    run: found,
    choice,
    catalogue: catalogueFor(settingsFromJson(found.settingsJson)),
    // A run that stopped for a human does not go on because a script tries again: only `resume` is such a decision.
    options: { once: false, acceptProbe: false, ...(budget === null ? {} : { budget }) },
    output,
  })
}

/** A process of its own goes on; its words go to a log in the home. */
async function detach(
  session: Session,
  found: RunRecord,
  flags: Flags,
  output: string | null,
): Promise<number> {
  const { dir } = await session.home()
  const logFile = join(dir, `${found.id}.log`)
  const log = openSync(logFile, 'a', 0o600)
  const args = ['resume', found.id, '--home', dir]
  if (output !== null) args.push('--output', output)
  if (flags['realTime'] === true) args.push('--real-time')
  for (const name of ['speed', 'concurrency', 'budget']) {
    const value = flags[name]
    if (typeof value === 'string') args.push(`--${name}`, value)
  }
  const child = spawn(process.execPath, [process.argv[1]!, ...args], {
    detached: true,
    stdio: ['ignore', log, log],
  })
  child.unref()
  session.terminal.say(
    `run ${found.id} goes on in process ${child.pid}; follow it with 'tithe status ${found.id} --watch'`,
  )
  session.terminal.say(`its log: ${logFile}`)
  if (session.terminal.json) {
    await session.terminal.out(
      `${JSON.stringify({ schema: 'tithe.detached/1', run: found.id, pid: child.pid, log: logFile })}\n`,
    )
  }
  return 5
}
