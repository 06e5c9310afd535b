import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { jobSchemaJson } from '../src/jobs/job-schema.ts'

/** Writes docs/reference/job.schema.json from the schema in the code; a test fails when it is stale. */
const path = fileURLToPath(new URL('../docs/reference/job.schema.json', import.meta.url))
mkdirSync(dirname(path), { recursive: true })
writeFileSync(path, jobSchemaJson())
