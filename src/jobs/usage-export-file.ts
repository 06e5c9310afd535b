import { type Problem, problem, TitheError } from '../core/errors.ts'
import { isObject, type Json, type JsonObject } from '../core/json.ts'
import {
  type ExportedUsage,
  recordsOfPage,
  type UsageExportColumns,
  usageOfRecord,
} from '../core/usage-export.ts'
import { loadUsageExports } from '../facts/usage-exports.ts'
import { openCsv } from './csv.ts'
import { readWholeText } from './text-file.ts'

const RECORD_BYTES_MAX = 1_000_000
const HINT =
  'give the usage export of the Console (CSV), or pages of /v1/organizations/usage_report/messages (JSON, JSONL)'

/**
 * Reads a usage export of the provider, told by its content. A year of days, models and keys is a small file.
 * @throws TitheError `bad_export` with everything that is wrong, each with its line or path.
 */
export async function readUsageExport(path: string): Promise<ExportedUsage[]> {
  const text = (await readWholeText(path)).trimStart()
  const { csv, json } = loadUsageExports()
  const found = /^[[{]/.test(text) ? usageOfJson(text, path, json) : await usageOfCsv(path, csv)
  const problems = found.filter((one): one is Problem => 'severity' in one)
  if (problems.length === 0) return found as ExportedUsage[]
  throw new TitheError('bad_export', `${path} cannot be compared`, { problems, hint: HINT })
}

async function usageOfCsv(path: string, columns: UsageExportColumns): Promise<(ExportedUsage | Problem)[]> {
  const source = await openCsv(path, ',', path, RECORD_BYTES_MAX)
  const optional = [columns.apiKey, columns.workspace]
  const missing = Object.values(columns).filter(
    (name) => !optional.includes(name) && source.columns?.includes(name) === false,
  )
  if (missing.length > 0) {
    const message = `${path} has no column ${missing.join(', ')}`
    throw new TitheError('bad_export', message, { hint: HINT, where: { file: path, line: 1 } })
  }
  const found: (ExportedUsage | Problem)[] = []
  for await (const record of source.records(new Set(Object.values(columns)))) {
    const where = { file: path, ...(record.line === null ? {} : { line: record.line }) }
    found.push(record.kind === 'bad' ? record.problem : usageOfRecord(record.columns, columns, where))
  }
  return found
}

/** One page, a list of pages, or a page a line. */
function usageOfJson(text: string, path: string, columns: UsageExportColumns): (ExportedUsage | Problem)[] {
  const whole = parsed(text)
  const pages =
    whole === undefined
      ? text
          .split('\n')
          .flatMap((line, index) =>
            line.trim() === '' ? [] : [{ page: parsed(line), where: { file: path, line: index + 1 } }],
          )
      : (Array.isArray(whole) ? whole : [whole]).map((page) => ({ page, where: { file: path } }))
  return pages.flatMap(({ page, where }) => {
    const records = page === undefined ? null : recordsOfPage(page, columns)
    if (records === null) {
      const what = isObject(page as Json) ? 'is no page of a usage report' : 'is not JSON'
      return [problem('bad_export', `this ${what}: it has no data[].results[]`, { where, hint: HINT })]
    }
    return records.map(({ record, path: place }) => usageOfRecord(record, columns, { ...where, path: place }))
  })
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as JsonObject
  } catch {
    // Told apart by the caller: several pages, one a line, or none.
    return undefined
  }
}
