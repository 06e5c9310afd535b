import type { JobSettings } from './job.ts'
import type { RunPlan } from './run-plan.ts'

// What is left of a run whose content is forgotten: whatever its money and its figures are computed from, and its name.

/** Kept: models, terms, prices, policies. Gone: what an answer was to look like, and what was expected. */
export function settingsWithoutContent(settings: JobSettings): JobSettings {
  return { ...settings, outputSchema: null, expect: null }
}

/** Kept: routes, bands, groups by their digests. Gone: the outline of the prompt, and messages that may quote it. */
export function planWithoutContent(plan: RunPlan): RunPlan {
  return { ...plan, template: null, alternatives: [], problems: [] }
}
