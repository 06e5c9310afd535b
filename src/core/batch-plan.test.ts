import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type BatchLimits,
  batchLimits,
  planBatches,
  planWaves,
  rowsInFlightMax,
  rowTooLarge,
} from './batch-plan.ts'

const limits: BatchLimits = { rowsMax: 20, bytesMax: 1_000, fill: 0.95 }
const body = (elements: readonly string[]) => `{"requests":[${elements.join(',')}]}`

test('the size of a batch is that of its HTTP body, to the byte', () => {
  const elements = ['{"custom_id":"a","params":{}}', '{"custom_id":"b","params":{"x":1}}']
  const [batch, ...rest] = planBatches(
    elements.map((element, ordinal) => ({ ordinal, bytes: element.length })),
    limits,
  )
  assert.deepEqual(rest, [])
  assert.deepEqual(batch, { ordinals: [0, 1], sizeBytes: Buffer.byteLength(body(elements)) })
})

test('batches keep within both limits, hold every row once, in order, and are not split needlessly', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 950 }), { maxLength: 200 }), (sizes) => {
      const rows = sizes.map((bytes, ordinal) => ({ ordinal, bytes }))
      const batches = [...planBatches(rows, limits)]
      assert.deepEqual(
        batches.flatMap((batch) => batch.ordinals),
        rows.map((row) => row.ordinal),
      )
      for (const [i, batch] of batches.entries()) {
        const elements = batch.ordinals.map((ordinal) => 'x'.repeat(sizes[ordinal]!))
        assert.equal(batch.sizeBytes, body(elements).length)
        assert.ok(batch.ordinals.length <= 19)
        assert.ok(batch.sizeBytes <= 950 || batch.ordinals.length === 1)
        const next = batches[i + 1]
        if (next) {
          const grown = batch.sizeBytes + 1 + sizes[next.ordinals[0]!]!
          assert.ok(batch.ordinals.length === 19 || grown > 950, 'the next row would not have fitted')
        }
      }
    }),
  )
})

test('a batch may be filled to its limit, not one byte more', () => {
  const batches = (bytes: number) => [
    ...planBatches(
      [
        { ordinal: 0, bytes: 400 },
        { ordinal: 1, bytes },
      ],
      limits,
    ),
  ]
  const exactly = 950 - body(['', '']).length - 400
  assert.deepEqual(
    batches(exactly).map((batch) => batch.sizeBytes),
    [950],
  )
  assert.equal(batches(exactly + 1).length, 2)
})

test('a row larger than a batch is a problem that names it and both sizes', () => {
  assert.equal(rowTooLarge({ ordinal: 4, bytes: 985 }, 1_000), null)
  const found = rowTooLarge({ ordinal: 4, bytes: 986 }, 1_000)
  assert.equal(found?.code, 'row_larger_than_batch')
  assert.match(found.message, /^row 5 .* 1,001 bytes .* 1,000$/)
  assert.throws(() => [...planBatches([{ ordinal: 4, bytes: 986 }], limits)], /refused when planning/)
})

test('planning is lazy: the first batch comes before the last row is read', () => {
  let read = 0
  const rows = function* () {
    for (;;) yield { ordinal: read++, bytes: 10 }
  }
  const { value } = planBatches(rows(), batchLimits({ batchRowsMax: 100, batchBytesMax: 1_000_000 })).next()
  assert.equal(value?.ordinals.length, 95)
  assert.equal(read, 96)
})

const waves = (rows: number, route: 'batch' | 'batch_primed_1h' | 'realtime', primers = 1) =>
  planWaves({
    rows,
    route,
    groups: Array.from({ length: primers }, (_, i) => ({ group: `p1:${i}`, prime: true })),
    withinMs: null,
    rowsInFlightMax: rowsInFlightMax(200_000),
  }).map((wave) => [wave.kind, wave.rows])

test('waves go primer, probe, then ten times more until the queue limit of the tier', () => {
  assert.deepEqual(waves(1_000, 'batch_primed_1h'), [
    ['primer', 1],
    ['probe', 30],
    ['bulk', 300],
    ['bulk', 669],
  ])
  assert.deepEqual(waves(1_000, 'batch'), [
    ['probe', 30],
    ['bulk', 300],
    ['bulk', 670],
  ])
  assert.deepEqual(waves(12, 'batch'), [['bulk', 12]])
  assert.deepEqual(waves(5_000, 'realtime'), [['realtime', 5_000]])
  assert.ok(waves(1_000_000, 'batch').every(([, rows]) => Number(rows) <= 190_000))
})

test('the waves of any job hold each of its rows once', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2_000_000 }), fc.integer({ min: 0, max: 50 }), (rows, primers) => {
      const planned = waves(rows, 'batch_primed_1h', primers)
      assert.equal(
        planned.reduce((sum, [, count]) => sum + Number(count), 0),
        rows,
      )
    }),
  )
})
