import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { before, describe, it } from 'node:test'
import { loadCatalogue } from '../../src/facts/load.ts'
import { loadTokenFacts } from '../../src/facts/tokenizers.ts'
import { readRecordings } from './recording.ts'
import { recordingsPath } from './recordings-path.ts'
import { leastAbsoluteDeviations } from './token-fit.ts'
import { fitOnHalfA, judgeTokens, type TokenReport, type TokenScores } from './tokens-judge.ts'

const file = recordingsPath()
const skip =
  existsSync(file) || process.env['CI'] === 'true'
    ? false
    : `RECORDINGS NOT FOUND AT ${file}: NOTHING WAS JUDGED`

describe('the token estimate against recordings', { skip }, () => {
  let report: TokenReport
  let fitted: Awaited<ReturnType<typeof fitOnHalfA>>
  before(async () => {
    const recordings = await readRecordings(file)
    report = await judgeTokens(recordings, loadCatalogue(), loadTokenFacts(), file)
    fitted = await fitOnHalfA(recordings, loadCatalogue(), loadTokenFacts(), file)
  })

  // The targets of the project, on what was not fitted.
  const splits = {
    'texts that were not fitted': () => report.by_text,
    'repositories that were not fitted': () => report.by_repo,
  } satisfies Record<string, () => TokenScores>
  for (const [held, scores] of Object.entries(splits)) {
    it(`plain text of 100 tokens or more, ${held}: median 2 %, p95 8 %`, () => {
      const { n, median, p95 } = scores().text
      assert.ok(n >= 100 && median <= 0.02 && p95 <= 0.08, JSON.stringify(scores().text))
    })

    it(`with tools, ${held}: median 2 %, p95 15 %`, () => {
      const { n, median, p95 } = scores().tools
      assert.ok(n >= 100 && median <= 0.02 && p95 <= 0.15, JSON.stringify(scores().tools))
    })

    it(`images, ${held}: 5 tokens at the median of sizes`, () => {
      const { sizes, median_tokens_off: off } = scores().images
      assert.ok(sizes >= 5 && off <= 5, JSON.stringify(scores().images))
    })

    it(`newer tokenizer, ${held}: half the band within 20 %, nine in ten inside`, () => {
      const { n, held: inside, half_width_max: halfWidth } = scores().new_tokenizer
      assert.ok(n >= 30 && halfWidth <= 0.2 && inside >= 0.9, JSON.stringify(scores().new_tokenizer))
    })
  }

  it('the bands of the older tokenizer hold nine in ten', () => {
    for (const kind of ['text', 'all_text', 'tools', 'schema', 'documents'] as const) {
      assert.ok(report.by_text[kind].held >= 0.9, `${kind} ${JSON.stringify(report.by_text[kind])}`)
    }
  })

  it('the shipped constants are those that the fit gives', () => {
    assert.deepEqual(fitted, loadTokenFacts())
  })

  it('a wrong constant would not pass', async () => {
    const facts = loadTokenFacts()
    const { old, new: newer } = facts.tokenizers
    const wrong = {
      ...facts,
      tokenizers: { old: { ...old, perTextToken: 1 }, new: { ...newer, perTextToken: 1 } },
    }
    const recordings = await readRecordings(file)
    const { by_text } = await judgeTokens(recordings, loadCatalogue(), wrong, file)
    assert.ok(by_text.text.median > 0.02, JSON.stringify(by_text.text))
    assert.ok(by_text.new_tokenizer.held < 0.9, JSON.stringify(by_text.new_tokenizer))
  })
})

describe('leastAbsoluteDeviations', () => {
  it('finds the line through most points, whatever the others are', () => {
    const xs = Array.from({ length: 21 }, (_, i) => [1, i])
    const ys = xs.map(([, x]) => (x! % 5 === 3 ? 1_000 : 7 + 3 * x!))
    const [wrapper, slope] = leastAbsoluteDeviations(xs, ys)
    assert.ok(Math.abs(wrapper! - 7) < 0.2 && Math.abs(slope! - 3) < 0.02, `${wrapper} ${slope}`)
  })
})
