import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadCatalogue } from '../facts/load.ts'
import {
  breakEvenHitRate,
  breakEvenUses,
  groupOf,
  groupPlansOf,
  type Placement,
  type PlacementTerms,
  placeMarks,
} from './cache-plan.ts'
import { sha256Hex } from './digest.ts'
import { instant } from './instant.ts'
import { type PoolProfile, profileJob } from './job-profile.ts'
import { findModel, priceAt, type Rates } from './models.ts'
import type { Ttl } from './request.ts'
import type { RunPlan } from './run-plan.ts'

const at = instant(Date.parse('2026-11-22'))
const ratesOf = (model: string): Rates => priceAt(findModel(loadCatalogue(), model)!, at)!.bands[0]!.rates
const terms = (change: Partial<PlacementTerms> = {}): PlacementTerms => ({
  ttl: '1h',
  rates: ratesOf('claude-sonnet-4-6'),
  minimumTokens: 1_024,
  tokenRatio: 1,
  marksMax: 4,
  readShare: 1,
  ...change,
})

interface Step {
  readonly name: string
  readonly tokens: number
  readonly markable?: boolean
  readonly mark?: Ttl
}
/** A pool of rows, each a list of steps that deepen its prefix. */
function poolOf(rows: readonly (readonly Step[])[]): PoolProfile {
  const profiler = profileJob([])
  for (const [ordinal, steps] of rows.entries()) {
    profiler.add({
      ordinal,
      model: 'claude-sonnet-4-6',
      variant: 'v',
      prefixes: steps.map(({ tokens, markable, mark }, depth) => ({
        path: `system[${depth}]`,
        hash: hashOf(steps.slice(0, depth + 1)),
        tokens,
        markable: markable ?? true,
        mark: mark ?? null,
      })),
      promptTokens: { low: 20_000, best: 20_000, high: 20_000 },
      ownBytes: 0,
      paramsBytes: 0,
      maxTokens: 100,
      inferenceGeo: null,
      speed: 'standard',
      webSearchesMax: 0,
      warnings: [],
    })
  }
  return profiler.profile('exact').pools[0]!
}
function hashOf(steps: readonly Step[]): string {
  return `p1:${sha256Hex(steps.map((step) => step.name).join('/'))}`
}
const repeat = (count: number, steps: (i: number) => Step[]) =>
  Array.from({ length: count }, (_, i) => steps(i))
const shape = (placement: Placement) =>
  placement.groups.map((group) => `${group.marks.map((mark) => mark.path).join(' + ')}: ${group.rows}`)

test('break-even follows from the price book: 21.7 and 52.6 % at a read price of a tenth', () => {
  const percent = (model: string, ttl: Ttl) => (breakEvenHitRate(ratesOf(model), ttl) * 100).toFixed(1)
  assert.deepEqual([percent('claude-sonnet-4-6', '5m'), percent('claude-sonnet-4-6', '1h')], ['21.7', '52.6'])
  assert.deepEqual([percent('claude-sonnet-5-5', '5m'), percent('claude-sonnet-5-5', '1h')], ['20.8', '51.3'])
  assert.deepEqual([percent('claude-fable-5-2', '5m'), percent('claude-fable-5-2', '1h')], ['20.4', '50.6'])
})

test('an entry pays from its second use for five minutes, from its third for an hour', () => {
  for (const model of loadCatalogue().models.filter((one) => priceAt(one, at) !== null)) {
    const rates = ratesOf(model.id)
    assert.equal(breakEvenUses(rates, '5m'), 2, model.id)
    assert.equal(breakEvenUses(rates, '1h'), 3, model.id)
    for (const [ttl, write] of [
      ['5m', rates.write5m],
      ['1h', rates.write1h],
    ] as const) {
      const cost = (uses: bigint) => write + (uses - 1n) * rates.read - uses * rates.input
      const uses = BigInt(breakEvenUses(rates, ttl))
      assert.ok(cost(uses) < 0n && cost(uses - 1n) >= 0n, `${model.id} ${ttl}`)
    }
  }
})

