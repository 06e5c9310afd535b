import { writeFileSync } from 'node:fs'
import { TitheError } from '../../core/errors.ts'
import { starterJob } from '../../jobs/starter-job.ts'
import type { Session } from '../session.ts'

export async function run(session: Session, args: readonly string[]): Promise<number> {
  const file = args[0] ?? 'job.yaml'
  try {
    writeFileSync(file, starterJob(), { flag: 'wx' })
  } catch (error) {
    const taken = (error as NodeJS.ErrnoException).code === 'EEXIST'
    throw new TitheError(
      'cannot_write',
      taken ? `${file} is there already` : `cannot write: ${(error as Error).message}`,
      {
        where: { file },
        hint: taken ? "name another file: 'tithe init other.yaml'" : 'choose a folder that you may write to',
      },
    )
  }
  session.terminal.say(`wrote ${file}; next: tithe plan ${file}`)
  return 0
}
