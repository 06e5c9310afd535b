import type { Expectation } from './job.ts'
import { isObject, type Json } from './json.ts'

/** An answer as an evaluation sees it: its text, and its value when it is JSON. */
export interface Answer {
  readonly text: string
  /** Undefined when the text is not JSON. */
  readonly json: Json | undefined
}

/**
 * How right an answer is, from 0 to 1. `exact`: the same text but for white space around it; two plain numbers are
 * compared by value (`18` is `18.0`, but `007` is not `7`). `json`: the same JSON, key order ignored. `fields`: the
 * share of the expected keys whose values are equal; keys that nobody expected cost nothing.
 */
export function scoreAnswer(
  expected: Json,
  expectation: Pick<Expectation, 'match' | 'field'>,
  answer: Answer,
): number {
  const { match, field } = expectation
  let given: Json | undefined = match === 'exact' ? answer.text : answer.json
  if (field !== undefined) given = isObject(answer.json) ? answer.json[field] : undefined
  if (given === undefined) return 0
  if (match === 'exact') return equalTexts(plainText(expected), plainText(given)) ? 1 : 0
  if (match === 'json') return equalJson(expected, given) ? 1 : 0
  if (!isObject(expected)) return equalJson(expected, given) ? 1 : 0
  const keys = Object.keys(expected)
  if (keys.length === 0) return 1
  if (!isObject(given)) return 0
  const answered = given
  return keys.filter((key) => equalJson(expected[key], answered[key])).length / keys.length
}

function plainText(value: Json): string {
  return typeof value === 'string' ? value.trim() : JSON.stringify(value)
}

/** A numeral that means only a number: no leading zeros, which would make it a code, and exact in a double. */
const NUMERAL = /^(?=.{1,15}$)-?(0|[1-9]\d*)(\.\d+)?$/

function equalTexts(a: string, b: string): boolean {
  return a === b || (NUMERAL.test(a) && NUMERAL.test(b) && Number(a) === Number(b))
}

function equalJson(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => equalJson(item, b[index]))
  }
  if (!isObject(a) || !isObject(b)) return false
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => equalJson(a[key], b[key]))
}
