import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { folder, titheJson } from './tithe.ts'

interface Told {
  readonly survived: readonly {
    readonly fault: string
    readonly after_ms: number
    readonly delay_ms: number
    readonly did: string
  }[]
  readonly rows: number
  readonly answered: number
  readonly lost: number
  readonly paid_twice: number
  readonly ledger_equals_invoice: boolean
  readonly invoice: { readonly entries: number; readonly lines: number }
}

test('demo --chaos survives every fault that it names, a kill -9 among them, and leaves nothing behind', async () => {
  const cwd = folder()
  const told = (await titheJson(cwd, 'demo', '--chaos')) as unknown as Told
  assert.deepEqual(told.survived.map(({ fault }) => fault).sort(), [
    'batch: expired',
    'create: 429 with retry-after',
    'create: 529',
    'create: answer lost',
    'list: unreachable',
    'process: kill -9',
    'results: cut',
    'results: short',
    'retrieve: 404',
  ])
  for (const { fault, delay_ms } of told.survived) assert.ok(delay_ms > 0, fault)
  const { rows, answered, lost, paid_twice, ledger_equals_invoice, invoice } = told
  assert.deepEqual(
    {
      rows,
      answered,
      lost,
      paid_twice,
      ledger_equals_invoice,
      entries: invoice.entries,
      lines: invoice.lines,
    },
    {
      rows: 240,
      answered: 240,
      lost: 0,
      paid_twice: 0,
      ledger_equals_invoice: true,
      entries: 240,
      lines: 240,
    },
  )
  assert.deepEqual(readdirSync(cwd), [])
})
