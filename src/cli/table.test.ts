import assert from 'node:assert/strict'
import { test } from 'node:test'
import { renderTable, visibleWidth, wrapText } from './table.ts'

test('columns are as wide as their widest cell, numbers to the right, nothing behind the last', () => {
  const table = renderTable(
    [{ header: 'route' }, { header: 'cost', align: 'right' }, { header: 'why' }],
    [
      ['batch', '$30.00', ''],
      ['realtime', '$6.00', 'at once'],
    ],
    { indent: 2 },
  )
  assert.equal(
    table,
    ['  route       cost  why', '  batch     $30.00', '  realtime   $6.00  at once'].join('\n'),
  )
})

test('colour takes no room', () => {
  const red = (text: string) => `\u001b[31m${text}\u001b[39m`
  assert.equal(visibleWidth(red('abc')), 3)
  const plain = renderTable([{ header: 'a' }, { header: 'b' }], [['xx', 'y']])
  const coloured = renderTable([{ header: 'a' }, { header: 'b' }], [[red('xx'), 'y']])
  assert.equal(coloured.replaceAll(/\u001b\[\d+m/g, ''), plain)
})

test('the last column is wrapped under itself within the width', () => {
  const table = renderTable(
    [{ header: 'n' }, { header: 'why' }],
    [['1', 'one two three four five six seven']],
    { width: 24 },
  )
  assert.equal(table, ['n  why', '1  one two three four', '   five six seven'].join('\n'))
  assert.ok(table.split('\n').every((line) => line.length <= 24))
})

test('a word longer than the width stands alone', () => {
  assert.deepEqual(wrapText('a verylongword b', 5), ['a', 'verylongword', 'b'])
})
