import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { TitheError } from '../../core/errors.ts'
import type { Session } from '../session.ts'
import * as runCommand from './run.ts'

const JOBS = ['tickets/job.yaml', 'invoices/job.yaml']

/** Both examples, on the local upstream, whatever the environment says: a demonstration spends nothing. */
export async function run(session: Session): Promise<number> {
  let code = 0
  for (const job of JOBS) {
    const path = fileURLToPath(new URL(`../../../examples/${job}`, import.meta.url))
    if (!existsSync(path)) throw new TitheError('no_examples', `the example ${job} is not installed`)
    session.terminal.say(`\n$ tithe run ${job}\n`)
    const local: Session = Object.create(session, {
      config: { value: { ...session.config, upstream: 'local' } },
    }) as Session
    code = Math.max(code, await runCommand.run(local, [path], { again: true }))
  }
  session.terminal.say(
    "\nnext: 'tithe results' for the answers, 'tithe status' for the batches, 'tithe init' for a job of your own",
  )
  return code
}
