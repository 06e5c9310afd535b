import { TitheError } from '../core/errors.ts'
import { formatTimestamp } from '../core/instant.ts'
import type { Catalogue } from '../core/models.ts'
import { type DriveEnd, type DriveOptions, drive } from '../runs/driver.ts'
import { refuseHeld } from '../runs/lease.ts'
import type { RunRecord } from '../stores/store.ts'
import { isHolderGone, openUpstream, runDeps, type UpstreamChoice } from '../wiring.ts'
import { exitCodeOf } from './exit-codes.ts'
import { printReport } from './print-report.ts'
import { progressPrinter } from './progress-line.ts'
import { writeResultsFile } from './results-file.ts'
import type { Session } from './session.ts'

export interface Driving {
  readonly run: RunRecord
  readonly choice: UpstreamChoice
  readonly catalogue: Catalogue
  readonly options: DriveOptions
  /** Where the results go when the run has finished; null for nowhere. */
  readonly output: string | null
}

/** Drives a run to its end in this process, shows it, and prints its report. */
export async function driveRun(session: Session, driving: Driving): Promise<number> {
  const { run, choice, catalogue, options } = driving
  const { kill, terminal } = session
  const home = await session.home()
  await refuseHeld(run.id, { ...home, wallClock: home.clock, isHolderGone })
  session.onInterrupt(`go on with 'tithe resume ${run.id}'`)
  const opened = await openUpstream(home, choice, catalogue)
  const print = progressPrinter(terminal)
  try {
    const emit = (event: Parameters<typeof print>[0]) => {
      print(event)
      kill.onEvent(event)
    }
    const deps = runDeps(home, { ...opened, upstream: kill.around(opened.upstream) }, catalogue, {
      emit,
      signal: session.signal,
    })
    const end = await drive(run.id, deps, options)
    terminal.clearStatus()
    return await conclude(session, driving, end, opened.local)
  } finally {
    await opened.close()
  }
}

async function conclude(
  session: Session,
  { run, catalogue, output }: Driving,
  end: DriveEnd,
  local: Awaited<ReturnType<typeof openUpstream>>['local'],
): Promise<number> {
  const { store } = await session.home()
  if (end.kind === 'stopped') {
    throw new TitheError('stopped', `run ${run.id} stopped: ${end.reason}`, {
      hint: `nothing is lost. Look with 'tithe status ${run.id}'; 'tithe resume ${run.id}' goes on, 'tithe cancel ${run.id}' ends it`,
      exitCode: 4,
    })
  }
  if (end.kind === 'in_progress') {
    const { terminal } = session
    const next_look_at = end.until === null ? null : formatTimestamp(end.until)
    const progress = { schema: 'tithe.in_progress/1', run: run.id, next_look_at }
    if (terminal.json) await terminal.out(`${JSON.stringify(progress)}\n`)
    terminal.say(`run ${run.id} is in progress; go on with 'tithe resume ${run.id}'`)
    return 5
  }
  session.terminal.say('')
  await printReport(session, run.id, catalogue, local)
  if (output !== null) await writeResultsFile(store, run.id, output)
  const state = (await store.runs.findRuns(run.id))[0]!.state
  return exitCodeOf(await store.runs.counts(run.id), state)
}
