import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { sampledCounter } from './sample-count.ts'

/** Short texts have a token per 3 bytes, long ones one per 5, each with its own swerve; all different. */
function tokensOf(text: string): number {
  const swerve = 1 + ((text.charCodeAt(3) % 11) - 5) / 20
  return Math.round((text.length / (text.length < 200 ? 3 : 5)) * swerve)
}

function* textsOfTwoKinds(rows: number): Generator<string> {
  for (let i = 0; i < rows; i++) {
    const id = `${(i * 7919) % 100_003}`.padStart(6, '0')
    yield id + 'x'.repeat(i % 3 === 0 ? 1_000 + (i % 700) : 20 + (i % 90))
  }
}

function countAll(rows: number, options: Parameters<typeof sampledCounter>[1]) {
  const counter = sampledCounter(tokensOf, options)
  let estimated = 0
  let real = 0
  for (const text of textsOfTwoKinds(rows)) {
    estimated += counter.count(text)
    real += tokensOf(text)
  }
  return { counter, estimated, real }
}

describe('sampledCounter', () => {
  it('counts everything within its budget', () => {
    const { counter, estimated, real } = countAll(100, { budgetBytes: 1_000_000 })
    assert.equal(estimated, real)
    assert.equal(counter.counting(), 'exact')
    assert.equal(counter.halfBandTokens(), 0)
    assert.deepEqual(counter.bytes().counted, counter.bytes().all)
  })

  it('counts everything when told to', () => {
    const { counter, estimated, real } = countAll(5_000, { budgetBytes: 1_000, exact: true })
    assert.equal(estimated, real)
    assert.equal(counter.counting(), 'exact')
  })

  it('past its budget comes close, within the band that it states, having counted a small part', () => {
    for (const seed of ['a', 'b', 'c']) {
      const { counter, estimated, real } = countAll(30_000, { budgetBytes: 100_000, seed })
      assert.equal(counter.counting(), 'sampled')
      const off = Math.abs(estimated - real)
      const stated = counter.halfBandTokens()
      assert.ok(off <= stated, `${off} off, ${stated} stated`)
      assert.ok(stated > 0 && stated < 0.03 * estimated, `${stated} of ${estimated}`)
      const { counted, all } = counter.bytes()
      assert.ok(counted < 0.1 * all, `${counted} of ${all}`)
    }
  })

  it('guesses from its own length class', () => {
    const { estimated, real } = countAll(30_000, { budgetBytes: 0 })
    const oneRatio = sampledCounter((text) => text.length / 5, { budgetBytes: 0 })
    let wrong = 0
    for (const text of textsOfTwoKinds(30_000)) wrong += oneRatio.count(text)
    assert.ok(Math.abs(estimated - real) < Math.abs(wrong - real))
  })

  it('chooses the same texts again, and others with another seed', () => {
    const first = countAll(5_000, { budgetBytes: 10_000, seed: 'a' }).estimated
    assert.equal(countAll(5_000, { budgetBytes: 10_000, seed: 'a' }).estimated, first)
    assert.notEqual(countAll(5_000, { budgetBytes: 10_000, seed: 'b' }).estimated, first)
  })

  it('says so when a file changed on the way', () => {
    const counter = sampledCounter((text) => Math.round(text.length / (text.startsWith('a') ? 2 : 6)), {
      budgetBytes: 50_000,
    })
    let estimated = 0
    let real = 0
    for (let i = 0; i < 20_000; i++) {
      const text = `${i < 500 ? 'a' : 'b'}${i}`.padEnd(400, '-')
      estimated += counter.count(text)
      real += Math.round(400 / (i < 500 ? 2 : 6))
    }
    const off = Math.abs(estimated - real)
    assert.ok(off > 0.1 * estimated, 'this file misleads')
    assert.ok(off <= counter.halfBandTokens(), `${off} off, ${counter.halfBandTokens()} stated`)
  })
})
