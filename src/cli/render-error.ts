import { type Problem, TitheError, type Where } from '../core/errors.ts'

/** `file:line:column path`, as editors read it; empty when nothing is known. */
export function placeOf(where: Where | null): string {
  if (where === null) return ''
  const file = [where.file, where.line, where.column].filter((part) => part !== undefined).join(':')
  return [file, where.path].filter((part) => part !== undefined && part !== '').join(' ')
}

export function renderProblem(problem: Problem): string {
  const place = placeOf(problem.where)
  const lines = [`${problem.severity}: ${place === '' ? '' : `${place}: `}${problem.message}`]
  if (problem.hint !== null) lines.push(`  hint: ${problem.hint}`)
  return lines.join('\n')
}

/** What happened, to which thing, and what to do. */
export function renderError(error: unknown): string {
  if (!(error instanceof TitheError)) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    return `error: ${text}\n  hint: this is a fault of tithe's; nothing that was recorded is lost, and 'tithe resume' goes on`
  }
  const problems = error.problems.map(renderProblem)
  const place = placeOf(error.where)
  const lines = [...problems, `error: ${place === '' ? '' : `${place}: `}${error.message}`]
  if (error.hint !== null) lines.push(`  hint: ${error.hint}`)
  return lines.join('\n')
}

/** `tithe.error/1`, on stderr under `--json`. */
export function errorJson(error: unknown): object {
  if (!(error instanceof TitheError)) {
    return {
      schema: 'tithe.error/1',
      code: 'internal',
      message: error instanceof Error ? error.message : String(error),
      hint: "nothing that was recorded is lost, and 'tithe resume' goes on",
      where: null,
    }
  }
  return {
    schema: 'tithe.error/1',
    code: error.code,
    message: error.message,
    hint: error.hint,
    where: error.where,
    ...(error.problems.length > 0 ? { problems: error.problems } : {}),
  }
}
