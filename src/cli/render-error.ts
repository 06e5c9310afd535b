import { sep } from 'node:path'
import { type Problem, TitheError, type Where } from '../core/errors.ts'

/** `file:line:column path`, as editors read it; empty when nothing is known. */
export function placeOf(where: Where | null): string {
  if (where === null) return ''
  const file = [where.file, where.line, where.column].filter((part) => part !== undefined).join(':')
  return [file, where.path].filter((part) => part !== undefined && part !== '').join(' ')
}

/** What happened, to which thing, and what to do. Paths below `folder`, where the reader works, are shown from there. */
export function renderError(error: unknown, folder: string): string {
  if (!(error instanceof TitheError)) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    return `error: ${text}\n  hint: this is a fault of tithe's; nothing that was recorded is lost, and 'tithe resume' goes on`
  }
  // Warnings stand in the plan, which comes when the errors are mended.
  const problems = error.problems.filter((one) => one.severity === 'error' && one.message !== error.message)
  const lines = [...Map.groupBy(problems, alike).values(), [error]].flatMap(([first, ...more]) =>
    problemLines(first!, more.length),
  )
  const text = lines.join('\n')
  return folder === sep ? text : text.replaceAll(`${folder}${sep}`, '')
}

/** A thousand rows with the same fault are told once. */
function alike({ code, message, hint }: Problem): string {
  return JSON.stringify([code, message, hint])
}

function problemLines(
  { message, hint, where }: Pick<Problem, 'message' | 'hint' | 'where'>,
  more: number,
): string[] {
  const place = placeOf(where)
  const told = place === '' || (place === where?.file && message.includes(place)) ? '' : `${place}: `
  const others = more === 0 ? '' : ` (and ${more} more like it)`
  return [`error: ${told}${message}${others}`, ...(hint === null ? [] : [`  hint: ${hint}`])]
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
