import { AssertionError } from '../core/assert.ts'
import { TitheError } from '../core/errors.ts'
import type { CommandName, Flags } from './flags.ts'
import { parseArguments } from './parse.ts'
import { errorJson, renderError } from './render-error.ts'
import type { Session } from './session.ts'
import { openTerminal } from './terminal.ts'

type CommandModule = { run(session: Session, args: readonly string[], flags: Flags): Promise<number> }

/** Loaded when used: start-up is felt. */
const MODULES: Readonly<Record<CommandName, () => Promise<CommandModule>>> = {
  plan: () => import('./commands/plan.ts'),
  try: () => import('./commands/try.ts'),
  run: () => import('./commands/run.ts'),
  resume: () => import('./commands/resume.ts'),
  retry: () => import('./commands/retry.ts'),
  status: () => import('./commands/status.ts'),
  results: () => import('./commands/results.ts'),
  cancel: () => import('./commands/cancel.ts'),
  report: () => import('./commands/report.ts'),
  doctor: () => import('./commands/doctor.ts'),
  forget: () => import('./commands/forget.ts'),
  recover: () => import('./commands/recover.ts'),
  reconcile: () => import('./commands/reconcile.ts'),
  models: () => import('./commands/models.ts'),
  demo: () => import('./commands/demo.ts'),
  init: () => import('./commands/init.ts'),
}

/** The program: parse, dispatch, map to an exit code (design.md 6). */
export async function main(argv: readonly string[]): Promise<number> {
  // A reader that has seen enough (`| head`) is no error: stop writing, quietly.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
  const terminal = openTerminal(argv.includes('--json'), process.env)
  let session: Session | null = null
  try {
    const parsed = parseArguments(argv)
    if (parsed.kind === 'help') {
      await terminal.out(parsed.text)
      return 0
    }
    const { openSession } = await import('./session.ts')
    session = openSession(terminal, parsed.flags, process.env)
    const command = await MODULES[parsed.command]()
    return await command.run(session, parsed.args, parsed.flags)
  } catch (error) {
    if (session?.interrupted) return session.interruptedCode
    terminal.fail(terminal.json ? JSON.stringify(errorJson(error)) : renderError(error, process.cwd()))
    if (error instanceof TitheError) return error.exitCode
    if (error instanceof AssertionError) return 2
    return 3
  } finally {
    // What closing cannot write, nothing refers to: rows are recorded only once their bodies are on the disk.
    await session?.close().catch(() => {})
    const unreached = session?.kill.unreached() ?? null
    if (unreached !== null) terminal.say(unreached)
  }
}
