import { assert } from '../core/assert.ts'
import type { BatchBody } from './upstream.ts'

const OPEN = Buffer.from('{"requests":[')
const COMMA = Buffer.from(',')
const CLOSE = Buffer.from(']}')
/** Elements are gathered into writes of about this size: a write of its own for each is slow. */
const WRITE_BYTES = 64 * 1024

/** How far a body has come: which of the two it was decides whether a create that failed can have been accepted. */
export interface BodyProgress {
  /** True once the last bytes were handed over: before that, no receiver has seen a whole body. */
  complete: boolean
  /** Why the elements could not be read on; null while they could. */
  failure: { readonly error: unknown } | null
}

/** The bytes of a create, `{"requests":[…]}`, in writes of a good size; an element is copied at most once. */
export async function* batchBytes(body: BatchBody, progress: BodyProgress): AsyncGenerator<Uint8Array> {
  try {
    let sentBytes = 0
    let rows = 0
    let pieces: Uint8Array[] = [OPEN]
    let piecesBytes = OPEN.length
    for await (const element of body.elements()) {
      if (rows > 0) {
        pieces.push(COMMA)
        piecesBytes += COMMA.length
      }
      pieces.push(element)
      piecesBytes += element.length
      rows += 1
      if (piecesBytes < WRITE_BYTES) continue
      yield Buffer.concat(pieces, piecesBytes)
      sentBytes += piecesBytes
      pieces = []
      piecesBytes = 0
    }
    pieces.push(CLOSE)
    piecesBytes += CLOSE.length
    assert(rows === body.rows, 'a batch body has as many elements as it says')
    assert(sentBytes + piecesBytes === body.sizeBytes, 'a batch body counts its bytes exactly')
    progress.complete = true
    yield Buffer.concat(pieces, piecesBytes)
  } catch (error) {
    progress.failure = { error }
    throw error
  }
}
