import { resolve } from 'node:path'
import { problem, TitheError, type Where } from '../core/errors.ts'
import { isObject, type JsonObject } from '../core/json.ts'
import type { JobBlock, JobFile, JobPart } from './job-schema.ts'
import type { JobReading } from './job-settings.ts'
import type { JobPath } from './job-text.ts'
import { jsonFault } from './jsonl.ts'
import type { TemplateSource, TemplateSourcePart } from './template.ts'
import { readWholeText } from './text-file.ts'

/** The prompt of a job with its files read. Missing files are reported, and stand as nothing. */
export async function readPrompt(job: JobFile, reading: JobReading): Promise<TemplateSource> {
  const readPart = async (given: JobPart, path: JobPath): Promise<TemplateSourcePart | null> => {
    const origin = { where: reading.where(path), file: null }
    const named = typeof given === 'string' ? fileNamedIn(given) : null
    const part: JobPart = named === null ? given : { file: named }
    if (typeof part === 'string') return { kind: 'text', text: part, literal: false, origin }
    if (isBlock(part)) return { kind: 'block', block: part, origin }
    if ('attachment' in part) return { kind: 'attachment', path: part.attachment, origin }
    const file = resolve(reading.directory, part.file)
    const text = await readOrReport(file, reading, path)
    return text === null
      ? null
      : { kind: 'text', text, literal: part.literal ?? false, origin: { ...origin, file } }
  }
  const readParts = async (parts: unknown, path: JobPath): Promise<TemplateSourcePart[]> => {
    const list = Array.isArray(parts) ? (parts as JobPart[]) : parts == null ? [] : [parts as JobPart]
    const read: TemplateSourcePart[] = []
    for (const [index, part] of list.entries()) {
      const source = await readPart(part, Array.isArray(parts) ? [...path, index] : path)
      if (source !== null) read.push(source)
    }
    return read
  }

  const tools = await readTools(job, reading)
  const system = await readParts(job.system, ['system'])
  const messages: { role: string; parts: TemplateSourcePart[] }[] = []
  if (job.messages) {
    for (const [index, message] of job.messages.entries()) {
      messages.push({
        role: message.role,
        parts: await readParts(message.content, ['messages', index, 'content']),
      })
    }
  } else if (job.prompt != null) {
    messages.push({ role: 'user', parts: await readParts(job.prompt, ['prompt']) })
  }
  if (job.attachments && job.attachments.length > 0) {
    const attachments = job.attachments.map((path, index) => ({
      kind: 'attachment' as const,
      path,
      origin: { where: reading.where(['attachments', index]), file: null },
    }))
    // Before the text, where the API's documentation advises to put images and documents.
    const lastUser = messages.findLast((message) => message.role === 'user')
    if (lastUser) lastUser.parts.unshift(...attachments)
    else messages.push({ role: 'user', parts: attachments })
  }
  return { tools, system, messages }
}

/** `file:handbook.md` is short for `{file: handbook.md}`; a text that must begin so is written as a text block. */
function fileNamedIn(text: string): string | null {
  return /^file:\s*(\S.*)$/.exec(text.trimEnd())?.[1] ?? null
}

function isBlock(part: Exclude<JobPart, string>): part is JobBlock {
  return 'type' in part
}

async function readTools(job: JobFile, reading: JobReading): Promise<JsonObject[]> {
  if (job.tools == null) return []
  if (Array.isArray(job.tools)) return job.tools as JsonObject[]
  const value = await readJsonFile((job.tools as { file: string }).file, reading, ['tools'])
  if (value === undefined) return []
  if (Array.isArray(value) && value.every(isObject)) return value as JsonObject[]
  const file = resolve(reading.directory, (job.tools as { file: string }).file)
  reading.problems.push(
    problem('wrong_type', `${file} does not hold a list of tools`, {
      hint: 'a JSON array of tool definitions: [{"name": …, "description": …, "input_schema": …}]',
      where: { ...reading.where(['tools']), file },
    }),
  )
  return []
}

/** The schema under `output`, its file read when it is a path; null when there is none or it cannot be read. */
export async function readOutputSchema(job: JobFile, reading: JobReading): Promise<JsonObject | null> {
  const schema: unknown = job.output?.schema
  if (schema == null) return null
  if (typeof schema !== 'string') return schema as JsonObject
  const file = fileNamedIn(schema) ?? schema
  const value = await readJsonFile(file, reading, ['output', 'schema'])
  if (value === undefined || isObject(value)) return (value as JsonObject | undefined) ?? null
  reading.problems.push(
    problem('wrong_type', `${resolve(reading.directory, file)} does not hold a JSON Schema object`, {
      hint: 'for example {"type": "object", "properties": …, "required": […], "additionalProperties": false}',
      where: reading.where(['output', 'schema']),
    }),
  )
  return null
}

async function readJsonFile(name: string, reading: JobReading, path: JobPath): Promise<unknown> {
  const file = resolve(reading.directory, name)
  const text = await readOrReport(file, reading, path)
  if (text === null) return undefined
  try {
    return JSON.parse(text)
  } catch (cause) {
    reading.problems.push(
      problem('bad_json', `${file} is not JSON: ${jsonFault(cause)}`, {
        hint: 'mend the file',
        where: { file },
      }),
    )
    return undefined
  }
}

async function readOrReport(file: string, reading: JobReading, path: JobPath): Promise<string | null> {
  try {
    return await readWholeText(file)
  } catch (error) {
    if (!(error instanceof TitheError)) throw error
    reading.problems.push(problemOf(error, reading.where(path)))
    return null
  }
}

/** An error that ended the reading of one thing, as one problem among others; what named the thing comes first. */
export function problemOf(error: TitheError, where: Where): ReturnType<typeof problem> {
  const place = error.where?.line === undefined && where.line !== undefined ? where : (error.where ?? where)
  return problem(error.code, error.message, {
    ...(error.hint === null ? {} : { hint: error.hint }),
    where: place,
  })
}
