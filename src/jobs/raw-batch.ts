import { type Problem, problem, type Where } from '../core/errors.ts'
import { isObject, type JsonObject } from '../core/json.ts'
import type { ApiSettings, MessageRequest } from '../core/request.ts'
import type { InputRow, InvalidRow } from '../core/rows.ts'
import { type ModelRules, modelResolver } from './job-settings.ts'
import { openJsonl } from './jsonl.ts'
import { RowIds } from './row-ids.ts'

/**
 * The rows of a file in Anthropic's own batch format, one `{"custom_id": …, "params": {…}}` a line. Ids may have any
 * form: the legal ones are made at sending. Requests are taken as they stand, marks included.
 */
export async function* rawBatchRows(
  path: string,
  settings: ApiSettings,
  rules: ModelRules,
  checkRequest: (request: MessageRequest, settings: ApiSettings) => readonly Problem[],
): AsyncGenerator<InputRow | InvalidRow> {
  const ids = new RowIds()
  const resolve = modelResolver(rules)
  let ordinal = 0
  for await (const record of openJsonl(path, path).records(new Set())) {
    const line = record.line!
    const where: Where = { file: path, line }
    const { custom_id: userId, params } = record.columns
    const invalid = (problems: Problem[]): InvalidRow => ({
      kind: 'invalid',
      ordinal: ordinal++,
      userId: typeof userId === 'string' ? userId : null,
      line,
      columns: {},
      problems,
    })
    if (record.kind === 'bad') {
      yield invalid([record.problem])
      continue
    }
    const problems = shapeProblems(record.columns, where)
    if (typeof userId === 'string' && userId !== '') {
      const earlier = ids.add(userId, line)
      if (earlier !== null) {
        problems.push(
          problem('duplicate_id', `the custom_id stands in line ${earlier} and in line ${line}`, {
            hint: 'ids tell results apart: make them unique',
            where: { ...where, path: 'custom_id' },
          }),
        )
      }
    }
    if (!isObject(params) || problems.length > 0) {
      yield invalid(problems)
      continue
    }
    const model = String(params['model'])
    const resolved = resolve(model)
    problems.push(
      ...resolved.problems.map((found) => ({ ...found, where: { ...where, path: 'params.model' } })),
    )
    for (const found of checkRequest(params, settings)) {
      const inside = found.where?.path === undefined ? 'params' : `params.${found.where.path}`
      problems.push({ ...found, where: { ...where, path: inside } })
    }
    yield problems.some((found) => found.severity === 'error')
      ? invalid(problems)
      : {
          kind: 'row',
          ordinal: ordinal++,
          userId: userId as string,
          line,
          file: path,
          // As resolved, so that an alias and its id are one model to the planner and to the price book.
          request: resolved.id === model ? params : { ...params, model: resolved.id },
          apiVersion: settings.apiVersion,
          betas: settings.betas,
          columns: {},
          expected: undefined,
          sharedBlocks: 0,
          warnings: problems,
        }
  }
}

function shapeProblems(line: JsonObject, where: Where): Problem[] {
  const problems: Problem[] = []
  const { custom_id: id, params, ...others } = line
  const report = (path: string, message: string, hint: string): void => {
    problems.push(problem('bad_batch_line', message, { hint, where: { ...where, path } }))
  }
  if (typeof id !== 'string' || id === '') {
    report('custom_id', '`custom_id` is not a text', 'every line has an id of its own: "custom_id": "row-1"')
  }
  if (!isObject(params)) report('params', '`params` is not an object', 'it is the body of a Messages request')
  else if (typeof params['model'] !== 'string')
    report('params.model', '`params.model` is missing', 'name a model')
  for (const key of Object.keys(others)) {
    report(
      key,
      `a batch line has no key "${key}"`,
      'a line is {"custom_id": …, "params": {…}} and nothing else',
    )
  }
  return problems
}
