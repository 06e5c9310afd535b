import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { assert } from '../core/assert.ts'
import { TitheError } from '../core/errors.ts'
import type { BodyRef, BodyStore } from './store.ts'
import { storeError } from './store-error.ts'

const FILE_BYTES_MAX = 1024 ** 3
const BUFFER_BYTES = 1024 ** 2
/** Well below the usual limit of 1,024 open files a process. */
const READERS_MAX = 64

const syncData = promisify(fdatasync)

/**
 * Body files `<dir>/<n>.body`. Every opener appends to files that it created itself (the number is won with O_EXCL), so
 * processes that share a home need no lock. What a killed writer left past its last committed place is never referred
 * to. Writes are buffered; calls of the file system are synchronous, for they meet the page cache, but `sync` is not: it
 * waits for the disk.
 */
export function openBodyFiles(options: { dir: string; fileBytesMax?: number }): BodyStore {
  return new BodyFiles(options.dir, options.fileBytesMax ?? FILE_BYTES_MAX)
}

interface Writer {
  readonly file: number
  readonly fd: number
  readonly path: string
  readonly buffer: Uint8Array
  /** Bytes of `buffer` that are in use, and where in the file they will stand. */
  buffered: number
  written: number
}

class BodyFiles implements BodyStore {
  readonly #dir: string
  readonly #fileBytesMax: number
  #writer: Writer | null = null
  /** Writers with bytes that the disk may not have; full ones are closed by the next sync. */
  readonly #unsynced = new Set<Writer>()
  /** Files open for reading, the longest open first. */
  readonly #readers = new Map<number, number>()
  #syncing: Promise<void> = Promise.resolve()
  #closed = false

  constructor(dir: string, fileBytesMax: number) {
    this.#dir = dir
    this.#fileBytesMax = fileBytesMax
  }

