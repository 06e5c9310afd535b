import { TitheError } from '../core/errors.ts'
import { checkWritable, type ResultFormat, writeResults } from '../jobs/write-results.ts'
import { resultRows } from '../runs/result-rows.ts'
import type { Store } from '../stores/store.ts'
import type { Flags } from './flags.ts'

/** By the ending of a file's name; null when it has none of ours. */
export function formatOfFile(file: string): ResultFormat | null {
  const format = /\.(jsonl|csv|parquet)$/i.exec(file)?.[1]?.toLowerCase()
  return (format as ResultFormat | undefined) ?? null
}

/** `--output`, checked before anything is sent: results that cannot be written should not be bought. */
export async function outputFlag(flags: Flags): Promise<string | null> {
  const file = flags['output']
  if (typeof file !== 'string') return null
  if (formatOfFile(file) === null) {
    throw new TitheError('bad_flag', `cannot tell a format from ${file}`, {
      hint: 'end it in .jsonl, .csv or .parquet',
    })
  }
  await checkWritable(file)
  return file
}

export async function writeResultsFile(
  store: Store,
  run: string,
  file: string,
  only?: string,
): Promise<void> {
  await writeResults(file, formatOfFile(file)!, () => resultRows(store, run, only))
}
