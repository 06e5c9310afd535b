import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { defineJob, type JobDefinition } from 'tithe'
import { parse } from 'yaml'
import { workload } from './shared-data.ts'

// banking77.yaml with its data wherever $TITHE_SHARED says.

const job = parse(readFileSync(join(import.meta.dirname, 'banking77.yaml'), 'utf8')) as JobDefinition

export default defineJob({ ...job, input: workload('banking77/test.csv') })
