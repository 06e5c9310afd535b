import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import Anthropic from '@anthropic-ai/sdk'
import { stopwatch } from './stopwatch.ts'

// What one would write with the official SDK: `submit` reads the rows and creates a batch of them, `ingest` reads the
// results of the newest batch. Prints one JSON object. Nothing is stored, nothing survives a crash.

const [step, baseURL, input] = process.argv.slice(2)
const client = new Anthropic({ apiKey: 'bench', baseURL: baseURL! })

if (step === 'submit') {
  const requests: Anthropic.Messages.BatchCreateParams.Request[] = []
  for await (const line of createInterface({ input: createReadStream(input!) })) {
    const { id, text } = JSON.parse(line) as { id: string; text: string }
    requests.push({
      custom_id: `raaaaaaaaa-1-${requests.length.toString(36)}-${id.replaceAll(' ', '_')}`,
      params: {
        model: 'claude-haiku-4-5-20251001',
        max_tokens: 300,
        messages: [{ role: 'user', content: [{ type: 'text', text }] }],
      },
    })
  }
  const stop = stopwatch()
  await client.messages.batches.create({ requests })
  report(requests.length, stop())
} else {
  const { data } = await client.messages.batches.list({ limit: 1 })
  const stop = stopwatch()
  let rows = 0
  let outputTokens = 0
  for await (const { result } of await client.messages.batches.results(data[0]!.id)) {
    rows += 1
    if (result.type === 'succeeded') outputTokens += result.message.usage.output_tokens
  }
  report(rows, stop(), { output_tokens: outputTokens })
}

function report(rows: number, took: object, more: object = {}): void {
  process.stdout.write(`${JSON.stringify({ rows, ...took, ...more })}\n`)
}
