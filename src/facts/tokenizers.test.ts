import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Value } from 'typebox/value'
import { loadTokenFacts, tokenizersFacts } from './tokenizers.ts'
import { MediaConstants, TokenizerConstants, TokenizersFile } from './tokenizers-schema.ts'

describe('facts/tokenizers.json', () => {
  it('gives every fact a date, a source and a certainty', () => {
    assert.deepEqual(Value.Errors(TokenizersFile, tokenizersFacts()), [])
  })

  it('has every constant of both tokenizers and of media, once', () => {
    const { tokenizers, media } = loadTokenFacts()
    assert.deepEqual(Value.Errors(TokenizerConstants, tokenizers.old), [])
    assert.deepEqual(Value.Errors(TokenizerConstants, tokenizers.new), [])
    assert.deepEqual(Value.Errors(MediaConstants, media), [])

    const file = tokenizersFacts() as { tokenizers: Record<string, Fact[]>; media: Fact[] }
    for (const facts of [file.tokenizers['old']!, file.tokenizers['new']!, file.media]) {
      const names = facts.flatMap((fact) => Object.keys(fact.value))
      assert.equal(new Set(names).size, names.length, `a constant of ${names} stands twice`)
    }
  })
})

interface Fact {
  readonly value: object
}
