import { formatBytes } from '../core/figures.ts'
import { formatDuration, formatTimestamp } from '../core/instant.ts'
import { formatUsd } from '../core/money.ts'
import type { RunEvent, RunProgress } from '../runs/run-deps.ts'
import type { Terminal } from './terminal.ts'

/** Shows a run at work: one line drawn over on a terminal, one plain line per thing that happened elsewhere. */
export function progressPrinter(terminal: Terminal): (event: RunEvent) => void {
  const { say } = terminal
  return (event) => {
    switch (event.kind) {
      case 'wave':
        return say(`\nwave ${event.wave} ${event.wave_kind}: ${plural(event.rows, 'row')} (${event.because})`)
      case 'submitted': {
        const { number, rows, sizeBytes, upstreamBatchId, createdAt } = event.submission
        const when = createdAt === null ? '' : ` at ${formatTimestamp(createdAt).slice(11, 19)}`
        return say(
          `  batch ${number} ${upstreamBatchId}: ${plural(rows, 'row')}, ${formatBytes(sizeBytes)}, accepted${when}`,
        )
      }
      case 'ingested': {
        const { number, rows, createdAt, endedAt } = event.submission
        const took =
          createdAt !== null && endedAt !== null ? ` in ${formatDuration(endedAt - createdAt)}` : ''
        return say(`  batch ${number}: ${plural(rows, 'result')} read, ended${took}`)
      }
      case 'note':
        return say(`  note: ${event.message}`)
      case 'progress':
        return terminal.status(progressText(event.progress))
      case 'polled':
      case 'results_recorded':
        return
    }
  }
}

function progressText(progress: RunProgress): string {
  const { counts } = progress
  const done = counts.succeeded + counts.errored + counts.canceled + counts.expired + counts.invalid
  const forecast =
    progress.forecastPicoUsd === null ? '' : ` of ${formatUsd(progress.forecastPicoUsd)} forecast`
  return [
    `${done}/${progress.rows} rows`,
    `wave ${progress.wave} ${progress.waveKind ?? ''}`.trimEnd(),
    `${progress.batchesInFlight} batches with ${progress.inFlightRows} rows`,
    `${counts.pending} not yet submitted`,
    `${formatUsd(progress.spentPicoUsd)}${forecast}`,
    `hits ${progress.hitRate === null ? '–' : `${(progress.hitRate * 100).toFixed(0)} %`}`,
    `left ${progress.etaMs === null ? 'unknown' : formatDuration(progress.etaMs)}`,
  ].join(' · ')
}

function plural(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}
