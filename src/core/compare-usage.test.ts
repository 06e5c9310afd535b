import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compareUsage } from './compare-usage.ts'
import { USAGE_CLASSES, type UsageCell, type UsageClass } from './usage-export.ts'

const NONE = Object.fromEntries(USAGE_CLASSES.map((name) => [name, 0])) as Record<UsageClass, number>

function cell(day: string, quantities: Partial<Record<UsageClass, number>>, model = 'm'): UsageCell {
  return { day, model, tier: 'batch', quantities: { ...NONE, ...quantities } }
}

const verdicts = (ledger: readonly UsageCell[], exported: readonly UsageCell[]) =>
  compareUsage(ledger, exported).lines.map(({ day, class: name, verdict }) => `${day} ${name} ${verdict}`)

test('what is the same on both sides is equal, however it is cut into rows', () => {
  const ledger = [cell('2026-11-22', { input: 30, output: 4 })]
  const exported = [cell('2026-11-22', { input: 10 }), cell('2026-11-22', { input: 20, output: 4 })]
  assert.deepEqual(verdicts(ledger, exported), ['2026-11-22 input equal', '2026-11-22 output equal'])
})

test('a batch that ran past midnight stands in the export on the day before: that is a shift', () => {
  const ledger = [cell('2026-11-22', { input: 5 }), cell('2026-11-23', { input: 100 })]
  const exported = [cell('2026-11-22', { input: 35 }), cell('2026-11-23', { input: 70 })]
  assert.deepEqual(verdicts(ledger, exported), ['2026-11-22 input shifted', '2026-11-23 input shifted'])
})

test('usage that the provider does not know is told from usage of others', () => {
  const ledger = [cell('2026-11-22', { input: 5 }), cell('2026-11-23', { input: 9 })]
  const exported = [cell('2026-11-22', { input: 8 }), cell('2026-11-23', { input: 5 })]
  assert.deepEqual(verdicts(ledger, exported), [
    '2026-11-22 input more_in_export',
    '2026-11-23 input more_in_ledger',
  ])
})

test('days that the export does not reach are no differences', () => {
  const ledger = [cell('2026-11-20', { input: 5 }), cell('2026-11-22', { input: 5 })]
  const exported = [cell('2026-11-22', { input: 5 })]
  const { lines, counts, days } = compareUsage(ledger, exported)
  assert.deepEqual(
    lines.map((line) => line.verdict),
    ['outside', 'equal'],
  )
  assert.deepEqual(days, { first: '2026-11-22', last: '2026-11-22' })
  assert.deepEqual([counts.outside, counts.equal], [1, 1])
  assert.equal(compareUsage(ledger, []).counts.outside, 2)
})

test('a ledger that was exported is equal to itself, and one token more or less is found', () => {
  const cells = fc.array(
    fc.record({
      day: fc.constantFrom('2026-11-20', '2026-11-21', '2026-11-22'),
      model: fc.constantFrom('a', 'b'),
      name: fc.constantFrom(...USAGE_CLASSES),
      quantity: fc.integer({ min: 1, max: 1e9 }),
    }),
    { minLength: 1, maxLength: 30 },
  )
  fc.assert(
    fc.property(cells, fc.nat(), fc.boolean(), (made, which, isMore) => {
      const all = made.map(({ day, model, name, quantity }) => cell(day, { [name]: quantity }, model))
      const same = compareUsage(all, [...all].reverse())
      assert.equal(same.counts.equal, same.lines.length)
      const index = which % all.length
      const moved = made[index]!
      const change = isMore ? 1 : -1
      const changed = all.with(index, cell(moved.day, { [moved.name]: moved.quantity + change }, moved.model))
      // The days are those of the export; a day that vanished from it is outside.
      const found = compareUsage(changed, all)
      const verdict = isMore ? 'more_in_ledger' : 'more_in_export'
      assert.equal(found.counts[verdict], 1)
    }),
  )
})
