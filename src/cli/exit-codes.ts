import type { ExitCode } from '../core/errors.ts'
import type { RowCounts, RunState } from '../stores/store.ts'

/** design.md 6. A row that was refused, truncated or is not valid under its schema is not a success to whoever waits. */
export function exitCodeOf(counts: RowCounts, state: RunState): ExitCode {
  switch (state) {
    case 'preparing':
    case 'running':
      return 5
    case 'stopped':
      return 4
    case 'canceled':
      return 1
    case 'finished': {
      const unusable = counts.refused + counts.truncated + counts.schemaInvalid + counts.unfinished
      const failed = counts.errored + counts.canceled + counts.expired + counts.invalid + counts.unretrievable
      return failed + unusable === 0 ? 0 : 1
    }
  }
}
