import { settingsFromJson } from '../../core/job.ts'
import { catalogueFor } from '../../wiring.ts'
import { printReport } from '../print-report.ts'
import type { Session } from '../session.ts'

export async function run(session: Session, args: readonly string[]): Promise<number> {
  const found = await session.findRun(args[0])
  await printReport(session, found.id, catalogueFor(settingsFromJson(found.settingsJson)), null)
  return 0
}
