// An evaluation suite in TypeScript: 60 questions about dates whose right answers are computed here, put to two models.
//
//   tithe plan examples/evals/job.ts
//   tithe run examples/evals/job.ts       on the local upstream: simulated answers, no key, no cost
//   tithe report
//
// A job in TypeScript has the keys of a job file, checked by the compiler, and its rows may come from code. Every row is
// sent to both models, and the report shows accuracy beside cost for each. The local upstream picks a weekday without
// reading the question: its accuracy is chance, about one in seven.

import { defineJob } from 'tithe'

const WEEKDAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const QUESTIONS = 60
const DAY_MS = 86_400_000

interface Question {
  readonly id: string
  readonly question: string
  readonly weekday: string
}

function* questions(): Generator<Question & Record<string, string>> {
  for (let index = 0; index < QUESTIONS; index += 1) {
    const start = Date.UTC(2024 + (index % 5), (index * 7) % 12, 1 + ((index * 11) % 28))
    const days = 3 + ((index * 37) % 400)
    const isBackward = index % 3 === 2
    const end = new Date(start + (isBackward ? -days : days) * DAY_MS)
    yield {
      id: `q${String(index + 1).padStart(2, '0')}`,
      question: `What day of the week is ${days} days ${isBackward ? 'before' : 'after'} ${spelledOut(start)}?`,
      weekday: WEEKDAYS[end.getUTCDay()]!,
    }
  }
}

function spelledOut(time: number): string {
  return new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeZone: 'UTC' }).format(time)
}

export default defineJob({
  name: 'weekdays',
  models: ['claude-sonnet-4-6', 'claude-haiku-5-5'],
  max_tokens: 200,
  expected_output: 8,
  params: { thinking: { type: 'disabled' } },
  system: 'Answer questions about the calendar. Count exactly; leap years have 366 days.',
  prompt: '{{question}}',
  output: {
    schema: {
      type: 'object',
      properties: { weekday: { type: 'string', enum: WEEKDAYS } },
      required: ['weekday'],
      additionalProperties: false,
    },
  },
  input: questions,
  id: 'id',
  expect: { column: 'weekday', match: 'exact', field: 'weekday' },
})
