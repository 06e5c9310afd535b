import { TitheError } from '../core/errors.ts'
import { ANTHROPIC_BASE_URL, type UpstreamChoice } from '../wiring.ts'
import type { Flags } from './flags.ts'
import type { Session } from './session.ts'

/**
 * Flag or environment, then the job, then `tithe.yaml`, then local: also when a key is set, so that no tutorial spends
 * money (design.md 6). An address stands for an API at that address.
 */
export function chooseUpstream(
  session: Pick<Session, 'config' | 'environment'>,
  flags: Flags,
  jobUpstream: string | null,
): UpstreamChoice {
  const { config, environment } = session
  const stated = config.upstream ?? jobUpstream ?? config.fileUpstream ?? 'local'
  if (stated === 'local') return { kind: 'local', ...paceOf(flags) }
  return anthropicAt(environment, /^https?:/.test(stated) ? stated : (config.baseUrl ?? ANTHROPIC_BASE_URL))
}

/** A run goes on with the upstream that it began with, or nowhere. */
export function upstreamOfRun(
  session: Pick<Session, 'environment'>,
  flags: Flags,
  run: { readonly upstreamKind: 'local' | 'anthropic'; readonly upstream: string },
): UpstreamChoice {
  return run.upstreamKind === 'local'
    ? { kind: 'local', ...paceOf(flags) }
    : anthropicAt(session.environment, run.upstream)
}

/** For people and for the run's record; tells real from simulated, never holds a key. */
export function describeUpstream(choice: UpstreamChoice): string {
  return choice.kind === 'local' ? 'local (simulated)' : choice.baseUrl
}

function anthropicAt(environment: NodeJS.ProcessEnv, baseUrl: string): UpstreamChoice {
  const apiKey = environment['ANTHROPIC_API_KEY']
  if (!apiKey) {
    throw new TitheError('no_key', `the upstream ${baseUrl} needs a key, and ANTHROPIC_API_KEY is not set`, {
      hint: "set it, or rehearse for free with '--upstream local'",
    })
  }
  if (!URL.canParse(baseUrl)) throw new TitheError('bad_flag', `${baseUrl} is not a URL`)
  return { kind: 'anthropic', baseUrl, apiKey, workspace: environment['ANTHROPIC_WORKSPACE_ID'] ?? null }
}

function paceOf(flags: Flags): { realTime: boolean; speed: number; concurrency: number | null } {
  const realTime = flags['realTime'] === true
  const speed = flags['speed'] === undefined ? 1 : Number(flags['speed'])
  if (!(speed > 0))
    throw new TitheError('bad_flag', `--speed takes a number above 0, not ${String(flags['speed'])}`)
  if (speed !== 1 && !realTime) {
    throw new TitheError(
      'bad_flag',
      '--speed goes with --real-time: without it, waiting is skipped altogether',
    )
  }
  const concurrency = flags['concurrency'] === undefined ? null : Number(flags['concurrency'])
  if (concurrency !== null && !(Number.isInteger(concurrency) && concurrency > 0)) {
    throw new TitheError(
      'bad_flag',
      `--concurrency takes a whole number above 0, not ${String(flags['concurrency'])}`,
    )
  }
  return { realTime, speed, concurrency }
}
