import { isObject, type Json, type JsonObject } from './json.ts'
import { type Effort, findApiVersion, type Model, type ThinkingType } from './models.ts'
import { nearest } from './nearest.ts'
import type { ProblemList } from './problem-list.ts'
import type { MessageRequest } from './request.ts'
import type { RequestConditions } from './request-conditions.ts'

// Everything at the top level of a request but its prompt and its tools: the parameter matrix of claude-api.md 4.2, what
// may not stand in a batch (2.8), what an API version removed (1.1), and the limits of section 7.

const SAMPLING = ['temperature', 'top_p', 'top_k'] as const
const THINKING_TYPES: readonly ThinkingType[] = ['adaptive', 'enabled', 'disabled', 'between_tools']
const EFFORTS: readonly Effort[] = ['low', 'medium', 'high', 'xhigh', 'max']

/** Parameters that we know; another one is passed on with a word, since the API may be newer than we are. */
const KNOWN = new Set([
  ...[
    'model',
    'max_tokens',
    'messages',
    'system',
    'tools',
    'tool_choice',
    'thinking',
    'output_config',
    'cache_control',
  ],
  ...['container', 'diagnostics', 'inference_geo', 'metadata', 'service_tier', 'stop_sequences', ...SAMPLING],
  ...[
    'stream',
    'speed',
    'fallbacks',
    'context_management',
    'mcp_servers',
    'user_profile_id',
    'output_format',
  ],
])

/** What a batch row may not carry, and why (claude-api.md 2.8). `max_tokens: 0` is with `max_tokens`. */
const NOT_IN_A_BATCH: readonly { key: string; refused: (value: unknown) => boolean; hint: string }[] = [
  { key: 'stream', refused: (value) => value === true, hint: 'remove it: a batch has nobody to stream to' },
  { key: 'speed', refused: () => true, hint: 'remove it: fast mode is for realtime calls' },
  {
    key: 'fallbacks',
    refused: () => true,
    hint: 'remove it: a refused row can go to another model in a second run',
  },
]

export function checkParameters(
  request: MessageRequest,
  conditions: RequestConditions,
  problems: ProblemList,
): void {
  checkKnown(request, conditions, problems)
  checkRoute(request, conditions, problems)
  checkMaxTokens(request, conditions, problems)
  checkSampling(request, conditions, problems)
  checkThinking(request, conditions, problems)
  checkEffort(request, conditions, problems)
  checkOthers(request, conditions, problems)
}

function checkKnown(request: MessageRequest, { settings }: RequestConditions, problems: ProblemList): void {
  for (const key of Object.keys(request)) {
    if (KNOWN.has(key) || request[key] === undefined) continue
    const near = nearest(key, KNOWN)
    // With a beta the body may hold what only that beta knows; a near miss is worth a word all the same.
    if (settings.betas.length > 0 && near === null) continue
    problems.warn(
      key,
      'unknown_parameter',
      `"${key}" is not a parameter that we know; it is sent as it is`,
      near === null ? 'the API refuses parameters that it does not know' : `did you mean ${near}?`,
    )
  }
}

function checkRoute(request: MessageRequest, conditions: RequestConditions, problems: ProblemList): void {
  const { model, settings, route } = conditions
  if (route === 'batch') {
    for (const { key, refused, hint } of NOT_IN_A_BATCH) {
      const value = request[key]
      if (value !== undefined && value !== null && refused(value)) {
        problems.error(key, 'not_in_batch', `"${key}" is refused in a batch`, hint)
      }
    }
  } else if (request['speed'] === 'fast') {
    const { fastMode, fastModeBeta } = model.parameters
    if (fastMode === 'refused') {
      problems.error('speed', 'fast_mode_not_supported', `${model.id} has no fast mode`, 'remove "speed"')
    } else if (fastMode === 'ignored') {
      problems.warn('speed', 'fast_mode_ignored', `${model.id} ignores "speed"`, 'remove it')
    } else if (fastModeBeta !== null && !settings.betas.includes(fastModeBeta)) {
      problems.error(
        'speed',
        'beta_missing',
        `fast mode of ${model.id} needs the beta ${fastModeBeta}`,
        `add it to "betas"`,
      )
    }
  }
}

