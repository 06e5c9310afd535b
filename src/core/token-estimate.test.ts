import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { JsonObject } from './json.ts'
import { promptBlocks } from './prompt.ts'
import {
  type CountText,
  type EstimatedModel,
  estimateBlocks,
  spacedJson,
  type TokenFacts,
  tokenMeasurer,
} from './token-estimate.ts'

/** One token a character, and round constants: every figure below can be checked by eye. */
const facts: TokenFacts = {
  tokenizers: {
    old: {
      perTextToken: 1,
      wrapper: 7,
      wrapperTail: 3,
      perFurtherMessage: 5,
      thinkingEnabled: 30,
      perTool: 10,
      namedToolChoice: 4,
      toolPrompt: { auto: 300, forced: 340 },
      perToolBlock: 20,
      perToolArgument: 12,
      schemaPrompt: 100,
      perSchemaToken: 2,
      citations: 500,
      bandOfText: 0.1,
      bandOfTools: 0.2,
      bandTokensMin: 2,
    },
    new: {
      perTextToken: 1.5,
      wrapper: 6,
      wrapperTail: 2,
      perFurtherMessage: 4,
      thinkingEnabled: 0,
      perTool: 15,
      namedToolChoice: 6,
      toolPrompt: { auto: 286, forced: 406 },
      perToolBlock: 30,
      perToolArgument: 18,
      schemaPrompt: 150,
      perSchemaToken: 3,
      citations: 750,
      bandOfText: 0.2,
      bandOfTools: 0.2,
      bandTokensMin: 0,
    },
  },
  media: {
    imageCellPixels: 28,
    imageTiers: {
      standard: { edgePixelsMax: 1568, tokensMax: 1568 },
      high: { edgePixelsMax: 2576, tokensMax: 4784 },
    },
    perImage: 3,
    perPdfPage: 1_500,
    pageText: { low: 0, best: 2_000, high: 3_000 },
    perDocument: 40,
    unseenPages: { low: 1, best: 1, high: 100 },
    band: 0,
    builtInTools: [{ type: 'bash_', old: 244, new: 325 }],
  },
}
const old: EstimatedModel = {
  tokenizer: 'old',
  toolPromptTokens: { auto: 496, forced: 588 },
  parameters: { imageTier: 'standard', dropsOldThinking: true },
}
const newer: EstimatedModel = {
  tokenizer: 'new',
  toolPromptTokens: null,
  parameters: { imageTier: 'high', dropsOldThinking: false },
}

function estimate(request: JsonObject, model = old, count: CountText = (text) => text.length) {
  const measurer = tokenMeasurer(count, () => null, facts.media)
  return estimateBlocks(request, promptBlocks(request), model, measurer, facts)
}

function saying(content: JsonObject['messages'], more: JsonObject = {}): JsonObject {
  return { ...more, messages: [{ role: 'user', content }] }
}

