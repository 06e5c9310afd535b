import { type Problem, problem } from './errors.ts'
import { isObject, type Json, type JsonObject } from './json.ts'
import type { ApiRules } from './models.ts'

// What the API compiles into a grammar, and what it refuses (claude-api.md 7 and recorded refusals). Only keywords that
// are known to be refused are reported: a keyword that we never saw may be new, and the API is the judge of it.

export type SchemaRules = Pick<ApiRules, 'schemaFormats' | 'schemaOptionalsMax' | 'schemaUnionsMax'>

/** Number and length limits by the type that carries them; the API names type and property in its refusal. */
const REFUSED_KEYWORDS: Readonly<Record<string, string>> = {
  minimum: 'a number',
  maximum: 'a number',
  exclusiveMinimum: 'a number',
  exclusiveMaximum: 'a number',
  multipleOf: 'a number',
  minLength: 'a string',
  maxLength: 'a string',
  maxItems: 'an array',
  uniqueItems: 'an array',
  contains: 'an array',
  minContains: 'an array',
  maxContains: 'an array',
  minProperties: 'an object',
  maxProperties: 'an object',
  patternProperties: 'an object',
  propertyNames: 'an object',
}

/** Keywords whose value is one schema, a list of schemas, or schemas by name. */
const ONE = ['items', 'additionalProperties', 'not', 'if', 'then', 'else']
const LISTS = ['anyOf', 'oneOf', 'allOf', 'prefixItems']
const NAMED = ['properties', '$defs', 'definitions']

/** What a compiled grammar pays for: the API adds these up over all strict schemas of a request. */
export interface SchemaSize {
  /** Properties that are not required. */
  readonly optionals: number
  /** Parameters with `anyOf`, `oneOf` or a list of types. */
  readonly unions: number
}

/**
 * Why the API would refuse `schema` as `output_config.format.schema` or as a strict tool's `input_schema`; empty when
 * it would not, as far as is known. `path` is the schema's own place, put before every JSON path.
 */
export function checkOutputSchema(schema: Json | undefined, rules: SchemaRules, path = ''): Problem[] {
  if (!isObject(schema)) {
    return [problem('schema_not_object', `${named(path)} must be a JSON Schema object`, { where: { path } })]
  }
  const problems: Problem[] = []
  visit(schema, path, (node, at) => checkNode(node, at, rules, problems))
  checkReferences(schema, path, problems)
  return [...problems, ...checkSchemaSize([schema], rules, path)]
}

/** The limits that count over all strict schemas of a request together. */
export function checkSchemaSize(schemas: readonly Json[], rules: SchemaRules, path: string): Problem[] {
  const problems: Problem[] = []
  let optionals = 0
  let unions = 0
  for (const schema of schemas) {
    const size = schemaSize(schema)
    optionals += size.optionals
    unions += size.unions
  }
  if (optionals > rules.schemaOptionalsMax) {
    problems.push(
      problem(
        'schema_too_many_optionals',
        `${optionals} optional properties; the API compiles at most ${rules.schemaOptionalsMax}`,
        { hint: 'list more of them in "required"; a value may still be null', where: { path } },
      ),
    )
  }
  if (unions > rules.schemaUnionsMax) {
    problems.push(
      problem(
        'schema_too_many_unions',
        `${unions} union types; the API compiles at most ${rules.schemaUnionsMax}`,
        {
          hint: 'give fewer properties a list of types or anyOf',
          where: { path },
        },
      ),
    )
  }
  return problems
}

export function schemaSize(schema: Json): SchemaSize {
  let optionals = 0
  let unions = 0
  if (isObject(schema)) {
    visit(schema, '', (node) => {
      const { properties } = node
      const required = new Set(Array.isArray(node['required']) ? node['required'] : [])
      if (isObject(properties))
        optionals += Object.keys(properties).filter((name) => !required.has(name)).length
      if (Array.isArray(node['type']) || Array.isArray(node['anyOf']) || Array.isArray(node['oneOf']))
        unions += 1
    })
  }
  return { optionals, unions }
}

