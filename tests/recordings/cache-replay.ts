import { CacheState, simulateRequest } from '../../src/core/cache-sim.ts'
import { type Instant, instant, plusMs, SECOND_MS } from '../../src/core/instant.ts'
import { isObject, type JsonObject } from '../../src/core/json.ts'
import { type Catalogue, minimumCacheableTokens } from '../../src/core/models.ts'
import { prefixHashes } from '../../src/core/prefix-hash.ts'
import { type Mark, marksOf, type PromptBlock, promptBlocks } from '../../src/core/prompt.ts'
import { promptTokens, type Usage } from '../../src/core/usage.ts'
import { modelOf, type Recording } from './recording.ts'

/**
 * Replays one recorded session through the cache rules. For request k the state of the cache and the sizes of prefixes
 * come from the usage of the requests before it, and of k itself only the total of its prompt is known.
 *
 * Sizes. A request tells the tokens up to its last mark exactly (read + written) and, when it wrote in both TTLs, up to
 * its last 1h mark. What stands after the last mark is known once it has been seen: some tokens that close the prompt,
 * and the unmarked blocks. A size never seen is estimated in proportion to bytes, and says so.
 */

/** Prompt tokens by class of billing. */
export interface Bill {
  readonly read: number
  readonly write_5m: number
  readonly write_1h: number
}

export interface Prediction {
  readonly bill: Bill
  /** False when the request has no mark: the cache is off. */
  readonly marked: boolean
  /** Some prefix of the request was written earlier in the session, whether or not it still lives or is in reach. */
  readonly writtenBefore: boolean
  /** Exact sizes, known before the request, of its own prefixes. */
  readonly knownSizes: ReadonlySet<number>
  readonly ranServerTool: boolean
  /** Whether a size that the figure rests on had never been seen. */
  readonly guessedRead: boolean
  readonly guessedWrite: boolean
}

/** What is known after a number of requests of one session. */
export class Replay {
  readonly #session: readonly Recording[]
  readonly #catalogue: Catalogue
  readonly #state = new CacheState()
  /** Prefixes written or read in this recording, whether or not they live. */
  readonly #written = new Set<string>()
  /** Cumulative tokens of prefixes, exact. */
  readonly #sizes = new Map<string, number>()
  /** Tokens from the last mark to the end of the prompt, by what stands there. */
  readonly #tails = new Map<string, number>()
  #serverToolEntries: ServerToolEntry[] = []
  #now = instant(0)

  constructor(session: readonly Recording[], catalogue: Catalogue) {
    this.#session = session
    this.#catalogue = catalogue
  }

