import { sha256Hex } from '../../core/digest.ts'
import { TitheError } from '../../core/errors.ts'
import { formatTimestamp } from '../../core/instant.ts'
import { formatUsd, moneyFields } from '../../core/money.ts'
import type { FoundRun, SurveyedBatch } from '../../core/recover-run.ts'
import { fingerprintJob } from '../../jobs/fingerprint.ts'
import { adoptBatches, rebuildRun, recoverableRuns, surveyEnded } from '../../runs/recover.ts'
import { RECOVERY_EVENTS } from '../../runs/recovery-events.ts'
import { ledgerOf } from '../../runs/report-run.ts'
import type { RowCounts, RunRecord, SubmissionRecord } from '../../stores/store.ts'
import { isHolderGone, openUpstream, placeOf, planningDeps, runDeps, THIS_PROCESS } from '../../wiring.ts'
import { chooseUpstream } from '../choose-upstream.ts'
import type { Flags } from '../flags.ts'
import { openJob, planningOptions } from '../planning.ts'
import { progressPrinter } from '../progress-line.ts'
import type { Session } from '../session.ts'
import { renderTable } from '../table.ts'

export async function run(session: Session, args: readonly string[], flags: Flags): Promise<number> {
  const path = args[0]!
  const { job, catalogue } = await openJob(session, path, flags)
  if (job.stated !== null) {
    throw new TitheError('plan_only', `${path} states sizes instead of giving rows: it was never run`)
  }
  const choice = chooseUpstream(session, flags, job.settings.upstream)
  const home = await session.home()
  const opened = await openUpstream(home, choice, catalogue)
  try {
    const surveyed = await surveyEnded(opened.upstream, opened.clock)
    const { runs } = await recoverableRuns(surveyed, job)
    const found = chosen(runs, surveyed, flags, path)
    const { upstream } = placeOf(choice)
    const identity = {
      fingerprint: sha256Hex(`${upstream}\n${await fingerprintJob(job)}`),
      upstream,
      upstreamKind: choice.kind,
    }
    const begin = { ...home, holder: THIS_PROCESS, isHolderGone }
    const planning = planningDeps(catalogue, flags['exact'] === true, {
      dir: home.dir,
      place: placeOf(choice),
    })
    const record =
      (await rebuiltBefore(session, found.run)) ??
      (await rebuildRun(begin, found.run, job, identity, planning, planningOptions(flags)))
    const deps = runDeps(home, opened, catalogue, {
      emit: progressPrinter(session.terminal),
      signal: session.signal,
    })
    const accepts = flags['acceptUnknown'] === true
    const { unknown } = await adoptBatches(record, found, surveyed, deps, accepts)
    session.terminal.clearStatus()
    return await tell(session, record.id, unknown, accepts)
  } finally {
    await opened.close()
  }
}

/** A run that recover itself began is gone on with; any other is there already, and needs no recovery. */
async function rebuiltBefore(session: Session, id: string): Promise<RunRecord | null> {
  const { store } = await session.home()
  const record = (await store.runs.findRuns(id)).find((one) => one.id === id) ?? null
  if (record === null) return null
  const kinds = (await store.runs.events(id)).map((event) => event.kind)
  if (kinds.includes(RECOVERY_EVENTS.begun) && !kinds.includes(RECOVERY_EVENTS.complete)) return record
  throw new TitheError('not_lost', `run ${id} is in this home: nothing is lost`, {
    hint: `see it with 'tithe status ${id}'`,
  })
}

function chosen(
  runs: readonly FoundRun[],
  surveyed: readonly SurveyedBatch[],
  flags: Flags,
  path: string,
): FoundRun {
  const wanted = flags['run']
  const fitting = typeof wanted === 'string' ? runs.filter((one) => one.run.startsWith(wanted)) : runs
  const [only] = fitting
  if (only !== undefined && fitting.length === 1) return only
  if (fitting.length === 0) {
    const ended = surveyed.filter((batch) => batch.state === 'ended').length
    const unread = surveyed.filter((batch) => batch.customIds === null).length
    throw new TitheError(
      'nothing_to_recover',
      `no batch of the workspace is of ${path}${typeof wanted === 'string' ? ` and a run ${wanted}` : ''}: ${surveyed.length} looked at, ${ended} of them ended, ${unread} without readable results`,
      {
        hint:
          unread > 0
            ? 'a batch can only be told when it has ended: recover again later'
            : 'the job must be the one that ran, rows and ids included, and the key one of its workspace',
      },
    )
  }
  const lines = fitting.map(({ run: id, batches }) => {
    const rows = batches.reduce((sum, batch) => sum + batch.rows, 0)
    return `${id}: ${batches.length} batches of ${rows} rows since ${formatTimestamp(batches[0]!.createdAt).slice(0, 19)}Z`
  })
  throw new TitheError('several_runs', `${fitting.length} runs fit ${path}:\n${lines.join('\n')}`, {
    hint: `say which: --run ${fitting[0]!.run}`,
  })
}

