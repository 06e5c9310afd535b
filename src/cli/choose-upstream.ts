import { TitheError } from '../core/errors.ts'
import type { Place } from '../core/measured.ts'
import { ANTHROPIC_BASE_URL, placeOf, type UpstreamChoice } from '../wiring.ts'
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
  const address = addressOf(session.config, jobUpstream)
  return address === null ? { kind: 'local', ...paceOf(flags) } : anthropicAt(session.environment, address)
}

/** The same choice for those who only plan, and need no key. */
export function choosePlace(
  session: Pick<Session, 'config' | 'environment'>,
  jobUpstream: string | null,
): Place {
  const address = addressOf(session.config, jobUpstream)
  return address === null
    ? placeOf({ kind: 'local' })
    : placeOf({ kind: 'anthropic', baseUrl: address, workspace: workspaceIn(session.environment) })
}

/** Null for the embedded one. */
function addressOf(config: Session['config'], jobUpstream: string | null): string | null {
  const stated = config.upstream ?? jobUpstream ?? config.fileUpstream ?? 'local'
  if (stated === 'local') return null
  return /^https?:/.test(stated) ? stated : (config.baseUrl ?? ANTHROPIC_BASE_URL)
}

function workspaceIn(environment: NodeJS.ProcessEnv): string | null {
  return environment['ANTHROPIC_WORKSPACE_ID'] ?? null
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

function anthropicAt(environment: NodeJS.ProcessEnv, baseUrl: string): UpstreamChoice {
  const apiKey = environment['ANTHROPIC_API_KEY']
  if (!apiKey) {
    throw new TitheError('no_key', `the upstream ${baseUrl} needs a key, and ANTHROPIC_API_KEY is not set`, {
      hint: "set it, or rehearse for free with '--upstream local'",
    })
  }
  if (!URL.canParse(baseUrl)) throw new TitheError('bad_flag', `${baseUrl} is not a URL`)
  return { kind: 'anthropic', baseUrl, apiKey, workspace: workspaceIn(environment) }
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
