import { planJson } from '../../core/plan-json.ts'
import { checkPlan, planRun } from '../../runs/plan-run.ts'
import { planningDeps } from '../../wiring.ts'
import { choosePlace } from '../choose-upstream.ts'
import type { Flags } from '../flags.ts'
import { openJob, planningOptions } from '../planning.ts'
import { renderPlan } from '../render-plan.ts'
import type { Session } from '../session.ts'

export async function run(session: Session, args: readonly string[], flags: Flags): Promise<number> {
  const { job, catalogue } = await openJob(session, args[0]!, flags)
  const home = await session.existingHome()
  const options = planningOptions(flags)
  const measured = home && { dir: home.dir, place: choosePlace(session, job.settings.upstream) }
  const deps = planningDeps(catalogue, flags['exact'] === true, measured)
  const plan = await planRun(job, deps, options, null, home?.store.runs ?? null)
  const { terminal } = session
  if (terminal.json) {
    await terminal.out(`${JSON.stringify(planJson(plan), null, 2)}\n`)
  } else {
    await terminal.out(`${renderPlan(plan, { ...terminal, ...options })}\n`)
  }
  checkPlan(plan)
  if (job.stated === null) {
    const path = /[^\w./~-]/.test(args[0]!) ? `'${args[0]}'` : args[0]
    terminal.say(`\nnext: tithe try ${path}   (a few rows, answered now)\n      tithe run ${path}`)
  }
  return 0
}
