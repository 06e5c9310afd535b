import { instant } from '../../core/instant.ts'
import { MODEL_COLUMNS, modelRows, modelsJson } from '../../core/models-json.ts'
import { catalogueFor } from '../../wiring.ts'
import type { Flags } from '../flags.ts'
import type { Session } from '../session.ts'
import { renderTable } from '../table.ts'

export async function run(session: Session, _args: readonly string[], flags: Flags): Promise<number> {
  const { terminal } = session
  const catalogue = catalogueFor(null)
  const all = flags['all'] === true
  await terminal.out(
    terminal.json
      ? `${JSON.stringify(modelsJson(catalogue), null, 2)}\n`
      : `${renderTable(MODEL_COLUMNS, modelRows(catalogue, instant(Date.now()), all))}\n`,
  )
  return 0
}
