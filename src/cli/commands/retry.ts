import { existsSync } from 'node:fs'
import { TitheError } from '../../core/errors.ts'
import { settingsFromJson } from '../../core/job.ts'
import { formatUsd } from '../../core/money.ts'
import { refuseHeld } from '../../runs/lease.ts'
import {
  checkRetryable,
  type RetryOrder,
  type RetrySurvey,
  reopenRows,
  surveyRetry,
} from '../../runs/retry-run.ts'
import type { RunRecord, Store } from '../../stores/store.ts'
import { catalogueFor, isHolderGone, planningDeps, THIS_PROCESS } from '../../wiring.ts'
import { upstreamOfRun } from '../choose-upstream.ts'
import { driveRun } from '../drive-run.ts'
import type { Flags } from '../flags.ts'
import { budgetFlag, openJob } from '../planning.ts'
import { outputFlag } from '../results-file.ts'
import type { Session } from '../session.ts'
import { ask } from './run.ts'

export async function run(session: Session, args: readonly string[], flags: Flags): Promise<number> {
  const found = await session.findRun(args[0])
  const { terminal } = session
  const home = await session.home()
  const deps = { ...home, wallClock: home.clock, holder: THIS_PROCESS, isHolderGone }
  await refuseHeld(found.id, deps)
  await checkRetryable(found, home.store)
  const budget = budgetFlag(flags)
  const choice = upstreamOfRun(session, flags, found)
  const output = await outputFlag(flags)
  const only = typeof flags['only'] === 'string' ? flags['only'] : null
  const order: RetryOrder = { run: found, only, job: await jobOf(session, found, flags) }
  const catalogue = catalogueFor(settingsFromJson(found.settingsJson))
  // A describer serves one pass over a job.
  const describer = () => planningDeps(catalogue, false, null).describer
  const survey = await surveyRetry(home.store, order, describer(), catalogue, home.clock.now())
  terminal.say(surveyText(found, survey, only))
  if (survey.rows === 0) {
    throw new TitheError('nothing_to_retry', `no row of run ${found.id} is sent again`, {
      hint: await whyNothing(home.store, found.id, only),
    })
  }
  if (choice.kind !== 'local' && flags['yes'] !== true) {
    const most =
      survey.worstPicoUsd === null ? 'an unknown amount' : `at most ${formatUsd(survey.worstPicoUsd)}`
    if (!(await ask(session, `This will spend ${most} at ${found.upstream}. Go on? [y/N] `))) {
      terminal.say('nothing was sent')
      return 2
    }
  }
  await reopenRows(deps, order, describer())
  return driveRun(session, {
    run: found,
    choice,
    catalogue,
    options: { once: false, acceptProbe: true, ...(budget === null ? {} : { budget }) },
    output,
  })
}

async function whyNothing({ runs }: Store, run: string, only: string | null): Promise<string> {
  if (only !== null) return `'tithe results ${run} --only ${only}' shows what there is of these`
  const { unretrievable } = await runs.counts(run)
  return unretrievable === 0
    ? 'every row that can be sent has a usable answer'
    : `${unretrievable} rows were lost unread and may have been paid for: they go out only with --only unretrievable`
}

/** The job as it is now; null when its file is gone, or it never had one. */
async function jobOf(session: Session, { jobPath }: RunRecord, flags: Flags): Promise<RetryOrder['job']> {
  const stated = flags['job']
  const path = typeof stated === 'string' ? stated : jobPath
  if (path === null || (typeof stated !== 'string' && !existsSync(path))) {
    const why = path === null ? 'the job has no file' : `${path} is not there any more`
    session.terminal.say(`${why}: rows go out as they were stored, and invalid ones stay as they are`)
    return null
  }
  const { job } = await openJob(session, path, flags)
  if (job.stated === null) return job
  throw new TitheError('plan_only', `${path} states sizes instead of giving rows: it was never run`)
}

function surveyText(
  run: RunRecord,
  { rows, kinds, stillInvalid, unretrievable, pending, worstPicoUsd }: RetrySurvey,
  only: string | null,
) {
  const parts = [...kinds].map(([kind, count]) => `${count} ${kind}`).join(', ')
  const lines = [`${rows} of ${run.rows} rows of run ${run.id} go out again${rows === 0 ? '' : `: ${parts}`}`]
  if (stillInvalid > 0) lines.push(`${stillInvalid} of those chosen cannot be sent, as before`)
  if (rows > 0 && pending > 0) lines.push(`${pending} that were not sent yet go out with them`)
  if (rows > 0 && unretrievable > 0) {
    lines.push(
      `${unretrievable} were lost unread and may have been paid for: they go out only with --only unretrievable`,
    )
  }
  if (only === 'unretrievable')
    lines.push('their earlier answers may have been paid for: these are paid for beside them')
  if (rows > 0) {
    const most = worstPicoUsd === null ? 'without an upper bound' : `at most ${formatUsd(worstPicoUsd)}`
    lines.push(`cost: ${most}, for one answer each; what they have cost stays in the ledger`)
  }
  return lines.join('\n')
}