function checkMaxTokens(request: MessageRequest, conditions: RequestConditions, problems: ProblemList): void {
  const { model, settings, route, rules } = conditions
  const maxTokens = request['max_tokens']
  if (maxTokens === undefined || maxTokens === null) {
    problems.error(
      'max_tokens',
      'max_tokens_missing',
      'max_tokens is missing',
      'the API needs a limit for every answer',
    )
    return
  }
  if (typeof maxTokens !== 'number' || !Number.isInteger(maxTokens) || maxTokens < 0) {
    problems.error('max_tokens', 'max_tokens_invalid', 'max_tokens must be a whole number of tokens')
    return
  }
  if (maxTokens === 0) {
    checkPrewarming(request, conditions, problems)
    return
  }
  const withBeta = model.outputTokensMaxBatchBeta
  const betaHolds = withBeta !== null && route === 'batch' && settings.betas.includes(rules.batchOutputBeta)
  const limit = betaHolds ? withBeta : model.outputTokensMax
  if (maxTokens > limit) {
    const betaWouldDo = withBeta !== null && maxTokens <= withBeta && !betaHolds
    problems.error(
      'max_tokens',
      'max_tokens_too_large',
      `max_tokens: ${maxTokens} > ${limit}, the most that ${model.id} answers with`,
      betaWouldDo
        ? `in a batch the beta ${rules.batchOutputBeta} raises the limit to ${withBeta}`
        : `lower it to ${limit}`,
    )
  }
}

/** `max_tokens: 0` runs the prompt for its cache entries only: in realtime, and not with everything (3.9). */
function checkPrewarming(request: MessageRequest, { route }: RequestConditions, problems: ProblemList): void {
  if (route === 'batch') {
    problems.error(
      'max_tokens',
      'not_in_batch',
      'max_tokens: 0 is refused in a batch',
      'a row must answer at least 1 token',
    )
    return
  }
  const thinking = request['thinking']
  const conflicts: [string, boolean][] = [
    ['stream', request['stream'] === true],
    ['thinking', isObject(thinking) && thinking['type'] === 'enabled'],
    ['output_config.format', formatOf(request) !== null],
    ['tool_choice', forcesTool(request)],
  ]
  for (const [path, conflict] of conflicts) {
    if (conflict)
      problems.error(
        path,
        'max_tokens_zero',
        `max_tokens: 0 is refused together with ${path}`,
        `remove ${path}`,
      )
  }
}

function checkSampling(
  request: MessageRequest,
  { model, settings, rules }: RequestConditions,
  problems: ProblemList,
): void {
  const isRemoved = findApiVersion(rules, settings.apiVersion)?.removesSamplingParameters
  const other = rules.apiVersions.find((version) => !version.removesSamplingParameters)
  const { samplingParameters, samplingDefaults } = model.parameters
  for (const key of SAMPLING) {
    const value = request[key]
    if (value === undefined || value === null) continue
    if (isRemoved) {
      problems.error(
        key,
        'sampling_not_in_version',
        `API version ${settings.apiVersion} has no ${key}`,
        other && samplingParameters ? `remove it, or set "api_version" to ${other.id}` : 'remove it',
      )
    } else if (!samplingParameters && !(samplingDefaults && key === 'temperature' && value === 1)) {
      problems.error(key, 'sampling_not_supported', `${model.id} does not take ${key}`, 'remove it')
    } else if (key === 'temperature' && !(typeof value === 'number' && value >= 0 && value <= 1)) {
      problems.error(key, 'sampling_invalid', 'temperature must be between 0 and 1')
    }
  }
}

