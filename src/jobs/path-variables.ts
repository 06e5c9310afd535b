import { TitheError } from '../core/errors.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/**
 * `${NAME}` and `${NAME:-default}` in a path of the job file: data that lies elsewhere on every machine.
 * @throws TitheError `unset_variable`.
 */
export function expandVariables(path: string, environment: Environment): string {
  return path.replaceAll(/\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}/g, (_, name: string, fallback?: string) => {
    const value = environment[name] || fallback
    if (value !== undefined) return value
    throw new TitheError(
      'unset_variable',
      `${path} needs the environment variable ${name}, which is not set`,
      {
        hint: `set it, or give a default: \${${name}:-path}`,
      },
    )
  })
}
