import { sha256Hex } from '../src/core/digest.ts'
import { settingsFromJson } from '../src/core/job.ts'
import { fingerprintJob } from '../src/jobs/fingerprint.ts'
import { loadJob } from '../src/jobs/load-job.ts'
import { beginRun } from '../src/runs/begin-run.ts'
import { drive } from '../src/runs/driver.ts'
import type { PendingRow } from '../src/stores/store.ts'
import {
  catalogueFor,
  type Home,
  isHolderGone,
  jobDeps,
  openHome,
  openUpstream,
  planningDeps,
  runDeps,
  THIS_PROCESS,
} from '../src/wiring.ts'
import { stopwatch } from './stopwatch.ts'

// The steps of a run, each in a process of its own: `prepare` reads, renders and stores the rows and plans one batch of
// all of them; `submit` is the driver until the batch is accepted; `ingest` is the driver from there to the end. What is
// measured is the driver as `tithe run` uses it, with its store. Prints one JSON object. Started by runs-step.js.

const [step, baseUrl, dir, jobPath] = process.argv.slice(2)
const choice = { kind: 'anthropic', baseUrl: baseUrl!, apiKey: 'bench', workspace: null } as const

/** @param syncs how often fdatasync was called so far. */
export async function takeStep(syncs: () => number): Promise<void> {
  const home = await openHome(dir!)
  if (step === 'prepare') await prepare(home)
  else await driveOn(home, syncs)
  await home.close()
}

async function prepare(home: Home): Promise<void> {
  const job = await loadJob(jobPath!, jobDeps())
  const catalogue = catalogueFor(job.settings)
  const run = await beginRun(
    { ...home, holder: THIS_PROCESS, isHolderGone },
    job,
    { fingerprint: sha256Hex(await fingerprintJob(job)), upstream: baseUrl!, upstreamKind: 'anthropic' },
    planningDeps(catalogue, false, null),
    { allModels: false, skipInvalid: false },
    async () => true,
  )
  const { runs } = home.store
  const now = home.clock.now()
  const lease = await runs.acquireLease(run!.id, THIS_PROCESS, now, now)
  if (lease.kind !== 'held') throw new Error('the run is free')
  const rows: PendingRow[] = []
  for (;;) {
    const page = await runs.pendingRows(run!.id, now, rows.at(-1) ?? null, 5_000)
    if (page.length === 0) break
    rows.push(...page)
  }
  const nothing = { fingerprint: null, intentAt: null, newestIdBefore: null, serverIntentAt: null } as const
  const nobody = { organizationId: null, workspaceId: null, upstreamBatchId: null } as const
  const never = {
    createdAt: null,
    endedAt: null,
    expiresAt: null,
    cancelInitiatedAt: null,
    nextPollAt: null,
  } as const
  await runs.planSubmission(
    lease.fence,
    {
      ...{
        run: run!.id,
        wave: 1,
        kind: 'bulk',
        variant: rows[0]!.variant,
        state: 'planned',
        rows: rows.length,
      },
      ...{
        sizeBytes: 0,
        marksJson: '{}',
        countsJson: null,
        isDuplicate: false,
        answersFor: null,
        deletedAt: null,
      },
      ...nothing,
      ...nobody,
      ...never,
      ...{ ingestedRows: 0, because: 'one batch of all rows' },
    },
    rows.map((row) => row.ordinal),
  )
  await runs.releaseLease(run!.id, lease.fence)
  report({ rows: rows.length })
}

async function driveOn(home: Home, syncs: () => number): Promise<void> {
  const [run] = await home.store.runs.findRuns('')
  const catalogue = catalogueFor(settingsFromJson(run!.settingsJson))
  const opened = await openUpstream(home, choice, catalogue)
  const listen = { emit: () => {}, signal: new AbortController().signal }
  const deps = runDeps(home, opened, catalogue, listen)
  // The create was answered with a wait of an hour, so that `submit` ends where it should.
  const lease = await home.store.runs.acquireLease(run!.id, THIS_PROCESS, home.clock.now(), home.clock.now())
  if (lease.kind !== 'held') throw new Error('the run is free')
  await home.store.runs.touchSubmission(run!.id, lease.fence, 1, { nextPollAt: null })
  const stop = stopwatch()
  const end = await drive(run!.id, deps, { once: step === 'submit', acceptProbe: true })
  const took = stop()
  const counts = await home.store.runs.counts(run!.id)
  const [submission] = await home.store.runs.submissions(run!.id)
  report({
    rows: step === 'submit' ? submission!.rows : counts.succeeded,
    ...took,
    end: end.kind,
    state: submission!.state,
    size_mb: Math.round(submission!.sizeBytes / 1e6),
    syncs: syncs(),
  })
  await opened.close()
}

function report(result: object): void {
  process.stdout.write(`${JSON.stringify(result)}\n`)
}
