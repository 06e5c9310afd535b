import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { TitheError } from '../core/errors.ts'

/** Small enough for the young heap: a longer text would outlive its lines, in the old one. */
const CHUNK_BYTES = 1 << 16

/** The bytes of a file in order. @throws TitheError `file_unreadable`. */
export async function* readBytes(path: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) yield chunk as Buffer
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

export function unreadable(path: string, cause: unknown): TitheError {
  const code = (cause as NodeJS.ErrnoException).code
  if (code === 'ENOENT') {
    return new TitheError('file_missing', `there is no file ${path}`, {
      hint: 'check the path; paths in a job are relative to the job file',
      where: { file: path },
      cause,
    })
  }
  if (code === 'EISDIR') {
    return new TitheError('file_is_directory', `${path} is a directory`, {
      hint: `to use its files as rows, write a pattern such as ${path}/*.pdf`,
      where: { file: path },
      cause,
    })
  }
  return new TitheError('file_unreadable', `${path} cannot be read (${code ?? 'unknown error'})`, {
    hint: 'check that the file exists and that you may read it',
    where: { file: path },
    cause,
  })
}

/**
 * The text of a UTF-8 file in chunks, without its byte order mark.
 * @throws TitheError `not_utf8` with line and byte: replacing what is unreadable would silently change the prompts.
 */
export async function* readText(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let first = true
  for await (const bytes of readBytes(path)) {
    if (first) refuseUtf16(path, bytes)
    first = false
    const text = await decode(path, () => decoder.decode(bytes, { stream: true }))
    if (text !== '') yield text
  }
  const rest = await decode(path, () => decoder.decode())
  if (rest !== '') yield rest
}

/** The whole text of a file that is not proportional to the rows: a handbook, a prompt, a schema. */
export async function readWholeText(path: string): Promise<string> {
  const parts: string[] = []
  for await (const part of readText(path)) parts.push(part)
  return parts.join('')
}

async function decode(path: string, step: () => string): Promise<string> {
  try {
    return step()
  } catch (cause) {
    const at = await firstInvalidByte(path)
    throw new TitheError(
      'not_utf8',
      `${path} is not UTF-8: line ${at.line}, byte ${at.offset} (0x${at.byte.toString(16).padStart(2, '0')})`,
      {
        hint: `convert it first, for example: iconv -f WINDOWS-1252 -t UTF-8 ${path}`,
        where: { file: path, line: at.line },
        cause,
      },
    )
  }
}

function refuseUtf16(path: string, bytes: Uint8Array): void {
  const mark = `${bytes[0]},${bytes[1]}`
  const marked = mark === '255,254' || mark === '254,255'
  // A text file has no NUL; UTF-16 without a mark has one in every other byte.
  if (!marked && !bytes.subarray(0, 4096).includes(0)) return
  throw new TitheError(
    'not_utf8',
    `${path} is ${marked ? 'UTF-16' : 'UTF-16 or binary'}, not UTF-8: line 1, byte 0`,
    {
      hint: `convert it first, for example: iconv -f UTF-16 -t UTF-8 ${path}`,
      where: { file: path, line: 1 },
    },
  )
}

/** Reads the file again to find what the decoder, which does not say, stumbled over (RFC 3629, table of 3-7). */
async function firstInvalidByte(path: string): Promise<{ line: number; offset: number; byte: number }> {
  let line = 1
  let offset = 0
  let needed = 0
  let low = 0x80
  let high = 0xbf
  let start = { line: 1, offset: 0, byte: 0 }
  for await (const bytes of readBytes(path)) {
    for (const byte of bytes) {
      if (needed > 0) {
        if (byte < low || byte > high) return start
        needed -= 1
        low = 0x80
        high = 0xbf
      } else if (byte >= 0x80) {
        start = { line, offset, byte }
        if (byte < 0xc2 || byte > 0xf4) return start
        needed = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3
        if (byte === 0xe0) low = 0xa0
        if (byte === 0xed) high = 0x9f
        if (byte === 0xf0) low = 0x90
        if (byte === 0xf4) high = 0x8f
      } else if (byte === 0x0a) {
        line += 1
      }
      offset += 1
    }
  }
  return start
}

/** The size of a file in bytes. @throws TitheError `file_missing`, `file_is_directory`, `file_unreadable`. */
export async function fileSize(path: string): Promise<number> {
  try {
    await using file = await open(path, 'r')
    const stats = await file.stat()
    if (stats.isDirectory()) throw Object.assign(new Error('is a directory'), { code: 'EISDIR' })
    return stats.size
  } catch (cause) {
    throw unreadable(path, cause)
  }
}
