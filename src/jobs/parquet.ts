import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib'
import {
  asyncBufferFromFile,
  type Compressors,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from 'hyparquet'
import { TitheError } from '../core/errors.ts'
import { DAY_MS } from '../core/instant.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { RecordSource } from './record-source.ts'
import { fileSize, readBytes } from './text-file.ts'

const SLICE_ROWS = 10_000
/** A slice reads its row group's bytes again (pages outside it are skipped, not decoded): not more often than this. */
const SLICES_PER_GROUP_MAX = 8

const COMPRESSORS: Compressors = {
  GZIP: (bytes) => gunzipSync(bytes),
  BROTLI: (bytes) => brotliDecompressSync(bytes),
  ZSTD: (bytes) => zstdDecompressSync(bytes),
}

/** A Parquet file, read in slices of its row groups. Dates become RFC 3339, integers past 2⁵³ decimal strings. */
export async function openParquet(path: string, description: string): Promise<RecordSource> {
  await fileSize(path)
  const file = await asyncBufferFromFile(path)
  const metadata = await explained(path, () => parquetMetadataAsync(file))
  return {
    description,
    file: path,
    columns: parquetSchema(metadata).children.map((child) => child.element.name),
    bulky: [],
    async *records() {
      let groupStart = 0
      for (const group of metadata.row_groups) {
        const groupEnd = groupStart + Number(group.num_rows)
        const sliceRows = Math.max(SLICE_ROWS, Math.ceil((groupEnd - groupStart) / SLICES_PER_GROUP_MAX))
        for (let rowStart = groupStart; rowStart < groupEnd; rowStart += sliceRows) {
          const rowEnd = Math.min(groupEnd, rowStart + sliceRows)
          const rows = await explained(path, () =>
            parquetReadObjects({
              file,
              metadata,
              rowStart,
              rowEnd,
              compressors: COMPRESSORS,
              parsers: PARSERS,
              geoparquet: false,
              useOffsetIndex: true,
            }),
          )
          for (const [index, row] of rows.entries()) {
            yield { kind: 'record', line: rowStart + index + 1, columns: plainObject(row), ownId: null }
          }
        }
        groupStart = groupEnd
      }
    },
    contents: () => readBytes(path),
  }
}

const PARSERS = {
  dateFromDays: (days: number) => new Date(days * DAY_MS).toISOString().slice(0, 10),
}

async function explained<T>(path: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (cause) {
    throw new TitheError('bad_parquet', `${path} cannot be read as Parquet: ${(cause as Error).message}`, {
      hint: 'compressions read here: none, Snappy, gzip, Brotli, Zstandard; write the file again with one of them',
      where: { file: path },
      cause,
    })
  }
}

function plainObject(value: object): JsonObject {
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plainValue(item)]))
}

/** What a Parquet value is in JSON. Bytes become base64; what JSON cannot say (NaN, infinity) becomes null. */
function plainValue(value: unknown): Json {
  if (value === null || value === undefined) return null
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString()
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (typeof value === 'string' || typeof value === 'boolean') return value
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<unknown>, plainValue)
  if (Array.isArray(value)) return value.map(plainValue)
  return plainObject(value as object)
}
