import { applyMarks } from '../core/apply-marks.ts'
import { assert } from '../core/assert.ts'
import { base64Source } from '../core/attachment.ts'
import { customIdFor } from '../core/custom-id.ts'
import { TitheError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { MessageRequest } from '../core/request.ts'
import { reviseRequest } from '../core/row-revision.ts'
import type { MarkPlan } from '../core/run-plan.ts'
import { attachmentsOf, blocksReferred, joinRequest, mapAttachments } from '../core/stored-request.ts'
import type { RowRecord, Store } from '../stores/store.ts'
import { pausedParts } from './paused-parts.ts'
import type { RunDeps } from './run-deps.ts'

const PAGE_ROWS = 256
/** Shared blocks kept parsed; far more than the handful that a job shares, far less than a job's documents. */
const CACHED_BLOCK_BYTES_MAX = 64 * 1024 * 1024

/** A row as it will be sent, or why it cannot be. */
export type RenderedRow =
  | { readonly kind: 'rendered'; readonly row: RowRecord; readonly request: MessageRequest }
  | { readonly kind: 'unrenderable'; readonly row: RowRecord; readonly problem: string }

/** Turns stored rows back into requests, blocks joined and attachments read again. */
export class RowRenderer {
  readonly #run: string
  readonly #store: Store
  readonly #readAttachment: RunDeps['readAttachment']
  readonly #blocks = new Map<string, { value: Json; sizeBytes: number }>()
  #cachedBytes = 0

  constructor(run: string, deps: Pick<RunDeps, 'store' | 'readAttachment'>) {
    this.#run = run
    this.#store = deps.store
    this.#readAttachment = deps.readAttachment
  }

  async render(row: RowRecord, marks: readonly MarkPlan[]): Promise<RenderedRow> {
    const json = Buffer.from(await this.#store.bodies.read(row.request)).toString('utf8')
    const blocks = await this.#loadBlocks(blocksReferred(json))
    let request = applyMarks(
      joinRequest(json, (hash) => {
        const block = blocks.get(hash)
        assert(block !== undefined, `block ${hash} of row ${row.ordinal} is in the store`)
        return block
      }),
      marks,
    )
    const attachments = attachmentsOf(request)
    if (attachments.length > 0) {
      const sources = new Map<string, JsonObject>()
      try {
        for (const source of attachments) {
          if (!sources.has(source.path)) {
            sources.set(source.path, base64Source(source, await this.#readAttachment(source)))
          }
        }
      } catch (error) {
        // A changed file makes its own row invalid, naming the file; the rest of the run goes on.
        if (!(error instanceof TitheError)) throw error
        return { kind: 'unrenderable', row, problem: error.message }
      }
      request = mapAttachments(request, (source) => sources.get(source.path)!)
    }
    if (row.revision !== null) {
      const parts = await pausedParts(this.#store, this.#run, row)
      request = reviseRequest(request, row.revision, parts)
    }
    return { kind: 'rendered', row, request }
  }

  async #loadBlocks(hashes: readonly string[]): Promise<Map<string, Json>> {
    const found = new Map<string, Json>()
    const missing = hashes.filter((hash) => {
      const cached = this.#blocks.get(hash)
      if (cached) found.set(hash, cached.value)
      return !cached
    })
    if (missing.length === 0) return found
    for (const { hash, ref } of await this.#store.runs.blocks(this.#run, missing)) {
      const value = JSON.parse(Buffer.from(await this.#store.bodies.read(ref)).toString('utf8')) as Json
      found.set(hash, value)
      this.#keep(hash, value, ref.length)
    }
    return found
  }

  #keep(hash: string, value: Json, sizeBytes: number): void {
    this.#blocks.set(hash, { value, sizeBytes })
    this.#cachedBytes += sizeBytes
    for (const [oldest, entry] of this.#blocks) {
      if (this.#cachedBytes <= CACHED_BLOCK_BYTES_MAX) break
      this.#blocks.delete(oldest)
      this.#cachedBytes -= entry.sizeBytes
    }
  }
}

/** All rows of a submission, ascending. */
export async function* submissionRows(
  store: Store,
  run: string,
  submission: number,
): AsyncGenerator<RowRecord> {
  let after = -1
  for (;;) {
    const ordinals = await store.runs.submissionRows(run, submission, after, PAGE_ROWS)
    if (ordinals.length === 0) return
    yield* await store.runs.rowsByOrdinal(run, ordinals)
    after = ordinals.at(-1)!
  }
}

/** One element of a create's `requests`, exactly as it is sent. */
export function batchElement(
  run: string,
  submission: number,
  rendered: { row: RowRecord; request: MessageRequest },
): string {
  const customId = customIdFor({
    run,
    submission,
    ordinal: rendered.row.ordinal,
    userId: rendered.row.userId,
  })
  return `{"custom_id":"${customId}","params":${JSON.stringify(rendered.request)}}`
}
