import type { Fact } from './models.ts'
import type { Band } from './run-plan.ts'

/** What a plan assumes where nothing was measured yet. Dated like every fact, and always shown as *assumed*. */
export interface Priors {
  /** Share of the rows of an unprimed batch that read a shared prefix (claude-api.md 3.8). */
  readonly coldBatchHitRate: Fact<Band<number>>
  /** Share of the rows released behind a primer that read its entry while it lives (claude-api.md 3.8). */
  readonly primedHitRate: Fact<Band<number>>
  /** The same for realtime calls after the first. */
  readonly realtimeHitRate: Fact<Band<number>>
  /** Tokens that the newer tokenizer makes of a text for each of the older one (claude-api.md 4.1). */
  readonly newTokensPerOld: Fact<Band<number>>
}

/** Tokens of `to`'s tokenizer for each token counted with that of `from`. */
export function tokenRatio(
  priors: Priors,
  from: { readonly tokenizer: 'old' | 'new' },
  to: { readonly tokenizer: 'old' | 'new' },
): Band<number> {
  if (from.tokenizer === to.tokenizer) return { low: 1, best: 1, high: 1 }
  const { low, best, high } = priors.newTokensPerOld.value
  return to.tokenizer === 'new' ? { low, best, high } : { low: 1 / high, best: 1 / best, high: 1 / low }
}
