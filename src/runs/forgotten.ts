import { TitheError } from '../core/errors.ts'
import { formatTimestamp, type Instant } from '../core/instant.ts'
import type { RunRecord } from '../stores/store.ts'

/** The day on which a run was forgotten, for people. */
export function forgottenOn(at: Instant): string {
  return `forgotten on ${formatTimestamp(at).slice(0, 10)}`
}

/** For what needs the content of a run. @throws `forgotten` */
export function refuseForgotten({ id, forgottenAt }: RunRecord): void {
  if (forgottenAt === null) return
  throw new TitheError(
    'forgotten',
    `run ${id} was ${forgottenOn(forgottenAt)}: its rows and answers are gone`,
    {
      hint: `what it cost is kept: 'tithe report ${id}'`,
    },
  )
}
