import type { MediaFacts, TokenFacts, TokenizerFacts } from '../core/token-estimate.ts'
import tokenizersFile from './tokenizers.json' with { type: 'json' }

// The constants of the token estimate, each group with its own source: some are published, most are fitted on recordings
// (scripts/fit-tokenizers.ts prints them), a few are the best that is known.

/** The file as it stands, for the test of its shape. */
export function tokenizersFacts(): unknown {
  return tokenizersFile
}

let loaded: TokenFacts | null = null

export function loadTokenFacts(): TokenFacts {
  const { tokenizers, media } = tokenizersFile
  loaded ??= {
    tokenizers: {
      old: valuesOf<TokenizerFacts>(tokenizers.old),
      new: valuesOf<TokenizerFacts>(tokenizers.new),
    },
    media: valuesOf<MediaFacts>(media),
  }
  return loaded
}

/** That together they are whole is held by the test of the file's shape: it cannot differ in an installed package. */
function valuesOf<Facts extends object>(facts: readonly { readonly value: Partial<Facts> }[]): Facts {
  return Object.assign({}, ...facts.map((fact) => fact.value)) as Facts
}
