import { createHash, type Hash } from 'node:crypto'
import { isObject, type Json, type JsonObject } from './json.ts'
import type { Effort } from './models.ts'
import { lastUserTurn, type PromptBlock, type Section } from './prompt.ts'
import type { ApiSettings, MessageRequest } from './request.ts'

/**
 * Would the cache see the same prefix? One exact hash per position, each including all before it; content-hash.ts
 * answers the other question, whether two values mean the same.
 *
 * Blocks are not all that the cache sees: the model, thinking, tool_choice … are rendered into the prompt somewhere.
 * Each is folded into the chain where its section begins, so that whatever stood before keeps its hash and whatever
 * comes after loses it. The table below therefore *is* the invalidation table of claude-api.md 3.6.
 */

export interface PrefixSettings extends ApiSettings {
  /** The model's default effort, when known: stating it is the same as leaving it out (claude-api.md 3.6). */
  readonly effortDefault?: Effort | null
  /** `ParameterRules.dropsOldThinking` of the model. Absent: it does not. */
  readonly dropsOldThinking?: boolean
}

export interface InvalidationRule {
  /** The parameter, by its path in the request or header. */
  readonly setting: string
  /** The section at whose beginning it is folded: that section and all after it are lost when it changes. */
  readonly before: Section
  readonly because: string
  /** Null when it is left out or stands at its default: nothing is folded. */
  readonly valueOf: (
    request: MessageRequest,
    settings: PrefixSettings,
    blocks: readonly PromptBlock[],
  ) => Json
}

export const INVALIDATION: readonly InvalidationRule[] = [
  {
    setting: 'model',
    before: 'tools',
    because: 'caches are per model (3.6, 3.7)',
    valueOf: (request) => request['model'] ?? null,
  },
  {
    setting: 'anthropic-version',
    before: 'tools',
    because: 'a version may render the prompt differently (1.1)',
    valueOf: (_, settings) => settings.apiVersion,
  },
  {
    setting: 'anthropic-beta',
    before: 'tools',
    because: 'the set of betas can change the prompt (3.6)',
    valueOf: (_, settings) => (settings.betas.length === 0 ? null : settings.betas),
  },
  {
    setting: 'thinking',
    before: 'tools',
    because: 'model-specific, so assumed to come first (3.6, 8); recorded changes rewrote the whole prefix',
    valueOf: (request) => request['thinking'] ?? null,
  },
  {
    setting: 'output_config',
    before: 'tools',
    because: 'effort and task budget: model-specific, so assumed to come first (3.6, 8)',
    valueOf: (request, { effortDefault }) => {
      const config = without(request['output_config'], 'format')
      return config?.['effort'] !== effortDefault ? config : without(config, 'effort')
    },
  },
  {
    setting: 'container.skills',
    before: 'tools',
    because: 'the list of skills is treated as lost from there on (3.6)',
    valueOf: (request) => member(request['container'], 'skills'),
  },
  {
    setting: 'mcp_servers',
    before: 'tools',
    because: 'they expand into tool definitions that we do not see',
    valueOf: (request) =>
      Array.isArray(request['mcp_servers'])
        ? request['mcp_servers'].map((server) => without(server, 'authorization_token'))
        : null,
  },
  {
    setting: 'output_config.format',
    before: 'system',
    because: 'adds a hidden system prompt (3.6, 7, 8)',
    valueOf: (request) => member(request['output_config'], 'format') ?? request['output_format'] ?? null,
  },
  {
    setting: 'web search or web fetch on or off',
    before: 'system',
    because: 'changes the system prompt (3.6)',
    valueOf: (_, __, blocks) => blocks.some((block) => /^web_(search|fetch)_\d/.test(block.type)) || null,
  },
  {
    setting: 'citations on or off',
    before: 'system',
    because: 'changes the system prompt (3.6)',
    valueOf: (_, __, blocks) => blocks.some((block) => block.hasCitations) || null,
  },
  {
    setting: 'speed',
    before: 'system',
    because: 'fast and standard keep only the tools in common (3.6)',
    valueOf: (request) => (request['speed'] === 'standard' ? null : (request['speed'] ?? null)),
  },
  {
    setting: 'tool_choice',
    before: 'messages',
    because: 'with disable_parallel_tool_use inside it (3.6)',
    valueOf: (request) => request['tool_choice'] ?? null,
  },
  {
    setting: 'images present or absent',
    before: 'messages',
    because: 'anywhere in the prompt (3.6)',
    valueOf: (_, __, blocks) => blocks.some((block) => block.hasImage) || null,
  },
  {
    setting: 'context_management',
    before: 'messages',
    because: 'clears tool uses or thinking in the messages (3.6)',
    valueOf: (request) => request['context_management'] ?? null,
  },
]