  /** Predicts a request, then takes its recorded usage into the past. Requests come in the order of the session. */
  next(recording: Recording, usage: Usage): Prediction {
    const prompt = promptOf(recording, this.#catalogue)
    const arrival = this.#arrival(recording)
    this.#placeServerToolEntries(prompt, arrival.at)
    const prediction = this.#predict(recording, prompt, arrival, promptTokens(usage))
    this.#observe(recording, prompt, arrival, prediction, usage)
    return prediction
  }

  /**
   * The start of the request and of its answer. Without a duration requests are taken to follow one another; with one,
   * those that started a second or more before the last answer are taken to be parallel (dates are whole seconds).
   */
  #arrival({ answeredAtMs, durationMs }: Recording): Arrival {
    if (answeredAtMs === null) {
      const at = plusMs(this.#now, SECOND_MS)
      this.#now = at
      return { at, readableAt: at, dated: false }
    }
    const readableAt = instant(answeredAtMs)
    let at = instant(answeredAtMs - (durationMs ?? 0))
    if (durationMs === null || at + SECOND_MS > this.#now) at = Math.max(at, this.#now) as Instant
    this.#now = Math.max(this.#now, readableAt, at) as Instant
    return { at, readableAt: Math.max(readableAt, at) as Instant, dated: true }
  }

  #predict(
    recording: Recording,
    prompt: Prompt,
    { at, readableAt, dated }: Arrival,
    total: number,
  ): Inference {
    const { blocks, hashes, marks } = prompt
    const sizes = hashes.map((hash) => this.#sizes.get(hash) ?? null)
    const anchors = [...sizes]
    const lastMark = marks.at(-1)
    let guessedTail = false
    if (lastMark !== undefined && sizes[lastMark.index] === null) {
      const key = tailKey(prompt, lastMark)
      const seen = this.#tails.get(key)
      guessedTail = seen === undefined
      const tailTokens =
        seen ?? (lastMark.index === blocks.length - 1 ? this.#usualTail(recording, prompt) : null)
      if (tailTokens !== null) anchors[lastMark.index] = total - tailTokens
    }
    const cumulativeTokens = interpolate(anchors, blocks, total)
    const simulated = simulateRequest(this.#state.copy(), {
      ...scopeOf(recording),
      hashes,
      cumulativeTokens,
      totalTokens: total,
      marks,
      at,
      readableAt,
      minimumTokens: this.#minimumTokens(recording, dated ? at : null),
      rules: this.#catalogue.rules,
    })
    return {
      bill: {
        read: simulated.readTokens,
        write_5m: simulated.write5mTokens,
        write_1h: simulated.write1hTokens,
      },
      marked: lastMark !== undefined,
      writtenBefore: hashes.some((hash) => this.#written.has(hash)),
      knownSizes: new Set(sizes.filter((size) => size !== null)),
      ranServerTool: this.#ranServerTool(recording, prompt),
      readIndex: simulated.readIndex,
      cumulativeTokens,
      guessedRead: simulated.readIndex !== null && anchors[simulated.readIndex] === null,
      guessedWrite: guessedTail || simulated.writtenIndexes.some((index) => anchors[index] === null),
    }
  }

  /**
   * Tokens that close the prompt after a mark on its last block, where this session has not shown them yet (data README;
   * the 3 that a tool result adds are the usual ones in these recordings). Errors and tool references showed 4, in one
   * request each: too few to be more than a fit, so they are misses. No read depends on this.
   */
  #usualTail(recording: Recording, { blocks, thinking }: Prompt): number {
    if (modelOf(recording, this.#catalogue)?.tokenizer === 'new') return 2
    return (thinking ? 10 : 3) + (blocks.at(-1)!.type === 'tool_result' ? 3 : 0)
  }

  /** Undated rows are read under today's minimum. */
  #minimumTokens(recording: Recording, at: Instant | null): number {
    const model = modelOf(recording, this.#catalogue)
    if (model === null) return 0
    return minimumCacheableTokens(model, at ?? (Number.MAX_SAFE_INTEGER as Instant))
  }

  /** Makes the recorded usage the past of the next request. */
  #observe(
    recording: Recording,
    prompt: Prompt,
    { at, readableAt, dated }: Arrival,
    prediction: Inference,
    usage: Usage,
  ): void {
    const { hashes, marks } = prompt
    const lastMark = marks.at(-1)
    const read = usage.cacheReadTokens
    const written = usage.cacheWrite5mTokens + usage.cacheWrite1hTokens
    if (lastMark === undefined || read + written === 0) return

    const scope = scopeOf(recording)
    const rules = this.#catalogue.rules
    const put = ({ index, ttl }: Mark): void => {
      this.#written.add(hashes[index]!)
      this.#state.put(scope, hashes[index]!, {
        ttl,
        readableAt,
        expiresAt: plusMs(at, rules.cacheTtlMs[ttl]),
      })
    }

    if (this.#ranServerTool(recording, prompt, 1)) {
      // Each sampling reads what the one before wrote, so the writes add up to all that was new. If there were just
      // two, and nothing was there before, the second read what the first had written up to the mark.
      put(lastMark)
      const cold = prediction.bill.read === 0 && read > 0 && read <= written
      if (serverToolCalls(recording) === 1 && cold) this.#sizes.set(hashes[lastMark.index]!, read)
      this.#serverToolEntries.push({
        after: hashes.at(-1)!,
        tokens: prediction.bill.read + written,
        at,
        readableAt,
        thought: thinkingTokens(recording) > 0,
        scope,
      })
      return
    }

