import { TitheError } from '../../core/errors.ts'
import { settingsFromJson } from '../../core/job.ts'
import { refuseHeld } from '../../runs/lease.ts'
import { catalogueFor, isHolderGone } from '../../wiring.ts'
import { upstreamOfRun } from '../choose-upstream.ts'
import { driveRun } from '../drive-run.ts'
import type { Flags } from '../flags.ts'
import type { Session } from '../session.ts'

export async function run(session: Session, args: readonly string[], flags: Flags): Promise<number> {
  const found = await session.findRun(args[0])
  if (found.state === 'preparing') {
    const { store, clock } = await session.home()
    await refuseHeld(found.id, { store, wallClock: clock, isHolderGone })
    await store.runs.discardPreparing(found.id)
    const { terminal } = session
    if (terminal.json)
      await terminal.out(`${JSON.stringify({ schema: 'tithe.forgotten/1', run: found.id })}\n`)
    terminal.say(`run ${found.id} had sent nothing; it is forgotten`)
    return 0
  }
  if (found.state === 'finished' || found.state === 'canceled') {
    throw new TitheError('run_over', `run ${found.id} is ${found.state} already`, {
      hint: `see it with 'tithe report ${found.id}'`,
    })
  }
  return driveRun(session, {
    run: found,
    choice: upstreamOfRun(session, flags, found),
    catalogue: catalogueFor(settingsFromJson(found.settingsJson)),
    options: { once: false, acceptProbe: true, cancel: true },
    output: null,
  })
}
