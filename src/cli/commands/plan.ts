import { planJson } from '../../core/plan-json.ts'
import type { Flags } from '../main.ts'
import { checkPlan, openJob, planOpenJob } from '../planning.ts'
import { renderPlan } from '../render-plan.ts'
import type { Session } from '../session.ts'

export async function run(session: Session, args: readonly string[], flags: Flags): Promise<number> {
  const open = await openJob(session, args[0]!, flags)
  const home = await session.existingHome()
  const { plan } = await planOpenJob(open, flags, null, home?.store.runs ?? null)
  const { terminal } = session
  if (terminal.json) {
    await terminal.out(`${JSON.stringify(planJson(plan), null, 2)}\n`)
  } else {
    await terminal.out(`${renderPlan(plan, { ...terminal, allModels: flags['models'] === true })}\n`)
    if (open.job.stated === null)
      terminal.say(`\nnext: tithe try ${args[0]}   (a few rows, answered now)\n      tithe run ${args[0]}`)
  }
  checkPlan(plan)
  return 0
}