    this.#sizes.set(hashes[lastMark.index]!, read + written)
    this.#tails.set(tailKey(prompt, lastMark), usage.inputTokens)
    const last1h = marks.findLast((mark) => mark.ttl === '1h')
    if (last1h !== undefined && last1h !== lastMark && usage.cacheWrite1hTokens > 0) {
      this.#sizes.set(hashes[last1h.index]!, read + usage.cacheWrite1hTokens)
    }

    const { readIndex } = prediction
    if (readIndex !== null && prediction.guessedRead && read > 0) this.#sizes.set(hashes[readIndex]!, read)
    if (readIndex !== null && prediction.bill.read === read) {
      const entry = this.#state.find(scope, hashes[readIndex]!, at)!
      const expiresAt = plusMs(at, rules.cacheTtlMs[entry.ttl])
      this.#state.put(scope, hashes[readIndex]!, { ...entry, expiresAt })
    }
    const minimumTokens = this.#minimumTokens(recording, dated ? at : null)
    for (const mark of marks) {
      const tokens = this.#sizes.get(hashes[mark.index]!) ?? prediction.cumulativeTokens[mark.index]!
      const wasRead = mark.index <= (readIndex ?? -1) && tokens <= read
      if (!wasRead && tokens >= minimumTokens) put(mark)
    }
  }

  /**
   * When a server tool runs under a mark the service adds a 5m breakpoint after its result (claude-api.md 3.2.7). Where
   * that is shows in the next request, which sends the transcript back. If thinking came before the tool and is not
   * sent back the prefix has changed and the entry is lost.
   */
  #placeServerToolEntries({ blocks, hashes }: Prompt, now: Instant): void {
    this.#serverToolEntries = this.#serverToolEntries.filter((entry) => {
      const end = hashes.indexOf(entry.after)
      if (end === -1 || end === hashes.length - 1) return true
      let result = -1
      for (let i = end + 1; i < blocks.length && blocks[i]!.role === 'assistant'; i++) {
        if (blocks[i]!.type.endsWith('_tool_result')) result = i
      }
      const sentBack = !entry.thought || /thinking/.test(blocks[end + 1]!.type)
      if (result === -1 || !sentBack || entry.at > now) return false
      this.#written.add(hashes[result]!)
      this.#sizes.set(hashes[result]!, entry.tokens)
      this.#state.put(entry.scope, hashes[result]!, {
        ttl: '5m',
        readableAt: entry.readableAt,
        expiresAt: plusMs(entry.at, this.#catalogue.rules.cacheTtlMs['5m']),
      })
      return false
    })
  }

  /**
   * Its usage says so, or the transcript that one of the next `requests` sends back does. The past is learnt with the
   * very next one, which is known when it is predicted; all of them only tell what is counted apart.
   */
  #ranServerTool(recording: Recording, { blocks, hashes }: Prompt, requests = this.#session.length): boolean {
    if (serverToolCalls(recording) > 0) return true
    const position = this.#session.indexOf(recording)
    return this.#session.slice(position + 1, position + 1 + requests).some((later) => {
      const next = promptOf(later, this.#catalogue)
      const answered =
        next.hashes[blocks.length - 1] === hashes.at(-1) && next.blocks[blocks.length]?.role === 'assistant'
      if (!answered) return false
      const rest = next.blocks.slice(blocks.length)
      const answer = rest.slice(
        0,
        rest.findIndex((block) => block.role !== 'assistant'),
      )
      return answer.some((block) => block.type === 'server_tool_use')
    })
  }
}

interface Arrival {
  readonly at: Instant
  readonly readableAt: Instant
  readonly dated: boolean
}

interface ServerToolEntry {
  /** Prefix hash of the last block that was sent. */
  readonly after: string
  readonly tokens: number
  readonly at: Instant
  readonly readableAt: Instant
  readonly thought: boolean
  readonly scope: ReturnType<typeof scopeOf>
}

