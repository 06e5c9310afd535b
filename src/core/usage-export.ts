import { TitheError, type Where } from './errors.ts'
import { parseTimestamp, utcDay } from './instant.ts'
import { isObject, type Json, type JsonObject } from './json.ts'
import { emptyQuantities, type Quantities } from './report.ts'

// What the provider says it counted: the Console's CSV or pages of the Admin API's usage report, as rows. Columns that
// are not used may be anything; those that are used must be there and be what they should be.

export type ExportFormat = 'json' | 'csv'

/** What the provider calls the columns; dots lead into objects. */
export interface ExportNames {
  readonly day: string
  readonly workspace: string
  readonly apiKey: string
  readonly model: string
  readonly tier: string
  readonly quantities: Readonly<Record<keyof Quantities, string>>
}

export interface ExportRow {
  /** UTC, `2026-11-22`. */
  readonly day: string
  /** Id or name, as exported; null for the default workspace and where the export does not say. */
  readonly workspace: string | null
  /** Id or name; null without a key, as in the Workbench, and where the export does not say. */
  readonly apiKey: string | null
  readonly model: string
  readonly tier: string
  readonly quantities: Readonly<Quantities>
}

export interface UsageExport {
  readonly format: ExportFormat
  /** The first and the last day that it says something about. */
  readonly firstDay: string
  readonly lastDay: string
  readonly rows: readonly ExportRow[]
}

const UNGROUPED_HINT = 'export it again by model and tier: group_by[]=model&group_by[]=service_tier'

/** @throws TitheError `bad_export`, as every function of this file. `where` is completed by the column. */
export function exportRow(columns: JsonObject, names: ExportNames, where: Where): ExportRow {
  const read = (name: string): Json | undefined =>
    name
      .split('.')
      .reduce<Json | undefined>((at, key) => (isObject(at) ? at[key] : undefined), columns as JsonObject)
  const at = (name: string): Where => ({
    ...where,
    path: where.path === undefined ? name : `${where.path}.${name}`,
  })
  const word = (name: string): string => {
    const value = read(name)
    if (typeof value === 'string' && value !== '') return value
    throw badExport(`${name} is missing or empty`, at(name), UNGROUPED_HINT)
  }
  const quantities = emptyQuantities()
  for (const key of Object.keys(quantities) as (keyof Quantities)[]) {
    const name = names.quantities[key]
    const value = read(name)
    const count = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value
    if (typeof count !== 'number' || !Number.isSafeInteger(count) || count < 0) {
      const found = value === undefined ? 'is missing' : `is ${JSON.stringify(value)}, not a whole number`
      throw badExport(
        `${name} ${found}`,
        at(name),
        'use the file as it was exported; all token columns count',
      )
    }
    quantities[key] = count
  }
  const nameOrNull = (name: string): string | null => {
    const value = read(name)
    return typeof value === 'string' && value !== '' ? value : null
  }
  return {
    day: dayOf(word(names.day), at(names.day)),
    workspace: nameOrNull(names.workspace),
    apiKey: nameOrNull(names.apiKey),
    model: word(names.model),
    tier: word(names.tier).toLowerCase(),
    quantities,
  }
}

/** Hours and minutes of finer exports fall on their day. What names no zone is UTC, as the column says. */
function dayOf(text: string, where: Where): string {
  const [, date, hour = '00:00', zone = 'Z'] =
    /^(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)(Z|[+-]\d{2}:\d{2})?)?$/.exec(text) ?? []
  const isDate = date !== undefined && parseTimestamp(date) !== null && utcDay(parseTimestamp(date)!) === date
  const at = isDate ? parseTimestamp(`${date}T${hour}${zone}`) : null
  if (at !== null) return utcDay(at)
  throw badExport(`${JSON.stringify(text)} is not a day`, where, 'days are written 2026-11-22, in UTC')
}

