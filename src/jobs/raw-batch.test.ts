import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { problem } from '../core/errors.ts'
import { deps, folder, goodRows, onlyProblem, rowsOf } from './job-fixture.ts'
import { loadJob } from './load-job.ts'

const params = { model: 'claude-haiku-4-5', max_tokens: 5, messages: [{ role: 'user', content: 'x' }] }

function batchFile(lines: readonly unknown[]): string {
  const content = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n')
  return join(folder({ 'batch.jsonl': content }), 'batch.jsonl')
}

test('a batch file is a job: its lines are the rows, ids of any form included', async () => {
  const marked = { ...params, system: [{ type: 'text', text: 'x', cache_control: { type: 'ephemeral' } }] }
  const file = batchFile([
    { custom_id: 'invoice-a b.pdf', params },
    { custom_id: 'b', params: marked },
  ])
  const rows = await goodRows(file)
  assert.deepEqual(
    rows.map((row) => row.userId),
    ['invoice-a b.pdf', 'b'],
  )
  assert.deepEqual(rows[0]!.request, { ...params, model: 'claude-haiku-4-5-20251001' })
  assert.deepEqual(rows[1]!.request['system'], marked.system)
  assert.equal(rows[0]!.sharedBlocks, 0)
  const { settings } = await loadJob(file, deps())
  assert.deepEqual([settings.name, settings.models, settings.apiVersion], ['batch', [], '2023-06-01'])
})

test('a bad line is an invalid row that names line and path', async () => {
  const good = { custom_id: 'good', params }
  const bad = async (line: unknown) => {
    const found = onlyProblem(await rowsOf(batchFile([good, line])))
    assert.equal(found.where?.line, 2)
    assert.ok(found.hint)
    return found
  }
  assert.equal((await bad('{"custom_id": "x", "params": {')).code, 'bad_json')
  assert.match((await bad({ params })).message, /`custom_id` is not a text/)
  assert.match((await bad({ custom_id: 'x', params: 'no' })).message, /`params` is not an object/)
  assert.match(
    (await bad({ custom_id: 'x', params: { max_tokens: 1 } })).message,
    /`params.model` is missing/,
  )
  assert.match((await bad({ custom_id: 'x', params, note: 1 })).message, /no key "note"/)
  assert.match((await bad({ custom_id: 'good', params })).message, /line 1 and in line 2/)
  assert.equal(
    (await bad({ custom_id: 'x', params: { ...params, model: 'claude-2' } })).where?.path,
    'params.model',
  )
})

test('what the API would refuse is found at its path below params', async () => {
  const checkRequest = () => [
    problem('stream', 'rows of a batch do not stream', { where: { path: 'stream' } }),
  ]
  const found = onlyProblem(
    await rowsOf(batchFile([{ custom_id: 'a', params: { ...params, stream: true } }]), { checkRequest }),
  )
  assert.equal(found.where?.path, 'params.stream')
})

test('an empty batch file is refused', async () => {
  await assert.rejects(loadJob(batchFile(['']), deps()), { code: 'empty_input' })
})
