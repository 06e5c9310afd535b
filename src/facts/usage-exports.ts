import type { UsageExportColumns } from '../core/usage-export.ts'
import exportsFile from './usage-exports.json' with { type: 'json' }

/** What the provider's usage exports call what we compare, as CSV and as JSON. */
export function loadUsageExports(): { readonly csv: UsageExportColumns; readonly json: UsageExportColumns } {
  return { csv: exportsFile.csv.value, json: exportsFile.json.value }
}