function checkThinking(request: MessageRequest, conditions: RequestConditions, problems: ProblemList): void {
  const { model } = conditions
  const { thinkingTypes, thinkingTypesDeprecated, thinkingByDefault, thinkingDisabledEffortMax } =
    model.parameters
  const thinking = request['thinking']
  const type = isObject(thinking) ? thinking['type'] : undefined
  if (thinking === undefined || thinking === null) {
    if (thinkingByDefault) warnWithoutRoom(request, conditions, problems)
    return
  }
  if (!isObject(thinking) || !THINKING_TYPES.includes(type as ThinkingType)) {
    problems.error(
      'thinking',
      'thinking_invalid',
      `thinking must be {"type": …}, one of ${THINKING_TYPES.join(', ')}`,
    )
    return
  }
  if (!thinkingTypes.includes(type as ThinkingType)) {
    problems.error(
      'thinking.type',
      'thinking_not_supported',
      `${model.id} does not take thinking of type "${type}"`,
      thinkingMend(type as ThinkingType, thinkingTypes, thinkingByDefault),
    )
    return
  }
  if (thinkingTypesDeprecated.includes(type as ThinkingType)) {
    problems.warn(
      'thinking.type',
      'thinking_deprecated',
      `thinking of type "${type}" is deprecated on ${model.id}`,
      'use {"type": "adaptive"} and output_config.effort',
    )
  }
  if (type === 'enabled') checkBudgetTokens(request, thinking, conditions, problems)
  else if (thinking['budget_tokens'] !== undefined) {
    problems.error(
      'thinking.budget_tokens',
      'thinking_budget',
      `thinking of type "${type}" has no budget`,
      'remove it',
    )
  }
  const display = thinking['display']
  if (display !== undefined && display !== null && display !== 'summarized' && display !== 'omitted') {
    problems.error('thinking.display', 'thinking_invalid', 'thinking.display is "summarized" or "omitted"')
  }
  const effort = effortOf(request) ?? model.parameters.effortDefault
  if (
    (type === 'disabled' || type === 'between_tools') &&
    thinkingDisabledEffortMax !== null &&
    EFFORTS.indexOf(effort as Effort) > EFFORTS.indexOf(thinkingDisabledEffortMax)
  ) {
    problems.error(
      'thinking.type',
      'thinking_effort',
      `${model.id} takes thinking of type "${type}" up to effort ${thinkingDisabledEffortMax} only, not ${effort}`,
      'lower output_config.effort or use {"type": "adaptive"}',
    )
  }
  if (forcesTool(request) && !thinkingByDefault) warnOfForcedTool(type as ThinkingType, model, problems)
  if (type === 'adaptive' || type === 'between_tools') warnWithoutRoom(request, conditions, problems)
}

function checkBudgetTokens(
  request: MessageRequest,
  thinking: JsonObject,
  { rules }: RequestConditions,
  problems: ProblemList,
): void {
  const budget = thinking['budget_tokens']
  const path = 'thinking.budget_tokens'
  if (typeof budget !== 'number' || !Number.isInteger(budget) || budget < rules.thinkingBudgetTokensMin) {
    problems.error(
      path,
      'thinking_budget',
      `budget_tokens must be a whole number from ${rules.thinkingBudgetTokensMin} on`,
    )
  } else if (typeof request['max_tokens'] === 'number' && budget >= request['max_tokens']) {
    problems.error(
      path,
      'thinking_budget',
      `budget_tokens ${budget} must be less than max_tokens ${request['max_tokens']}`,
      'the budget is part of max_tokens: raise max_tokens',
    )
  }
}

/**
 * On models that think only when asked (the newer ones take the choice, claude-api.md 4.2). Recorded: `enabled` was always
 * refused, `adaptive` by Opus 4.8 and Sonnet 4.6 but not by Opus 4.6.
 */
function warnOfForcedTool(type: ThinkingType, model: Model, problems: ProblemList): void {
  const code = 'thinking_with_tool_choice'
  const hint = 'use tool_choice auto, or leave thinking out'
  if (type === 'enabled') {
    problems.error('tool_choice', code, `${model.id} does not think when tool_choice forces a tool`, hint)
  } else if (type === 'adaptive') {
    problems.warn('tool_choice', code, `${model.id} may refuse to think when tool_choice forces a tool`, hint)
  }
}

function thinkingMend(wanted: ThinkingType, takes: readonly ThinkingType[], byDefault: boolean): string {
  if (wanted === 'enabled' && takes.includes('adaptive'))
    return 'use {"type": "adaptive"} and output_config.effort'
  if (wanted === 'adaptive' && takes.includes('enabled')) return 'use {"type": "enabled", "budget_tokens": …}'
  if (wanted === 'disabled' && byDefault)
    return 'leave it out: this model always thinks; a low effort makes it brief'
  return takes.length === 0 ? 'leave it out' : `it takes ${takes.join(', ')}`
}

