import { join } from 'node:path'

/** The folder of workloads: `$TITHE_SHARED`, else the one beside the checkout. The repository holds no copy of them. */
export const SHARED_DATA = process.env['TITHE_SHARED'] ?? join(import.meta.dirname, '../../../shared/data')

export function workload(path: string): string {
  return join(SHARED_DATA, 'workloads', path)
}
