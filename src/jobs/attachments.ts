import { readFile, stat } from 'node:fs/promises'
import { basename, extname } from 'node:path'
import { type AttachmentSource, base64Length } from '../core/attachment.ts'
import { sha256Hex } from '../core/digest.ts'
import { type Problem, problem, TitheError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import type { ApiRules } from '../core/models.ts'
import { unreadable } from './text-file.ts'

/** A file as a content block whose source is an `AttachmentSource`, or why it cannot be one. */
export type Attachment =
  | { readonly kind: 'block'; readonly block: JsonObject; readonly sha256: string }
  | { readonly kind: 'problem'; readonly problem: Problem }

/** Reads every file once, as long as path, time and size stay the same; equal paths give the same block object. */
export class Attachments {
  readonly #rules: ApiRules
  readonly #countText: (text: string) => number
  readonly #known = new Map<string, { readonly stamp: string; readonly attachment: Attachment }>()

  /** @param countText counts the tokens of a PDF's text; the jobs folder knows no tokenizer. */
  constructor(rules: ApiRules, countText: (text: string) => number) {
    this.#rules = rules
    this.#countText = countText
  }

  /** @param path absolute. */
  async describe(path: string): Promise<Attachment> {
    let stamp: string
    try {
      const stats = await stat(path)
      if (stats.isDirectory()) throw Object.assign(new Error('is a directory'), { code: 'EISDIR' })
      stamp = `${stats.mtimeMs} ${stats.size}`
    } catch (cause) {
      return failed(
        unreadable(path, cause).code,
        path,
        cannotRead(path, cause),
        'paths are relative to the job file',
      )
    }
    const known = this.#known.get(path)
    if (known?.stamp === stamp) return known.attachment
    const attachment = await this.#read(path)
    this.#known.set(path, { stamp, attachment })
    return attachment
  }

  async #read(path: string): Promise<Attachment> {
    let bytes: Buffer
    try {
      bytes = await readFile(path)
    } catch (cause) {
      return failed('file_unreadable', path, cannotRead(path, cause), 'check that you may read it')
    }
    if (bytes.length === 0)
      return failed('bad_attachment', path, `${path} is empty`, 'leave it out, or mend it')
    const found = detectType(bytes)
    if (found === null || found.mediaType === null) {
      const kind = found?.name ?? 'none of the kinds the API reads'
      const hint = 'the API takes PNG, JPEG, GIF, WebP and PDF: convert it, or put its text in the prompt'
      return failed('unsupported_attachment', path, `${path} is ${found ? `a ${kind} file` : kind}`, hint)
    }
    const named = NAMES[extname(path).toLowerCase()]
    if (named !== undefined && named !== found.name) {
      const hint = `rename it to ${basename(path, extname(path))}${EXTENSIONS[found.name] ?? ''}, or save it as ${named}`
      return failed(
        'mislabelled_attachment',
        path,
        `${path} is named as ${named} but holds ${found.name}`,
        hint,
      )
    }
    const source = {
      type: 'tithe_attachment' as const,
      path,
      sha256: sha256Hex(bytes),
      media_type: found.mediaType,
      size_bytes: bytes.length,
    }
    return found.name === 'PDF' ? this.#pdf(bytes, source) : this.#image(bytes, source, found.name)
  }

  async #image(bytes: Uint8Array, source: AttachmentSource, name: string): Promise<Attachment> {
    const { path } = source
    const { imageBytesMax, imageSideMax } = this.#rules
    const encodedBytes = base64Length(source.size_bytes)
    if (encodedBytes > imageBytesMax) {
      const message = `${path} is too large: ${encodedBytes} bytes in base64, at most ${imageBytesMax}`
      return failed(
        'oversized_attachment',
        path,
        message,
        'scale the image down; larger ones are scaled down anyway',
      )
    }
    const { imageSize } = await import('image-size')
    let size: { width: number; height: number }
    try {
      size = imageSize(bytes)
    } catch {
      return failed(
        'bad_attachment',
        path,
        `${path} is a damaged ${name} file: it has no readable size`,
        MEND,
      )
    }
    const { width, height } = size
    if (Math.max(width, height) > imageSideMax) {
      const message = `${path} is too large: ${width} × ${height} pixels, at most ${imageSideMax} a side`
      return failed(
        'oversized_attachment',
        path,
        message,
        'scale the image down; larger ones are scaled down anyway',
      )
    }
    return block('image', { ...source, width, height })
  }

  async #pdf(bytes: Uint8Array, source: AttachmentSource): Promise<Attachment> {
    const { path } = source
    const encodedBytes = base64Length(source.size_bytes)
    if (encodedBytes > this.#rules.messageBytesMax) {
      const message = `${path} is too large: ${encodedBytes} bytes in base64, a request holds ${this.#rules.messageBytesMax}`
      return failed('oversized_attachment', path, message, 'split the PDF, or scale the images in it down')
    }
    const { extractText, getDocumentProxy } = await import('unpdf')
    try {
      // pdf.js keeps the buffer that it is given.
      const document = await getDocumentProxy(new Uint8Array(bytes), { verbosity: 0 })
      try {
        const { totalPages, text } = await extractText(document, { mergePages: true })
        return block('document', { ...source, pages: totalPages, text_tokens: this.#countText(text) })
      } finally {
        await document.loadingTask.destroy()
      }
    } catch (cause) {
      if ((cause as Error).name === 'PasswordException') {
        const hint = 'the API cannot open it either: save it without its password'
        return failed('encrypted_attachment', path, `${path} is protected by a password`, hint)
      }
      return failed('bad_attachment', path, `${path} is a damaged PDF file`, MEND)
    }
  }
}

