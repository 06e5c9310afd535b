import { serveBatches } from '../../batches/serve-batches.ts'
import { type Instant, instant } from '../../core/instant.ts'
import { isObject, type JsonObject } from '../../core/json.ts'
import { loadCatalogue } from '../../facts/load.ts'
import { seededIds } from '../../runtime/ids.ts'
import type { Clock } from '../../runtime/runtime.ts'
import { virtualClock } from '../../runtime/virtual.ts'
import type { BatchBody, CallContext } from '../upstream.ts'
import { positionsOf } from './cache.ts'
import {
  type LocalOptions,
  type LocalSettings,
  type LocalUpstream,
  openLocalUpstream,
} from './local-upstream.ts'

// The local upstream as the wiring composes it, with a crude token count, for tests.

export const START = instant(Date.parse('2026-11-22T12:00:00Z'))
export const SONNET = 'claude-sonnet-4-6'

export interface OpenedLocal {
  readonly local: LocalUpstream
  readonly clock: Clock
}

/** Seeds the ids, which must differ between two openings of one file. */
let opened = 0

export async function openForTest(
  options: { file?: string; start?: Instant; clock?: Clock; settings?: Partial<LocalSettings> } & Partial<
    Pick<LocalOptions, 'catalogue' | 'checkRequest'>
  > = {},
): Promise<OpenedLocal> {
  const clock = options.clock ?? virtualClock(options.start ?? START)
  const local = await openLocalUpstream({
    file: options.file ?? ':memory:',
    clock,
    ids: seededIds(++opened),
    catalogue: options.catalogue ?? loadCatalogue(),
    countTokens: countRoughly,
    checkRequest: options.checkRequest ?? (() => []),
    serveBatches,
    settings: { batchLatencyMs: [60_000], ...options.settings },
  })
  return { local, clock }
}

/** Four bytes a token, seven around them. */
function countRoughly(request: JsonObject): { perBlock: number[]; overheadTokens: number } {
  const perBlock = positionsOf(request).map(({ block }) => {
    const { cache_control: _, ...rest } = block
    return Math.ceil((typeof block['text'] === 'string' ? block['text'] : JSON.stringify(rest)).length / 4)
  })
  return { perBlock, overheadTokens: 7 }
}

export function contextOf(
  tier: CallContext['tier'] = 'batch',
  changes: Partial<CallContext> = {},
): CallContext {
  return {
    workspace: 'wrkspc_local',
    tier,
    apiVersion: '2023-06-01',
    betas: [],
    receivedAt: START,
    ...changes,
  }
}

/** A batch body of rows that are given as values, raw bytes or whole elements. */
export function bodyOf(elements: readonly (JsonObject | string)[]): BatchBody {
  const bytes = elements.map((element) =>
    Buffer.from(typeof element === 'string' ? element : JSON.stringify(element)),
  )
  return {
    rows: bytes.length,
    sizeBytes: bytes.reduce((sum, one) => sum + one.byteLength + 1, '{"requests":[]}'.length - 1),
    async *elements() {
      yield* bytes
    },
  }
}

export function rowOf(customId: string, params: JsonObject): JsonObject {
  return { custom_id: customId, params }
}

export function askOf(question: string, changes: JsonObject = {}): JsonObject {
  return { model: SONNET, max_tokens: 300, messages: [{ role: 'user', content: question }], ...changes }
}

/** Creates, waits on the clock until it has ended, and reads the results by custom_id. */
export async function runBatch(
  { local, clock }: OpenedLocal,
  elements: readonly (JsonObject | string)[],
  context: CallContext = contextOf(),
): Promise<{ id: string; results: Map<string, JsonObject>; lines: string[] }> {
  const created = await local.createBatch(bodyOf(elements), context)
  if (created.kind !== 'accepted') throw new Error(JSON.stringify(created))
  const { id } = created.batch
  await waitUntilEnded({ local, clock }, id)
  const lines = await linesOf(local, id)
  const results = new Map<string, JsonObject>()
  for (const line of lines) {
    const { custom_id: customId, result } = JSON.parse(line) as { custom_id: string; result: JsonObject }
    if (results.has(customId)) throw new Error(`${customId} came twice`)
    results.set(customId, result)
  }
  return { id, results, lines }
}

export async function waitUntilEnded({ local, clock }: OpenedLocal, id: string): Promise<void> {
  for (;;) {
    const found = await local.retrieveBatch(id)
    if (found === null) throw new Error(`${id} is not there`)
    if (found.batch.processing_status === 'ended') return
    await clock.sleepUntil(instant(clock.now() + 10_000))
  }
}

export async function linesOf(local: LocalUpstream, id: string): Promise<string[]> {
  const lines: string[] = []
  for await (const line of local.batchResults(id)) lines.push(Buffer.from(line).toString('utf8'))
  return lines
}

export function messageOf(result: JsonObject | undefined): JsonObject {
  if (!isObject(result) || !isObject(result['message']))
    throw new Error(`no message in ${JSON.stringify(result)}`)
  return result['message']
}

export function usageIn(result: JsonObject | undefined): JsonObject {
  return messageOf(result)['usage'] as JsonObject
}
