import { TitheError, type Where } from '../core/errors.ts'
import {
  badExport,
  type ExportNames,
  type ExportRow,
  exportOfPages,
  exportOfRows,
  exportRow,
  type UsageExport,
} from '../core/usage-export.ts'
import { loadExportNames } from '../facts/usage-exports.ts'
import { openCsv } from './csv.ts'
import { jsonFault } from './jsonl.ts'
import { readWholeText } from './text-file.ts'

/** No row of an export comes near it: a longer one opens a quote that is never closed. */
const RECORD_BYTES_MAX = 1 << 20

/**
 * A usage export of the provider: CSV, or pages of JSON, told apart by how it begins. In memory as a whole: it has a row
 * for each day, model and key, not for each request.
 * @throws TitheError `bad_export` and what reading a file throws.
 */
export async function readUsageExport(path: string): Promise<UsageExport> {
  const names = loadExportNames()
  const text = await readWholeText(path)
  if (/^\s*[[{]/.test(text)) return exportOfPages(pagesOf(path, text), names.json.value)
  return readCsvExport(path, names.csv.value)
}

/** One page, a list of pages, or a page a line. */
function pagesOf(path: string, text: string): { page: unknown; where: Where }[] {
  const lines = text.split('\n').map((line, index) => ({ line: index + 1, text: line }))
  const filled = lines.filter((line) => line.text.trim() !== '')
  const isLines = filled.length > 1 && parses(filled[0]!.text)
  if (isLines) {
    return filled.map(({ line, text: one }) => {
      const where = { file: path, line }
      return { page: parsed(one, where), where }
    })
  }
  const page = parsed(text, { file: path })
  return Array.isArray(page)
    ? page.map((one, index) => ({ page: one, where: { file: path, path: `[${index}]` } }))
    : [{ page, where: { file: path } }]
}

function parses(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function parsed(text: string, where: Where): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw badExport(`not JSON: ${jsonFault(cause)}`, where, 'use the answers as they came, one a line')
  }
}

async function readCsvExport(path: string, names: ExportNames): Promise<UsageExport> {
  const where = { file: path, line: 1 }
  const source = await openCsv(path, ',', path, RECORD_BYTES_MAX)
  const needed = [names.day, names.model, names.tier, ...Object.values(names.quantities)]
  const missing = needed.filter((name) => !source.columns!.includes(name))
  if (missing.length > 0) {
    throw badExport(
      `not a usage export: no ${missing.length === 1 ? 'column' : 'columns'} ${missing.join(', ')}`,
      where,
      "download it from the Console's usage page, or use pages of the Admin API's usage_report/messages",
    )
  }
  const rows: ExportRow[] = []
  for await (const record of source.records(new Set(needed))) {
    if (record.kind === 'bad') {
      const { code, message, hint } = record.problem
      throw new TitheError(code, message, {
        where: record.problem.where ?? where,
        ...(hint === null ? {} : { hint }),
      })
    }
    rows.push(exportRow(record.columns, names, { file: path, line: record.line! }))
  }
  return exportOfRows(rows, where)
}
