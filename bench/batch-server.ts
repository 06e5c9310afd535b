import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

// The other side of `bench runs`, in a process of its own: takes batches as fast as they come, remembers their custom_ids,
// says that they have ended, and serves a succeeded line for each row in an order that is not theirs. Started by main.ts,
// which gets its port over IPC; ends with its parent.

interface Batch {
  readonly id: string
  readonly customIds: string[]
  readonly createdAt: string
}

const batches: Batch[] = []
/** What a create's answer says of the first poll. */
const retryAfterSeconds = process.argv[2] ?? '0'
let requests = 0
let firstRequestAt: number | null = null

const ANSWER = 'The ticket is about a lamp that blinks three times. '.repeat(6)
const KEY = Buffer.from('"custom_id":"')

const server = createServer((request, response) => {
  if (request.url === '/bench') {
    response.end(JSON.stringify({ requests, firstRequestAt, batches: batches.length }))
    requests = 0
    firstRequestAt = null
    return
  }
  requests += 1
  firstRequestAt ??= Date.now()
  serve(request, response).catch((error: unknown) => response.destroy(error as Error))
})
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
process.on('disconnect', () => process.exit())

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url!, `http://${request.headers.host}`)
  const [, id, action] = /^\/v1\/messages\/batches(?:\/([^/]+))?(?:\/(.+))?$/.exec(url.pathname) ?? []
  const origin = url.origin
  if (request.method === 'POST' && id === undefined) {
    const batch = { id: `msgbatch_${batches.length + 1}`, customIds: await idsIn(request), createdAt: now() }
    batches.push(batch)
    return json(response, view(batch, origin, false), retryAfterSeconds)
  }
  if (id === undefined) {
    const limit = Number(url.searchParams.get('limit') ?? 20)
    const after = url.searchParams.get('after_id')
    const newestFirst = batches.toReversed()
    const start = after === null ? 0 : newestFirst.findIndex((batch) => batch.id === after) + 1
    const page = newestFirst.slice(start, start + limit)
    return json(response, {
      data: page.map((batch) => view(batch, origin, true)),
      has_more: start + limit < newestFirst.length,
      first_id: page[0]?.id ?? null,
      last_id: page.at(-1)?.id ?? null,
    })
  }
  const batch = batches.find((one) => one.id === id)!
  if (action === 'results') return results(batch, response)
  json(response, view(batch, origin, true))
}

/** Without parsing: what stands between the quotes behind each key. */
async function idsIn(request: IncomingMessage): Promise<string[]> {
  const ids: string[] = []
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of request as AsyncIterable<Buffer>) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let from = 0
    for (let at = bytes.indexOf(KEY); at !== -1; at = bytes.indexOf(KEY, from)) {
      const end = bytes.indexOf(0x22, at + KEY.length)
      if (end === -1) break
      ids.push(bytes.toString('latin1', at + KEY.length, end))
      from = end
    }
    rest = bytes.subarray(Math.max(from, bytes.length - 128))
  }
  return ids
}

function view(batch: Batch, origin: string, isEnded: boolean) {
  const rows = batch.customIds.length
  const counts = { processing: isEnded ? 0 : rows, succeeded: isEnded ? rows : 0 }
  return {
    id: batch.id,
    type: 'message_batch',
    processing_status: isEnded ? 'ended' : 'in_progress',
    request_counts: { ...counts, errored: 0, canceled: 0, expired: 0 },
    created_at: batch.createdAt,
    expires_at: new Date(Date.parse(batch.createdAt) + 86_400_000).toISOString(),
    ended_at: isEnded ? batch.createdAt : null,
    cancel_initiated_at: null,
    archived_at: null,
    results_url: isEnded ? `${origin}/v1/messages/batches/${batch.id}/results` : null,
  }
}

async function results({ customIds }: Batch, response: ServerResponse): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/x-jsonl' })
  let step = Math.max(1, Math.floor(customIds.length * 0.618))
  while (divisor(step, customIds.length) !== 1) step += 1
  let lines = ''
  for (let i = 0, row = 0; i < customIds.length; i++, row = (row + step) % customIds.length) {
    lines += line(customIds[row]!, row)
    if (lines.length < 64 * 1024) continue
    if (!response.write(lines)) await new Promise((resolve) => response.once('drain', resolve))
    lines = ''
  }
  response.end(lines)
}

function divisor(one: number, other: number): number {
  return other === 0 ? one : divisor(other, one % other)
}

function line(customId: string, row: number): string {
  return `{"custom_id":"${customId}","result":{"type":"succeeded","message":{"id":"msg_01${row}","type":"message","role":"assistant","model":"claude-haiku-4-5-20251001","content":[{"type":"text","text":"${ANSWER}"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":${500 + (row % 50)},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":${60 + (row % 9)},"service_tier":"batch","inference_geo":"not_available"}}}}\n`
}

function json(response: ServerResponse, body: object, retryAfter: string | null = null): void {
  response.writeHead(200, {
    'content-type': 'application/json',
    'anthropic-organization-id': 'org_bench',
    'anthropic-workspace-id': 'wrkspc_bench',
    'request-id': `req_${requests}`,
    ...(retryAfter === null ? {} : { 'retry-after': retryAfter }),
  })
  response.end(JSON.stringify(body))
}

function now(): string {
  return new Date().toISOString()
}
