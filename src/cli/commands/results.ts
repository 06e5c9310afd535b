import { TitheError } from '../../core/errors.ts'
import { checkWritable, rawResultLines, resultText, writeRawResults } from '../../jobs/write-results.ts'
import { refuseForgotten } from '../../runs/forgotten.ts'
import { resultRecords, resultRows } from '../../runs/result-rows.ts'
import type { Store } from '../../stores/store.ts'
import type { Flags } from '../flags.ts'
import { outputFlag, writeResultsFile } from '../results-file.ts'
import type { Session } from '../session.ts'

export async function run(session: Session, args: readonly string[], flags: Flags): Promise<number> {
  const found = await session.findRun(args[0])
  refuseForgotten(found)
  const { id, state } = found
  const { store } = await session.home()
  const only = typeof flags['only'] === 'string' ? flags['only'] : undefined
  const raw = flags['raw'] === true
  if (raw && typeof flags['format'] === 'string') {
    throw new TitheError('bad_flag', '--raw is a format of its own: leave out --format')
  }
  if (state !== 'finished' && state !== 'canceled') {
    session.terminal.say(`run ${id} is ${state}: these are the rows that are done so far`)
  }
  if (typeof flags['output'] === 'string') {
    if (raw) {
      await checkWritable(flags['output'])
      await writeRawResults(flags['output'], rawLines(store, id, only))
    } else {
      await writeResultsFile(store, id, (await outputFlag(flags))!, only)
    }
    const { terminal } = session
    const wrote = { schema: 'tithe.results/1', run: id, file: flags['output'] }
    if (terminal.json) await terminal.out(`${JSON.stringify(wrote)}\n`)
    terminal.say(`wrote ${flags['output']}`)
    return 0
  }
  if (raw) {
    for await (const line of rawResultLines(rawLines(store, id, only)))
      await session.terminal.out(line.toString('utf8'))
    return 0
  }
  const format = flags['format'] === 'csv' ? 'csv' : 'jsonl'
  for await (const text of resultText(format, () => resultRows(store, id, only)))
    await session.terminal.out(text)
  return 0
}

/** Rows that never got a result line (invalid, or ended by us before they were sent) have nothing to show here. */
async function* rawLines(store: Store, run: string, only: string | undefined) {
  for await (const { row, attempt } of resultRecords(store, run, only)) {
    if (attempt?.result) yield { line: await store.bodies.read(attempt.result), userId: row.userId }
  }
}
