import { type Problem, problem } from './errors.ts'

/** Collects what is wrong with a request, each with its JSON path. */
export class ProblemList {
  readonly found: Problem[] = []

  error(path: string, code: string, message: string, hint?: string): void {
    this.found.push(problem(code, message, { hint, where: { path } }))
  }

  warn(path: string, code: string, message: string, hint?: string): void {
    this.found.push(problem(code, message, { severity: 'warning', hint, where: { path } }))
  }
}