describe('estimateBlocks', () => {
  it('wraps one message', () => {
    const { best, perBlock, prefixTokens, overheadTokens } = estimate(saying('ten chars.'))
    assert.equal(best, 17)
    assert.deepEqual(prefixTokens, [14])
    assert.deepEqual(perBlock, [14])
    assert.equal(overheadTokens, 3)
  })

  it('adds the system text and what stands around every further message', () => {
    const request = {
      system: 'four',
      messages: [
        { role: 'user', content: 'four' },
        { role: 'assistant', content: 'four' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'four' },
            { type: 'text', text: 'four' },
          ],
        },
      ],
    }
    assert.deepEqual(estimate(request).prefixTokens, [4, 12, 21, 30, 34])
    assert.equal(estimate(request).best, 37)
  })

  it('puts hidden prompts ahead of the first block', () => {
    const tool = { name: 'f', description: 'd', input_schema: { type: 'object' } }
    const toolTokens = '{"name": "f", "description": "d", "input_schema": {"type": "object"}}'.length + 10
    const request = saying('ten chars.', { tools: [tool] })
    assert.deepEqual(estimate(request).prefixTokens, [496 + toolTokens, 496 + toolTokens + 14])
    const withSchema = saying('ten chars.', {
      output_config: { format: { type: 'json_schema', schema: { type: 'object' } } },
    })
    assert.deepEqual(estimate(withSchema).prefixTokens, [100 + 2 * '{"type": "object"}'.length + 14])
    assert.deepEqual(estimate(saying('ten chars.', { thinking: { type: 'enabled' } })).prefixTokens, [44])
    assert.deepEqual(estimate(saying('ten chars.', { thinking: { type: 'adaptive' } })).prefixTokens, [14])
  })

  it('counts what the model reads of a tool, not what the API does with it', () => {
    const tool = { name: 'f', input_schema: { type: 'object' } }
    const dressed = {
      ...tool,
      strict: true,
      cache_control: { type: 'ephemeral' },
      eager_input_streaming: true,
    }
    assert.equal(
      estimate(saying('x', { tools: [dressed] })).best,
      estimate(saying('x', { tools: [tool] })).best,
    )
  })

  it('has a longer hidden prompt when a tool is forced, and longer yet when it is named', () => {
    const tools = [{ name: 'f', input_schema: { type: 'object' } }]
    const withChoice = (type: string, model = old) =>
      estimate(saying('x', { tools, tool_choice: { type, name: 'f' } }), model).best
    assert.equal(withChoice('any') - withChoice('auto'), 92)
    assert.equal(withChoice('tool') - withChoice('any'), 4)
    assert.equal(withChoice('none'), withChoice('auto'))
    assert.equal(withChoice('any', newer) - withChoice('auto', newer), 120)
  })

  it('knows the tools that Anthropic defines by their type', () => {
    const request = saying('x', { tools: [{ type: 'bash_20250124', name: 'bash' }] })
    assert.equal(estimate(request).best, 496 + 244 + 10 + 1 + 7)
  })

  it('counts tool calls with their arguments, and results with all they hold', () => {
    const call = { type: 'tool_use', id: 't1', name: 'look', input: { a: 1, b: 2 } }
    const result = { type: 'tool_result', tool_use_id: 't1', content: [{ type: 'text', text: 'seen' }] }
    const request = {
      messages: [
        { role: 'user', content: 'look' },
        { role: 'assistant', content: [call] },
        { role: 'user', content: [result] },
      ],
    }
    assert.deepEqual(estimate(request).perBlock, [8, 5 + 20 + 24 + 4 + '{"a": 1, "b": 2}'.length, 5 + 20 + 4])
  })

  it('reads thinking again within a loop of tool calls, and after it only where the model keeps it', () => {
    const thinking = { type: 'thinking', thinking: 'x'.repeat(100), signature: 's' }
    const call = { type: 'tool_use', id: 't1', name: 'look', input: {} }
    const loop = [
      { role: 'user', content: 'look' },
      { role: 'assistant', content: [thinking, call] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't1', content: 'seen' }] },
    ]
    const after = [...loop, { role: 'assistant', content: 'done' }, { role: 'user', content: 'thanks' }]
    assert.equal(estimate({ messages: loop }).perBlock[1], 105)
    assert.equal(estimate({ messages: after }).perBlock[1], 5)
    assert.equal(estimate({ messages: after }, newer).perBlock[1], 154)
    // The tokenizer does not decide: Sonnet 4.6 has the older one and keeps its thinking.
    const keeper = { ...old, parameters: { ...old.parameters, dropsOldThinking: false } }
    assert.equal(estimate({ messages: after }, keeper).perBlock[1], 105)
  })

  it('sizes images by tier, and pages by what is known of them', () => {
    const attachment = (more: JsonObject): JsonObject => ({
      type: 'tithe_attachment',
      path: '/f',
      sha256: '0',
      media_type: 'm',
      size_bytes: 1,
      ...more,
    })
    const image = { type: 'image', source: attachment({ width: 3840, height: 2160 }) }
    assert.equal(estimate(saying([image])).best, 7 + 1560 + 3)
    assert.equal(estimate(saying([image]), newer).best, 6 + 4784 + 3)
    const pdf = { type: 'document', source: attachment({ pages: 2, text_tokens: 700 }) }
    assert.equal(estimate(saying([pdf])).best, 7 + 3_000 + 700 + 40)
    const scanned = estimate(saying([{ type: 'document', source: attachment({ pages: 2 }) }]))
    assert.equal(scanned.best, 7 + 3_000 + 4_000 + 40)
    assert.ok(scanned.low < 3_100 && scanned.high > 9_000)
  })

  it('says that it has not seen what is only linked, and how much that may be', () => {
    const linked = { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } }
    const { low, best, high, unseenMedia } = estimate(saying([linked]))
    assert.equal(unseenMedia, 1)
    assert.ok(low < 20 && best === 7 + 3 + 1568 && high >= best)
    const document = { type: 'document', source: { type: 'file', file_id: 'file_1' } }
    assert.ok(estimate(saying([document])).high > 400_000)
  })

  it('adds the prompt of citations once', () => {
    const cited = { type: 'document', source: { type: 'text', data: 'abcd' }, citations: { enabled: true } }
    assert.equal(estimate(saying([cited, cited])).best, 500 + 7 + 2 * (4 + 40))
  })

  it('has a band that is a share of text, and never under the least number of tokens', () => {
    const long = estimate(saying('x'.repeat(993)))
    assert.deepEqual([long.low, long.best, long.high], [900, 1_000, 1_100])
    const short = estimate(saying('abc'))
    assert.deepEqual([short.low, short.best, short.high], [8, 10, 12])
  })

  it('adds up: blocks and overhead to the whole, prefixes from blocks', () => {
    const text = fc.string({ minLength: 1, maxLength: 40 })
    const content = fc.array(fc.record({ type: fc.constant('text'), text }), { minLength: 1, maxLength: 4 })
    const messages = fc.array(fc.record({ role: fc.constantFrom('user', 'assistant'), content }), {
      minLength: 1,
      maxLength: 5,
    })
    fc.assert(
      fc.property(messages, text, fc.constantFrom(old, newer), (said, system, model) => {
        const { perBlock, prefixTokens, overheadTokens, low, best, high } = estimate(
          { system, messages: said },
          model,
          (part) => part.length / 3,
        )
        assert.equal(
          perBlock.reduce((sum, tokens) => sum + tokens, overheadTokens),
          best,
        )
        assert.equal(prefixTokens.at(-1)! + overheadTokens, best)
        assert.deepEqual(
          prefixTokens,
          prefixTokens.toSorted((a, b) => a - b),
        )
        assert.ok(low <= best && best <= high)
      }),
    )
  })

  it('counts a block that keeps coming back twice, and no more', () => {
    let counted = 0
    const measurer = tokenMeasurer(
      (text) => {
        counted += 1
        return text.length
      },
      () => null,
      facts.media,
    )
    for (let row = 0; row < 10; row++) {
      const request = saying(`row ${row}`, { system: 'the handbook' })
      estimateBlocks(request, promptBlocks(request), old, measurer, facts)
    }
    assert.equal(counted, 12)
  })
})

describe('spacedJson', () => {
  it('differs from JSON in blanks only', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const spaced = spacedJson(value as JsonObject)
        assert.equal(JSON.stringify(JSON.parse(spaced)), JSON.stringify(value))
      }),
    )
    assert.equal(spacedJson({ a: [1, 'b'], c: undefined, d: {} }), '{"a": [1, "b"], "d": {}}')
  })
})
