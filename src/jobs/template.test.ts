import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { JsonObject } from '../core/json.ts'
import type { InputRow } from '../core/rows.ts'
import type { JobDefinition } from './define-job.ts'
import { deps, goodRows, onlyProblem, problemsOf, promptTexts, rowsOf, smallJob } from './job-fixture.ts'
import { loadJob } from './load-job.ts'

const input = [
  { text: 'one', extra: 'x' },
  { text: 'two', extra: 'y' },
]

async function outline(changes: JobDefinition) {
  const { outline: found } = await loadJob(smallJob({ input, ...changes }), deps())
  return found!.parts.map(({ path, kind, bytes }) => [path, kind, bytes])
}

test('a prompt is split at its first placeholder, and its text stays exactly the same', async () => {
  const prompt = '  Read this:\n\n{{text}}\n then {{extra}} \n'
  const [row] = await goodRows(smallJob({ input, prompt }))
  assert.deepEqual(promptTexts(row!), ['  Read this:\n\n', 'one\n then x \n'])
  assert.equal(row!.sharedBlocks, 1)
  assert.deepEqual(await outline({ prompt }), [
    ['messages[0].content[0]', 'shared', 14],
    ['messages[0].content[1]', 'own', null],
  ])
})

test('shared blocks are the same objects in every row', async () => {
  const job = smallJob({
    input,
    tools: [{ name: 'look', input_schema: { type: 'object' } }],
    system: ['Handbook', { type: 'text', text: 'Rules', cache_control: { type: 'ephemeral' } }],
    messages: [
      { role: 'user', content: 'Example' },
      { role: 'assistant', content: 'Answer' },
      { role: 'user', content: 'Shared head {{text}}' },
    ],
  })
  delete (job as { prompt?: unknown }).prompt
  const [a, b] = await goodRows(job)
  const at = (row: { request: JsonObject }) =>
    row.request as { tools: []; system: []; messages: { content: object[] }[] }
  assert.equal(at(a!).tools, at(b!).tools)
  assert.equal(at(a!).system, at(b!).system)
  assert.equal(at(a!).messages[0], at(b!).messages[0])
  assert.equal(at(a!).messages[2]!.content[0], at(b!).messages[2]!.content[0])
  assert.notEqual(at(a!).messages[2]!.content[1], at(b!).messages[2]!.content[1])
  // One tool, two system blocks, two whole messages and the head of the third.
  assert.equal(a!.sharedBlocks, 6)
})

test('a text of the system stands in a block, on which a mark can be set', async () => {
  const [row] = await goodRows(smallJob({ system: 'Be brief.' }))
  assert.deepEqual(row!.request['system'], [{ type: 'text', text: 'Be brief.' }])
})

test('white space alone before the first placeholder makes no block of its own', async () => {
  const [row] = await goodRows(smallJob({ input, prompt: '\n{{text}}' }))
  assert.deepEqual(promptTexts(row!), ['\none'])
  assert.equal(row!.sharedBlocks, 0)
})

test('shared text after a value is uncacheable, and told where to move', async () => {
  const parts = ['Head {{text}} tail', 'The same for all']
  const job = await loadJob(smallJob({ input, prompt: parts }), deps())
  const [, own, after] = job.outline!.parts
  assert.equal(own!.kind, 'own')
  assert.match(own!.note!, /5 bytes in it are the same in every row, but follow \{\{text\}\}: move it before/)
  assert.deepEqual([after!.kind, after!.bytes], ['uncacheable', 16])
  assert.match(
    after!.note!,
    /follows \{\{text\}\}: move it before the first value, best of all into `system`/,
  )
  assert.deepEqual(job.problems, [])
})

test('much shared text after a value is a warning', async () => {
  const { problems } = await loadJob(smallJob({ input, prompt: `{{text}} ${'rule '.repeat(1_000)}` }), deps())
  assert.deepEqual(
    problems.map((one) => one.code),
    ['uncacheable_text'],
  )
  assert.match(problems[0]!.message, /5001 bytes/)
})

