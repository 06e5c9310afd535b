import { createHash } from 'node:crypto'
import type { Job } from './load-job.ts'

/**
 * SHA-256 of what a job buys: models, prompt, parameters and input, attachments included. It does not change with the
 * place of the files, nor with what decides only when and for how much (within, budget, cache, batch, prices, expect).
 * The upstream is not part of it: a rehearsal on the local one and the real run are told apart by the driver.
 */
export async function fingerprintJob(job: Pick<Job, 'identity'>): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of job.identity()) hash.update(piece)
  return hash.digest('hex')
}
