import { type Problem, problem } from './errors.ts'
import { DAY_MS, type Instant, parseTimestamp } from './instant.ts'
import { type Catalogue, findModel, priceAt } from './models.ts'
import { nearest } from './nearest.ts'

/** A promise to live "at least until" a day this near, or past, is worth a word. */
const MAY_RETIRE_WITHIN_MS = 30 * DAY_MS

export interface ModelConditions {
  readonly at: Instant
  /** Whether a budget must hold: it cannot without a price. */
  readonly hasBudget?: boolean
}

/**
 * Whether a name is a model that answers at `at`. Errors: unknown (with the nearest name), retired, without a price
 * under a budget. Warnings: about to retire, with the day; without a price. Once for each name of a job.
 */
export function checkModel(catalogue: Catalogue, name: string, conditions: ModelConditions): Problem[] {
  const { at, hasBudget = false } = conditions
  const where = { path: 'model' }
  const model = findModel(catalogue, name)
  if (model === null) {
    const near = nearest(
      name,
      catalogue.models
        .filter(({ status }) => status !== 'retired')
        .flatMap(({ id, aliases }) => [id, ...aliases]),
    )
    return [
      problem('unknown_model', `no model is called ${name}`, {
        hint: near === null ? "'tithe models' lists them" : `did you mean ${near}?`,
        where,
      }),
    ]
  }
  const problems: Problem[] = []
  const retires = model.retires && { ...model.retires, at: parseTimestamp(model.retires.date)! }
  if (retires && !retires.notBefore && retires.at <= at) {
    return [
      problem('retired_model', `${name} was retired on ${retires.date}`, {
        hint: "'tithe plan --models' prices the job on every current model",
        where,
      }),
    ]
  }
  if (retires && (!retires.notBefore || retires.at <= at + MAY_RETIRE_WITHIN_MS)) {
    const isOver = retires.at <= at
    const message = retires.notBefore
      ? `${name} ${isOver ? 'was' : 'is'} promised until ${retires.date} only`
      : `${name} is deprecated and retires on ${retires.date}`
    problems.push(
      problem('model_retires', message, {
        severity: 'warning',
        hint: isOver
          ? 'it may retire any day; rows that it has not answered by then will be errored'
          : 'rows that it has not answered by then will be errored',
        where,
      }),
    )
  } else if (model.status === 'deprecated') {
    problems.push(problem('model_retires', `${name} is deprecated`, { severity: 'warning', where }))
  }
  if (priceAt(model, at) === null) {
    problems.push(
      problem('unpriced_model', `${name} has no price in the book`, {
        severity: hasBudget ? 'error' : 'warning',
        hint: hasBudget
          ? 'a budget cannot be kept without one: state it under "prices:"'
          : 'its cost will be reported as unpriced; state it under "prices:"',
        where,
      }),
    )
  }
  return problems
}