const SECTIONS: readonly Section[] = ['tools', 'system', 'messages']

/** What has been folded in, in order, at the first block of a section, including sections without blocks. */
type Heads = Readonly<Record<Section, string>>

function headsOf(request: MessageRequest, blocks: readonly PromptBlock[], settings: PrefixSettings): Heads {
  const heads: Record<Section, string> = { tools: '', system: '', messages: '' }
  for (const rule of INVALIDATION) {
    const value = rule.valueOf(request, settings, blocks)
    if (value !== null) heads[rule.before] += `${rule.setting}=${JSON.stringify(value)}\n`
  }
  return heads
}

/** One position of a chain: `fold` is all that was added between the block before and this one. */
interface ChainLink {
  readonly fold: string
  readonly identity: string
  readonly state: Hash
  readonly prefixHash: string
}

/**
 * Remembers the last chain of every model and variant. Rows of one template begin with the same blocks: the next row
 * goes on from where it first differs instead of hashing a handbook again. Bounded, whatever the number of rows.
 */
export class PrefixMemory {
  readonly #chains = new Map<string, readonly ChainLink[]>()

  recall(toolsHead: string): readonly ChainLink[] {
    return this.#chains.get(toolsHead) ?? []
  }

  remember(toolsHead: string, chain: readonly ChainLink[]): void {
    if (this.#chains.size === CHAINS_KEPT && !this.#chains.has(toolsHead)) this.#chains.clear()
    this.#chains.set(toolsHead, chain)
  }
}

/** Enough for a job over every model; more variants than this only cost time. */
const CHAINS_KEPT = 32

/**
 * The prefix hash at every block, `p1:` and SHA-256 in hexadecimal. Equal hashes mean equal prefixes in the eyes of
 * the cache; a change of any block or setting changes every hash after it. Model names are taken as written: resolve
 * aliases before.
 *
 * @example
 * const blocks = promptBlocks(request)
 * const hashes = prefixHashes(request, blocks, { apiVersion: '2023-06-01', betas: [] })
 */
export function prefixHashes(
  request: MessageRequest,
  blocks: readonly PromptBlock[],
  settings: PrefixSettings,
  memory?: PrefixMemory,
): string[] {
  const heads = headsOf(request, blocks, settings)
  const known = memory?.recall(heads.tools) ?? []
  const chain: ChainLink[] = []
  let state = createHash('sha256')
  let same = true
  let sectionsBegun = 0
  const thinkingDroppedUntil = settings.dropsOldThinking ? lastUserTurn(blocks) : 0
  for (const [i, block] of blocks.entries()) {
    // JSON has no raw line breaks, so lines cannot be mistaken for one another.
    let fold = ''
    while (sectionsBegun <= SECTIONS.indexOf(block.section)) {
      const section = SECTIONS[sectionsBegun++]!
      fold += `${section}\n${heads[section]}`
    }
    fold += block.opensMessage ? `message ${JSON.stringify(block.role)}\n` : ''

    const isDropped = i < thinkingDroppedUntil && isThinking(block)
    const identity = isDropped ? '' : block.identity
    const link = known[i]
    same &&= link !== undefined && link.fold === fold && link.identity === identity
    if (same) {
      chain.push(link!)
      state = link!.state
      continue
    }
    const next = state.copy().update(fold).update(identity).update('\n')
    chain.push({ fold, identity, state: next, prefixHash: `p1:${next.copy().digest('hex')}` })
    state = next
  }
  memory?.remember(heads.tools, chain)
  return chain.map((link) => link.prefixHash)
}

function isThinking(block: PromptBlock): boolean {
  return block.type === 'thinking' || block.type === 'redacted_thinking'
}

function member(value: Json | undefined, key: string): Json {
  return isObject(value) ? (value[key] ?? null) : null
}

/** The object without one key; null when nothing is left. */
function without(value: Json | undefined, key: string): JsonObject | null {
  if (!isObject(value)) return null
  const { [key]: _omitted, ...rest } = value
  return Object.keys(rest).length === 0 ? null : rest
}
