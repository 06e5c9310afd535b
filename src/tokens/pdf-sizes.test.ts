import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { pdfSizes } from './pdf-sizes.ts'

const invoices = new URL('../../examples/invoices/files/', import.meta.url)
const base64 = (name: string) => readFileSync(new URL(name, invoices)).toString('base64')
const asking = (data: string) => ({
  messages: [
    {
      role: 'user',
      content: [{ type: 'document', source: { type: 'base64', media_type: 'application/pdf', data } }],
    },
  ],
})

test('a PDF that was looked into has its pages and text', async () => {
  const sizes = pdfSizes((text) => text.length)
  const data = base64('INV.2026.0113.pdf')
  assert.equal(sizes.sizeOf(data), null)
  await sizes.lookInto(asking(data))
  const size = sizes.sizeOf(data)
  assert.equal(size?.pages, 1)
  assert.ok(size.textTokens > 50, `${size.textTokens} characters`)
})

test('a damaged PDF stays unknown and breaks nothing', async () => {
  const sizes = pdfSizes((text) => text.length)
  const data = Buffer.from('%PDF-1.7 and then nothing').toString('base64')
  await sizes.lookInto(asking(data))
  assert.equal(sizes.sizeOf(data), null)
})
