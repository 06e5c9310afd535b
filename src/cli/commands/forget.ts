import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { formatTimestamp } from '../../core/instant.ts'
import { settingsFromJson } from '../../core/job.ts'
import { checkForgettable, type Forgotten, forgetRun } from '../../runs/forget-run.ts'
import type { RunRecord } from '../../stores/store.ts'
import { catalogueFor, isHolderGone, type OpenUpstream, openUpstream, THIS_PROCESS } from '../../wiring.ts'
import { upstreamOfRun } from '../choose-upstream.ts'
import type { Flags } from '../flags.ts'
import type { Session } from '../session.ts'
import { ask } from './run.ts'

/** What stays all the same, for nobody here can remove it. */
const OUT_OF_REACH = [
  'what the provider keeps by its own retention',
  'result files that you wrote, the job and its input',
  'copies of this home: backups, snapshots, blocks that a disk has set aside',
]

export async function run(session: Session, args: readonly string[], flags: Flags): Promise<number> {
  const found = await session.findRun(args[0])
  const { terminal } = session
  const isRemote = flags['remote'] === true
  const home = await session.home()
  const deps = { ...home, wallClock: home.clock, holder: THIS_PROCESS, isHolderGone }
  await checkForgettable(found, deps)
  if (flags['yes'] !== true) {
    const where = isRemote ? ' here and at its upstream' : ''
    const question = `Forget what run ${found.id} (${found.name}, ${found.rows} rows) asked and was answered${where}? Only its ledger is kept. [y/N] `
    if (!(await ask(session, question, 'this cannot be undone'))) {
      terminal.say('nothing was forgotten')
      return 2
    }
  }
  const opened = await upstreamFor(session, found, isRemote)
  try {
    const upstream = opened === null ? null : session.kill.around(opened.upstream)
    const forgotten = await forgetRun(found, { ...deps, remote: isRemote ? upstream : null })
    opened?.local?.scrub()
    // What a driver in the background has said.
    rmSync(join(home.dir, `${found.id}.log`), { force: true })
    await terminal.out(
      terminal.json
        ? `${JSON.stringify(forgottenJson(found, forgotten), null, 2)}\n`
        : `${renderForgotten(found, forgotten)}\n`,
    )
    return forgotten.left.some(({ problem }) => problem !== null) ? 3 : 0
  } finally {
    await opened?.close()
  }
}

/** The embedded one in any case: its file is in this home, and keeps what was deleted until it is rewritten. */
async function upstreamFor(
  session: Session,
  run: RunRecord,
  isRemote: boolean,
): Promise<OpenUpstream | null> {
  if (!isRemote && run.upstreamKind !== 'local') return null
  // In real time, so that nobody else's batches are hurried along.
  const choice = upstreamOfRun(session, { realTime: true }, run)
  return openUpstream(await session.home(), choice, catalogueFor(settingsFromJson(run.settingsJson)))
}

function renderForgotten(run: RunRecord, { deleted, left }: Forgotten): string {
  const lines = [
    `run ${run.id} is forgotten: of its content nothing is left in this home; its ledger is kept`,
  ]
  const batches = (count: number) => (count === 1 ? '1 batch' : `${count} batches`)
  if (deleted.length > 0) lines.push(`${batches(deleted.length)} deleted at ${run.upstream}`)
  const failed = left.filter(({ problem }) => problem !== null)
  for (const { batchId, problem } of failed) lines.push(`batch ${batchId} could not be deleted: ${problem}`)
  if (failed.length > 0) lines.push(`  hint: 'tithe forget ${run.id} --remote' tries again`)
  else if (left.length > 0) {
    lines.push(
      `${batches(left.length)} with prompts and answers stay at ${run.upstream}: 'tithe forget ${run.id} --remote' deletes them`,
    )
  }
  lines.push('out of reach:', ...OUT_OF_REACH.map((what) => `  ${what}`))
  return lines.join('\n')
}

function forgottenJson(run: RunRecord, { at, deleted, left }: Forgotten) {
  return {
    schema: 'tithe.forget/1',
    run: run.id,
    forgotten_at: formatTimestamp(at),
    deleted_batches: deleted,
    left_batches: left.map(({ batchId, problem }) => ({ batch_id: batchId, problem })),
    out_of_reach: OUT_OF_REACH,
  }
}
