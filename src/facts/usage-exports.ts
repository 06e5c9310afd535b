import type { Fact } from '../core/models.ts'
import type { ExportFormat, ExportNames } from '../core/usage-export.ts'
import namesFile from './usage-exports.json' with { type: 'json' }

/** What the provider calls the columns of its usage exports; `usage-exports.test.ts` holds the file to its shape. */
export function loadExportNames(): Readonly<Record<ExportFormat, Fact<ExportNames>>> {
  return namesFile as Record<ExportFormat, Fact<ExportNames>>
}
