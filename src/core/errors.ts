/** Whether the same call may be made again: `unknown` is neither safe nor hopeless (a create that timed out). */
export type RetrySafety = 'never' | 'safe' | 'unknown'

/** Where a problem stands: a file with line and column (1-based), or a path inside a JSON value. */
export interface Where {
  readonly file?: string
  readonly line?: number
  readonly column?: number
  readonly path?: string
}

export interface TitheErrorOptions {
  readonly hint?: string
  readonly where?: Where
  readonly retry?: RetrySafety
  /** How long the server asked to wait before the same call, in milliseconds. */
  readonly retryAfterMs?: number
  readonly exitCode?: ExitCode
  readonly cause?: unknown
  /** Everything that was found wrong, when it was collected before stopping. */
  readonly problems?: readonly Problem[]
}

/** 0 all rows succeeded · 1 finished, some did not · 2 usage or configuration · 3 upstream or store unavailable
 *  · 4 stopped for a human · 5 in progress (design.md 6) */
export type ExitCode = 0 | 1 | 2 | 3 | 4 | 5

/** An operating error: thrown once, with everything a person needs. Never holds prompt text or a key. */
export class TitheError extends Error {
  override name = 'TitheError'
  readonly code: string
  readonly hint: string | null
  readonly where: Where | null
  readonly retry: RetrySafety
  readonly retryAfterMs: number | null
  readonly exitCode: ExitCode
  readonly problems: readonly Problem[]
  constructor(code: string, message: string, options: TitheErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint ?? null
    this.where = options.where ?? null
    this.retry = options.retry ?? 'never'
    this.retryAfterMs = options.retryAfterMs ?? null
    this.exitCode = options.exitCode ?? 2
    this.problems = options.problems ?? []
  }
}

/** One thing that is wrong with a job, a row or a request. A `warning` never stops anything. */
export interface Problem {
  readonly severity: 'error' | 'warning'
  /** Stable, snake_case: `unknown_key`, `duplicate_id`, `thinking_not_supported` … */
  readonly code: string
  readonly message: string
  readonly hint: string | null
  readonly where: Where | null
}

export function problem(
  code: string,
  message: string,
  options: { hint?: string; where?: Where; severity?: Problem['severity'] } = {},
): Problem {
  return {
    severity: options.severity ?? 'error',
    code,
    message,
    hint: options.hint ?? null,
    where: options.where ?? null,
  }
}
