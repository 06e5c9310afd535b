/** What stands in a run's events while it is rebuilt from its batches, and once that is done. */
export const RECOVERY_EVENTS = { begun: 'recovery_begun', complete: 'recovery_complete' } as const