/** A prediction with what learning from the outcome needs. */
interface Inference extends Prediction {
  readonly readIndex: number | null
  readonly cumulativeTokens: readonly number[]
}

interface Prompt {
  readonly blocks: readonly PromptBlock[]
  readonly hashes: readonly string[]
  readonly marks: readonly Mark[]
  readonly thinking: boolean
}

/** Not every recorded server was the API: marks that it would have refused are no marks. */
function acceptedMarks(marks: readonly Mark[]): readonly Mark[] {
  const first5m = marks.findIndex((mark) => mark.ttl === '5m')
  const late1h = first5m !== -1 && marks.slice(first5m).some((mark) => mark.ttl === '1h')
  return marks.length > 4 || late1h ? [] : marks
}

const prompts = new WeakMap<Recording, Prompt>()

function promptOf(recording: Recording, catalogue: Catalogue): Prompt {
  const known = prompts.get(recording)
  if (known) return known
  const request: JsonObject = { ...recording.request, model: recording.model }
  const blocks = promptBlocks(request)
  const thinking = isObject(request['thinking']) && request['thinking']['type'] === 'enabled'
  const prompt: Prompt = {
    blocks,
    hashes: prefixHashes(request, blocks, {
      apiVersion: '2023-06-01',
      betas: recording.betas,
      dropsOldThinking: modelOf(recording, catalogue)?.parameters.dropsOldThinking ?? false,
    }),
    marks: acceptedMarks(marksOf(request, blocks)),
    thinking,
  }
  prompts.set(recording, prompt)
  return prompt
}

function scopeOf(recording: Recording) {
  return { pool: 'standard', model: recording.model } as const
}

/** What stands from the last mark to the end of the prompt, as far as it decides its tokens. */
function tailKey({ blocks, thinking }: Prompt, lastMark: Mark): string {
  const after = blocks.slice(lastMark.index + 1).map((block) => `${block.role} ${block.identity}`)
  return [thinking, endingOf(blocks[lastMark.index]!), ...after].join('\n')
}

type Ending = 'content' | 'result' | 'error' | 'tool_reference' | 'search_result'

/** A mark on a tool result leaves what closes it outside, and that depends on what kind of result it is. */
function endingOf(block: PromptBlock): Ending {
  if (block.type !== 'tool_result') return 'content'
  const { is_error: isError, content } = JSON.parse(block.bytes) as JsonObject
  const last = Array.isArray(content) ? content.at(-1) : null
  const type = isObject(last) ? last['type'] : null
  if (isError === true) return 'error'
  return type === 'tool_reference' || type === 'search_result' ? type : 'result'
}

/** Fills in what is not known in proportion to bytes between the sizes that are. */
function interpolate(
  anchors: readonly (number | null)[],
  blocks: readonly PromptBlock[],
  total: number,
): number[] {
  const tokens: number[] = []
  for (let from = 0; from < blocks.length; ) {
    const next = anchors.findIndex((anchor, i) => i >= from && anchor !== null)
    const until = next === -1 ? blocks.length - 1 : next
    const floor = tokens.at(-1) ?? 0
    const span = Math.max(0, (anchors[until] ?? total) - floor)
    const stretch = blocks.slice(from, until + 1)
    const bytes = stretch.reduce((sum, block) => sum + block.sizeBytes, 0)
    let passed = 0
    for (const block of stretch) {
      passed += block.sizeBytes
      tokens.push(floor + Math.round((span * passed) / bytes))
    }
    from = until + 1
  }
  return tokens
}

function serverToolCalls({ usage }: Recording): number {
  const calls = usage['server_tool_use']
  return isObject(calls)
    ? Object.values(calls).reduce<number>((sum, count) => sum + Number(count ?? 0), 0)
    : 0
}

function thinkingTokens({ usage }: Recording): number {
  const details = usage['output_tokens_details']
  return isObject(details) ? Number(details['thinking_tokens'] ?? 0) : 0
}
