import { TitheError } from '../../core/errors.ts'
import { settingsFromJson } from '../../core/job.ts'
import { refuseForgotten } from '../../runs/forgotten.ts'
import { catalogueFor } from '../../wiring.ts'
import { upstreamOfRun } from '../choose-upstream.ts'
import { driveRun } from '../drive-run.ts'
import type { Flags } from '../flags.ts'
import { budgetFlag } from '../planning.ts'
import { outputFlag } from '../results-file.ts'
import type { Session } from '../session.ts'

export async function run(session: Session, args: readonly string[], flags: Flags): Promise<number> {
  const found = await session.findRun(args[0])
  refuseForgotten(found)
  if (found.state === 'preparing') {
    throw new TitheError(
      'not_started',
      `run ${found.id} was interrupted while its rows were read; nothing was sent`,
      {
        hint: `begin again: 'tithe run ${found.jobPath ?? 'job.yaml'}'`,
      },
    )
  }
  if (found.state === 'finished' || found.state === 'canceled') {
    throw new TitheError('run_over', `run ${found.id} is ${found.state}`, {
      hint: `see it with 'tithe report ${found.id}' and 'tithe results ${found.id}'; 'tithe retry ${found.id}' sends rows again`,
    })
  }
  const budget = budgetFlag(flags)
  const choice = upstreamOfRun(session, flags, found)
  return driveRun(session, {
    run: found,
    choice,
    catalogue: catalogueFor(settingsFromJson(found.settingsJson)),
    options: {
      once: flags['once'] === true,
      onceUntilChange: choice.kind === 'local' && !choice.realTime,
      // A stopped run goes on because a human says so: a bad probe was seen and accepted.
      acceptProbe: found.state === 'stopped',
      ...(budget === null ? {} : { budget }),
    },
    output: await outputFlag(flags),
  })
}
