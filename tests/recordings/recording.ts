import { readFile } from 'node:fs/promises'
import { gunzipSync } from 'node:zlib'
import { parseDuration } from '../../src/core/instant.ts'
import { isObject, type JsonObject } from '../../src/core/json.ts'
import { type Catalogue, findModel, type Model } from '../../src/core/models.ts'

/** One recorded exchange: a request as it was sent and the usage that came back. Every other field may be missing. */
export interface Recording {
  /** 1-based line in its file. */
  readonly line: number
  /** Names one recording session; rows without one belong to their file's path. */
  readonly cassette: string
  /** Order inside the session; the line where it is missing. */
  readonly index: number
  readonly request: JsonObject
  readonly usage: JsonObject
  /** As a family where the row says so (`claude-sonnet-4-6`): providers have their own spellings. */
  readonly model: string
  /** Milliseconds; when the answer arrived. Null when nobody wrote it down. */
  readonly answeredAtMs: number | null
  /** Milliseconds from sending to the answer; null when unknown. */
  readonly durationMs: number | null
  readonly betas: readonly string[]
  /** For people: repository and path. */
  readonly origin: string
  readonly row: JsonObject
}

/**
 * Reads `.jsonl` or `.jsonl.gz`; rows without a request or usage, and refused ones, are passed over. Whole, as the judges
 * hold all recordings anyway.
 */
export async function readRecordings(path: string): Promise<Recording[]> {
  const file = await readFile(path)
  const text = path.endsWith('.gz') ? gunzipSync(file) : file
  const recordings: Recording[] = []
  for (let from = 0, line = 1; from < text.length; line++) {
    const end = text.indexOf(0x0a, from)
    const until = end === -1 ? text.length : end
    const recording = parseRecording(parseLine(text.toString('utf8', from, until), path, line), line)
    if (recording !== null) recordings.push(recording)
    from = until + 1
  }
  return recordings
}

function parseLine(text: string, path: string, line: number): unknown {
  if (text.trim() === '') return null
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Error(`${path}:${line}: not JSON`, { cause })
  }
}

export function parseRecording(row: unknown, line: number): Recording | null {
  if (!isObject(row) || !isObject(row['request']) || !isObject(row['usage'])) return null
  if (typeof row['status'] === 'number' && row['status'] !== 200) return null
  const { request, usage } = row
  const origin = [row['repo'], row['path']].filter((part) => typeof part === 'string').join(' ')
  const answeredAtMs = typeof row['date'] === 'string' ? Date.parse(row['date']) : Number.NaN
  const model = [row['family'], row['model'], request['model'], row['resp_model']].find(
    (name) => typeof name === 'string' && name !== '',
  )
  return {
    line,
    cassette: typeof row['cassette'] === 'string' ? row['cassette'] : origin,
    index: typeof row['index'] === 'number' ? row['index'] : line,
    request,
    usage,
    model: typeof model === 'string' ? model : 'unknown',
    answeredAtMs: Number.isNaN(answeredAtMs) ? null : answeredAtMs,
    durationMs: parseDurationMs(row['duration']),
    betas: betasOf(row['beta'] ?? request['anthropic_beta']),
    origin,
    row,
  }
}

/** Null for a model that is not in the catalogue. Providers have their own spellings of the same ids. */
export function modelOf(recording: Recording, catalogue: Catalogue): Model | null {
  const { row, model } = recording
  for (const name of [row['resp_model'], row['model'], model]) {
    if (typeof name !== 'string') continue
    const plain = name.replace(/^.*anthropic\./, '').replace(/-v\d+((:|%3A)\d+)?$/, '')
    const found = findModel(catalogue, name) ?? findModel(catalogue, plain.replace('@', '-'))
    if (found) return found
  }
  return null
}

/** As a header, or as the list that Bedrock and Vertex take in the body. */
function betasOf(betas: unknown): readonly string[] {
  const names = typeof betas === 'string' ? betas.split(',') : Array.isArray(betas) ? betas.map(String) : []
  return names.map((name) => name.trim()).toSorted()
}

/** `1.838s`, `530ms`, or a number of milliseconds. */
function parseDurationMs(duration: unknown): number | null {
  if (typeof duration === 'number') return duration
  return typeof duration === 'string' ? parseDuration(duration) : null
}

/** Sessions in the order of their first row, each in its own order. */
export function sessionsOf(recordings: readonly Recording[]): Recording[][] {
  const sessions = new Map<string, Recording[]>()
  for (const recording of recordings) {
    const session = sessions.get(recording.cassette)
    if (session) session.push(recording)
    else sessions.set(recording.cassette, [recording])
  }
  return [...sessions.values()].map((session) => session.toSorted((a, b) => a.index - b.index))
}