function checkNode(node: JsonObject, path: string, rules: SchemaRules, problems: Problem[]): void {
  const refuse = (code: string, key: string, message: string, hint: string): void => {
    problems.push(problem(code, message, { hint, where: { path: joined(path, key) } }))
  }
  const types = Array.isArray(node['type']) ? node['type'] : [node['type']]
  const isObjectSchema =
    types.includes('object') || (node['type'] === undefined && isObject(node['properties']))
  if (isObjectSchema && node['additionalProperties'] !== false) {
    refuse(
      'schema_additional_properties',
      'additionalProperties',
      `${named(path)} describes an object without "additionalProperties": false`,
      'add "additionalProperties": false; the API asks for it on every object',
    )
  }
  for (const [key, carrier] of Object.entries(REFUSED_KEYWORDS)) {
    if (node[key] === undefined) continue
    refuse(
      'schema_keyword_refused',
      key,
      `${named(path)} limits ${carrier} by "${key}", which the API does not compile`,
      `remove "${key}"; say it in the property's "description" and check the answers afterwards`,
    )
  }
  const minItems = node['minItems']
  if (minItems !== undefined && minItems !== 0 && minItems !== 1) {
    refuse(
      'schema_min_items',
      'minItems',
      `${named(path)} asks for minItems ${minItems}`,
      'the API knows 0 and 1 only',
    )
  }
  const format = node['format']
  if (typeof format === 'string' && !rules.schemaFormats.includes(format)) {
    refuse(
      'schema_format',
      'format',
      `${named(path)} asks for the format "${format}"`,
      `the API knows ${rules.schemaFormats.join(', ')}`,
    )
  }
}

/** No recursion: following `$ref` from a definition must never come back to it. References outside are not fetched. */
function checkReferences(root: JsonObject, path: string, problems: Problem[]): void {
  const referencesIn = (pointer: string): string[] => {
    const found: string[] = []
    const target = atPointer(root, pointer)
    if (isObject(target))
      visit(target, '', (node) => typeof node['$ref'] === 'string' && found.push(node['$ref']))
    return found
  }
  const leadsBack = (pointer: string): boolean => {
    const reached = new Set<string>()
    const open = [pointer]
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      for (const reference of referencesIn(next)) {
        if (reference === pointer) return true
        if (reached.has(reference)) continue
        reached.add(reference)
        open.push(reference)
      }
    }
    return false
  }

  visit(root, path, (node, at) => {
    const reference = node['$ref']
    if (typeof reference !== 'string') return
    const where = { path: joined(at, '$ref') }
    if (!reference.startsWith('#')) {
      problems.push(
        problem('schema_reference', `${named(at)} refers to "${reference}", outside this schema`, {
          hint: 'copy it under "$defs"',
          where,
        }),
      )
    } else if (reference !== '#' && atPointer(root, reference) === undefined) {
      problems.push(
        problem('schema_reference', `${named(at)} refers to "${reference}", which is not there`, {
          hint: 'define it under "$defs"',
          where,
        }),
      )
    } else if (reference === '#' || leadsBack(reference)) {
      problems.push(
        problem('schema_recursive', `${named(at)} refers to "${reference}", which leads back to itself`, {
          hint: 'the API does not compile recursive schemas: write the levels out that you need',
          where,
        }),
      )
    }
  })
}

function atPointer(root: JsonObject, pointer: string): Json | undefined {
  let value: Json | undefined = root
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (Array.isArray(value)) value = value[Number(key)]
    else if (isObject(value)) value = value[key]
    else return undefined
  }
  return value
}

function visit(node: JsonObject, path: string, each: (node: JsonObject, path: string) => void): void {
  each(node, path)
  const into = (child: Json | undefined, at: string): void => {
    if (isObject(child)) visit(child, at, each)
  }
  for (const key of ONE) into(node[key], joined(path, key))
  for (const key of LISTS) {
    const list = node[key]
    if (Array.isArray(list))
      for (const [i, child] of list.entries()) into(child, `${joined(path, key)}[${i}]`)
  }
  for (const key of NAMED) {
    const byName = node[key]
    if (!isObject(byName)) continue
    for (const [name, child] of Object.entries(byName)) into(child, joined(joined(path, key), name))
  }
}

function joined(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`
}

function named(path: string): string {
  return path === '' ? 'the schema' : path
}
