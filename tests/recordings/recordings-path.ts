import { join } from 'node:path'

/** Where the shared recordings are: in the data folder `$TITHE_SHARED`, else in the one beside the project. */
export function recordingsPath(): string {
  const data = process.env['TITHE_SHARED'] ?? join(import.meta.dirname, '../../../shared/data')
  return join(data, 'recordings/messages.jsonl.gz')
}
