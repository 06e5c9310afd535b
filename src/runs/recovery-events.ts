/** What stands in a run's events while it is rebuilt from its batches, and once that is done. */
export const RECOVERY_EVENTS = { begun: 'recovery_begun', complete: 'recovery_complete' } as const

/** Whether it is being rebuilt still, by the kinds of its events. */
export function isRecovering(kinds: ReadonlySet<string>): boolean {
  return kinds.has(RECOVERY_EVENTS.begun) && !kinds.has(RECOVERY_EVENTS.complete)
}
