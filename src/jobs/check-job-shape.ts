// The published file and not job-schema.ts, which a test holds equal to it: building the schema anew, and a validator for
// it, would load some 700 modules each time that anything is planned.
import jobSchema from '../../docs/reference/job.schema.json' with { type: 'json' }
import { type Problem, problem, type Where } from '../core/errors.ts'
import { isObject } from '../core/json.ts'
import { nearest } from '../core/nearest.ts'
import { type JobPath, pathText } from './job-text.ts'

/** The parts of JSON Schema that the job schema uses. */
interface Schema {
  readonly type?: string
  readonly title?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly anyOf?: readonly Schema[]
  readonly const?: unknown
  readonly properties?: Readonly<Record<string, Schema>>
  readonly patternProperties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean
  readonly items?: Schema
}

/** The keys that a job may have. */
export const JOB_KEYS: readonly string[] = Object.keys(jobSchema.properties)

/**
 * Everything in which a job differs from the schema of jobs. Walks the schema beside the value instead of printing the
 * validator's own errors: those list every branch of a choice, and a typing error deserves one sentence.
 */
export function checkJobShape(
  job: unknown,
  where: (path: JobPath, part?: 'key' | 'value') => Where,
): Problem[] {
  const problems: Problem[] = []

  const report = (schema: Schema, value: unknown, path: JobPath): void => {
    const expected = schema.title ?? 'something else'
    const name = path.length === 0 ? 'the job' : `\`${pathText(path)}\``
    problems.push(
      problem('wrong_type', `${name} must be ${expected}, not ${described(value)}`, {
        hint: 'docs/reference/job.schema.json says what every key may hold',
        where: where(path),
      }),
    )
  }

  const check = (schema: Schema, value: unknown, path: JobPath): void => {
    if (schema.anyOf) {
      const branch = bestBranch(schema.anyOf, value)
      if (branch === null || branch.type === 'string' || branch.const !== undefined) {
        if (branch === null || !isLeaf(branch, value)) report(schema, value, path)
        return
      }
      check(branch, value, path)
    } else if (schema.type === 'object') {
      if (!isObject(value)) report(schema, value, path)
      else checkKeys(schema, value, path)
    } else if (schema.type === 'array') {
      if (!Array.isArray(value) || value.length < (schema.minItems ?? 0)) report(schema, value, path)
      else for (const [index, item] of value.entries()) check(schema.items ?? {}, item, [...path, index])
    } else if (!isLeaf(schema, value)) {
      report(schema, value, path)
    }
  }

  const checkKeys = (schema: Schema, value: Readonly<Record<string, unknown>>, path: JobPath): void => {
    const known = schema.properties ?? {}
    const others = schema.patternProperties ? Object.values(schema.patternProperties)[0] : undefined
    for (const [key, item] of Object.entries(value)) {
      // `key:` with nothing after it means the default, as if the line were not there.
      if (item === undefined || (item === null && known[key] && !schema.required?.includes(key))) continue
      if (known[key]) check(known[key], item, [...path, key])
      else if (others) check(others, item, [...path, key])
      else if (schema.additionalProperties === false)
        problems.push(unknownKey(key, Object.keys(known), path, where))
    }
    for (const key of schema.required ?? []) {
      if (value[key] === undefined) {
        problems.push(
          problem('missing_key', `\`${pathText([...path, key])}\` is missing`, {
            hint: `it must be ${known[key]?.title ?? 'given'}`,
            where: where(path),
          }),
        )
      }
    }
  }

  check(jobSchema as Schema, job, [])
  return problems
}

/** Whether a value without parts is what its schema asks for. */
function isLeaf(schema: Schema, value: unknown): boolean {
  if (schema.const !== undefined) return value === schema.const
  const within = (size: number, low = 0, high = Number.POSITIVE_INFINITY): boolean =>
    size >= low && size <= high
  switch (schema.type) {
    case 'string':
      return typeof value === 'string' && within(value.length, schema.minLength, schema.maxLength)
    case 'integer':
    case 'number': {
      const isNumber = schema.type === 'integer' ? Number.isSafeInteger(value) : Number.isFinite(value)
      return isNumber && within(value as number, schema.minimum ?? Number.NEGATIVE_INFINITY, schema.maximum)
    }
    case 'boolean':
      return typeof value === 'boolean'
    default:
      return true
  }
}

/** The branch that the author most likely meant: by kind of value, and for objects by the keys they have in common. */
function bestBranch(branches: readonly Schema[], value: unknown): Schema | null {
  const exact = branches.find((branch) => branch.const !== undefined && branch.const === value)
  if (exact) return exact
  if (isObject(value)) {
    const shared = (branch: Schema): number =>
      Object.keys(branch.properties ?? {}).filter((key) => key in value).length
    const objects = branches.filter((branch) => branch.type === 'object')
    return objects.toSorted((a, b) => shared(b) - shared(a))[0] ?? null
  }
  const kind = Array.isArray(value) ? 'array' : typeof value
  return branches.find((branch) => branch.type === kind && branch.const === undefined) ?? null
}

function unknownKey(
  key: string,
  known: readonly string[],
  path: JobPath,
  where: (path: JobPath, part?: 'key' | 'value') => Where,
): Problem {
  const meant = nearest(key, known)
  const inside = path.length === 0 ? 'in a job' : `in \`${pathText(path)}\``
  const hint =
    meant !== null
      ? `did you mean \`${meant}\`?`
      : path.length === 0
        ? `request parameters go under \`params\`; a job's own keys are ${known.filter((name) => name !== '$schema').join(', ')}`
        : `known here: ${known.join(', ')}`
  return problem('unknown_key', `there is no key \`${key}\` ${inside}`, {
    hint,
    where: where([...path, key], 'key'),
  })
}

function described(value: unknown): string {
  if (value === null) return 'empty'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (typeof value === 'object') return 'an object'
  if (typeof value === 'string') return value.length <= 40 ? `"${value}"` : 'a long text'
  return String(value)
}
