import { globSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { defineJob } from 'tithe'
import { workload } from './shared-data.ts'

// invoice2data: invoices of real vendors as PDF, with what should be read from them as JSON (MIT, invoice-x). Only the
// fields that nearly all of them have are asked for; the score is the share of them that is right.

const FIELDS = {
  issuer: { type: 'string' },
  invoice_number: { type: 'string' },
  date: { type: 'string', description: 'YYYY-MM-DD' },
  amount: { type: 'number', description: 'The total to pay, tax included.' },
  currency: { type: 'string', description: 'ISO 4217' },
} as const

function* invoices() {
  for (const file of globSync(workload('invoices/invoice2data/*.pdf')).sort()) {
    const [found] = JSON.parse(readFileSync(file.replace(/pdf$/, 'json'), 'utf8')) as Record<string, string>[]
    const fields = Object.keys(FIELDS).filter((field) => found![field] !== undefined)
    yield {
      id: basename(file),
      file,
      fields: Object.fromEntries(fields.map((field) => [field, found![field]!])),
    }
  }
}

export default defineJob({
  name: 'invoice2data',
  model: 'claude-sonnet-4-6',
  max_tokens: 400,
  system: 'Read the invoice and give the fields that are asked for, as they stand there.',
  prompt: [{ attachment: 'file' }, 'Read this invoice.'],
  output: {
    schema: {
      type: 'object',
      properties: FIELDS,
      required: Object.keys(FIELDS),
      additionalProperties: false,
    },
  },
  input: invoices,
  id: 'id',
  expect: { column: 'fields', match: 'fields' },
})
