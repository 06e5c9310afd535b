import { spawn } from 'node:child_process'
import { openSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { sha256Hex } from '../../core/digest.ts'
import { TitheError } from '../../core/errors.ts'
import { plusMs } from '../../core/instant.ts'
import { settingsFromJson, settingsToJson } from '../../core/job.ts'
import { formatUsd } from '../../core/money.ts'
import { planJson } from '../../core/plan-json.ts'
import type { RunPlan } from '../../core/run-plan.ts'
import { fingerprintJob } from '../../jobs/fingerprint.ts'
import { assignGroups, StoreSink } from '../../runs/prepare.ts'
import type { RunRecord } from '../../stores/store.ts'
import { catalogueFor, isHolderGone, THIS_PROCESS, type UpstreamChoice } from '../../wiring.ts'
import { chooseUpstream, describeUpstream } from '../choose-upstream.ts'
import { driveRun } from '../drive-run.ts'
import type { Flags } from '../main.ts'
import { checkPlan, type OpenJob, openJob, planOpenJob } from '../planning.ts'
import { renderPlan } from '../render-plan.ts'
import { outputFlag } from '../result-rows.ts'
import type { Session } from '../session.ts'
import * as reportCommand from './report.ts'

/** Long enough for rows to be read and stored between two renewals; nothing is sent meanwhile. */
const PREPARING_LEASE_MS = 24 * 3_600_000

export async function run(session: Session, args: readonly string[], flags: Flags): Promise<number> {
  const path = args[0]!
  const open = await openJob(session, path, flags)
  if (open.job.stated !== null) {
    throw new TitheError(
      'plan_only',
      `${path} states sizes instead of giving rows: it can be planned, not run`,
      {
        hint: 'give it an input',
      },
    )
  }
  const choice = chooseUpstream(session, flags, open.settings.upstream)
  const output = await outputFlag(flags)
  const { store } = await session.home()
  const fingerprint = sha256Hex(`${describeUpstream(choice)}\n${await fingerprintJob(open.job)}`)
  const earlier = await store.runs.runByFingerprint(fingerprint)
  if (earlier?.state === 'preparing') {
    const lease = await store.runs.leaseHolder(earlier.id)
    if (lease !== null && !isHolderGone(lease.holder)) {
      throw new TitheError(
        'run_held',
        `this very job is being read by process ${lease.holder}, as ${earlier.id}`,
      )
    }
    await store.runs.discardPreparing(earlier.id)
  } else if (earlier !== null && earlier.state !== 'finished') {
    session.terminal.say(`this job has an unfinished run: going on with ${earlier.id}`)
    return goOn(session, earlier, choice, flags, output)
  } else if (earlier !== null && flags['again'] !== true) {
    await reportCommand.run(session, [earlier.id])
    throw new TitheError(
      'already_run',
      `this very job was run already, as ${earlier.id}; its report is above`,
      {
        hint: `its results: 'tithe results ${earlier.id}'. To buy it a second time: --again`,
      },
    )
  }
  const prepared = await prepare(session, open, choice, flags, fingerprint)
  if (prepared === null) return 2
  return goOn(session, prepared, choice, flags, output)
}

/** Rows into the store, plan shown, consent taken. Null when the user said no: then nothing is left behind. */
async function prepare(
  session: Session,
  open: OpenJob,
  choice: UpstreamChoice,
  flags: Flags,
  fingerprint: string,
): Promise<RunRecord | null> {
  const { store, clock, ids } = await session.home()
  const { terminal } = session
  const now = clock.now()
  const record: RunRecord = {
    id: ids.runId(now),
    fingerprint,
    name: open.settings.name,
    jobPath: open.settings.path,
    createdAt: now,
    finishedAt: null,
    state: 'preparing',
    stopReason: null,
    upstream: describeUpstream(choice),
    upstreamKind: choice.kind,
    organizationId: null,
    workspaceId: null,
    settingsJson: settingsToJson(open.settings),
    planJson: '{}',
    rows: 0,
  }
  await store.runs.createRun(record)
  const lease = await store.runs.acquireLease(record.id, THIS_PROCESS, now, plusMs(now, PREPARING_LEASE_MS))
  if (lease.kind !== 'held') throw new TitheError('run_held', `run ${record.id} is taken`)
  try {
    const sink = new StoreSink(store, record.id, lease.fence)
    const { plan, prepared } = await planOpenJob(open, flags, sink, store.runs)
    if (!terminal.json) terminal.say(renderPlan(plan, { ...terminal, allModels: false }))
    checkPlan(plan)
    if (!(await consents(session, plan, choice, flags))) {
      await store.runs.discardPreparing(record.id)
      terminal.say('nothing was sent')
      return null
    }
    await assignGroups(store, record.id, lease.fence, plan)
    const planText = JSON.stringify(planJson(plan))
    await store.runs.startRun(record.id, lease.fence, planText, prepared!.rows)
    await store.runs.releaseLease(record.id, lease.fence)
    return { ...record, state: 'running', planJson: planText, rows: prepared!.rows }
  } catch (error) {
    await store.runs.discardPreparing(record.id)
    throw error
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
  return ask(session, `This will spend ${cost} at ${describeUpstream(choice)}. Go on? [y/N] `)
}

export async function ask(session: Session, question: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new TitheError('no_consent', 'this would spend money, and nobody can be asked', {
      hint: 'look at the plan, then say --yes',
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
  return driveRun(session, {
    run: found,
    choice,
    catalogue: catalogueFor(settingsFromJson(found.settingsJson)),
    options: { once: false, acceptProbe: found.state === 'stopped' },
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
  if (typeof flags['speed'] === 'string') args.push('--speed', flags['speed'])
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
