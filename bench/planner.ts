import { RowDescriber } from '../src/core/describe-row.ts'
import { sampledCounter } from '../src/core/sample-count.ts'
import { tokenMeasurer } from '../src/core/token-estimate.ts'
import { loadTokenFacts } from '../src/facts/tokenizers.ts'
import { loadJob } from '../src/jobs/load-job.ts'
import { planRun } from '../src/runs/plan-run.ts'
import { sizeOfImage } from '../src/tokens/image-size.ts'
import { textCounter } from '../src/tokens/text-counter.ts'
import { jobDeps, planningDeps } from '../src/wiring.ts'

// node bench/planner.ts JOB: plans a job as `tithe plan` does, with the time that counting tokens takes told apart.

const count = textCounter()
// The vocabulary is read at the first count.
count('first')
let countingMs = 0
const counter = sampledCounter((text) => {
  const begun = performance.now()
  const tokens = count(text)
  countingMs += performance.now() - begun
  return tokens
})

const begun = performance.now()
const job = await loadJob(process.argv[2]!, jobDeps())
const facts = loadTokenFacts()
const deps = planningDeps(jobDeps().catalogue, false, null)
const plan = await planRun(
  job,
  {
    ...deps,
    describer: new RowDescriber({
      catalogue: deps.catalogue,
      measurer: tokenMeasurer(counter.count, sizeOfImage, facts.media),
      facts,
      at: deps.at,
    }),
    counting: counter.counting,
    halfBandTokens: counter.halfBandTokens,
  },
  { allModels: false, skipInvalid: false },
  null,
  null,
)
const planMs = performance.now() - begun - countingMs
const { counted, all } = counter.bytes()
process.stdout.write(
  JSON.stringify({
    rows: plan.rows,
    request_mb: Math.round(plan.requestBytes! / 1e6),
    ms_per_1000_rows: Math.round((planMs / plan.rows) * 1e4) / 10,
    counted_mb: Math.round(counted / 1e5) / 10,
    text_mb: Math.round(all / 1e5) / 10,
    counting_mb_per_s: Math.round(counted / countingMs / 100) / 10,
  }),
)
