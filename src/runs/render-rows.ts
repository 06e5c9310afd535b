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
import type { RowToSend, Store } from '../stores/store.ts'
import { pausedParts } from './paused-parts.ts'
import type { RunDeps } from './run-deps.ts'

/** A page of rows and their stored requests is in memory at once. */
const PAGE_ROWS = 1_000
/** Shared blocks kept parsed; far more than the handful that a job shares, far less than a job's documents. */
const CACHED_BLOCK_BYTES_MAX = 64 * 1024 * 1024

/** A row as it will be sent, or why it cannot be. */
export type RenderedRow =
  | { readonly kind: 'rendered'; readonly row: RowToSend; readonly request: MessageRequest }
  | { readonly kind: 'unrenderable'; readonly row: RowToSend; readonly problem: string }

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

  async render(row: RowToSend, marks: readonly MarkPlan[], stored?: Uint8Array): Promise<RenderedRow> {
    const json = Buffer.from(stored ?? (await this.#store.bodies.read(row.request))).toString('utf8')
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

/** Page by page, ascending. */
async function* submissionPages(store: Store, run: string, submission: number): AsyncGenerator<RowToSend[]> {
  let next = store.runs.rowsToSend(run, submission, -1, PAGE_ROWS)
  for (;;) {
    const rows = await next
    if (rows.length === 0) return
    next = store.runs.rowsToSend(run, submission, rows.at(-1)!.ordinal, PAGE_ROWS)
    // Read ahead, while this page is rendered; its failure is told when it is its turn.
    next.catch(() => {})
    yield rows
  }
}

/** A row as an element of a create's `requests`, or why it cannot be. */
export type RenderedElement =
  | {
      readonly kind: 'element'
      readonly row: RowToSend
      /** To be joined, or read one after the other; theirs no longer when the next element is asked for. */
      readonly pieces: readonly Uint8Array[]
    }
  | { readonly kind: 'unrenderable'; readonly row: RowToSend; readonly problem: string }

/**
 * The rows of a submission that it still holds, exactly as they are sent. A request that stands in the store as it goes
 * out, which is one without shared blocks, marks, attachments and revisions, is not parsed: it is the very text that
 * JSON.stringify gave when it was stored (render-rows.test.ts).
 */
export async function* submissionElements(
  deps: Pick<RunDeps, 'store' | 'readAttachment'>,
  run: string,
  submission: number,
  marksOf: (row: RowToSend) => readonly MarkPlan[],
): AsyncGenerator<RenderedElement> {
  const renderer = new RowRenderer(run, deps)
  for await (const rows of submissionPages(deps.store, run, submission)) {
    const { bodies: requests, release } = await deps.store.bodies.readAll(rows.map((row) => row.request))
    for (const [index, row] of rows.entries()) {
      const marks = marksOf(row)
      const stored = requests[index]!
      if (marks.length === 0 && row.revision === null && standsAsSent(stored)) {
        const id = Buffer.from(`{"custom_id":"${customIdOf(run, submission, row)}","params":`)
        yield { kind: 'element', row, pieces: [id, stored, CLOSE] }
        continue
      }
      const rendered = await renderer.render(row, marks, stored)
      if (rendered.kind === 'unrenderable') yield rendered
      else {
        yield { kind: 'element', row, pieces: [Buffer.from(batchElement(run, submission, rendered))] }
      }
    }
    release()
  }
}

const REFERENCE = Buffer.from('"tithe_')
const CLOSE = Buffer.from('}')

/** Both kinds of references, to blocks and to attachments, begin with the same letters. */
function standsAsSent(stored: Uint8Array): boolean {
  return !Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength).includes(REFERENCE)
}

function customIdOf(run: string, submission: number, { ordinal, userId }: RowToSend): string {
  return customIdFor({ run, submission, ordinal, userId })
}

/** One element of a create's `requests`, exactly as it is sent. */
export function batchElement(
  run: string,
  submission: number,
  rendered: { row: RowToSend; request: MessageRequest },
): string {
  const customId = customIdOf(run, submission, rendered.row)
  return `{"custom_id":"${customId}","params":${JSON.stringify(rendered.request)}}`
}
