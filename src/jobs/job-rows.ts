import { resolve as resolvePath } from 'node:path'
import { type Problem, problem, type Where } from '../core/errors.ts'
import type { JobSettings } from '../core/job.ts'
import { isObject, type Json, type JsonObject } from '../core/json.ts'
import type { ApiSettings, MessageRequest } from '../core/request.ts'
import type { InputRow, InvalidRow } from '../core/rows.ts'
import { API_VERSIONS } from './api-versions.ts'
import type { Attachments } from './attachments.ts'
import type { JobFile } from './job-schema.ts'
import { type ModelRules, modelResolver } from './job-settings.ts'
import { jsonFault } from './jsonl.ts'
import type { InputRecord, RecordSource } from './record-source.ts'
import { RowIds } from './row-ids.ts'
import type { RenderedPrompt, Template } from './template.ts'

/** Everything that makes requests of records. */
export interface RowRecipe {
  readonly settings: JobSettings
  readonly source: RecordSource
  readonly template: Template
  readonly maxTokens: number
  readonly params: JsonObject
  readonly idColumn: string | null
  readonly overrides: NonNullable<JobFile['overrides']>
  /** Columns that the job uses. */
  readonly wanted: ReadonlySet<string>
  readonly directory: string
  readonly attachments: Attachments
  readonly rules: ModelRules
  checkRequest(request: MessageRequest, settings: ApiSettings): readonly Problem[]
  /** Warnings that hold for the whole job and are said once, not with every row. */
  readonly said: readonly Problem[]
}

/** Keys of the body that a job says in its own words; `params` may not say them again. */
export const OWN_PARAMS: ReadonlySet<string> = new Set(['model', 'max_tokens', 'system', 'tools', 'messages'])

/** Every record of the input as a row for each model, or as an invalid row with everything that is wrong with it. */
export async function* renderRows(recipe: RowRecipe): AsyncGenerator<InputRow | InvalidRow> {
  const ids = recipe.idColumn === null ? null : new RowIds()
  const resolve = modelResolver(recipe.rules)
  let ordinal = 0
  let number = 0
  for await (const record of recipe.source.records(recipe.wanted)) {
    number += 1
    const columns = shownColumns(record.columns, recipe.source.bulky)
    const { line } = record
    const where: Where = {
      ...(recipe.source.file === null ? {} : { file: recipe.source.file }),
      ...(line === null ? {} : { line }),
    }
    const problems: Problem[] = []
    const report = (code: string, message: string, hint: string, path?: string): void => {
      problems.push(problem(code, message, { hint, where: path === undefined ? where : { ...where, path } }))
    }

    const userId = userIdOf(record, number, recipe.idColumn, report)
    if (record.kind === 'bad') {
      yield { kind: 'invalid', ordinal: ordinal++, userId, line, columns, problems: [record.problem] }
      continue
    }
    const earlier = userId === null ? null : (ids?.add(userId, line ?? number) ?? null)
    if (earlier !== null) {
      report(
        'duplicate_id',
        `the id "${shortened(userId!)}" stands in line ${earlier} and in line ${line ?? number}`,
        'ids tell results apart: make them unique, or name another column under `id`',
      )
    }

    const own = overridesOf(record.columns, recipe, report)
    const resolved = own.model === null ? null : resolve(own.model)
    problems.push(...(resolved?.problems ?? []).map((found) => ({ ...found, where })))
    const isRefused = resolved?.problems.some((found) => found.severity === 'error') === true
    const models = resolved === null ? recipe.settings.models : [resolved.id]
    if (models.length === 0) {
      report(
        'missing_model',
        `the row names no model in "${recipe.overrides.model}"`,
        'give `model` in the job for such rows',
      )
    }
    const expected = expectedOf(record.columns, recipe.settings, report)
    const attached = await attachedBlocks(record.columns, recipe, report, (found) =>
      problems.push({ ...found, where: { ...found.where, ...where } }),
    )
    const prompt = recipe.template.render(record.columns, attached)
    const isEmpty = prompt.messages.every((message) => (message['content'] as readonly Json[]).length === 0)
    problems.push(...promptProblems(prompt, isEmpty, where))

    for (const model of models.length === 0 ? [''] : models) {
      const request = requestOf(recipe, model, own, prompt.system, prompt.messages)
      const found = [...problems]
      // What an empty prompt or a model that is gone would also be refused for is no news.
      if (model !== '' && !isEmpty && !isRefused) found.push(...requestProblems(recipe, request, own, where))
      yield found.some((one) => one.severity === 'error')
        ? { kind: 'invalid', ordinal: ordinal++, userId, line, columns, problems: found }
        : {
            kind: 'row',
            ordinal: ordinal++,
            userId: userId!,
            line,
            ...(recipe.source.file === null ? {} : { file: recipe.source.file }),
            request,
            apiVersion: own.apiVersion,
            betas: own.betas,
            columns,
            expected,
            sharedBlocks: recipe.template.sharedBlocks,
            warnings: found,
          }
    }
  }
}

