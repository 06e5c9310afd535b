import { isObject, type JsonObject } from './json.ts'

/** An attachment in a stored request: where its bytes are and what they were when the row was rendered. */
export interface AttachmentSource {
  readonly type: 'tithe_attachment'
  /** Absolute. */
  readonly path: string
  /** Hexadecimal digest of the file when it was rendered; a different one at sending makes the row `invalid`. */
  readonly sha256: string
  readonly media_type: string
  /** Of the file; its base64 is `4 * ceil(size_bytes / 3)` characters. */
  readonly size_bytes: number
  /** Pixels, for images. */
  readonly width?: number
  readonly height?: number
  /** For PDFs. */
  readonly pages?: number
  /** For PDFs: the extractable text of all pages, counted as any text is (core/token-estimate.ts, `CountText`). */
  readonly text_tokens?: number
}

export function isAttachmentSource(value: unknown): value is AttachmentSource & JsonObject {
  return isObject(value) && value['type'] === 'tithe_attachment'
}

export function base64Length(sizeBytes: number): number {
  return 4 * Math.ceil(sizeBytes / 3)
}

/** The source as it is sent. */
export function base64Source(source: AttachmentSource, bytes: Uint8Array): JsonObject {
  return { type: 'base64', media_type: source.media_type, data: Buffer.from(bytes).toString('base64') }
}

/** Bytes by which the JSON of a request grows when the source stands in it as base64. */
export function growthWhenSent(source: AttachmentSource): number {
  const empty = JSON.stringify(base64Source(source, new Uint8Array()))
  const stored = JSON.stringify(source)
  return Buffer.byteLength(empty) + base64Length(source.size_bytes) - Buffer.byteLength(stored)
}
