import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { TitheError } from '../core/errors.ts'
import { isObject } from '../core/json.ts'
import type { TierName } from '../core/models.ts'
import { nearest } from '../core/nearest.ts'
import type { Flags } from './flags.ts'

/** Flag > environment > `tithe.yaml` > default (design.md 6). The job's own word stands between environment and file. */
export interface Config {
  readonly home: string | null
  /** null: nobody said; the job may, else local. */
  readonly upstream: 'local' | 'anthropic' | null
  readonly baseUrl: string | null
  readonly tier: TierName | null
  /** Of `tithe.yaml`, for jobs that say nothing. */
  readonly fileUpstream: 'local' | 'anthropic' | null
}

const KEYS = ['home', 'upstream', 'base_url', 'tier'] as const
const UPSTREAMS = ['local', 'anthropic'] as const
const TIERS = ['start', 'build', 'scale'] as const

export function readConfig(flags: Flags, environment: NodeJS.ProcessEnv, folder: string): Config {
  const file = readFile(join(folder, 'tithe.yaml'))
  const pick = (flag: string, variable: string): string | null => {
    const value = flags[flag] ?? environment[variable]
    return typeof value === 'string' && value !== '' ? value : null
  }
  const upstream = pick('upstream', 'TITHE_UPSTREAM')
  return {
    home: pick('home', 'TITHE_HOME') ?? file.home ?? null,
    upstream: upstream === null ? null : oneOf(upstream, UPSTREAMS, 'TITHE_UPSTREAM'),
    baseUrl: pick('baseUrl', 'ANTHROPIC_BASE_URL') ?? file.base_url ?? null,
    tier: oneOf(pick('tier', 'TITHE_TIER') ?? file.tier ?? null, TIERS, 'tier'),
    fileUpstream: oneOf(file.upstream ?? null, UPSTREAMS, 'upstream in tithe.yaml'),
  }
}

function readFile(path: string): Partial<Record<(typeof KEYS)[number], string>> {
  if (!existsSync(path)) return {}
  let value: unknown
  try {
    value = parse(readFileSync(path, 'utf8')) ?? {}
  } catch (error) {
    throw new TitheError('bad_config', `not YAML: ${(error as Error).message.split('\n')[0]}`, {
      where: { file: path },
    })
  }
  if (!isObject(value))
    throw new TitheError('bad_config', 'must hold keys and values', { where: { file: path } })
  for (const [key, setting] of Object.entries(value)) {
    const known = (KEYS as readonly string[]).includes(key)
    if (known && typeof setting === 'string') continue
    const suggestion = nearest(key, KEYS)
    throw new TitheError('bad_config', known ? `${key} must be a text` : `unknown key ${key}`, {
      where: { file: path, path: key },
      hint: !known && suggestion ? `did you mean ${suggestion}?` : `it may hold ${KEYS.join(', ')}`,
    })
  }
  return value as Partial<Record<(typeof KEYS)[number], string>>
}

function oneOf<T extends string>(value: T | string | null, choices: readonly T[], what: string): T | null {
  if (value === null) return null
  if ((choices as readonly string[]).includes(value)) return value as T
  throw new TitheError('bad_config', `${what} is ${value}, which is none of ${choices.join(', ')}`)
}
