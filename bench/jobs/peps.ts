import { defineJob } from 'tithe'
import { workload } from './shared-data.ts'

// 53 Python Enhancement Proposals (public domain or CC0), each summarised by itself. They share too little to be cached.

export default defineJob({
  name: 'peps',
  model: 'claude-opus-5-5',
  max_tokens: 4_000,
  expected_output: 300,
  params: { output_config: { effort: 'low' } },
  system:
    'Summarise the proposal in five sentences: the problem, the change, what was rejected, what breaks, its status.',
  prompt: '{{text}}',
  input: { files: workload('peps/*.rst') },
  id: 'stem',
})