function promptProblems(prompt: RenderedPrompt, isEmpty: boolean, where: Where): Problem[] {
  const problems = [...new Set(prompt.missing)].map((column) =>
    problem('missing_value', `the row has no value for {{${column}}}`, {
      hint: 'give it one, or null for nothing',
      where,
    }),
  )
  if (prompt.leftOut) {
    problems.push(
      problem('empty_value', "the part of the prompt that is the row's own is empty and is left out", {
        severity: 'warning',
        where,
      }),
    )
  }
  if (isEmpty) {
    problems.push(
      problem('empty_prompt', 'the row leaves the prompt empty', {
        hint: 'the API needs at least one block of text or file',
        where,
      }),
    )
  }
  return problems
}

/** What the API would refuse of the request, but for what was said of the whole job already. */
function requestProblems(
  recipe: RowRecipe,
  request: MessageRequest,
  settings: ApiSettings,
  where: Where,
): Problem[] {
  return recipe
    .checkRequest(request, settings)
    .filter((one) => !recipe.said.some((said) => said.code === one.code && said.message === one.message))
    .map((one) => ({
      ...one,
      where: one.where?.path === undefined ? where : { ...where, path: one.where.path },
    }))
}

/** The body of one row. The job's own keys first, then `params` as they are. */
export function requestOf(
  recipe: Pick<RowRecipe, 'settings' | 'template' | 'maxTokens' | 'params'>,
  model: string,
  own: { readonly params: JsonObject },
  system: readonly JsonObject[],
  messages: readonly JsonObject[],
): MessageRequest {
  const { template, settings } = recipe
  const outputConfig = {
    ...(recipe.params['output_config'] as JsonObject | undefined),
    ...(own.params['output_config'] as JsonObject | undefined),
    ...(settings.outputSchema === null
      ? {}
      : { format: { type: 'json_schema', schema: settings.outputSchema } }),
  }
  return {
    model,
    max_tokens: recipe.maxTokens,
    ...(template.tools.length === 0 ? {} : { tools: template.tools }),
    ...(system.length === 0 ? {} : { system }),
    messages,
    ...recipe.params,
    ...own.params,
    ...(Object.keys(outputConfig).length === 0 ? {} : { output_config: outputConfig }),
  }
}

type Report = (code: string, message: string, hint: string, path?: string) => void

function shownColumns(columns: JsonObject, bulky: readonly string[]): JsonObject {
  if (!bulky.some((name) => name in columns)) return columns
  return Object.fromEntries(Object.entries(columns).filter(([name]) => !bulky.includes(name)))
}

function userIdOf(
  record: InputRecord,
  number: number,
  idColumn: string | null,
  report: Report,
): string | null {
  if (idColumn === null) return record.kind === 'bad' ? String(number) : (record.ownId ?? String(number))
  const value = record.columns[idColumn]
  if (typeof value === 'string' && value !== '') return value
  if (typeof value === 'number') return String(value)
  const what =
    value === undefined || value === null || value === '' ? 'is empty' : 'is neither a text nor a number'
  report(
    'bad_id',
    `the id in "${idColumn}" ${what}`,
    'give every row an id, or leave `id` out to number the rows',
  )
  return null
}

/** What a row says for itself. */
interface RowOverrides extends ApiSettings {
  readonly model: string | null
  readonly params: JsonObject
}

