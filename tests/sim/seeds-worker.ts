import { parentPort, workerData } from 'node:worker_threads'
import { BREAKS } from './breaks.ts'
import { runSeed } from './play-seed.ts'

// Plays the seeds that it is sent, one after the other, and answers with what became of each.

const { breakName } = workerData as { breakName: string | null }
const broken = breakName === null ? null : BREAKS[breakName]!

parentPort!.on('message', async (seed: number) => {
  parentPort!.postMessage(await runSeed(seed, broken))
})
