import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

// What a results file should have cost, from its usage and a price table alone. Imports nothing of Tithe, on purpose:
//   npx tithe results --raw > results.jsonl && node bench/verify-bill.ts results.jsonl claude-sonnet-4-6=3/3.75/6/0.30/15
// Prices are dollars per million tokens in realtime: input/5m write/1h write/cache read/output. A batch costs half.

const [file, ...table] = process.argv.slice(2)
const prices = new Map(
  table.map((entry) => {
    const [model, rates] = entry.split('=') as [string, string]
    // A dollar per million tokens is a million picodollars per token.
    return [model, rates.split('/').map((rate) => BigInt(Math.round(Number(rate) * 1e6)))] as const
  }),
)

let total = 0n
for await (const line of createInterface({ input: createReadStream(file!) })) {
  const { result } = JSON.parse(line)
  if (result.type !== 'succeeded') continue // Only answers are billed.
  const { model, usage } = result.message
  const rates = prices.get(model)
  if (!rates) throw new Error(`no price given for ${model}`)
  const tokens = [
    usage.input_tokens,
    usage.cache_creation.ephemeral_5m_input_tokens,
    usage.cache_creation.ephemeral_1h_input_tokens,
    usage.cache_read_input_tokens,
    usage.output_tokens,
  ]
  const cost = tokens.reduce((sum, count, i) => sum + BigInt(count) * rates[i]!, 0n)
  total += usage.service_tier === 'batch' ? cost / 2n : cost
}
process.stdout.write(`${total}\n`)
