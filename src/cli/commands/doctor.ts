import { basename } from 'node:path'
import { type CheckResult, cheapestToCheck, type DoctorModel, type Verdict } from '../../core/doctor.ts'
import { TitheError } from '../../core/errors.ts'
import { formatCount } from '../../core/figures.ts'
import { measuredJson, type Visit } from '../../core/measured.ts'
import { formatUsd, moneyFields, type PicoUsd, picoUsd } from '../../core/money.ts'
import { costOfAll, type Examination, examine, visitOf } from '../../runs/doctor.ts'
import { catalogueFor, openUpstream, placeOf, readVisits, rememberVisit } from '../../wiring.ts'
import { chooseUpstream } from '../choose-upstream.ts'
import type { Flags } from '../flags.ts'
import { dollarsFlag } from '../planning.ts'
import type { Session } from '../session.ts'
import { renderTable } from '../table.ts'
import { ask } from './run.ts'

interface Doctored {
  readonly upstream: string
  readonly certainty: Visit['certainty']
  readonly tested: DoctorModel
  readonly spend: PicoUsd
  readonly examination: Examination
  /** Null when nothing was kept. */
  readonly visit: Visit | null
  readonly file: string | null
}

export async function run(session: Session, _args: readonly string[], flags: Flags): Promise<number> {
  const spend = dollarsFlag(flags, 'spend')
  if (spend === null) {
    throw new TitheError('bad_flag', 'doctor needs --spend: the most that it may spend', {
      hint: "'tithe doctor --spend 0.05'",
    })
  }
  const choice = chooseUpstream(session, flags, null)
  const { upstream } = placeOf(choice)
  const catalogue = catalogueFor(null)
  const { terminal } = session
  const home = await session.home()
  // What is there must be readable before anything is spent on adding to it.
  readVisits(home.dir)
  const tested = cheapestToCheck(catalogue, home.clock.now())
  if (tested === null)
    throw new TitheError('unpriced_model', 'no current model has a price: nothing can be reserved')
  const all = costOfAll({ catalogue, tested })
  if (choice.kind === 'anthropic' && flags['yes'] !== true) {
    const most = formatUsd(all < spend ? all : spend)
    if (!(await ask(session, `This will spend at most ${most} at ${upstream}. Go on? [y/N] `))) {
      terminal.say('nothing was sent')
      return 2
    }
  }
  session.onInterrupt('nothing was kept, and a batch that was begun ends by itself')
  const opened = await openUpstream(home, choice, catalogue)
  try {
    const runtime = { clock: opened.clock, ids: home.ids }
    const { say } = terminal
    const deps = { upstream: opened.upstream, runtime, catalogue, tested, signal: session.signal, say }
    const examination = await examine(deps, spend)
    const { failure, checks } = examination
    if (failure === null && checks.every(({ verdict }) => verdict === 'left_out')) {
      throw new TitheError('spend_too_small', 'not one check fits into the spend: nothing was sent', {
        hint: `all of them together may cost ${formatUsd(all)}`,
      })
    }
    const certainty = choice.kind === 'local' ? 'simulated' : 'measured'
    const told = { at: home.clock.now(), upstream, certainty, model: tested.model.id } as const
    const visit = visitOf(examination, told)
    const file = visit === null ? null : rememberVisit(home.dir, visit)
    const doctored: Doctored = { upstream, certainty, tested, spend, examination, visit, file }
    await terminal.out(
      terminal.json
        ? `${JSON.stringify(doctorJson(doctored), null, 2)}\n`
        : `${renderDoctored(doctored, terminal.width)}\n`,
    )
    if (failure !== null) throw failure
    return checks.some(({ verdict }) => verdict === 'differs' || verdict === 'unclear') ? 1 : 0
  } finally {
    await opened.close()
  }
}

const RESULT_TEXT: Readonly<Record<Verdict, string>> = {
  as_assumed: 'as assumed',
  differs: 'differs',
  unclear: 'unclear',
  left_out: 'left out',
}

function sums(checks: readonly CheckResult[]): { cost: PicoUsd; unknown: PicoUsd } {
  const sum = (field: 'costPicoUsd' | 'unknownPicoUsd') =>
    picoUsd(checks.reduce((total, check) => total + check[field], 0n))
  return { cost: sum('costPicoUsd'), unknown: sum('unknownPicoUsd') }
}

function renderDoctored(
  { upstream, certainty, tested, spend, examination, file }: Doctored,
  width: number,
): string {
  const { checks } = examination
  const { cost, unknown } = sums(checks)
  const money = (amount: bigint) => (amount === 0n ? '' : formatUsd(amount))
  const rows = checks.map(({ check, verdict, found, assumed, costPicoUsd }) => [
    check.replaceAll('_', ' '),
    RESULT_TEXT[verdict],
    money(costPicoUsd),
    verdict === 'differs' ? `${found}; assumed: ${assumed}` : found,
  ])
  const columns = [
    { header: 'check' },
    { header: 'result' },
    { header: 'cost', align: 'right' as const },
    { header: certainty },
  ]
  const open = unknown === 0n ? '' : `, and up to ${formatUsd(unknown)} that is not known`
  return [
    `${upstream} · ${tested.model.id}, shared prefixes above its minimum of ${formatCount(tested.minimumTokens)} tokens`,
    renderTable(columns, rows, { width }),
    `${certainty}: ${formatUsd(cost)} from usage${open}, of ${formatUsd(spend)} that may be spent`,
    file === null
      ? 'not kept: nothing was answered, or the answers do not say whose facts these are'
      : `kept in the home as ${basename(file)}: plans for this upstream reckon with it`,
  ].join('\n')
}

function doctorJson({ upstream, certainty, tested, spend, examination, visit, file }: Doctored) {
  const { checks, answerer } = examination
  const { cost, unknown } = sums(checks)
  return {
    schema: 'tithe.doctor/1',
    upstream,
    certainty,
    organization_id: answerer?.organizationId ?? null,
    workspace_id: answerer?.workspaceId ?? null,
    model: tested.model.id,
    minimum_tokens: tested.minimumTokens,
    ...moneyFields('spend', spend),
    ...moneyFields('cost', cost),
    ...moneyFields('unknown', unknown),
    checks: checks.map(({ check, verdict, found, assumed, costPicoUsd, unknownPicoUsd }) => ({
      check,
      result: verdict,
      found,
      assumed,
      ...moneyFields('cost', costPicoUsd),
      ...moneyFields('unknown', unknownPicoUsd),
    })),
    facts: visit === null ? null : measuredJson([visit])['visits'],
    kept_in: file,
  }
}
