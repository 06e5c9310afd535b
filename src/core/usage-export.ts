import type { TokenClass } from './cost.ts'
import { type Problem, problem, type Where } from './errors.ts'
import { isObject, type Json, type JsonObject } from './json.ts'
import type { Usage } from './usage.ts'

// The provider's own account of what was used: a CSV of the Console or the JSON of the Admin API. Strict about the columns
// that are compared, tolerant about all others.

/** What is counted apart: tokens by class, and searches. */
export type UsageClass = TokenClass | 'web_search'
export const USAGE_CLASSES: readonly UsageClass[] = [
  'input',
  'cache_write_5m',
  'cache_write_1h',
  'cache_read',
  'output',
  'web_search',
]

/** The name of each column, by what it holds; in JSON a dot goes into an object. */
export type UsageExportColumns = Readonly<
  Record<'day' | 'model' | 'apiKey' | 'workspace' | 'tier' | UsageClass, string>
>

/** Usage of one day (UTC), one model and one tier. */
export interface UsageCell {
  /** `2026-11-22`. */
  readonly day: string
  readonly model: string
  readonly tier: Usage['serviceTier'] | 'other'
  readonly quantities: Readonly<Record<UsageClass, number>>
}

export interface ExportedUsage extends UsageCell {
  readonly apiKey: string | null
  readonly workspace: string | null
}

/** One record of an export: a line of the CSV, or a result of the JSON with its bucket's `starting_at`. */
export function usageOfRecord(
  record: JsonObject,
  columns: UsageExportColumns,
  where: Where,
): ExportedUsage | Problem {
  const day = /^\d{4}-\d{2}-\d{2}/.exec(textAt(record, columns.day) ?? '')?.[0]
  if (day === undefined) return bad(columns.day, 'is no date such as 2026-11-22', where)
  const model = textAt(record, columns.model)
  if (model === null) return bad(columns.model, 'is missing: export the usage grouped by model', where)
  const quantities = {} as Record<UsageClass, number>
  for (const name of USAGE_CLASSES) {
    const value = valueAt(record, columns[name]) ?? 0
    const quantity = value === '' ? 0 : Number(value)
    if (!Number.isSafeInteger(quantity) || quantity < 0) {
      return bad(columns[name], `is no count: ${JSON.stringify(value)}`, where)
    }
    quantities[name] = quantity
  }
  return {
    day,
    model,
    tier: tierOf(textAt(record, columns.tier)),
    apiKey: textAt(record, columns.apiKey),
    workspace: textAt(record, columns.workspace),
    quantities,
  }
}

/**
 * The records of one page of the Admin API's usage report, each with the day of its bucket; null for anything else. Their
 * paths are those of the results in the page.
 */
export function recordsOfPage(
  page: Json,
  columns: UsageExportColumns,
): { readonly record: JsonObject; readonly path: string }[] | null {
  if (!isObject(page) || !Array.isArray(page['data'])) return null
  const records: { record: JsonObject; path: string }[] = []
  for (const [index, bucket] of page['data'].entries()) {
    if (!isObject(bucket) || !Array.isArray(bucket['results'])) return null
    for (const [at, result] of bucket['results'].entries()) {
      if (!isObject(result)) return null
      const record = { ...result, [columns.day]: bucket[columns.day] ?? null }
      records.push({ record, path: `data[${index}].results[${at}]` })
    }
  }
  return records
}

function tierOf(name: string | null): UsageCell['tier'] {
  return name === 'standard' || name === 'batch' || name === 'priority' ? name : 'other'
}

function valueAt(record: JsonObject, path: string): Json | undefined {
  return path
    .split('.')
    .reduce<Json | undefined>((value, key) => (isObject(value) ? value[key] : undefined), record)
}

function textAt(record: JsonObject, path: string): string | null {
  const value = valueAt(record, path)
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : null
}

function bad(column: string, what: string, where: Where): Problem {
  return problem('bad_export', `${column} ${what}`, {
    where,
    hint: 'export the usage anew: as CSV from the Console, or as JSON from /v1/organizations/usage_report/messages',
  })
}
