import type { Clock } from '../../src/runtime/runtime.ts'
import type { LocalUpstream } from '../../src/upstreams/local/local-upstream.ts'
import type { BatchBody } from '../../src/upstreams/upstream.ts'

/**
 * Another program in the same workspace. It creates batches just when ours are created and with as many rows, so that its
 * batches look like answers that were lost, and reads and cancels its own.
 */
export class Stranger {
  /** Its batches, and whether it has canceled them. */
  readonly batches = new Map<string, { canceled: boolean }>()
  readonly #local: LocalUpstream
  readonly #clock: Clock
  readonly #random: () => number
  readonly #batchesMax: number

  constructor(local: LocalUpstream, clock: Clock, random: () => number) {
    this.#local = local
    this.#clock = clock
    this.#random = random
    this.#batchesMax = 1 + Math.floor(random() * 4)
  }

  async beforeCreate(rows: number): Promise<void> {
    if (this.#random() < 0.25) await this.#create(rows)
  }

  async afterCreate(rows: number): Promise<void> {
    if (this.#random() < 0.25) await this.#create(rows)
  }

  /** Now and then it does something with a batch of its own. */
  async act(): Promise<void> {
    const [id] = [...this.batches.keys()].slice(Math.floor(this.#random() * this.batches.size))
    if (id === undefined || this.#random() > 0.1) return
    const batch = (await this.#local.retrieveBatch(id))?.batch
    if (batch === undefined) return
    if (batch.processing_status === 'ended') for await (const _line of this.#local.batchResults(id)) break
    if (batch.processing_status !== 'in_progress' || this.#random() > 0.3) return
    await this.#local.cancelBatch(id)
    this.batches.set(id, { canceled: true })
  }

  /** What somebody else has done to its batches, but those that a fault has deleted. */
  async complaints(gone: ReadonlySet<string>): Promise<string[]> {
    const found: string[] = []
    for (const [id, { canceled }] of this.batches) {
      if (gone.has(id)) continue
      const answer = await this.#local.retrieveBatch(id)
      if (answer === null) found.push(`the stranger's batch ${id} was deleted`)
      else if ((answer.batch.cancel_initiated_at !== null) !== canceled) {
        found.push(`the stranger's batch ${id} was canceled`)
      }
    }
    return found
  }

  async #create(rows: number): Promise<void> {
    if (this.batches.size === this.#batchesMax) return
    const receivedAt = this.#clock.now()
    const context = { apiVersion: '2023-06-01', betas: [], tier: 'batch', receivedAt } as const
    const body = bodyOf(rows, this.batches.size)
    const answer = await this.#local.createBatch(body, { ...context, workspace: this.#local.workspace })
    if (answer.kind === 'accepted') this.batches.set(answer.batch.id, { canceled: false })
  }
}

function bodyOf(rows: number, number: number): BatchBody {
  const messages = [{ role: 'user', content: 'Hello' }]
  const params = { model: 'claude-sonnet-4-6', max_tokens: 10, messages }
  return {
    rows,
    sizeBytes: rows * 200,
    async *elements() {
      for (let row = 0; row < rows; row++) {
        yield Buffer.from(JSON.stringify({ custom_id: `stranger-${number}-${row}`, params }))
      }
    },
  }
}
