import { writeFileSync } from 'node:fs'
import { TitheError } from '../../core/errors.ts'
import { starterJob } from '../../jobs/starter-job.ts'
import type { Session } from '../session.ts'

export async function run(session: Session, args: readonly string[]): Promise<number> {
  const file = args[0] ?? 'job.yaml'
  try {
    writeFileSync(file, starterJob(), { flag: 'wx' })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const taken = code === 'EEXIST'
    const reason = code === 'ENOENT' ? 'its folder does not exist' : (error as Error).message
    throw new TitheError('cannot_write', taken ? `${file} is there already` : `${file}: ${reason}`, {
      where: { file },
      hint: taken ? "name another file: 'tithe init other.yaml'" : 'choose a folder that you may write to',
    })
  }
  const { terminal } = session
  if (terminal.json) await terminal.out(`${JSON.stringify({ schema: 'tithe.init/1', file })}\n`)
  terminal.say(`wrote ${file}; next: tithe plan ${file}`)
  return 0
}
