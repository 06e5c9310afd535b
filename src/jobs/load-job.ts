import { access } from 'node:fs/promises'
import { basename, dirname, extname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { withContractPrices } from '../core/contract-prices.ts'
import { type Problem, problem, TitheError, type Where } from '../core/errors.ts'
import type { Instant } from '../core/instant.ts'
import type { JobSettings, StatedSizes, TemplateOutline } from '../core/job.ts'
import { isObject, type Json, type JsonObject } from '../core/json.ts'
import type { Catalogue } from '../core/models.ts'
import { nearest } from '../core/nearest.ts'
import type { ApiSettings, MessageRequest } from '../core/request.ts'
import type { InputRow, InvalidRow } from '../core/rows.ts'
import { DEFAULT_API_VERSION } from './api-versions.ts'
import { Attachments } from './attachments.ts'
import { checkJobShape, JOB_KEYS } from './check-job-shape.ts'
import type { JobDefinition } from './define-job.ts'
import { emptyInput, openInput, type RowsInput } from './input.ts'
import { problemOf, readOutputSchema, readPrompt } from './job-prompt.ts'
import { OWN_PARAMS, type RowRecipe, renderRows, requestOf } from './job-rows.ts'
import type { JobFile, JobInput } from './job-schema.ts'
import { type JobReading, type ModelRules, settingsOf, statedSizesOf } from './job-settings.ts'
import { type JobPath, parseJobText, pathText } from './job-text.ts'
import { openJsonl } from './jsonl.ts'
import { type Environment, expandVariables } from './path-variables.ts'
import { rawBatchRows } from './raw-batch.ts'
import type { RecordSource } from './record-source.ts'
import { type JsonSchemaSource, jsonSchemaOf } from './standard-schema.ts'
import {
  compileTemplate,
  type KnownColumns,
  type TemplateSource,
  type TemplateSourcePart,
} from './template.ts'
import { readBytes, readWholeText } from './text-file.ts'

/** What a job needs to know of the world, handed in by the wiring. */
export interface JobDeps {
  readonly catalogue: Catalogue
  readonly now: Instant
  /** Tokens of a text for a model (null: none is named), for the estimate of PDFs. */
  countText(text: string, model: string | null): number
  /** What the API would refuse of a request, and warnings (`core/check-request.ts`). */
  checkRequest(request: MessageRequest, settings: ApiSettings, job: JobSettings): readonly Problem[]
  /** What the API would refuse of an output schema (`core/check-schema.ts`). */
  checkOutputSchema(schema: JsonObject): readonly Problem[]
  /** Where the paths of an object job begin; the working directory when absent. */
  readonly directory?: string
  /** True when another Messages server answers: it has models that we do not know. */
  readonly anyModel?: boolean
  /** For `${NAME}` in input paths. */
  readonly environment?: Environment
  /** True when a budget is set outside the job: it must hold like the job's own. */
  readonly hasBudget?: boolean
}

/** A job that was found free of errors. */
export interface Job {
  readonly settings: JobSettings
  /** Null for raw batch files and for plans without a prompt. */
  readonly outline: TemplateOutline | null
  /** Set for a plan without data: then there are no rows. */
  readonly stated: StatedSizes | null
  /** Warnings about the job as a whole. */
  readonly problems: readonly Problem[]
  /** Reads the input from its beginning each time. @throws TitheError when the rest cannot be read. */
  rows(): AsyncGenerator<InputRow | InvalidRow>
  /** What decides what is bought, for `fingerprintJob`. */
  identity(): AsyncIterable<string | Uint8Array>
}

/** Records looked at for their columns, where each brings its own. */
const PEEKED_RECORDS = 100

/**
 * Reads a job: a YAML, JSON, TypeScript or raw batch (.jsonl) file, or an object. Nothing is sent and nothing is kept.
 * @throws TitheError `bad_job` whose `problems` are everything that is wrong, each with its place and what to do.
 */
export async function loadJob(source: string | JobDefinition, deps: JobDeps): Promise<Job> {
  if (typeof source !== 'string') {
    const where = (path: JobPath): Where => (path.length === 0 ? {} : { path: pathText(path) })
    return readJob(
      source,
      { file: null, directory: resolve(deps.directory ?? '.'), problems: [], where },
      deps,
    )
  }
  const file = resolve(deps.directory ?? '.', source)
  const directory = dirname(file)
  const extension = extname(file).toLowerCase()
  if (['.jsonl', '.ndjson'].includes(extension)) return loadRawBatch(file, deps)
  if (['.ts', '.mts', '.js', '.mjs'].includes(extension)) {
    const where = (path: JobPath): Where => (path.length === 0 ? { file } : { file, path: pathText(path) })
    return readJob(await importJob(file), { file, directory, problems: [], where }, deps)
  }
  if (['.csv', '.tsv', '.parquet'].includes(extension)) {
    throw new TitheError('not_a_job', `${file} is an input, not a job`, {
      hint: `write a job file that names it: input: ${basename(file)}; \`tithe init\` writes a starter`,
      where: { file },
    })
  }
  const text = parseJobText(await readWholeText(file), file)
  if (text.problems.length > 0) throw badJob(file, text.problems)
  return readJob(text.value, { file, directory, problems: [], where: text.where }, deps)
}

async function importJob(file: string): Promise<unknown> {
  try {
    await access(file)
  } catch (cause) {
    throw new TitheError('file_missing', `there is no file ${file}`, {
      hint: 'check the path',
      where: { file },
      cause,
    })
  }
  let module: { default?: unknown }
  try {
    module = (await import(pathToFileURL(file).href)) as { default?: unknown }
  } catch (cause) {
    throw new TitheError('bad_job', `${file} fails to load: ${(cause as Error).message}`, {
      hint: 'run it with node to see where',
      where: { file },
      cause,
    })
  }
  if (!isObject(module.default)) {
    throw new TitheError('bad_job', `${file} has no job as its default export`, {
      hint: 'export default defineJob({ … })',
      where: { file },
    })
  }
  return module.default
}

function badJob(file: string | null, problems: readonly Problem[]): TitheError {
  const errors = problems.filter((one) => one.severity === 'error')
  const subject = file ?? 'the job'
  if (errors.length === 1) {
    const { message, hint, where } = errors[0]!
    return new TitheError('bad_job', message, {
      ...(hint ? { hint } : {}),
      ...(where ? { where } : {}),
      problems,
    })
  }
  return new TitheError('bad_job', `${subject} has ${errors.length} errors`, {
    hint: 'mend them all, then run it again: nothing was sent',
    ...(file === null ? {} : { where: { file } }),
    problems,
  })
}

async function readJob(value: unknown, reading: JobReading, deps: JobDeps): Promise<Job> {
  const { problems } = reading
  const { job, broken, rowsInput } = shapedJob(value, reading)
  const anyModel = deps.anyModel === true || /^https?:/.test(job.upstream ?? '')
  const rules: ModelRules = {
    catalogue: contractCatalogue(job, anyModel, deps, reading),
    now: deps.now,
    anyModel,
    hasBudget: job.budget != null || deps.hasBudget === true,
  }

  const outputSchema = await readOutputSchema(job, reading)
  if (outputSchema !== null) {
    const where = reading.where(['output', 'schema'])
    for (const found of deps.checkOutputSchema(outputSchema)) {
      problems.push({
        ...found,
        where: { ...where, ...(found.where?.path ? { path: `output.schema: ${found.where.path}` } : {}) },
      })
    }
  }
  const settings = settingsOf(job, broken, outputSchema, rules, reading)
  const stated = statedSizesOf(job, reading)
  const prompt = await readPrompt(job, reading)
  const input = rowsInput ?? (job.input as JobInput | undefined)
  checkKeys(job, broken, stated, input != null, reading)
  const { messageBytesMax } = deps.catalogue.rules
  const opened =
    input == null ? null : await openRecords(input, messageBytesMax, reading, deps.environment ?? {})
  const recipe = opened === null ? null : await recipeOf(job, settings, prompt, opened, rules, reading, deps)
  if (problems.some((one) => one.severity === 'error')) throw badJob(reading.file, problems)

  return {
    settings,
    outline: recipe?.template.outline ?? null,
    stated,
    problems,
    rows: () => (recipe === null ? noRows() : renderRows({ ...recipe, said: problems })),
    identity: () => identityOf(job, settings, prompt, stated, recipe),
  }
}

/** The catalogue with the job's own rates; the published ones where these cannot be. */
function contractCatalogue(job: JobFile, anyModel: boolean, deps: JobDeps, reading: JobReading): Catalogue {
  const prices = job.prices ?? {}
  // Rates for a model that the job does not name are a slip of the pen, also where any name may be a model.
  const named = job.overrides?.model == null ? (job.models ?? [job.model ?? '']) : Object.keys(prices)
  try {
    return withContractPrices(deps.catalogue, prices, new Set(anyModel ? named : []))
  } catch (error) {
    if (!(error instanceof TitheError)) throw error
    for (const found of error.problems) {
      const name = /^prices\.(.*?)(?:\.(?:input|output|write_5m|write_1h|read))?$/.exec(
        found.where?.path ?? '',
      )?.[1]
      reading.problems.push({
        ...found,
        where: reading.where(name === undefined ? ['prices'] : ['prices', name]),
      })
    }
    return deps.catalogue
  }
}

async function* noRows(): AsyncGenerator<never> {}

/** The job without the keys that have the wrong shape, so that the rest can be checked and reported with them. */
function shapedJob(
  value: unknown,
  reading: JobReading,
): { job: JobFile; broken: ReadonlySet<string>; rowsInput: RowsInput | null } {
  if (!isObject(value)) {
    const problems = [
      problem('bad_job', `${reading.file ?? 'the job'} holds no job`, {
        hint: 'a job is keys and values: model: …, prompt: …, input: …; `tithe init` writes a starter',
        where: reading.where([]),
      }),
    ]
    throw badJob(reading.file, problems)
  }
  const given: Record<string, unknown> = { ...value }
  // What only a program can say is taken out before the schema of files looks at it.
  const rowsInput = typeof given['input'] === 'function' ? (given['input'] as RowsInput) : null
  if (rowsInput !== null) delete given['input']
  const output = given['output']
  if (isObject(output)) {
    const schema = jsonSchemaOf(output['schema'] as unknown as JsonSchemaSource)
    if (schema.kind === 'schema') given['output'] = { ...output, schema: schema.schema }
    if (schema.kind === 'refused') {
      delete given['output']
      reading.problems.push(
        problem('bad_schema', schema.message, {
          hint: schema.hint,
          where: reading.where(['output', 'schema']),
        }),
      )
    }
  }

  const misshapen = new Set<string>()
  const meant: string[] = []
  for (const found of checkJobShape(given, reading.where)) {
    reading.problems.push(found)
    const key = /^[^.[]+/.exec(found.where?.path ?? '')?.[0]
    if (key === undefined) continue
    misshapen.add(key)
    // `modle: …` is one slip, not an unknown key and a missing one.
    if (found.code === 'unknown_key') meant.push(nearest(key, JOB_KEYS) ?? key)
  }
  const job = Object.fromEntries(Object.entries(given).filter(([key]) => !misshapen.has(key))) as JobFile
  return { job, broken: new Set([...misshapen, ...meant]), rowsInput }
}

/** What must be there, and what may not be there together. */
function checkKeys(
  job: JobFile,
  broken: ReadonlySet<string>,
  stated: StatedSizes | null,
  hasInput: boolean,
  reading: JobReading,
): void {
  const missing = (key: string, hint: string): void => {
    if (broken.has(key)) return
    reading.problems.push(problem('missing_key', `\`${key}\` is missing`, { hint, where: reading.where([]) }))
  }
  const has = (key: keyof JobFile): boolean => job[key] != null || broken.has(key)
  const planOnly = stated !== null || has('rows') || has('tokens')
  if (!planOnly && !has('max_tokens'))
    missing('max_tokens', 'the most output tokens that a row may have, such as 500')
  if (!planOnly && !has('prompt') && !has('messages') && !has('attachments')) {
    missing('prompt', 'the message for each row, such as "Classify: {{text}}"')
  }
  if (!planOnly && !hasInput && !has('input')) {
    missing('input', 'a CSV, TSV, JSONL, JSON or Parquet file, or a pattern such as docs/*.md')
  }
  if (job.prompt != null && job.messages != null) {
    const hint = 'keep one: `messages` is for whole conversations'
    reading.problems.push(
      problem('two_keys', 'the job has both `prompt` and `messages`', {
        hint,
        where: reading.where(['messages'], 'key'),
      }),
    )
  }
  for (const key of Object.keys(job.params ?? {})) {
    if (!OWN_PARAMS.has(key)) continue
    const hint =
      key === 'messages'
        ? 'write `prompt` or `messages` at the top'
        : `write \`${key}\` at the top of the job`
    reading.problems.push(
      problem('own_param', `\`params\` may not hold \`${key}\``, {
        hint,
        where: reading.where(['params', key], 'key'),
      }),
    )
  }
  if (job.params?.['stream'] === true) {
    reading.problems.push(
      problem('own_param', '`params` may not hold `stream`', {
        hint: 'remove it: a batch has nobody to stream to, and in realtime each answer is read whole',
        where: reading.where(['params', 'stream'], 'key'),
      }),
    )
  }
  const config = job.params?.['output_config']
  if (job.output?.schema != null && isObject(config) && config['format'] !== undefined) {
    reading.problems.push(
      problem('two_keys', 'both `output.schema` and `params.output_config.format` give a schema', {
        hint: 'keep `output.schema`: answers are checked against it',
        where: reading.where(['params', 'output_config', 'format'], 'key'),
      }),
    )
  }
}

/** The input, opened, with the columns that its rows have; null when it cannot be. */
function withVariables(input: JobInput | RowsInput, environment: Environment): JobInput | RowsInput {
  const expand = (path: string) => expandVariables(path, environment)
  if (typeof input === 'string') return expand(input)
  if (typeof input === 'function' || Array.isArray(input)) return input
  if ('file' in input) return { ...input, file: expand(input.file) }
  if ('files' in input) {
    return {
      ...input,
      files: typeof input.files === 'string' ? expand(input.files) : input.files.map(expand),
    }
  }
  return input
}

async function openRecords(
  input: JobInput | RowsInput,
  rowBytesMax: number,
  reading: JobReading,
  environment: Environment,
): Promise<{ source: RecordSource; columns: KnownColumns } | null> {
  try {
    const source = await openInput(withVariables(input, environment), reading.directory, rowBytesMax)
    const names = new Set(source.columns ?? [])
    let records = 0
    const bad: Problem[] = []
    for await (const record of source.records(new Set())) {
      records += 1
      if (record.kind === 'record') for (const name of Object.keys(record.columns)) names.add(name)
      else bad.push(record.problem)
      if (source.columns !== null || records >= PEEKED_RECORDS) break
    }
    if (records === 0) throw emptyInput(source.description, source.file)
    if (source.columns === null && bad.length === records) {
      reading.problems.push({
        ...bad[0]!,
        hint: `none of the first ${records} rows can be read: mend the file`,
      })
      return null
    }
    return { source, columns: { names, complete: source.columns !== null } }
  } catch (error) {
    if (!(error instanceof TitheError)) throw error
    reading.problems.push(problemOf(error, reading.where(['input'])))
    return null
  }
}

async function recipeOf(
  job: JobFile,
  settings: JobSettings,
  prompt: TemplateSource,
  { source, columns }: { source: RecordSource; columns: KnownColumns },
  rules: ModelRules,
  reading: JobReading,
  deps: JobDeps,
): Promise<RowRecipe> {
  const { template, problems } = compileTemplate(prompt, columns)
  reading.problems.push(...problems)

  const wanted = new Set(template.columns)
  const mustExist = (column: string | undefined, path: JobPath): void => {
    if (column == null) return
    wanted.add(column)
    // Columns that only some rows have may stand after the records that were looked at.
    if (columns.names.has(column) || (!columns.complete && path[0] === 'overrides')) return
    const hint = `columns: ${[...columns.names].slice(0, 20).join(', ')}`
    reading.problems.push(
      problem('unknown_column', `\`${pathText(path)}\` names no column of the input: "${column}"`, {
        hint,
        where: reading.where(path),
      }),
    )
  }
  mustExist(job.id, ['id'])
  mustExist(job.expect?.column, ['expect', 'column'])
  for (const key of ['model', 'params', 'api_version', 'betas'] as const) {
    mustExist(job.overrides?.[key], ['overrides', key])
  }
  if (job.models != null && job.models.length > 1 && job.overrides?.model != null) {
    reading.problems.push(
      problem('two_keys', 'the job has several `models` and a column that overrides the model', {
        hint: 'keep one: a row with a model of its own cannot be sent to all',
        where: reading.where(['overrides', 'model'], 'key'),
      }),
    )
  }

  const recipe: RowRecipe = {
    settings,
    source,
    template,
    maxTokens: job.max_tokens ?? 0,
    params: (job.params ?? {}) as JsonObject,
    idColumn: job.id ?? null,
    overrides: job.overrides ?? {},
    wanted,
    directory: reading.directory,
    attachments: new Attachments(deps.catalogue.rules, (text) =>
      deps.countText(text, settings.models[0] ?? null),
    ),
    rules,
    checkRequest: (request, api) => deps.checkRequest(request, api, settings),
    said: [],
  }
  if (!reading.problems.some((one) => one.severity === 'error')) checkSample(recipe, columns, reading)
  return recipe
}

/**
 * Checks the request that every row has in common, with a letter for each value: what the API would refuse of all rows
 * is said once and with its place in the job, not a hundred thousand times with places in the input.
 */
function checkSample(recipe: RowRecipe, columns: KnownColumns, reading: JobReading): void {
  const row = Object.fromEntries([...columns.names, ...recipe.template.columns].map((name) => [name, 'x']))
  const { system, messages } = recipe.template.render(row, [])
  const filled = messages.map((message) =>
    (message['content'] as readonly Json[]).length > 0
      ? message
      : { ...message, content: [{ type: 'text', text: 'x' }] },
  )
  for (const model of recipe.settings.models) {
    const request = requestOf(recipe, model, { params: {} }, system, filled)
    for (const found of recipe.checkRequest(request, recipe.settings)) {
      if (reading.problems.some((one) => one.code === found.code && one.message === found.message)) continue
      reading.problems.push({ ...found, where: placeInJob(found.where?.path ?? '', reading) })
    }
  }
}

/** Where the job says what stands at a path of the request. */
function placeInJob(path: string, reading: JobReading): Where {
  const steps: JobPath = [...path.matchAll(/[^.[\]]+/g)].map(([step]) =>
    /^\d+$/.test(step) ? Number(step) : step,
  )
  if (steps.length === 0) return reading.where([])
  const first = String(steps[0])
  if (first === 'output_config' && steps[1] === 'format') return reading.where(['output', 'schema'])
  return reading.where(OWN_PARAMS.has(first) ? steps : ['params', ...steps])
}

/** Settings that change what is bought, in one order, then the bytes of everything that the job names. */
async function* identityOf(
  job: JobFile,
  settings: JobSettings,
  prompt: TemplateSource,
  stated: StatedSizes | null,
  recipe: RowRecipe | null,
): AsyncGenerator<string | Uint8Array> {
  yield JSON.stringify({
    tithe_job: 1,
    models: settings.models,
    api_version: settings.apiVersion,
    betas: settings.betas,
    max_tokens: job.max_tokens ?? null,
    params: job.params ?? {},
    output_schema: settings.outputSchema,
    tools: prompt.tools,
    system: prompt.system.map(withoutOrigin),
    messages: prompt.messages.map(({ role, parts }) => ({ role, parts: parts.map(withoutOrigin) })),
    id: job.id ?? null,
    overrides: job.overrides ?? {},
    stated,
  })
  if (recipe === null) return
  yield* recipe.source.contents(recipe.wanted)
  if (!recipe.template.hasAttachments) return
  for await (const record of recipe.source.records(recipe.wanted)) {
    if (record.kind === 'bad') continue
    for (const { paths } of recipe.template.attachmentPaths(record.columns)) {
      for (const path of paths) {
        const attachment = await recipe.attachments.describe(resolve(recipe.directory, path))
        yield attachment.kind === 'block' ? attachment.sha256 : attachment.problem.code
      }
    }
  }
}

/** What a part says, without where it was written. */
function withoutOrigin({ origin: _, ...part }: TemplateSourcePart): object {
  return part
}

async function loadRawBatch(file: string, deps: JobDeps): Promise<Job> {
  let seen = 0
  let looksRaw = false
  for await (const record of openJsonl(file, file).records(new Set())) {
    seen += 1
    looksRaw = record.kind === 'record' && ('custom_id' in record.columns || 'params' in record.columns)
    if (looksRaw || seen >= PEEKED_RECORDS) break
  }
  if (seen === 0) throw emptyInput(file, file)
  if (!looksRaw) {
    throw new TitheError('not_a_job', `${file} is neither a job nor a batch file`, {
      hint: `the lines of a batch file are {"custom_id": …, "params": {…}}; for other rows write a job with input: ${basename(file)}`,
      where: { file, line: 1 },
    })
  }
  const reading: JobReading = { file, directory: dirname(file), problems: [], where: () => ({ file }) }
  const rules: ModelRules = {
    catalogue: deps.catalogue,
    now: deps.now,
    anyModel: deps.anyModel === true,
    hasBudget: deps.hasBudget === true,
  }
  // Every line names its own model, so the job need not.
  const settings = settingsOf({}, new Set(['model']), null, rules, reading)
  return {
    settings,
    outline: null,
    stated: null,
    problems: [],
    rows: () =>
      rawBatchRows(file, settings, rules, (request, api) => deps.checkRequest(request, api, settings)),
    async *identity() {
      yield JSON.stringify({ tithe_raw_batch: 1, api_version: DEFAULT_API_VERSION })
      yield* readBytes(file)
    },
  }
}