test('what all rows share is marked at its end, never what varies', () => {
  const pool = poolOf(
    repeat(100, (i) => [
      { name: 'a', tokens: 2_000 },
      { name: 'b', tokens: 3_000 },
      { name: `own ${i}`, tokens: 3_100 },
    ]),
  )
  assert.deepEqual(shape(placeMarks(pool, terms())), ['system[1]: 100'])
})

test('a prefix below the minimum is not marked, and the missing tokens are named', () => {
  const pool = poolOf(repeat(100, () => [{ name: 'a', tokens: 1_000 }]))
  const { groups, elsewhere } = placeMarks(pool, terms())
  assert.deepEqual(groups, [])
  assert.match(
    elsewhere,
    /1,000 tokens to the end of system\[0\] are shared by 100 rows, 24 short of the minimum of 1,024/,
  )
  assert.deepEqual(shape(placeMarks(pool, terms({ minimumTokens: 1_000 }))), ['system[0]: 100'])
  assert.deepEqual(
    shape(placeMarks(pool, terms({ tokenRatio: 1.3 }))),
    ['system[0]: 100'],
    'as the new tokenizer counts',
  )
})

test('blocks that take no mark are passed over for the last one that does', () => {
  const pool = poolOf(
    repeat(9, () => [
      { name: 'a', tokens: 2_000 },
      { name: 'b', tokens: 9_000, markable: false },
    ]),
  )
  assert.deepEqual(shape(placeMarks(pool, terms())), ['system[0]: 9'])
})

test('two uses pay for five minutes and not for an hour', () => {
  const pool = poolOf(repeat(2, () => [{ name: 'a', tokens: 2_000 }]))
  assert.equal(placeMarks(pool, terms({ ttl: '5m' })).groups.length, 1)
  const hour = placeMarks(pool, terms())
  assert.equal(hour.groups.length, 0)
  assert.match(hour.elsewhere, /a 1h mark pays from use 3, above 52\.6 % hits/)
})

test('three uses do not pay for an hour when an entry is likely to be dead', () => {
  const pool = poolOf(repeat(3, () => [{ name: 'a', tokens: 2_000 }]))
  assert.equal(placeMarks(pool, terms({ readShare: 0.9 })).groups.length, 1)
  assert.equal(placeMarks(pool, terms({ readShare: 0.5 })).groups.length, 0)
})

test('a level below the trunk is marked where its readers pay for writing the trunk once more', () => {
  const rows = (perTopic: number) =>
    poolOf(
      repeat(10 * perTopic, (i) => [
        { name: 'trunk', tokens: 10_000 },
        { name: `topic ${i % 10}`, tokens: 15_000 },
      ]),
    )
  assert.deepEqual(shape(placeMarks(rows(50), terms())), new Array(10).fill('system[0] + system[1]: 50'))
  // Four readers save 4 · 0.9 · 5,000 tokens each and pay 1 · 5,000 + 1.9 · 10,000 to write.
  assert.deepEqual(shape(placeMarks(rows(5), terms())), ['system[0]: 50'])
})

test('rows with a level of their own and rows with the trunk alone are separate groups', () => {
  const pool = poolOf([
    ...repeat(60, (i) => [
      { name: 'trunk', tokens: 2_000 },
      { name: `own ${i}`, tokens: 2_100 },
    ]),
    ...repeat(40, () => [
      { name: 'trunk', tokens: 2_000 },
      { name: 'topic', tokens: 9_000 },
    ]),
  ])
  assert.deepEqual(shape(placeMarks(pool, terms())).sort(), ['system[0] + system[1]: 40', 'system[0]: 60'])
})

test('without a trunk every prefix stands by itself', () => {
  const pool = poolOf(repeat(40, (i) => [{ name: `a${i % 4}`, tokens: 3_000 }]))
  assert.deepEqual(shape(placeMarks(pool, terms())), new Array(4).fill('system[0]: 10'))
})

