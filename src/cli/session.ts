import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { TitheError } from '../core/errors.ts'
import type { RunRecord } from '../stores/store.ts'
import { type Home, openHome } from '../wiring.ts'
import { type Config, readConfig } from './config.ts'
import type { Flags } from './flags.ts'
import { type KillSwitch, killAt } from './kill-at.ts'
import { errorJson } from './render-error.ts'
import type { Terminal } from './terminal.ts'

/** One invocation of the program. Commands get everything of the outside through it. */
export interface Session {
  readonly terminal: Terminal
  readonly config: Config
  readonly environment: NodeJS.ProcessEnv
  readonly kill: KillSwitch
  /** Aborted by the first Ctrl-C. */
  readonly signal: AbortSignal
  readonly interrupted: boolean
  readonly interruptedCode: number
  /** Said when interrupted: how to go on. */
  onInterrupt(says: string): void
  /** Opens the home, made if need be; once. */
  home(): Promise<Home>
  /** The home if it is there already: looking at a job leaves nothing behind. */
  existingHome(): Promise<Home | null>
  /** Resolves a run argument: a unique beginning of an id, or the latest run. */
  findRun(argument: string | undefined): Promise<RunRecord>
  close(): Promise<void>
}

export function openSession(terminal: Terminal, flags: Flags, environment: NodeJS.ProcessEnv): Session {
  const controller = new AbortController()
  const config = readConfig(flags, environment, process.cwd())
  const kill = killAt(environment)
  let says = ''
  const folder = homeFolder(config.home, process.cwd())
  let home: Promise<Home> | null = null
  const openOnce = (): Promise<Home> => {
    home ??= openHome(folder).then(({ store, ...opened }) => ({
      ...opened,
      store: { runs: kill.around(store.runs), bodies: kill.around(store.bodies) },
    }))
    return home
  }
  const interrupt = () => {
    if (controller.signal.aborted) process.exit(5)
    const error = new TitheError('interrupted', 'interrupted; nothing is lost', {
      ...(says === '' ? {} : { hint: says }),
      exitCode: 5,
    })
    const text = `${error.message}${says === '' ? '' : `. ${says}`}`
    terminal.fail(terminal.json ? JSON.stringify(errorJson(error)) : text)
    controller.abort(error)
  }
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', interrupt)
  return {
    terminal,
    config,
    environment,
    kill,
    signal: controller.signal,
    get interrupted() {
      return controller.signal.aborted
    },
    interruptedCode: 5,
    onInterrupt: (text) => {
      says = text
    },
    home: () => openOnce(),
    existingHome: async () => (existsSync(folder) ? openOnce() : null),
    async findRun(argument) {
      // Asking for a run leaves nothing behind where there is none.
      const found = existsSync(folder) ? await (await openOnce()).store.runs.findRuns(argument ?? '') : []
      const [run] = found
      if (run === undefined) {
        throw new TitheError(
          'unknown_run',
          argument ? `no run begins with ${argument}` : 'there is no run yet',
          {
            hint: argument ? "'tithe status' shows the latest run" : "start one: 'tithe run job.yaml'",
            where: { file: folder },
          },
        )
      }
      if (argument !== undefined && found.length > 1 && run.id !== argument) {
        throw new TitheError('ambiguous_run', `${found.length} runs begin with ${argument}`, {
          hint: `say more of the id: ${found
            .slice(0, 5)
            .map((one) => one.id)
            .join(', ')}`,
        })
      }
      return run
    },
    async close() {
      process.off('SIGINT', interrupt)
      process.off('SIGTERM', interrupt)
      if (home !== null) await (await home.catch(() => null))?.close()
    },
  }
}

/** `--home` or `$TITHE_HOME`, else the nearest `.tithe` here or above, else a new one here (design.md 6). */
function homeFolder(stated: string | null, from: string): string {
  if (stated !== null) return resolve(from, stated)
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, '.tithe')
    if (existsSync(candidate)) return candidate
    if (dirname(folder) === folder) return join(from, '.tithe')
  }
}
