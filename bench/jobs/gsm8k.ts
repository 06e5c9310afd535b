import { readFileSync } from 'node:fs'
import { defineJob } from 'tithe'
import { workload } from './shared-data.ts'

// GSM8K, test half: 1,319 word problems from grade school (MIT, OpenAI). The right number stands after `####` in the answer.

function* problems() {
  const lines = readFileSync(workload('gsm8k/test.jsonl'), 'utf8').trimEnd().split('\n')
  for (const [index, line] of lines.entries()) {
    const { question, answer } = JSON.parse(line) as { question: string; answer: string }
    const number = answer.split('#### ')[1]!.replaceAll(',', '')
    yield { id: `gsm8k-${index + 1}`, question, number: Number(number) }
  }
}

export default defineJob({
  name: 'gsm8k',
  model: 'claude-haiku-5-5',
  max_tokens: 1_500,
  params: { thinking: { type: 'disabled' } },
  system: 'Solve the problem step by step, then give the answer as a number without a unit.',
  prompt: '{{question}}',
  output: {
    schema: {
      type: 'object',
      properties: { steps: { type: 'string' }, answer: { type: 'number' } },
      required: ['steps', 'answer'],
      additionalProperties: false,
    },
  },
  input: problems,
  id: 'id',
  expect: { column: 'number', match: 'json', field: 'answer' },
})