/** Pages of the usage report in the order of their cursors. `where` of a page leads to it. */
export function exportOfPages(
  pages: readonly { readonly page: unknown; readonly where: Where }[],
  names: ExportNames,
): UsageExport {
  const days: string[] = []
  const rows: ExportRow[] = []
  for (const { page, where } of pages) {
    for (const [index, bucket] of listOf(page, 'data', where).entries()) {
      const prefix = where.path === undefined ? '' : `${where.path}.`
      const inBucket = { ...where, path: `${prefix}data[${index}]` }
      const results = listOf(bucket, 'results', inBucket)
      const start = isObject(bucket) ? bucket[names.day] : undefined
      if (typeof start !== 'string') {
        throw badExport(`a bucket without ${names.day}`, inBucket, 'use the answers as they came')
      }
      days.push(dayOf(start, inBucket))
      for (const [place, result] of results.entries()) {
        const inResult = { ...inBucket, path: `${inBucket.path}.results[${place}]` }
        if (!isObject(result)) throw badExport('not an object', inResult, 'use the answers as they came')
        rows.push(exportRow({ ...result, [names.day]: start }, names, inResult))
      }
    }
  }
  const last = pages.at(-1)
  if (last !== undefined && isObject(last.page) && last.page['has_more'] === true) {
    throw badExport('the last page says has_more: the export is not complete', last.where, PAGES_HINT)
  }
  return exportOf('json', days, rows, pages[0]?.where ?? {})
}

const PAGES_HINT = 'get the rest with page=<next_page>, and put all pages into the file, one a line'

function listOf(value: unknown, key: string, where: Where): readonly unknown[] {
  const list = isObject(value) ? value[key] : undefined
  if (Array.isArray(list)) return list
  throw badExport(
    `no list "${key}" here`,
    where,
    'the file is a page {"data": [{"starting_at", "results"}]} of usage_report/messages, a list of pages, or a page a line',
  )
}

export function exportOfRows(rows: readonly ExportRow[], where: Where): UsageExport {
  return exportOf(
    'csv',
    rows.map((row) => row.day),
    rows,
    where,
  )
}

function exportOf(
  format: ExportFormat,
  days: readonly string[],
  rows: readonly ExportRow[],
  where: Where,
): UsageExport {
  const sorted = [...days].sort()
  const [firstDay] = sorted
  if (firstDay === undefined) throw badExport('the export covers no day', where, 'export a longer time')
  return { format, firstDay, lastDay: sorted.at(-1)!, rows }
}

/** What has no name in JSON is the default workspace, which the CSV calls so. */
const DEFAULT_WORKSPACE = 'Default'

/**
 * Only rows of these; null takes all. The days stay those of the whole export: it tells of a day without use, too.
 * @throws TitheError `unknown_workspace` or `unknown_api_key` when the export has nothing of that name.
 */
export function rowsOf(
  exported: UsageExport,
  { workspace, apiKey }: { readonly workspace: string | null; readonly apiKey: string | null },
  where: Where,
): UsageExport {
  const isNamed = exported.rows.some((row) => row.workspace !== null)
  const workspaceOf = (row: ExportRow) => row.workspace ?? (isNamed ? DEFAULT_WORKSPACE : null)
  const ofWorkspace = chosen(exported.rows, workspaceOf, workspace, 'workspace', where)
  const rows = chosen(ofWorkspace, (row) => row.apiKey, apiKey, 'api_key', where)
  return { ...exported, rows }
}

function chosen(
  rows: readonly ExportRow[],
  nameOf: (row: ExportRow) => string | null,
  name: string | null,
  of: 'workspace' | 'api_key',
  where: Where,
): readonly ExportRow[] {
  if (name === null) return rows
  const found = rows.filter((row) => nameOf(row) === name)
  if (found.length > 0) return found
  const known = [...new Set(rows.map(nameOf))].filter((one) => one !== null)
  const flag = `--${of.replace('_', '-')}`
  throw new TitheError(`unknown_${of}`, `the export has nothing of ${flag} ${name}`, {
    hint:
      known.length > 0
        ? `it has ${known.map((one) => JSON.stringify(one)).join(', ')}`
        : `it names none: export it by group_by[]=${of}_id, or leave out ${flag}`,
    where,
  })
}

export function badExport(message: string, where: Where, hint: string): TitheError {
  return new TitheError('bad_export', message, { where, hint })
}
