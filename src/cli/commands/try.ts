import { answerJson, answerText } from '../../core/answer.ts'
import { base64Source } from '../../core/attachment.ts'
import { costOf } from '../../core/cost.ts'
import { TitheError } from '../../core/errors.ts'
import { scoreAnswer } from '../../core/expect.ts'
import { isObject, type JsonObject } from '../../core/json.ts'
import { findModel, priceAt } from '../../core/models.ts'
import { formatUsd, moneyFields } from '../../core/money.ts'
import type { InputRow } from '../../core/rows.ts'
import { attachmentsOf, mapAttachments } from '../../core/stored-request.ts'
import { parseUsage, promptTokens, type Usage } from '../../core/usage.ts'
import { readAttachment } from '../../jobs/attachments.ts'
import { compileSchema } from '../../schemas/json-schema.ts'
import { openUpstream, placeOf } from '../../wiring.ts'
import { chooseUpstream } from '../choose-upstream.ts'
import type { Flags } from '../flags.ts'
import { type OpenJob, openJob } from '../planning.ts'
import type { Session } from '../session.ts'
import { ask } from './run.ts'

const ROWS_DEFAULT = 5
const SHOWN_TEXT = 600

interface Tried {
  readonly row: InputRow
  readonly message: JsonObject | null
  readonly error: string | null
  readonly usage: Usage | null
  readonly costPicoUsd: bigint | null
  readonly schemaProblem: string | null
  readonly score: number | null
}

export async function run(session: Session, args: readonly string[], flags: Flags): Promise<number> {
  const count = flags['rows'] === undefined ? ROWS_DEFAULT : Number(flags['rows'])
  if (!Number.isInteger(count) || count < 1) {
    throw new TitheError('bad_flag', `-n takes a whole number above 0, not ${String(flags['rows'])}`)
  }
  const open = await openJob(session, args[0]!, flags)
  const choice = chooseUpstream(session, flags, open.job.settings.upstream)
  const { terminal } = session
  const home = await session.home()
  const rows = await sampleRows(open, count)
  if (choice.kind === 'anthropic' && flags['yes'] !== true) {
    if (
      !(await ask(
        session,
        `This sends ${rows.length} rows to ${placeOf(choice).upstream} in realtime. Go on? [y/N] `,
      ))
    )
      return 2
  }
  const opened = await openUpstream(home, choice, open.catalogue)
  let failed = false
  try {
    for (const row of rows) {
      const tried = await tryRow(open, row, opened)
      failed ||= tried.error !== null || tried.schemaProblem !== null
      await terminal.out(terminal.json ? `${JSON.stringify(triedJson(tried))}\n` : `${renderTried(tried)}\n`)
    }
  } finally {
    await opened.close()
  }
  return failed ? 1 : 0
}

async function sampleRows({ job }: OpenJob, count: number): Promise<InputRow[]> {
  const rows: InputRow[] = []
  for await (const row of job.rows()) {
    if (row.kind === 'invalid') {
      throw new TitheError('invalid_rows', 'a row among the first cannot be sent', { problems: row.problems })
    }
    rows.push(row)
    if (rows.length === count) break
  }
  return rows
}

async function tryRow(
  { job, catalogue }: OpenJob,
  row: InputRow,
  opened: Awaited<ReturnType<typeof openUpstream>>,
): Promise<Tried> {
  const sources = new Map<string, JsonObject>()
  for (const source of attachmentsOf(row.request)) {
    sources.set(source.path, base64Source(source, await readAttachment(source)))
  }
  const request = mapAttachments(row.request, (source) => sources.get(source.path)!)
  const answer = await opened.upstream.createMessage(Buffer.from(JSON.stringify(request)), {
    apiVersion: row.apiVersion,
    betas: row.betas,
    workspace: opened.upstream.workspace,
    tier: 'standard',
    receivedAt: opened.clock.now(),
  })
  const nothing = { usage: null, costPicoUsd: null, schemaProblem: null, score: null }
  if (answer.kind === 'refused') {
    return {
      row,
      message: null,
      error: `${answer.error.status} ${answer.error.type}: ${answer.error.message}`,
      ...nothing,
    }
  }
  const { message } = answer
  const usage = parseUsage(message['usage'])
  const model = findModel(catalogue, String(message['model'] ?? row.request['model']))
  const price = model === null ? null : priceAt(model, opened.clock.now())
  const json = answerJson(message)
  return {
    row,
    message,
    error: null,
    usage,
    costPicoUsd: usage === null || price === null ? null : costOf(usage, price, catalogue).totalPicoUsd,
    schemaProblem:
      job.settings.outputSchema === null
        ? null
        : json === undefined
          ? 'the answer is not JSON'
          : compileSchema(job.settings.outputSchema)(json),
    score:
      job.settings.expect === null || row.expected === undefined
        ? null
        : scoreAnswer(row.expected, job.settings.expect, { text: answerText(message), json }),
  }
}

function triedJson({ row, message, error, usage, costPicoUsd, schemaProblem, score }: Tried) {
  return {
    schema: 'tithe.try/1',
    id: row.userId,
    request: row.request,
    message,
    error,
    schema_problem: schemaProblem,
    score,
    prompt_tokens: usage === null ? null : promptTokens(usage),
    output_tokens: usage?.outputTokens ?? null,
    ...moneyFields('cost', costPicoUsd),
  }
}

function renderTried(tried: Tried): string {
  const { row, message, error, usage, costPicoUsd, schemaProblem, score } = tried
  const lines = [`── ${row.userId} ──`, `prompt  ${shortened(lastText(row.request))}`]
  if (message !== null) lines.push(`answer  ${shortened(answerText(message))}`)
  if (error !== null) lines.push(`refused ${error}`)
  if (schemaProblem !== null) lines.push(`schema  not valid: ${schemaProblem}`)
  if (score !== null) lines.push(`score   ${score}`)
  if (message?.['stop_reason'] === 'max_tokens') lines.push('stopped at max_tokens: the answer is cut')
  if (usage !== null) {
    const cost = costPicoUsd === null ? 'unpriced' : formatUsd(costPicoUsd)
    lines.push(`tokens  ${promptTokens(usage)} in, ${usage.outputTokens} out · ${cost} in realtime`)
  }
  return `${lines.join('\n')}\n`
}

/** The row's own words come last in the prompt. */
function lastText(request: JsonObject): string {
  const messages = Array.isArray(request['messages']) ? request['messages'] : []
  const last = messages.at(-1)
  if (!isObject(last)) return ''
  const content = last['content']
  if (typeof content === 'string') return content
  const blocks = Array.isArray(content) ? content : []
  const text = blocks.findLast((block) => isObject(block) && typeof block['text'] === 'string')
  return isObject(text) ? String(text['text']) : `${blocks.length} blocks`
}

function shortened(text: string): string {
  return text.length <= SHOWN_TEXT ? text : `${text.slice(0, SHOWN_TEXT)} … (${text.length} characters)`
}
