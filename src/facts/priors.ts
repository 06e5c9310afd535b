import type { Priors } from '../core/priors.ts'
import priorsFile from './priors.json' with { type: 'json' }

/** What plans assume until something was measured; `priors.test.ts` holds the file to its shape. */
export function loadPriors(): Priors {
  return priorsFile as Priors
}