test('marks of the job are kept and counted: ours fit into what they leave', () => {
  const owned = (marks: number) =>
    poolOf(
      repeat(100, (i) => [
        { name: 'trunk', tokens: 5_000 },
        { name: `topic ${i % 2}`, tokens: 50_000 },
        ...repeat(marks, (j) => [{ name: `${i} ${j}`, tokens: 51_000 + j, mark: '5m' }]).flat(),
      ]),
    )
  assert.deepEqual(shape(placeMarks(owned(2), terms())), new Array(2).fill('system[0] + system[1]: 50'))
  assert.deepEqual(shape(placeMarks(owned(3), terms())), new Array(2).fill('system[1]: 50'))
  const full = placeMarks(owned(4), terms())
  assert.deepEqual(full.groups, [])
  assert.match(full.elsewhere, /4 marks of their own/)
})

test('a shared prefix that the job marks itself gets no mark of ours, and is still primed', () => {
  const pool = poolOf(repeat(50, () => [{ name: 'a', tokens: 5_000, mark: '5m' }]))
  const placement = placeMarks(pool, terms())
  const [group] = groupPlansOf(pool, placement, terms(), { prime: true, hitRate: 0.5, certainty: 'assumed' })
  assert.deepEqual([group?.marks, group?.prime, group?.rows], [[], true, 50])
  assert.match(group!.because, /marked by the job itself/)
  assert.match(group!.because, /a 5m mark pays above 21\.7 % hits/)
})

const someStep = fc.nat({ max: 2 })
const someRows = fc.array(fc.tuple(someStep, someStep, fc.nat({ max: 9 })), { minLength: 1, maxLength: 80 })

test('groups hold each row at most once, with at most two marks on one path, all above the minimum', () => {
  fc.assert(
    fc.property(
      someRows,
      fc.constantFrom<Ttl>('5m', '1h'),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (rows, ttl, readShare) => {
        const pool = poolOf(
          rows.map(([a, b, c]) => [
            { name: `a${a}`, tokens: 900 + 400 * a },
            { name: `b${b}`, tokens: 4_000 },
            { name: `c${c}`, tokens: 9_000 },
          ]),
        )
        const { groups } = placeMarks(pool, terms({ ttl, readShare }))
        const placed = groups.reduce((sum, group) => sum + group.rows, 0)
        assert.ok(placed <= rows.length)
        for (const group of groups) {
          assert.ok(group.rows >= 2 && group.rows <= group.prefix.rows)
          assert.equal(group.rowsByBracket.best[0], group.rows)
          assert.ok(group.marks.length <= 2 && group.marks.at(-1) === group.prefix)
          assert.ok(group.marks.every((mark) => mark.tokens >= 1_024))
        }
      },
    ),
  )
})

test('a row finds the group of its deepest marked prefix, by its hashes alone', () => {
  const pool = poolOf([
    ...repeat(60, (i) => [
      { name: 'trunk', tokens: 2_000 },
      { name: `own ${i}`, tokens: 2_100 },
    ]),
    ...repeat(40, () => [
      { name: 'trunk', tokens: 2_000 },
      { name: 'topic', tokens: 9_000 },
    ]),
  ])
  const groups = groupPlansOf(pool, placeMarks(pool, terms()), terms(), {
    prime: true,
    hitRate: 0.8,
    certainty: 'assumed',
  })
  const plan = { groups } as unknown as RunPlan
  const trunk = hashOf([{ name: 'trunk', tokens: 0 }])
  const topic = hashOf([
    { name: 'trunk', tokens: 0 },
    { name: 'topic', tokens: 0 },
  ])
  assert.equal(groupOf(plan, [trunk, 'p1:other'])?.rows, 60)
  assert.equal(groupOf(plan, [trunk, topic])?.rows, 40)
  assert.equal(groupOf(plan, ['p1:other']), null)
  assert.equal(groupOf(plan, []), null)
})