/** Thinking is paid from max_tokens: with less than two of the smallest budgets, little or nothing is left to answer. */
function warnWithoutRoom(
  request: MessageRequest,
  { model, rules }: RequestConditions,
  problems: ProblemList,
): void {
  const maxTokens = request['max_tokens']
  const enough = 2 * rules.thinkingBudgetTokensMin
  if (typeof maxTokens !== 'number' || maxTokens === 0 || maxTokens >= enough) return
  problems.warn(
    'max_tokens',
    'thinking_leaves_no_room',
    `${model.id} thinks before it answers, and max_tokens ${maxTokens} covers both`,
    model.parameters.thinkingTypes.includes('disabled')
      ? `raise max_tokens to ${enough} or more, or set thinking to {"type": "disabled"}`
      : `raise max_tokens to ${enough} or more, or lower output_config.effort`,
  )
}

function checkEffort(request: MessageRequest, { model }: RequestConditions, problems: ProblemList): void {
  const config = request['output_config']
  if (config !== undefined && config !== null && !isObject(config)) {
    problems.error('output_config', 'output_config_invalid', 'output_config must be an object')
    return
  }
  const effort = effortOf(request)
  if (effort === null) return
  const { efforts, effortsUnsure } = model.parameters
  const path = 'output_config.effort'
  if (!EFFORTS.includes(effort as Effort)) {
    problems.error(path, 'effort_invalid', `effort must be one of ${EFFORTS.join(', ')}`)
  } else if (!efforts.includes(effort as Effort)) {
    problems.error(
      path,
      'effort_not_supported',
      efforts.length === 0 ? `${model.id} has no effort` : `${model.id} does not take effort "${effort}"`,
      efforts.length === 0 ? 'remove output_config.effort' : `it takes ${efforts.join(', ')}`,
    )
  } else if (effortsUnsure.includes(effort as Effort)) {
    problems.warn(path, 'effort_unsure', `${model.id} may not take effort "${effort}"`, 'try one row first')
  }
}

function checkOthers(
  request: MessageRequest,
  { model, rules }: RequestConditions,
  problems: ProblemList,
): void {
  const geo = request['inference_geo']
  if (geo !== undefined && geo !== null) {
    if (geo !== 'us' && geo !== 'global') {
      problems.error('inference_geo', 'inference_geo_invalid', 'inference_geo is "us" or "global"')
    } else if (!model.parameters.inferenceGeo) {
      problems.error(
        'inference_geo',
        'inference_geo_not_supported',
        `${model.id} does not take inference_geo`,
        'remove it, or use a model from Claude 4.6 on',
      )
    }
  }
  const serviceTier = request['service_tier']
  if (serviceTier !== undefined && serviceTier !== 'auto' && serviceTier !== 'standard_only') {
    problems.error('service_tier', 'service_tier_invalid', 'service_tier is "auto" or "standard_only"')
  }
  const metadata = request['metadata']
  const userId = isObject(metadata) ? metadata['user_id'] : undefined
  if (typeof userId === 'string' && userId.length > rules.userIdCharactersMax) {
    problems.error(
      'metadata.user_id',
      'user_id_too_long',
      `metadata.user_id has ${userId.length} characters; ${rules.userIdCharactersMax} are allowed`,
    )
  }
  const stops = request['stop_sequences']
  if (
    stops !== undefined &&
    stops !== null &&
    !(Array.isArray(stops) && stops.every((stop) => typeof stop === 'string' && stop !== ''))
  ) {
    problems.error(
      'stop_sequences',
      'stop_sequences_invalid',
      'stop_sequences must be a list of non-empty strings',
    )
  }
}

function effortOf(request: MessageRequest): Json {
  const config = request['output_config']
  return isObject(config) ? (config['effort'] ?? null) : null
}

/** `output_config.format`; null when the answer is free text. */
export function formatOf(request: MessageRequest): Json {
  const config = request['output_config']
  return isObject(config) ? (config['format'] ?? null) : null
}

/** Whether `tool_choice` is `any` or `tool`. */
export function forcesTool(request: MessageRequest): boolean {
  const choice = request['tool_choice']
  return isObject(choice) && (choice['type'] === 'any' || choice['type'] === 'tool')
}
