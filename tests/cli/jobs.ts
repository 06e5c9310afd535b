import type { Files } from './tithe.ts'

/** A job over so many rows, cheap to plan: few tokens, nothing to cache. */
export function smallJob(rows: number, extra = ''): Files {
  const lines = Array.from({ length: rows }, (_, index) => `t-${index},ticket number ${index}\n`)
  return {
    'job.yaml': `model: claude-opus-4-8
max_tokens: 4000
expected_output: 200
prompt: "Sort: {{text}}"
input: rows.csv
id: id
${extra}`,
    'rows.csv': `id,text\n${lines.join('')}`,
  }
}

/** Real time, but so fast that a batch is over when it is asked for. */
export const FAST = ['--real-time', '--speed', '2000'] as const
