import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatDuration, HOUR_MS, MINUTE_MS } from '../../core/instant.ts'
import { settingsFromJson } from '../../core/job.ts'
import { formatUsd, picoUsd } from '../../core/money.ts'
import { drive } from '../../runs/driver.ts'
import { ledgerOf } from '../../runs/report-run.ts'
import {
  catalogueFor,
  type FaultyUpstream,
  type Home,
  openFaultyUpstream,
  openHome,
  runDeps,
} from '../../wiring.ts'
import { compareInvoice } from '../print-report.ts'
import { progressPrinter } from '../progress-line.ts'
import type { Session } from '../session.ts'
import { type Survived, survivedOf, type WatchedCall, watched } from '../survived.ts'
import { renderTable } from '../table.ts'

/** From the process that goes on with the run: which call of each kind goes wrong, and how. */
const SCHEDULE = [
  { name: 'list: unreachable', call: 1, times: 1 },
  { name: 'results: cut', call: 2, times: 1 },
  { name: 'create: 429 with retry-after', call: 1, times: 1 },
  { name: 'create: 529', call: 2, times: 1 },
  { name: 'retrieve: 404', call: 3, times: 1 },
  { name: 'create: answer lost', call: 4, times: 1 },
  { name: 'results: short', call: 6, times: 1 },
] as const

/** With this seed the third batch waits in the queue for longer than a day and expires; the others are quick. */
const SERVICE = { seed: 39, batchLatencyMs: [45_000, 48 * HOUR_MS], pollAfterMs: 20 * MINUTE_MS }

const BEFORE = `240 tickets on the embedded upstream, while everything goes wrong: no key, no network, no cost. Time is virtual.
A process sends two batches and is killed before the second create is answered. Another one goes on with what it left.`

/** Runs a job through every fault of the schedule and shows what became of each. 0 only if nothing is lost or paid twice. */
export async function runChaos(session: Session, job: string): Promise<number> {
  const { terminal } = session
  const dir = mkdtempSync(join(tmpdir(), 'tithe-chaos-'))
  try {
    terminal.say(BEFORE)
    await liveAndDie(session, job, dir)
    const home = await openHome(dir)
    try {
      return await goOn(session, home)
    } finally {
      await home.close()
    }
  } finally {
    rmSync(dir, { recursive: true })
  }
}

/** A real process, really killed: what it leaves behind is what a crash leaves. */
async function liveAndDie({ terminal }: Session, job: string, dir: string): Promise<void> {
  terminal.say('\n$ tithe run examples/tickets/job.yaml')
  const args = [process.argv[1]!, 'run', job, '--home', dir, '--upstream', 'local']
  const env = { ...process.env, TITHE_KILL_AT: 'submitting:2' }
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  let told = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    told += text
  })
  const [, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  if (signal !== 'SIGKILL') throw new Error(`the process was to be killed, and it was not:\n${told}`)
  terminal.say(
    told
      .slice(told.indexOf('\nwave 1'))
      .trimEnd()
      .replace(/\nTITHE_KILL_AT.*$/, ''),
  )
  terminal.say(`\nprocess ${child.pid} was killed (${signal})\n\n$ tithe resume`)
}

async function goOn(session: Session, home: Home): Promise<number> {
  const { runs } = home.store
  const run = (await runs.findRuns(''))[0]!
  const catalogue = catalogueFor(settingsFromJson(run.settingsJson))
  const unanswered = (await runs.submissions(run.id)).find(({ state }) => state === 'submitting')!
  const opened = await openFaultyUpstream(home, catalogue, SCHEDULE, SERVICE)
  try {
    const calls: WatchedCall[] = []
    const upstream = watched(opened.upstream, opened.fired, () => opened.clock.now(), calls)
    const listen = { emit: progressPrinter(session.terminal), signal: session.signal }
    const end = await drive(run.id, runDeps(home, { ...opened, upstream }, catalogue, listen), {
      once: false,
      acceptProbe: false,
    })
    session.terminal.clearStatus()
    if (end.kind !== 'finished') throw new Error(`the run ended as ${JSON.stringify(end)}`)
    const submissions = await runs.submissions(run.id)
    const expired = new Map<number, number>()
    for (const { number } of submissions) {
      expired.set(number, (await runs.attemptCounts(run.id, number)).expired)
    }
    const history = { events: await runs.events(run.id), submissions, expired }
    return await conclude(session, home, run.id, opened, survivedOf(calls, history, unanswered.number))
  } finally {
    await opened.close()
  }
}

async function conclude(
  { terminal }: Session,
  home: Home,
  runId: string,
  opened: FaultyUpstream,
  survived: readonly Survived[],
): Promise<number> {
  const { runs } = home.store
  const run = (await runs.findRuns(runId))[0]!
  const { succeeded } = await runs.counts(runId)
  const invoice = (await compareInvoice(run, home.store, opened.local!.invoice()))!
  let paidTwice = 0
  let cost = 0n
  for await (const entry of ledgerOf(runId, runs)) {
    if (entry.kind === 'duplicate') paidTwice += 1
    cost += entry.costPicoUsd ?? 0n
  }
  const lost = run.rows - succeeded
  const isWell = lost === 0 && paidTwice === 0 && invoice.equal
  if (terminal.json) {
    const told = {
      schema: 'tithe.demo_chaos/1',
      survived: survived.map(({ afterMs, fault, delayMs, did }) => ({
        after_ms: afterMs,
        fault,
        delay_ms: delayMs,
        did,
      })),
      rows: run.rows,
      answered: succeeded,
      lost,
      paid_twice: paidTwice,
      cost_pico_usd: String(cost),
      ledger_equals_invoice: invoice.equal,
      invoice: { entries: invoice.entries, lines: invoice.lines, differences: invoice.differences },
    }
    await terminal.out(`${JSON.stringify(told, null, 2)}\n`)
    return isWell ? 0 : 1
  }
  const table = renderTable(
    [
      { header: 'after', align: 'right' },
      { header: 'fault' },
      { header: 'delay', align: 'right' },
      { header: 'what Tithe did' },
    ],
    survived.map(({ afterMs, fault, delayMs, did }) => [
      formatDuration(afterMs),
      fault,
      formatDuration(delayMs),
      did,
    ]),
    { width: terminal.width },
  )
  await terminal.out(`\n${table}

${survived.length} faults survived; ${succeeded} of ${run.rows} rows answered; lost ${lost}, paid twice ${paidTwice}
simulated: ${formatUsd(picoUsd(cost))}; the ledger ${invoice.equal ? 'equals' : 'is NOT'} the upstream's invoice: ${invoice.lines} rows, every token class
`)
  return isWell ? 0 : 1
}
