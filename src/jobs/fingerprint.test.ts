import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { JobDefinition } from './define-job.ts'
import { fingerprintJob } from './fingerprint.ts'
import { deps, folder, smallJob } from './job-fixture.ts'
import { loadJob } from './load-job.ts'

const FILES = {
  'job.yaml':
    'model: claude-haiku-4-5\nmax_tokens: 9\nsystem: {file: s.md}\nprompt: "{{text}}"\nattachments: [file]\ninput: rows.csv\n',
  's.md': 'Be brief.',
  'rows.csv': 'text,file\nx,a.gif\n',
  'a.gif': Buffer.from('47494638396101000100000000', 'hex'),
}

async function fingerprintOf(source: string | JobDefinition): Promise<string> {
  return fingerprintJob(await loadJob(source, deps()))
}

test('the same job in another place has the same fingerprint', async () => {
  const [a, b] = [folder(FILES), folder(FILES)]
  assert.equal(await fingerprintOf(join(a, 'job.yaml')), await fingerprintOf(join(b, 'job.yaml')))
})

test('every byte that is bought changes it: prompt files, input, attachments, job', async () => {
  const seen = new Set([await fingerprintOf(join(folder(FILES), 'job.yaml'))])
  const changes: Record<string, string | Buffer> = {
    's.md': 'Be brief!',
    'rows.csv': 'text,file\ny,a.gif\n',
    'a.gif': Buffer.from('47494638396102000100000000', 'hex'),
    'job.yaml': FILES['job.yaml'].replace('9', '10'),
  }
  for (const [name, content] of Object.entries(changes)) {
    const directory = folder(FILES)
    writeFileSync(join(directory, name), content)
    seen.add(await fingerprintOf(join(directory, 'job.yaml')))
  }
  assert.equal(seen.size, 5)
})

test('every setting that changes what is bought changes it', async () => {
  const changes: JobDefinition[] = [
    {},
    { model: 'claude-opus-5-5' },
    { max_tokens: 51 },
    { prompt: 'Tell {{text}}' },
    { prompt: ['Say ', '{{text}}'] },
    { system: 'x' },
    { tools: [{ name: 'x', input_schema: { type: 'object', properties: { origin: { type: 'string' } } } }] },
    { tools: [{ name: 'x', input_schema: { type: 'object', properties: {} } }] },
    { output: { schema: { type: 'object', properties: { origin: {} } } } },
    { output: { schema: { type: 'object', properties: {} } } },
    { params: { temperature: 0 } },
    { api_version: '2026-10-21' },
    { betas: ['x'] },
    { input: [{ text: 'b' }] },
    { id: 'text' },
    { overrides: { params: 'text' } },
  ]
  const seen = await Promise.all(changes.map((change) => fingerprintOf(smallJob(change))))
  assert.equal(new Set(seen).size, changes.length)
})

test('what only decides when, for how much and how it is judged does not', async () => {
  const plain = await fingerprintOf(smallJob())
  const changes: JobDefinition[] = [
    { name: 'x' },
    { within: '6h' },
    { budget: 5 },
    { cache: 'off' },
    { batch: 'off' },
    { tier: 'scale' },
    { expected_output: 5 },
    { expect: { column: 'text' } },
    { prices: { 'claude-sonnet-5': { input: 0.5 } } },
    { max_attempts: 5 },
    { on_truncated: 'retry' },
    { on_refused: 'retry' },
    { on_schema_invalid: 'retry' },
    { on_deadline: 'announce' },
    { delete_remote: 'after_ingest' },
    { presume_lost_after: '1h' },
  ]
  for (const change of changes)
    assert.equal(await fingerprintOf(smallJob(change)), plain, JSON.stringify(change))
})

test('an alias and the model that it names are the same', async () => {
  const [alias, id] = ['claude-haiku-4-5', 'claude-haiku-4-5-20251001']
  assert.equal(await fingerprintOf(smallJob({ model: alias })), await fingerprintOf(smallJob({ model: id })))
})

test('files as rows: names and, where their text is used, contents', async () => {
  const fingerprintIn = async (files: Record<string, string>, prompt = '{{text}}') =>
    fingerprintOf(smallJob({ prompt, input: join(folder(files), '*.md') }))
  const plain = await fingerprintIn({ 'a.md': '1' })
  assert.notEqual(await fingerprintIn({ 'a.md': '2' }), plain)
  assert.notEqual(await fingerprintIn({ 'b.md': '1' }), plain)
  assert.notEqual(await fingerprintIn({ 'a.md': '1', 'b.md': '' }), plain)
  assert.equal(
    await fingerprintIn({ 'a.md': '1' }, '{{name}}'),
    await fingerprintIn({ 'a.md': '2' }, '{{name}}'),
  )
})