  async append(bytes: Uint8Array): Promise<BodyRef> {
    assert(!this.#closed, 'nothing is appended after close')
    const writer = this.#writerFor(bytes.length)
    const ref = { file: writer.file, offset: writer.written + writer.buffered, length: bytes.length }
    // Room is made before anything is taken: when the disk is full, the buffer is as it was and the place is free.
    if (writer.buffered + bytes.length > BUFFER_BYTES) this.#flush(writer)
    if (bytes.length > BUFFER_BYTES) {
      writer.written += this.#write(writer, bytes)
    } else {
      writer.buffer.set(bytes, writer.buffered)
      writer.buffered += bytes.length
    }
    this.#unsynced.add(writer)
    return ref
  }

  async readAll(refs: readonly BodyRef[]): Promise<{ bodies: Uint8Array[]; release(): void }> {
    const bodies = new Array<Uint8Array>(refs.length)
    const read: Uint8Array[] = []
    for (const span of spansOf(refs)) {
      const bytes = await this.read(span.ref)
      read.push(bytes)
      for (const index of span.members) {
        const { offset, length } = refs[index]!
        const start = offset - span.ref.offset
        bodies[index] = bytes.subarray(start, start + length)
      }
    }
    const release = () => {
      for (const { buffer } of read) (buffer as ArrayBuffer).transfer(0)
    }
    return { bodies, release }
  }

  async read(ref: BodyRef): Promise<Uint8Array> {
    const writer = this.#writer
    if (writer !== null && ref.file === writer.file && ref.offset + ref.length > writer.written)
      this.#flush(writer)
    const path = this.#path(ref.file)
    const bytes = new Uint8Array(ref.length)
    let length = 0
    try {
      const fd = this.#reader(ref.file)
      while (length < ref.length) {
        const read = readSync(fd, bytes, length, ref.length - length, ref.offset + length)
        if (read === 0) break
        length += read
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw storeError(error, path)
    }
    if (length < ref.length) {
      throw new TitheError(
        'store_corrupt',
        `${path}: ${length} of ${ref.length} bytes can be read at offset ${ref.offset}: the file was cut or removed`,
        {
          hint: 'Put back the whole folder from one copy: tithe.sqlite and bodies belong together.',
          where: { file: path },
          exitCode: 3,
        },
      )
    }
    return bytes
  }

  async extents(): Promise<BodyRef[]> {
    try {
      const files = readdirSync(this.#dir).flatMap((name) => {
        const [, file] = /^(\d+)\.body$/.exec(name) ?? []
        return file === undefined ? [] : [Number(file)]
      })
      return files
        .sort((a, b) => a - b)
        .map((file) => ({ file, offset: 0, length: statSync(this.#path(file)).size }))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw storeError(error, this.#dir)
    }
  }

  async keepOnly(extents: readonly BodyRef[], kept: readonly BodyRef[]): Promise<void> {
    for (const extent of extents) {
      const path = this.#path(extent.file)
      const own = kept.filter((range) => range.file === extent.file)
      try {
        if (own.length === 0) rmSync(path, { force: true })
        else overwrite(path, gapsIn(extent, own))
      } catch (error) {
        throw storeError(error, path)
      }
    }
    if (extents.length > 0) syncDirectory(this.#dir)
  }

  /** One at a time: a caller whose bytes an earlier sync is just writing must wait for that one too. */
  sync(): Promise<void> {
    const turn = () => this.#syncAll()
    this.#syncing = this.#syncing.then(turn, turn)
    return this.#syncing
  }

  async #syncAll(): Promise<void> {
    if (this.#writer !== null) this.#flush(this.#writer)
    for (const writer of [...this.#unsynced]) {
      // Removed first: what is appended while the disk works is for the next sync.
      this.#unsynced.delete(writer)
      try {
        await syncData(writer.fd)
      } catch (error) {
        this.#unsynced.add(writer)
        throw storeError(error, writer.path)
      }
      if (writer !== this.#writer && !this.#unsynced.has(writer)) closeSync(writer.fd)
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    try {
      await this.sync()
    } finally {
      this.#closed = true
      for (const writer of this.#unsynced) if (writer !== this.#writer) closeSync(writer.fd)
      if (this.#writer !== null) closeSync(this.#writer.fd)
      for (const fd of this.#readers.values()) closeSync(fd)
    }
  }

  /** The file being written, or a new one when `length` more bytes would make it too long. */
  #writerFor(length: number): Writer {
    const writer = this.#writer
    if (writer !== null) {
      const end = writer.written + writer.buffered
      if (end === 0 || end + length <= this.#fileBytesMax) return writer
      this.#flush(writer)
      this.#unsynced.add(writer)
    }
    this.#writer = this.#create()
    return this.#writer
  }

  #create(): Writer {
    try {
      mkdirSync(this.#dir, { recursive: true, mode: 0o700 })
      let file = Math.max(
        0,
        ...readdirSync(this.#dir).map((name) => Number(/^(\d+)\.body$/.exec(name)?.[1] ?? 0)),
      )
      for (;;) {
        file++
        const path = this.#path(file)
        const fd = openExclusively(path)
        if (fd === null) continue
        syncDirectory(this.#dir)
        return { file, fd, path, buffer: new Uint8Array(BUFFER_BYTES), buffered: 0, written: 0 }
      }
    } catch (error) {
      throw storeError(error, this.#dir)
    }
  }

  #flush(writer: Writer): void {
    if (writer.buffered === 0) return
    writer.written += this.#write(writer, writer.buffer.subarray(0, writer.buffered))
    writer.buffered = 0
  }

  /** Always at the place after what is known to be written: after a failure midway the same bytes go there again. */
  #write(writer: Writer, bytes: Uint8Array): number {
    try {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(writer.fd, bytes, done, bytes.length - done, writer.written + done)
      }
      return bytes.length
    } catch (error) {
      throw storeError(error, writer.path)
    }
  }

  #reader(file: number): number {
    let fd = this.#readers.get(file)
    if (fd === undefined) {
      fd = openSync(this.#path(file), 'r')
      this.#readers.set(file, fd)
      if (this.#readers.size > READERS_MAX) {
        const [oldest, oldestFd] = this.#readers.entries().next().value!
        this.#readers.delete(oldest)
        closeSync(oldestFd)
      }
    }
    return fd
  }

  #path(file: number): string {
    return join(this.#dir, `${file}.body`)
  }
}

/** What lies between two bodies is read along when it is less than this: a call costs more than the bytes. */
const GAP_BYTES_MAX = 4_096
const SPAN_BYTES_MAX = 4 * 1024 * 1024

/** Stretches of files that hold all of these, each with the places in the list that lie in it. */
function spansOf(refs: readonly BodyRef[]): { ref: BodyRef; members: number[] }[] {
  const spans: { ref: BodyRef; members: number[] }[] = []
  const order = refs.map((_, index) => index).sort((a, b) => compareRefs(refs[a]!, refs[b]!))
  for (const index of order) {
    const ref = refs[index]!
    const last = spans.at(-1)
    const end = ref.offset + ref.length
    if (
      last !== undefined &&
      last.ref.file === ref.file &&
      ref.offset - (last.ref.offset + last.ref.length) <= GAP_BYTES_MAX &&
      end - last.ref.offset <= SPAN_BYTES_MAX
    ) {
      const length = Math.max(last.ref.length, end - last.ref.offset)
      last.ref = { ...last.ref, length }
      last.members.push(index)
    } else {
      spans.push({ ref, members: [index] })
    }
  }
  return spans
}

function compareRefs(a: BodyRef, b: BodyRef): number {
  return a.file - b.file || a.offset - b.offset
}

function openExclusively(path: string): number | null {
  try {
    return openSync(path, 'wx', 0o600)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return null
    throw error
  }
}

/** What of an extent lies between the ranges, which are of its file and in order. */
function gapsIn({ file, length }: BodyRef, ranges: readonly BodyRef[]): BodyRef[] {
  const gaps: BodyRef[] = []
  let from = 0
  for (const range of [...ranges, { offset: length, length: 0 }]) {
    if (range.offset > from) gaps.push({ file, offset: from, length: Math.min(range.offset, length) - from })
    from = Math.max(from, range.offset + range.length)
  }
  return gaps.filter((gap) => gap.length > 0)
}

function overwrite(path: string, gaps: readonly BodyRef[]): void {
  if (gaps.length === 0) return
  const zeros = new Uint8Array(BUFFER_BYTES)
  const fd = openSync(path, 'r+')
  try {
    for (const { offset, length } of gaps) {
      for (let done = 0; done < length; ) {
        done += writeSync(fd, zeros, 0, Math.min(zeros.length, length - done), offset + done)
      }
    }
    fdatasyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** A new file's name survives the loss of power only when its folder was synced too. */
function syncDirectory(dir: string): void {
  const fd = openSync(dir, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
