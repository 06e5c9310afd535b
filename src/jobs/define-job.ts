import type { RowsInput } from './input.ts'
import type { JobFile, JobInput } from './job-schema.ts'
import type { JsonSchemaSource } from './standard-schema.ts'

/** A job in TypeScript: the keys of the job file; `input` may also be a function that yields rows, `output.schema` a
 *  schema of a library that knows Standard JSON Schema (zod and others). */
export type JobDefinition = Omit<JobFile, 'input' | 'output'> & {
  readonly input?: JobInput | RowsInput
  readonly output?: { readonly schema: JsonSchemaSource }
}

/** Gives a job in TypeScript its types: `export default defineJob({ … })`. Checked when it is loaded, not here. */
export function defineJob(job: JobDefinition): JobDefinition {
  return job
}
