import { isObject, type Json, type JsonObject } from '../../core/json.ts'

// A value that is valid under a JSON Schema of the kind that structured outputs accept (claude-api.md 7). Which one is
// left to `random`, so that different prompts get different labels.

const DEPTH_MAX = 32
const WORDS = ['simulated', 'example', 'sample', 'placeholder', 'specimen', 'stand-in', 'mock', 'pretended']

/** @param random uniform in [0, 1); the same sequence gives the same value. */
export function schemaValue(schema: Json, random: () => number): Json {
  return new SchemaValue(schema, random).of(schema, 0)
}

class SchemaValue {
  readonly #root: Json
  readonly #random: () => number

  constructor(root: Json, random: () => number) {
    this.#root = root
    this.#random = random
  }

  of(schema: Json, depth: number): Json {
    // Schemas that refer to themselves are refused by the API; a user's own may still come here.
    if (!isObject(schema) || depth > DEPTH_MAX) return null
    if (schema['const'] !== undefined) return schema['const']
    if (isList(schema['enum'])) return this.#oneOf(schema['enum']) ?? null
    if (typeof schema['$ref'] === 'string') {
      const { $ref, ...beside } = schema
      return this.of(merge(this.#resolve(schema['$ref']), beside), depth + 1)
    }
    for (const key of ['anyOf', 'oneOf'] as const) {
      const choices = schema[key]
      if (!isList(choices)) continue
      const { [key]: _, ...beside } = schema
      const choice = this.#oneOf(choices) ?? {}
      return this.of(merge(choice, beside), depth + 1)
    }
    if (isList(schema['allOf'])) {
      const { allOf, ...beside } = schema
      return this.of(
        schema['allOf'].reduce<Json>((all, part) => merge(all, this.#inlined(part)), beside),
        depth + 1,
      )
    }
    switch (this.#typeOf(schema)) {
      case 'object':
        return this.#object(schema, depth)
      case 'array':
        return this.#array(schema, depth)
      case 'string':
        return this.#string(schema)
      case 'integer':
        return Math.round(this.#number(schema, 1))
      case 'number':
        return Math.round(this.#number(schema, 0.01) * 100) / 100
      case 'boolean':
        return this.#random() < 0.5
      default:
        return null
    }
  }

  #typeOf(schema: JsonObject): Json {
    const { type } = schema
    if (isList(type)) return this.#oneOf(type) ?? null
    if (type !== undefined) return type
    if (isObject(schema['properties'])) return 'object'
    if (schema['items'] !== undefined) return 'array'
    return 'string'
  }

  /** Required properties come out first (claude-api.md 7); of the others, most. */
  #object(schema: JsonObject, depth: number): JsonObject {
    const properties = isObject(schema['properties']) ? schema['properties'] : {}
    const required = isList(schema['required']) ? schema['required'].map(String) : []
    const optional = Object.keys(properties).filter((name) => !required.includes(name))
    const value: Record<string, Json> = {}
    for (const name of required) value[name] = this.of(properties[name] ?? {}, depth + 1)
    for (const name of optional) {
      if (this.#random() < 0.8) value[name] = this.of(properties[name] ?? {}, depth + 1)
    }
    return value
  }

  #array(schema: JsonObject, depth: number): Json[] {
    const least = numberOr(schema['minItems'], 0)
    const most = numberOr(schema['maxItems'], Math.max(least, 3))
    const length = Math.max(least, Math.min(most, least + Math.floor(this.#random() * 3)))
    return Array.from({ length }, () => this.of(schema['items'] ?? {}, depth + 1))
  }

  #number(schema: JsonObject, step: number): number {
    const exclusive = (key: string, by: number) =>
      typeof schema[key] === 'number' ? schema[key] + by : undefined
    const least = numberOr(schema['minimum'] ?? exclusive('exclusiveMinimum', step), 0)
    const most = numberOr(schema['maximum'] ?? exclusive('exclusiveMaximum', -step), least + 1_000)
    const value = least + this.#random() * (most - least)
    const multiple = numberOr(schema['multipleOf'], 0)
    return multiple > 0
      ? Math.ceil(least / multiple) * multiple + multiple * Math.floor((value - least) / multiple)
      : value
  }

  #string(schema: JsonObject): string {
    const digits = (length: number) => Array.from({ length }, () => Math.floor(this.#random() * 10)).join('')
    const upTo = (most: number) => 1 + Math.floor(this.#random() * most)
    const two = (value: number) => String(value).padStart(2, '0')
    const date = `20${two(upTo(26))}-${two(upTo(12))}-${two(upTo(28))}`
    const time = `${two(upTo(23))}:${two(upTo(59))}:${two(upTo(59))}Z`
    switch (schema['format']) {
      case 'date':
        return date
      case 'time':
        return time
      case 'date-time':
        return `${date}T${time}`
      case 'duration':
        return `P${upTo(30)}D`
      case 'email':
        return `simulated-${digits(4)}@example.com`
      case 'hostname':
        return `simulated-${digits(4)}.example.com`
      case 'uri':
        return `https://example.com/simulated/${digits(4)}`
      case 'ipv4':
        return `192.0.2.${upTo(254)}`
      case 'ipv6':
        return `2001:db8::${upTo(9_999)}`
      case 'uuid':
        return `${digits(8)}-${digits(4)}-4${digits(3)}-8${digits(3)}-${digits(12)}`
      default: {
        const text = `${this.#oneOf(WORDS)} ${digits(4)}`.padEnd(numberOr(schema['minLength'], 0), '.')
        return text.slice(0, numberOr(schema['maxLength'], text.length))
      }
    }
  }

  #oneOf<T>(choices: readonly T[]): T | undefined {
    return choices[Math.floor(this.#random() * choices.length)]
  }

  #inlined(schema: Json): Json {
    return isObject(schema) && typeof schema['$ref'] === 'string' ? this.#resolve(schema['$ref']) : schema
  }

  /** `#/$defs/Name`: a JSON Pointer into the whole schema. */
  #resolve(reference: string): Json {
    let found: Json | undefined = this.#root
    for (const part of reference.replace(/^#\/?/, '').split('/')) {
      if (part === '') continue
      const name = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
      found = isObject(found) ? found[name] : undefined
    }
    return found ?? {}
  }
}

/** Both schemas at once, as far as the accepted kind of schema needs it. */
function merge(one: Json, other: Json): Json {
  if (!isObject(one)) return other
  if (!isObject(other)) return one
  const merged: Record<string, Json | undefined> = { ...one, ...other }
  if (isObject(one['properties']) && isObject(other['properties'])) {
    merged['properties'] = { ...one['properties'], ...other['properties'] }
  }
  if (isList(one['required']) && isList(other['required'])) {
    merged['required'] = [...new Set([...one['required'], ...other['required']])]
  }
  return merged as JsonObject
}

function isList(value: unknown): value is readonly Json[] {
  return Array.isArray(value)
}

function numberOr(value: Json | undefined, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise
}