async function tell(
  session: Session,
  id: string,
  unknown: readonly SurveyedBatch[],
  accepted: boolean,
): Promise<number> {
  const { store } = await session.home()
  const counts = await store.runs.counts(id)
  const submissions = await store.runs.submissions(id)
  let paid = 0n
  for await (const entry of ledgerOf(id, store.runs)) paid += entry.costPicoUsd ?? 0n
  const isComplete = unknown.length === 0 || accepted
  const { terminal } = session
  await terminal.out(
    terminal.json
      ? `${JSON.stringify(recoveredJson(id, counts, submissions, unknown, paid, isComplete), null, 2)}\n`
      : `${renderRecovered(id, counts, submissions, unknown, paid, isComplete)}\n`,
  )
  return isComplete ? 0 : 4
}

function isAnswered(submission: SubmissionRecord): boolean {
  return submission.upstreamBatchId !== null
}

function renderRecovered(
  id: string,
  counts: RowCounts,
  submissions: readonly SubmissionRecord[],
  unknown: readonly SurveyedBatch[],
  paid: bigint,
  isComplete: boolean,
): string {
  const gaps = submissions.filter((one) => !isAnswered(one)).map((one) => one.number)
  const table = renderTable(
    [
      { header: '#', align: 'right' },
      { header: 'batch' },
      { header: 'created' },
      { header: 'rows', align: 'right' },
    ],
    submissions
      .filter(isAnswered)
      .map((one) => [
        String(one.number),
        one.upstreamBatchId!,
        one.createdAt === null ? '' : `${formatTimestamp(one.createdAt).slice(0, 19)}Z`,
        String(one.rows),
      ]),
  )
  const done = counts.succeeded + counts.errored + counts.expired + counts.canceled
  const lines = [
    `run ${id} is rebuilt`,
    table,
    `${done} rows are done, ${counts.pending} wait; ${formatUsd(paid)} was paid for what was read`,
  ]
  if (gaps.length > 0) {
    lines.push(
      `of ${gaps.length === 1 ? 'submission' : 'submissions'} ${gaps.join(', ')} there is no batch: never sent, answered in realtime, or deleted. What was answered in realtime is not kept by anybody: those rows are asked again`,
    )
  }
  for (const batch of unknown) {
    lines.push(
      `batch ${batch.id}, ${batch.rows} rows, may be of this run and ${batch.state === 'open' ? `has not ended (at ${formatTimestamp(batch.expiresAt).slice(0, 19)}Z at the latest)` : 'has no readable results'}`,
    )
  }
  lines.push(
    isComplete
      ? `'tithe resume ${id}' goes on`
      : `it sends nothing before these are known: 'tithe recover' again later, or --accept-unknown to pay for their rows again`,
  )
  return lines.join('\n')
}

function recoveredJson(
  id: string,
  counts: RowCounts,
  submissions: readonly SubmissionRecord[],
  unknown: readonly SurveyedBatch[],
  paid: bigint,
  isComplete: boolean,
) {
  return {
    schema: 'tithe.recover/1',
    run: id,
    complete: isComplete,
    rows: {
      succeeded: counts.succeeded,
      errored: counts.errored,
      expired: counts.expired,
      canceled: counts.canceled,
      pending: counts.pending,
    },
    ...moneyFields('paid', paid),
    batches: submissions.filter(isAnswered).map((one) => ({
      submission: one.number,
      batch_id: one.upstreamBatchId,
      created_at: one.createdAt === null ? null : formatTimestamp(one.createdAt),
      rows: one.rows,
      duplicate: one.isDuplicate,
    })),
    missing_submissions: submissions.filter((one) => !isAnswered(one)).map((one) => one.number),
    unknown_batches: unknown.map((batch) => ({
      batch_id: batch.id,
      rows: batch.rows,
      state: batch.state,
      expires_at: formatTimestamp(batch.expiresAt),
    })),
  }
}
