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

const variant = 'v'

test('the size of a batch is that of its HTTP body, to the byte', async () => {
  const elements = ['{"custom_id":"a","params":{}}', '{"custom_id":"b","params":{"x":1}}']
  const rows = elements.map((element, ordinal) => ({ ordinal, variant, bytes: element.length }))
  assert.deepEqual(await Array.fromAsync(planBatches(rows, limits)), [
    { rows, sizeBytes: Buffer.byteLength(body(elements)) },
  ])
})

test('batches keep within both limits, hold every row once, in order, and are not split needlessly', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 950 }), { maxLength: 200 }), async (sizes) => {
      const rows = sizes.map((bytes, ordinal) => ({ ordinal, variant, bytes }))
      const batches = await Array.fromAsync(planBatches(rows, limits))
      assert.deepEqual(
        batches.flatMap((batch) => batch.rows),
        rows,
      )
      for (const [i, batch] of batches.entries()) {
        const elements = batch.rows.map((row) => 'x'.repeat(row.bytes))
        assert.equal(batch.sizeBytes, body(elements).length)
        assert.ok(batch.rows.length <= 19)
        assert.ok(batch.sizeBytes <= 950 || batch.rows.length === 1)
        const next = batches[i + 1]
        if (next) {
          const grown = batch.sizeBytes + 1 + next.rows[0]!.bytes
          assert.ok(batch.rows.length === 19 || grown > 950, 'the next row would not have fitted')
        }
      }
    }),
  )
})

test('no two batches have the same number of rows where a smaller one is free, and no row is lost or sent twice', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 200 }),
      fc.uniqueArray(fc.integer({ min: 1, max: 19 }), { maxLength: 12 }),
      async (sizes, listed) => {
        const rows = sizes.map((bytes, ordinal) => ({ ordinal, variant, bytes }))
        const taken = new Set(listed)
        const batches = await Array.fromAsync(planBatches(rows, limits, taken))
        const sent = batches.flatMap((batch) => batch.rows)
        assert.deepEqual(
          sent,
          rows.slice(0, sent.length),
          'in order; what is cut off at the end is left for later',
        )
        assert.ok(rows.length - sent.length <= (batches.at(-1)?.rows.length ?? 0), 'never more than was sent')
        const before = new Set(listed)
        for (const batch of batches) {
          assert.equal(batch.sizeBytes, body(batch.rows.map((row) => 'x'.repeat(row.bytes))).length)
          assert.ok(batch.sizeBytes <= 950 || batch.rows.length === 1)
          const size = batch.rows.length
          const half = Array.from({ length: Math.floor(size / 2) + 1 }, (_, less) => size - less)
          if (before.has(size))
            assert.ok(
              half.every((count) => before.has(count) || count < size / 2),
              String(size),
            )
          before.add(size)
        }
      },
    ),
  )
})

test('rows of different variants never share a batch', async () => {
  const rows = ['a', 'a', 'b', 'c', 'c'].map((name, ordinal) => ({ ordinal, variant: name, bytes: 10 }))
  const batches = await Array.fromAsync(planBatches(rows, limits))
  assert.deepEqual(
    batches.map((batch) => batch.rows.map((row) => row.ordinal)),
    [[0, 1], [2], [3, 4]],
  )
})

test('a batch may be filled to its limit, not one byte more', async () => {
  const batches = (bytes: number) => {
    const rows = [400, bytes].map((size, ordinal) => ({ ordinal, variant, bytes: size }))
    return Array.fromAsync(planBatches(rows, limits))
  }
  const exactly = 950 - body(['', '']).length - 400
  assert.deepEqual(
    (await batches(exactly)).map((batch) => batch.sizeBytes),
    [950],
  )
  assert.equal((await batches(exactly + 1)).length, 2)
})

test('a row larger than a batch is a problem that names it and both sizes', async () => {
  assert.equal(rowTooLarge({ ordinal: 4, bytes: 985 }, 1_000), null)
  const found = rowTooLarge({ ordinal: 4, bytes: 986 }, 1_000)
  assert.equal(found?.code, 'row_larger_than_batch')
  assert.match(found.message, /^row 5 .* 1,001 bytes .* 1,000$/)
  const planned = planBatches([{ ordinal: 4, variant, bytes: 986 }], limits)
  await assert.rejects(planned.next(), /refused when planning/)
})

test('planning is lazy: the first batch comes before the last row is read', async () => {
  let read = 0
  const rows = function* () {
    for (;;) yield { ordinal: read++, variant, bytes: 10 }
  }
  const planned = planBatches(rows(), batchLimits({ batchRowsMax: 100, batchBytesMax: 1_000_000 }))
  const { value } = await planned.next()
  assert.equal(value?.rows.length, 95)
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
