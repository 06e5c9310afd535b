import { forcesTool, formatOf } from './check-parameters.ts'
import { checkOutputSchema, checkSchemaSize } from './check-schema.ts'
import { isObject, type Json, type JsonObject } from './json.ts'
import type { ProblemList } from './problem-list.ts'
import type { MessageRequest } from './request.ts'
import type { RequestConditions } from './request-conditions.ts'

// Tools, the choice among them, and the schemas that the API compiles: those of strict tools and of the output format
// share its limits (claude-api.md 7).

const TOOL_NAME = /^[a-zA-Z0-9_-]{1,128}$/
const TOOL_CHOICES = ['auto', 'any', 'none', 'tool']
/** Server tools that take `max_uses`: each use costs money that the request does not limit otherwise. */
const COUNTED_SERVER_TOOL = /^web_(search|fetch)_\d/

export function checkTools(
  request: MessageRequest,
  conditions: RequestConditions,
  problems: ProblemList,
): void {
  const tools = request['tools']
  if (tools !== undefined && tools !== null && !Array.isArray(tools)) {
    problems.error('tools', 'tools_invalid', 'tools must be a list')
    return
  }
  const list: readonly Json[] = Array.isArray(tools) ? tools : []
  const names = new Map<string, string>()
  const compiled: Json[] = []
  for (const [i, tool] of list.entries()) {
    const path = `tools[${i}]`
    if (!isObject(tool)) {
      problems.error(path, 'tools_invalid', `${path} must be an object`)
      continue
    }
    checkTool(tool, path, conditions, problems)
    if (typeof tool['name'] === 'string') {
      const first = names.get(tool['name'])
      if (first !== undefined) {
        problems.error(
          `${path}.name`,
          'duplicate_tool',
          `${path} has the name of ${first}, "${tool['name']}"`,
          'rename one',
        )
      }
      names.set(tool['name'], path)
    }
    if (tool['strict'] === true && tool['input_schema'] !== undefined) {
      problems.found.push(
        ...checkOutputSchema(tool['input_schema'], conditions.rules, `${path}.input_schema`),
      )
      compiled.push(tool['input_schema'])
    }
  }
  if (compiled.length > conditions.rules.strictToolsMax) {
    problems.error(
      'tools',
      'too_many_strict_tools',
      `${compiled.length} strict tools; the API takes at most ${conditions.rules.strictToolsMax}`,
      'make some of them not strict',
    )
  }
  checkToolChoice(request, list, names, conditions, problems)
  checkFormat(request, compiled, conditions, problems)
}

function checkTool(
  tool: JsonObject,
  path: string,
  conditions: RequestConditions,
  problems: ProblemList,
): void {
  const type = tool['type'] ?? 'custom'
  if (type !== 'custom') {
    if (conditions.hasBudget && typeof type === 'string' && COUNTED_SERVER_TOOL.test(type)) {
      if (typeof tool['max_uses'] !== 'number') {
        problems.error(
          `${path}.max_uses`,
          'server_tool_unbounded',
          `${path} (${type}) has no max_uses, so no budget can hold`,
          'add max_uses, or remove the budget',
        )
      }
    }
    return
  }
  const { name, input_schema: schema } = tool
  if (typeof name !== 'string' || !TOOL_NAME.test(name)) {
    problems.error(
      `${path}.name`,
      'tool_name_invalid',
      `${path}.name must be 1 to 128 letters, digits, "_" or "-"`,
    )
  }
  if (!isObject(schema) || schema['type'] !== 'object') {
    problems.error(
      `${path}.input_schema`,
      'tool_schema_invalid',
      `${path}.input_schema must be a JSON Schema with "type": "object"`,
    )
  }
}

function checkToolChoice(
  request: MessageRequest,
  tools: readonly Json[],
  names: ReadonlyMap<string, string>,
  { model }: RequestConditions,
  problems: ProblemList,
): void {
  const choice = request['tool_choice']
  if (choice === undefined || choice === null) return
  const type = isObject(choice) ? choice['type'] : undefined
  if (!isObject(choice) || !TOOL_CHOICES.includes(String(type))) {
    problems.error(
      'tool_choice',
      'tool_choice_invalid',
      `tool_choice must be {"type": …}, one of ${TOOL_CHOICES.join(', ')}`,
    )
    return
  }
  if (!forcesTool(request)) return
  if (!model.parameters.forcedToolChoice) {
    problems.error(
      'tool_choice.type',
      'tool_choice_not_supported',
      `${model.id} does not take tool_choice of type "${type}"`,
      'use auto and ask for the tool in the prompt, or output_config.format for JSON',
    )
  } else if (type === 'tool' && !names.has(String(choice['name']))) {
    problems.error(
      'tool_choice.name',
      'tool_choice_unknown_tool',
      `tool_choice names a tool that is not in tools`,
    )
  } else if (tools.length === 0) {
    problems.error('tool_choice', 'tool_choice_without_tools', 'tool_choice forces a tool, and there is none')
  }
}

function checkFormat(
  request: MessageRequest,
  compiledBefore: readonly Json[],
  { rules }: RequestConditions,
  problems: ProblemList,
): void {
  const format = formatOf(request)
  const compiled = [...compiledBefore]
  if (format !== null) {
    const path = 'output_config.format'
    if (!isObject(format) || format['type'] !== 'json_schema') {
      problems.error(path, 'format_invalid', `${path} must be {"type": "json_schema", "schema": …}`)
      return
    }
    problems.found.push(...checkOutputSchema(format['schema'], rules, `${path}.schema`))
    if (format['schema'] !== undefined) compiled.push(format['schema'])
  }
  // One schema too large is reported with the schema; here those that are too much only together.
  const eachFits = compiled.every((schema) => checkSchemaSize([schema], rules, '').length === 0)
  if (compiled.length > 1 && eachFits) problems.found.push(...checkSchemaSize(compiled, rules, 'tools'))
}
