import { createHash } from 'node:crypto'
import { isObject, type Json } from '../core/json.ts'
import type { CountText, SizeOfPdf } from '../core/token-estimate.ts'

/** PDFs whose sizes are remembered: a job asks many questions of few documents. */
const PDFS_REMEMBERED = 1_000

/** Pages and text of base64 PDFs, which can only be had by waiting: look into a request first, then count it. */
export interface PdfSizes {
  readonly sizeOf: SizeOfPdf
  /** Reads every base64 PDF of a request's messages that was not read lately. One that is damaged stays unknown. */
  lookInto(request: Json): Promise<void>
}

export function pdfSizes(count: CountText): PdfSizes {
  const sizes = new Map<string, ReturnType<SizeOfPdf>>()
  return {
    sizeOf: (base64) => sizes.get(digestOf(base64)) ?? null,
    async lookInto(request) {
      for (const data of base64Pdfs(request)) {
        const digest = digestOf(data)
        if (sizes.has(digest)) continue
        if (sizes.size >= PDFS_REMEMBERED) sizes.delete(sizes.keys().next().value!)
        sizes.set(digest, await readPdf(Buffer.from(data, 'base64'), count))
      }
    },
  }
}

async function readPdf(bytes: Uint8Array, count: CountText): Promise<ReturnType<SizeOfPdf>> {
  const { extractText, getDocumentProxy } = await import('unpdf')
  try {
    const document = await getDocumentProxy(new Uint8Array(bytes), { verbosity: 0 })
    try {
      const { totalPages, text } = await extractText(document, { mergePages: true })
      return { pages: totalPages, textTokens: count(text) }
    } finally {
      await document.loadingTask.destroy()
    }
  } catch {
    // Damaged or locked: it is counted as a document that nobody has looked into.
    return null
  }
}

function* base64Pdfs(value: Json | undefined): Generator<string> {
  if (Array.isArray(value)) {
    for (const item of value) yield* base64Pdfs(item)
  } else if (isObject(value)) {
    const { source } = value
    if (value['type'] === 'document' && isObject(source) && typeof source['data'] === 'string') {
      if (source['type'] === 'base64') yield source['data']
    } else {
      yield* base64Pdfs(value['messages'] ?? value['content'])
    }
  }
}

function digestOf(base64: string): string {
  return createHash('sha256').update(base64).digest('base64')
}
