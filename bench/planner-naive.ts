import { createReadStream, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { countTokens } from 'bpe-lite'

// node bench/planner-naive.ts JOB serialise|count: what one would otherwise write to learn the size of a job. Every request
// is built whole, and either turned into JSON, for its bytes, or counted, for its tokens. Neither finds what is shared,
// prices anything or checks anything.

const [jobFile, mode] = process.argv.slice(2)
const job = JSON.parse(readFileSync(jobFile!, 'utf8'))
const begun = performance.now()
let rows = 0
let sum = 0
for await (const line of createInterface({ input: createReadStream(job.input) })) {
  const { text } = JSON.parse(line)
  rows += 1
  const request = {
    model: job.model,
    max_tokens: job.max_tokens,
    system: job.system,
    messages: [{ role: 'user', content: text }],
  }
  sum += mode === 'count' ? countTokens(`${job.system}${text}`, 'anthropic') : JSON.stringify(request).length
}
const ms = performance.now() - begun
process.stdout.write(JSON.stringify({ rows, ms_per_1000_rows: Math.round((ms / rows) * 1e4) / 10, sum }))