test('a placeholder in the system makes a warning, and nothing after it is shared', async () => {
  const job = smallJob({ input, system: 'For {{extra}} only', prompt: 'Head {{text}}' })
  const { problems } = await loadJob(job, deps())
  assert.deepEqual(
    problems.map((one) => one.code),
    ['varying_system'],
  )
  const [row] = await goodRows(job)
  assert.deepEqual(row!.request['system'], [
    { type: 'text', text: 'For ' },
    { type: 'text', text: 'x only' },
  ])
  assert.deepEqual(promptTexts(row!), ['Head one'])
  assert.equal(row!.sharedBlocks, 1)
})

test('placeholders inside any block of the API are filled', async () => {
  const prompt = [
    { type: 'image', source: { type: 'url', url: 'https://x/{{text}}.png' } },
    { type: 'text', text: 'What is {{extra}}?', cache_control: { type: 'ephemeral' } },
  ]
  const [row] = await goodRows(smallJob({ input, prompt }))
  assert.deepEqual(row!.request['messages'], [
    {
      role: 'user',
      content: [
        { type: 'image', source: { type: 'url', url: 'https://x/one.png' } },
        { type: 'text', text: 'What is x?', cache_control: { type: 'ephemeral' } },
      ],
    },
  ])
})

test('a value that the row lacks makes the row invalid, and null is nothing', async () => {
  const rows = await rowsOf(
    smallJob({ prompt: 'Say {{text}}{{extra}}', input: [{ text: 'a', extra: null }, { text: 'b' }] }),
  )
  assert.deepEqual(promptTexts(rows[0]!), ['Say ', 'a'])
  const found = onlyProblem(rows)
  assert.equal(found.code, 'missing_value')
  assert.match(found.message, /\{\{extra\}\}/)
})

test('an empty value leaves its block out with a warning, and an empty prompt is refused', async () => {
  const rows = await rowsOf(smallJob({ prompt: 'Say {{text}}', input: [{ text: ' ' }] }))
  assert.deepEqual(promptTexts(rows[0]!), ['Say '])
  assert.deepEqual(
    (rows[0] as InputRow).warnings.map((one) => one.code),
    ['empty_value'],
  )
  assert.equal(
    onlyProblem(await rowsOf(smallJob({ prompt: '{{text}}', input: [{ text: '' }] }))).code,
    'empty_prompt',
  )
})

test('an empty text in the job is refused', async () => {
  const [found] = await problemsOf(smallJob({ input, prompt: ['', '{{text}}'] }))
  assert.equal(found!.code, 'empty_text')
  assert.equal(found!.where?.path, 'prompt[0]')
})

test('two braces that begin no placeholder are refused with the way to write them', async () => {
  const [found] = await problemsOf(smallJob({ input, prompt: 'a {{ b' }))
  assert.equal(found!.code, 'bad_placeholder')
  assert.match(found!.hint ?? '', /\\\{\{/)
})

test('however a prompt is written, the texts of a row joined are the prompt filled', async () => {
  const word = fc.constantFrom('{{text}}', '{{extra}}', 'a', ' ', '\n', 'é', '\\{{', '}')
  await fc.assert(
    fc.asyncProperty(fc.array(word, { minLength: 1, maxLength: 12 }), async (words) => {
      const prompt = words.join('')
      fc.pre(prompt.replaceAll('\\{{', '').trim() !== '')
      const filled = prompt.replaceAll(/\\\{\{|\{\{(text|extra)\}\}/g, (found, name) =>
        found === '\\{{' ? '{{' : (input[0]?.[name as 'text'] ?? ''),
      )
      const [row] = await goodRows(smallJob({ input, prompt }))
      assert.equal(promptTexts(row!).join(''), filled)
    }),
    { numRuns: 60 },
  )
})
