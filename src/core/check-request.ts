import { checkMarks } from './check-marks.ts'
import { checkMessages } from './check-messages.ts'
import { checkParameters } from './check-parameters.ts'
import { checkTools } from './check-tools.ts'
import type { Problem } from './errors.ts'
import { findApiVersion } from './models.ts'
import { ProblemList } from './problem-list.ts'
import type { MessageRequest } from './request.ts'
import type { RequestConditions } from './request-conditions.ts'

/**
 * Why the API would refuse a request, or answer it badly, before it costs a batch slot and an hour. Everything found is
 * reported at once, each with the JSON path and the mend. Errors are what the API is known to refuse (claude-api.md 1.1,
 * 2.8, 3.1, 4.2, 5.2, 7, and recorded refusals); warnings are what it takes without a word and most likely not meant.
 *
 * Nothing that we merely do not know is refused: a parameter of tomorrow passes with a warning. Whether the model is
 * known and not retired is looked at once for a job, where its name is resolved, and not here for each row.
 */
export function checkRequest(request: MessageRequest, conditions: RequestConditions): Problem[] {
  const problems = new ProblemList()
  checkSettings(conditions, problems)
  checkParameters(request, conditions, problems)
  checkTools(request, conditions, problems)
  checkMessages(request, conditions, problems)
  checkMarks(request, conditions, problems)
  checkSize(request, conditions, problems)
  return problems.found
}

/** The part that needs counted tokens, for callers that have checked the rest before they counted. */
export function checkTokens(request: MessageRequest, conditions: RequestConditions): Problem[] {
  const problems = new ProblemList()
  checkMarks(request, conditions, problems)
  checkSize(request, conditions, problems)
  return problems.found.filter((found) => NEEDS_TOKENS.has(found.code))
}

const NEEDS_TOKENS: ReadonlySet<string> = new Set([
  'mark_below_minimum',
  'prompt_too_long',
  'context_may_overflow',
])

function checkSettings({ settings, rules }: RequestConditions, problems: ProblemList): void {
  if (findApiVersion(rules, settings.apiVersion) === null) {
    problems.error(
      'api_version',
      'api_version_unknown',
      `"${settings.apiVersion}" is not a version of the API that we know`,
      `use ${rules.apiVersions.map(({ id }) => id).join(' or ')}`,
    )
  }
}

function checkSize(request: MessageRequest, conditions: RequestConditions, problems: ProblemList): void {
  const { model, promptTokens } = conditions
  const maxTokens = request['max_tokens']
  if (promptTokens !== undefined && promptTokens > model.contextTokens) {
    problems.error(
      'messages',
      'prompt_too_long',
      `the prompt has about ${promptTokens} tokens; ${model.id} takes ${model.contextTokens}`,
      'shorten it, split the row, or use a model with a larger context',
    )
  } else if (
    promptTokens !== undefined &&
    typeof maxTokens === 'number' &&
    promptTokens + maxTokens > model.contextTokens
  ) {
    problems.warn(
      'max_tokens',
      'context_may_overflow',
      `prompt (about ${promptTokens}) and max_tokens (${maxTokens}) together exceed the context of ${model.id}`,
      'the answer may end early with model_context_window_exceeded',
    )
  }
}
