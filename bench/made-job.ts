import { once } from 'node:events'
import { createWriteStream, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const HANDBOOK = readFileSync(join(import.meta.dirname, 'jobs/banking77-handbook.md'), 'utf8')
/** Makes a shared context of about 10,000 tokens. */
const HANDBOOK_COPIES = 4

export interface MadeJob {
  readonly job: string
  readonly input: string
}

/**
 * Writes a job of so many rows, each with a text of its own of so many bytes after a shared context of 10,000 tokens. The
 * words are those of the handbook, with numbers between them as tickets and orders have: no two rows are alike.
 */
export async function makeJob(dir: string, rows: number, ownBytes: number): Promise<MadeJob> {
  const words = HANDBOOK.split(/[^\p{L}]+/u).filter((word) => word !== '')
  const random = seeded(rows + ownBytes)
  const input = join(dir, `rows-${rows}-${ownBytes}.jsonl`)
  const file = createWriteStream(input)
  for (let row = 0; row < rows; row++) {
    let text = `Ticket ${row}.`
    while (text.length < ownBytes) {
      const word = words[Math.floor(random() ** 2 * words.length)]!
      text += random() < 0.08 ? ` ${word} ${Math.floor(random() * 1e6)}` : ` ${word}`
    }
    const line = `${JSON.stringify({ id: `row ${row}`, text: text.slice(0, ownBytes) })}\n`
    if (!file.write(line)) await once(file, 'drain')
  }
  file.end()
  await once(file, 'finish')
  const job = join(dir, `job-${rows}-${ownBytes}.json`)
  writeFileSync(
    job,
    JSON.stringify({
      name: `${rows} rows of ${ownBytes} bytes`,
      model: 'claude-sonnet-4-6',
      max_tokens: 300,
      expected_output: 100,
      system: Array.from({ length: HANDBOOK_COPIES }, (_, copy) => `Edition ${copy + 1}\n\n${HANDBOOK}`).join(
        '\n',
      ),
      prompt: '{{text}}',
      input,
      id: 'id',
    }),
  )
  return { job, input }
}

/** A job of rows that share nothing, each with so many bytes of text: what is measured is the carrying, not the cache. */
export async function makePlainJob(dir: string, rows: number, ownBytes: number): Promise<MadeJob> {
  const input = join(dir, `plain-${rows}-${ownBytes}.jsonl`)
  const file = createWriteStream(input)
  const words = HANDBOOK.replaceAll(/\s+/g, ' ')
  for (let row = 0; row < rows; row++) {
    const at = (row * 7_919) % (words.length - ownBytes)
    const text = `Ticket ${row}. ${words.slice(at, at + ownBytes)}`.slice(0, ownBytes)
    if (!file.write(`${JSON.stringify({ id: `row ${row}`, text })}\n`)) await once(file, 'drain')
  }
  file.end()
  await once(file, 'finish')
  const job = join(dir, `plain-${rows}-${ownBytes}.json`)
  const settings = {
    model: 'claude-haiku-4-5',
    max_tokens: 300,
    expected_output: 60,
    tier: 'scale',
    cache: 'off',
  }
  writeFileSync(
    job,
    JSON.stringify({ name: `${rows} rows`, ...settings, prompt: '{{text}}', input, id: 'id' }),
  )
  return { job, input }
}

/** The same rows every time. */
function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
