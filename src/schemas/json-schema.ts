import type { ErrorObject, ValidateFunction } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { TitheError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'

/** null when the value is valid, else why not in one line, with the JSON path and never the value itself. */
export type SchemaCheck = (value: unknown) => string | null

// Ajv keeps what it compiled by object identity; a job's schema is one object, read again on resume as another.
const compiled = new WeakMap<JsonObject, SchemaCheck>()

/**
 * A check against a user's JSON Schema, 2020-12 with the usual formats. Compiled once for each schema object. Unknown
 * keywords and formats are passed over: what the API would refuse is `checkOutputSchema`'s to say.
 *
 * Throws `invalid_schema` when it is no valid JSON Schema.
 */
export function compileSchema(schema: JsonObject): SchemaCheck {
  const known = compiled.get(schema)
  if (known !== undefined) return known
  const check = checkOf(validatorOf(schema))
  compiled.set(schema, check)
  return check
}

function validatorOf(schema: JsonObject): ValidateFunction {
  // One instance a schema: two jobs may use the same `$id` for different schemas.
  const ajv = new Ajv2020({ strict: false, validateSchema: true, logger: false })
  addFormats.default(ajv)
  try {
    return ajv.compile(schema)
  } catch (cause) {
    throw new TitheError('invalid_schema', `the output schema is no valid JSON Schema: ${messageOf(cause)}`, {
      hint: 'Tithe reads JSON Schema 2020-12',
      where: { path: 'output.schema' },
      cause,
    })
  }
}

function checkOf(validate: ValidateFunction): SchemaCheck {
  return (value) => (validate(value) ? null : reasonOf(validate.errors ?? []))
}

/** The deepest complaint says most: of a failed `anyOf` the branch, not the choice. */
function reasonOf(errors: readonly ErrorObject[]): string {
  const [first, ...rest] = errors
  if (first === undefined) return 'is not valid under the schema'
  const depth = (error: ErrorObject): number => error.instancePath.split('/').length
  const deepest = rest.reduce((best, error) => (depth(error) > depth(best) ? error : best), first)
  const what = `${pathOf(deepest.instancePath)} ${deepest.message ?? 'is not valid'}${detailOf(deepest)}`
  return errors.length === 1 ? what : `${what} (and ${errors.length - 1} more)`
}

function detailOf({ keyword, params }: ErrorObject): string {
  if (keyword === 'additionalProperties') return ` ("${params['additionalProperty']}")`
  if (keyword === 'enum') return `: ${JSON.stringify(params['allowedValues'])}`
  return keyword === 'const' ? `: ${JSON.stringify(params['allowedValue'])}` : ''
}

/** `/lines/0/total` as `lines[0].total`; the whole value is `answer`. */
function pathOf(pointer: string): string {
  if (pointer === '') return 'answer'
  return pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part, i) => (/^\d+$/.test(part) ? `[${part}]` : i === 0 ? part : `.${part}`))
    .join('')
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
