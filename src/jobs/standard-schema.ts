import { isObject, type JsonObject } from '../core/json.ts'

/**
 * A schema of a library such as zod, by the Standard Schema interface with its JSON Schema half
 * (https://standardschema.dev): `~standard.jsonSchema.output({target})`.
 */
export interface StandardSchema {
  readonly '~standard': {
    readonly vendor: string
    readonly jsonSchema?: { output(options: { target: string }): Record<string, unknown> }
  }
}

export type JsonSchemaSource = JsonObject | string | StandardSchema

export type ConvertedSchema =
  | { readonly kind: 'plain' }
  | { readonly kind: 'schema'; readonly schema: JsonObject }
  | { readonly kind: 'refused'; readonly message: string; readonly hint: string }

/** The JSON Schema of a library's schema; `plain` for what is one already, or is the path of one. */
export function jsonSchemaOf(source: JsonSchemaSource | undefined): ConvertedSchema {
  const standard = (source as Partial<StandardSchema> | undefined)?.['~standard']
  if (source === undefined || typeof source === 'string' || standard === undefined) return { kind: 'plain' }
  if (typeof standard.jsonSchema?.output !== 'function') {
    const message = `this version of ${standard.vendor} cannot give its schemas as JSON Schema by itself`
    return {
      kind: 'refused',
      message,
      hint: 'convert it, for example output: {schema: z.toJSONSchema(schema)}',
    }
  }
  const { $schema: _, ...schema } = standard.jsonSchema.output({ target: 'draft-2020-12' })
  return isObject(schema)
    ? { kind: 'schema', schema }
    : {
        kind: 'refused',
        message: `${standard.vendor} gave no JSON Schema`,
        hint: 'write the JSON Schema by hand',
      }
}