const MEND = 'open it to see whether it is whole, and save it again'

/**
 * The bytes of an attachment, for sending.
 * @throws TitheError `attachment_changed` when they are not what they were when the row was rendered, or are gone.
 */
export async function readAttachment(source: AttachmentSource): Promise<Uint8Array> {
  const { path } = source
  let bytes: Buffer
  try {
    bytes = await readFile(path)
  } catch (cause) {
    throw changed(path, `${cannotRead(path, cause)}; it was there when the run began`, cause)
  }
  if (sha256Hex(bytes) !== source.sha256) throw changed(path, `${path} has changed since the run began`, null)
  return bytes
}

function changed(path: string, message: string, cause: unknown): TitheError {
  return new TitheError('attachment_changed', message, {
    hint: 'its row is left out; put the file back as it was, or run the job again with --again',
    where: { file: path },
    cause,
  })
}

function cannotRead(path: string, cause: unknown): string {
  return unreadable(path, cause).message
}

function block(type: 'image' | 'document', source: AttachmentSource): Attachment {
  return { kind: 'block', block: { type, source: { ...source } }, sha256: source.sha256 }
}

function failed(code: string, path: string, message: string, hint: string): Attachment {
  return { kind: 'problem', problem: problem(code, message, { hint, where: { file: path } }) }
}

const NAMES: Readonly<Record<string, string>> = {
  '.png': 'PNG',
  '.jpg': 'JPEG',
  '.jpeg': 'JPEG',
  '.gif': 'GIF',
  '.webp': 'WebP',
  '.pdf': 'PDF',
}

const EXTENSIONS: Readonly<Record<string, string>> = {
  PNG: '.png',
  JPEG: '.jpg',
  GIF: '.gif',
  WebP: '.webp',
  PDF: '.pdf',
}

/** What the first bytes say; `mediaType` is null for kinds that we know and the API does not take. */
function detectType(bytes: Uint8Array): { readonly name: string; readonly mediaType: string | null } | null {
  const head = Buffer.from(bytes.subarray(0, 1024)).toString('latin1')
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return { name: 'PNG', mediaType: 'image/png' }
  if (head.startsWith('\xff\xd8\xff')) return { name: 'JPEG', mediaType: 'image/jpeg' }
  if (head.startsWith('GIF87a') || head.startsWith('GIF89a')) return { name: 'GIF', mediaType: 'image/gif' }
  if (head.startsWith('RIFF') && head.slice(8, 12) === 'WEBP')
    return { name: 'WebP', mediaType: 'image/webp' }
  // Readers accept a PDF whose header begins within the first 1024 bytes.
  if (head.includes('%PDF-')) return { name: 'PDF', mediaType: 'application/pdf' }
  if (head.startsWith('II*\0') || head.startsWith('MM\0*')) return { name: 'TIFF', mediaType: null }
  if (head.startsWith('BM')) return { name: 'BMP', mediaType: null }
  if (/^....ftyp(heic|heix|mif1|msf1)/s.test(head)) return { name: 'HEIC', mediaType: null }
  if (/^....ftypavif/s.test(head)) return { name: 'AVIF', mediaType: null }
  if (/^\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg/s.test(head)) return { name: 'SVG', mediaType: null }
  if (head.startsWith('PK\x03\x04')) return { name: 'ZIP or Office', mediaType: null }
  return null
}
