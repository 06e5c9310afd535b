import { runSeed } from './play-seed.ts'
const [seed, run] = process.argv.slice(2)
;(globalThis as any).DEBUG = async (world: any, log: any) => {
  for (const s of await world.store.runs.submissions(run)) console.log(s.number, s.kind, s.state, s.rows, s.upstreamBatchId, s.isDuplicate, s.answersFor, new Date(s.intentAt ?? 0).toISOString(), s.serverIntentAt && new Date(s.serverIntentAt).toISOString(), s.createdAt && new Date(s.createdAt).toISOString(), s.because)
  for (const e of await world.store.runs.events(run)) console.log(new Date(e.at).toISOString(), e.submission, e.kind, e.detail)
  console.log((await world.local.listBatches({limit:100})).data.map((b: any)=>[b.id,b.created_at,b.ended_at,JSON.stringify(b.request_counts)].join(' ')).join('\n'))
  console.log(log.stops)
}
const r = await runSeed(Number(seed))
console.log(r)