function overridesOf(columns: JsonObject, recipe: RowRecipe, report: Report): RowOverrides {
  const { settings, overrides } = recipe
  const given = (column: string | undefined): Json | null => {
    const value = column == null ? null : columns[column]
    return value === undefined || value === '' ? null : value
  }
  const model = given(overrides.model)
  if (model !== null && typeof model !== 'string') {
    report(
      'bad_override',
      `"${overrides.model}" holds no model id`,
      'write the id of a model, or leave it empty',
    )
  }
  const apiVersion = given(overrides.api_version)
  if (apiVersion !== null && !API_VERSIONS.some((version) => version === apiVersion)) {
    report(
      'bad_override',
      `"${overrides.api_version}" holds no API version`,
      `write ${API_VERSIONS.join(' or ')}`,
    )
  }
  const betas = given(overrides.betas)
  const ownBetas = Array.isArray(betas) ? betas.map(String) : betas === null ? null : String(betas).split(',')
  return {
    model: typeof model === 'string' ? model.trim() : null,
    params: paramsOverride(given(overrides.params), overrides.params ?? '', report),
    apiVersion: typeof apiVersion === 'string' ? apiVersion : settings.apiVersion,
    betas:
      ownBetas === null
        ? settings.betas
        : [...new Set(ownBetas.map((name) => name.trim()))].filter(Boolean).sort(),
  }
}

function paramsOverride(value: Json, column: string, report: Report): JsonObject {
  let params: unknown = value ?? {}
  if (typeof value === 'string') {
    try {
      params = JSON.parse(value)
    } catch (cause) {
      report(
        'bad_override',
        `"${column}" is not JSON: ${jsonFault(cause)}`,
        'write request parameters as a JSON object',
      )
      return {}
    }
  }
  if (!isObject(params)) {
    report('bad_override', `"${column}" is not a JSON object`, 'write request parameters: {"temperature": 0}')
    return {}
  }
  const { stream, ...others } = params as JsonObject
  if (stream === true) report('bad_override', `"${column}" may not set stream`, 'every answer is read whole')
  for (const key of Object.keys(others)) {
    // `max_tokens` has no other way to differ by row; the others have their own keys, or belong to the template.
    if (key !== 'max_tokens' && OWN_PARAMS.has(key)) {
      report(
        'bad_override',
        `"${column}" may not set ${key}`,
        key === 'model' ? 'use overrides: {model: column}' : 'the template sets it',
      )
    }
  }
  return others
}

function expectedOf(columns: JsonObject, settings: JobSettings, report: Report): Json | undefined {
  if (settings.expect === null) return undefined
  const { column, match } = settings.expect
  const value = columns[column]
  if (value === undefined) {
    report('missing_value', `the row has no expected answer in "${column}"`, 'give every row one')
    return undefined
  }
  if (match === 'exact' || typeof value !== 'string') return value
  try {
    return JSON.parse(value) as Json
  } catch (cause) {
    report(
      'bad_expected',
      `"${column}" is not JSON: ${jsonFault(cause)}`,
      `match: ${match} compares JSON; for a text use match: exact`,
    )
    return undefined
  }
}

async function attachedBlocks(
  columns: JsonObject,
  recipe: RowRecipe,
  report: Report,
  add: (found: Problem) => void,
): Promise<JsonObject[][]> {
  if (!recipe.template.hasAttachments) return []
  const places: JsonObject[][] = []
  for (const { paths, missing } of recipe.template.attachmentPaths(columns)) {
    if (missing !== null) {
      report(
        'missing_attachment',
        `the row names no file in "${missing}"`,
        `where a file may be missing, write the column with a question mark: ${missing}?`,
      )
    }
    const blocks: JsonObject[] = []
    for (const path of paths) {
      if (/^https?:\/\//.test(path)) {
        report(
          'attachment_is_url',
          'the attachment is a URL, not a file',
          'write a block in `prompt`: {type: image, source: {type: url, url: "{{column}}"}}',
        )
        continue
      }
      const attachment = await recipe.attachments.describe(resolvePath(recipe.directory, path))
      if (attachment.kind === 'block') blocks.push(attachment.block)
      else add(attachment.problem)
    }
    places.push(blocks)
  }
  return places
}

function shortened(id: string): string {
  return id.length <= 60 ? id : `${id.slice(0, 57)}…`
}
