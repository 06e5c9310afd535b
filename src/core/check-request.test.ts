import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalogue } from '../facts/load.ts'
import { checkRequest } from './check-request.ts'
import type { Problem } from './errors.ts'
import { parseTimestamp } from './instant.ts'
import type { Json, JsonObject } from './json.ts'
import { findModel } from './models.ts'
import type { RequestConditions } from './request-conditions.ts'

const catalogue = loadCatalogue()
const SETTINGS = { apiVersion: '2023-06-01', betas: [] }

function conditions(model: string, part: Partial<RequestConditions> = {}): RequestConditions {
  return {
    model: findModel(catalogue, model)!,
    settings: SETTINGS,
    at: parseTimestamp('2026-11-22')!,
    route: 'batch',
    rules: catalogue.rules,
    ...part,
  }
}

const plain = { max_tokens: 4_096, messages: [{ role: 'user', content: 'Hello' }] }

function problemsOf(
  request: JsonObject,
  model = 'claude-sonnet-4-6',
  part: Partial<RequestConditions> = {},
): readonly Problem[] {
  return checkRequest({ model, ...plain, ...request }, conditions(model, part))
}

/** `code at path`, warnings with a `?` before them. */
function found(...args: Parameters<typeof problemsOf>): string[] {
  return problemsOf(...args).map(
    ({ severity, code, where }) => `${severity === 'warning' ? '?' : ''}${code} at ${where?.path}`,
  )
}

test('a plain request passes on every model and route', () => {
  for (const { id } of catalogue.models) {
    for (const route of ['batch', 'realtime'] as const) assert.deepEqual(found({}, id, { route }), [], id)
  }
})

// claude-api.md 4.2, typed again by hand. Thinking: a adaptive, e enabled, d disabled, b between_tools. The letters say
// what is accepted; `on` whether the model thinks by default. Sampling: ok, default (temperature 1 passes), no.
const MATRIX: [
  models: string[],
  thinking: string,
  on: boolean,
  sampling: string,
  forced: boolean,
  prefill: boolean,
  system: boolean,
  efforts: string,
  geo: boolean,
][] = [
  [
    ['claude-fable-5-1', 'claude-fable-5-2', 'claude-mythos-5-1', 'claude-mythos-5-2'],
    'a',
    true,
    'default',
    false,
    false,
    true,
    'low medium high xhigh max',
    true,
  ],
  [
    ['claude-fable-5', 'claude-mythos-5'],
    'a',
    true,
    'no',
    true,
    false,
    true,
    'low medium high xhigh max',
    true,
  ],
  [['claude-opus-5-5'], 'a', true, 'no', false, false, true, 'low medium high xhigh max', true],
  [['claude-sonnet-5-5'], 'ab', true, 'no', false, false, true, 'low medium high xhigh max', true],
  [['claude-opus-5'], 'ad', true, 'no', true, false, true, 'low medium high xhigh max', true],
  [['claude-haiku-5-5'], 'ad', true, 'no', true, false, true, 'low medium high xhigh? max', true],
  [['claude-sonnet-5'], 'ad', true, 'no', true, false, false, 'low medium high xhigh max', true],
  [['claude-opus-4-8'], 'ad', false, 'no', true, false, true, 'low medium high xhigh max', true],
  [['claude-opus-4-7'], 'ad', false, 'no', true, false, false, 'low medium high xhigh max', true],
  [
    ['claude-opus-4-6', 'claude-sonnet-4-6'],
    'ae?d',
    false,
    'ok',
    true,
    false,
    false,
    'low medium high max',
    true,
  ],
  [['claude-opus-4-5'], 'ed', false, 'ok', true, true, false, 'low medium high', false],
  [['claude-sonnet-4-5', 'claude-haiku-4-5'], 'ed', false, 'ok', true, true, false, '', false],
]

for (const [models, thinking, on, sampling, forced, prefill, system, efforts, geo] of MATRIX) {
  for (const model of models) {
    test(`${model} takes and refuses what claude-api.md 4.2 says`, () => {
      const types = { a: 'adaptive', e: 'enabled', d: 'disabled', b: 'between_tools' }
      for (const [letter, type] of Object.entries(types)) {
        const given = { thinking: { type, ...(type === 'enabled' ? { budget_tokens: 2_000 } : {}) } }
        const expected = !thinking.includes(letter)
          ? ['thinking_not_supported at thinking.type']
          : thinking.includes(`${letter}?`)
            ? ['?thinking_deprecated at thinking.type']
            : []
        assert.deepEqual(found(given, model), expected, type)
      }
      const room = found({ max_tokens: 500 }, model)
      assert.deepEqual(room, on ? ['?thinking_leaves_no_room at max_tokens'] : [])

      const refusedSampling = (key: string) => (sampling === 'ok' ? [] : [`sampling_not_supported at ${key}`])
      assert.deepEqual(found({ temperature: 0.5 }, model), refusedSampling('temperature'))
      assert.deepEqual(found({ top_p: 0.9 }, model), refusedSampling('top_p'))
      assert.deepEqual(found({ top_k: 5 }, model), refusedSampling('top_k'))
      assert.deepEqual(
        found({ temperature: 1 }, model),
        sampling === 'default' ? [] : refusedSampling('temperature'),
      )

      const tools = [{ name: 'look_up', input_schema: { type: 'object' } }]
      for (const choice of [{ type: 'any' }, { type: 'tool', name: 'look_up' }]) {
        assert.deepEqual(
          found({ tools, tool_choice: choice }, model),
          forced ? [] : ['tool_choice_not_supported at tool_choice.type'],
        )
      }
      assert.deepEqual(found({ tools, tool_choice: { type: 'auto' } }, model), [])

      const continued = [...plain.messages, { role: 'assistant', content: '{' }]
      assert.deepEqual(
        found({ messages: continued }, model),
        prefill ? [] : ['prefill_not_supported at messages[1]'],
      )

      const instructed = [...plain.messages, { role: 'system', content: 'Be brief' }]
      assert.deepEqual(
        found({ messages: instructed }, model),
        system ? [] : ['system_role_not_supported at messages[1].role'],
      )

      for (const effort of ['low', 'medium', 'high', 'xhigh', 'max']) {
        const words = efforts.split(' ')
        const expected = words.includes(effort)
          ? []
          : words.includes(`${effort}?`)
            ? ['?effort_unsure at output_config.effort']
            : ['effort_not_supported at output_config.effort']
        assert.deepEqual(found({ output_config: { effort } }, model), expected, effort)
      }

      for (const region of ['us', 'global']) {
        assert.deepEqual(
          found({ inference_geo: region }, model),
          geo ? [] : ['inference_geo_not_supported at inference_geo'],
        )
      }
    })
  }
}

test('the matrix above covers every model that can be asked but the preview', () => {
  const covered = MATRIX.flatMap(([models]) => models.map((name) => findModel(catalogue, name)!.id))
  const askable = catalogue.models.filter(({ status }) => status !== 'retired').map(({ id }) => id)
  assert.deepEqual([...covered, 'claude-mythos-preview'].toSorted(), askable.toSorted())
})

test('thinking is switched off, or kept between tools, only up to effort high', () => {
  for (const [model, type] of [
    ['claude-opus-5', 'disabled'],
    ['claude-haiku-5-5', 'disabled'],
    ['claude-sonnet-5-5', 'between_tools'],
  ] as const) {
    const at = (effort: string) => found({ thinking: { type }, output_config: { effort } }, model)
    assert.deepEqual(at('high'), [], model)
    assert.deepEqual(at('max'), ['thinking_effort at thinking.type'], model)
  }
  assert.deepEqual(
    found({ thinking: { type: 'disabled' }, output_config: { effort: 'max' } }, 'claude-sonnet-5'),
    [],
  )
})

const tool = (name: string, more: JsonObject = {}): JsonObject => ({
  name,
  input_schema: { type: 'object' },
  ...more,
})
const format = (
  schema: Json = { type: 'object', properties: {}, additionalProperties: false },
): JsonObject => ({
  output_config: { format: { type: 'json_schema', schema } },
})
const user = (...content: Json[]): JsonObject => ({ messages: [{ role: 'user', content }] })
const text = (words: string, ttl?: string): JsonObject => ({
  type: 'text',
  text: words,
  ...(ttl ? { cache_control: { type: 'ephemeral', ttl } } : {}),
})
const image = (more: JsonObject = {}): JsonObject => ({
  type: 'image',
  source: {
    type: 'tithe_attachment',
    path: '/a.png',
    sha256: '',
    media_type: 'image/png',
    size_bytes: 9,
    ...more,
  },
})
const pdf = (pages: number, more: JsonObject = {}): JsonObject => ({
  type: 'document',
  source: {
    type: 'tithe_attachment',
    path: '/a.pdf',
    sha256: '',
    media_type: 'application/pdf',
    size_bytes: 9,
    pages,
  },
  ...more,
})
const strict = (name: string, schema: Json): JsonObject => ({ name, strict: true, input_schema: schema })
const optionals = (count: number): Json => ({
  type: 'object',
  properties: Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, { type: 'string' }])),
  additionalProperties: false,
})

type Case = [
  what: string,
  request: JsonObject,
  expected: string[],
  model?: string,
  part?: Partial<RequestConditions>,
]
const REALTIME = { route: 'realtime' as const }
const NEW_VERSION = { settings: { apiVersion: '2026-10-21', betas: [] } }

const CASES: Case[] = [
  // claude-api.md 2.8
  ['a stream in a batch', { stream: true }, ['not_in_batch at stream']],
  ['no stream in a batch', { stream: false }, []],
  ['a stream in realtime', { stream: true }, [], undefined, REALTIME],
  ['fast mode in a batch', { speed: 'fast' }, ['not_in_batch at speed'], 'claude-opus-5-5'],
  ['fallbacks in a batch', { fallbacks: 'default' }, ['not_in_batch at fallbacks']],
  ['fallbacks in realtime', { fallbacks: 'default' }, [], undefined, REALTIME],
  ['no answer in a batch', { max_tokens: 0 }, ['not_in_batch at max_tokens']],
  ['no answer in realtime', { max_tokens: 0 }, [], undefined, REALTIME],
  [
    'no answer, streamed',
    { max_tokens: 0, stream: true },
    ['max_tokens_zero at stream'],
    undefined,
    REALTIME,
  ],
  [
    'no answer in a format',
    { max_tokens: 0, ...format() },
    ['max_tokens_zero at output_config.format'],
    undefined,
    REALTIME,
  ],
  // fast mode, claude-api.md 3.13
  ['fast mode that needs no beta', { speed: 'fast' }, [], 'claude-opus-5-5', REALTIME],
  ['fast mode without its beta', { speed: 'fast' }, ['beta_missing at speed'], 'claude-opus-5', REALTIME],
  [
    'fast mode with its beta',
    { speed: 'fast' },
    [],
    'claude-opus-5',
    { ...REALTIME, settings: { apiVersion: '2023-06-01', betas: ['fast-mode-2026-02-01'] } },
  ],
  [
    'fast mode where it is ignored',
    { speed: 'fast' },
    ['?fast_mode_ignored at speed'],
    'claude-opus-4-6',
    REALTIME,
  ],
  [
    'fast mode where it fails',
    { speed: 'fast' },
    ['fast_mode_not_supported at speed'],
    'claude-opus-4-7',
    REALTIME,
  ],
  // max_tokens
  ['no max_tokens', { max_tokens: undefined }, ['max_tokens_missing at max_tokens']],
  ['half a token', { max_tokens: 1.5 }, ['max_tokens_invalid at max_tokens']],
  ['all that the model can answer', { max_tokens: 64_000 }, [], 'claude-haiku-4-5'],
  ['one more', { max_tokens: 64_001 }, ['max_tokens_too_large at max_tokens'], 'claude-haiku-4-5'],
  [
    '300,000 without the beta',
    { max_tokens: 300_000 },
    ['max_tokens_too_large at max_tokens'],
    'claude-opus-5',
  ],
  ...(['batch', 'realtime'] as const).flatMap((route): Case[] =>
    ['claude-opus-5', 'claude-fable-5-1'].map((model) => [
      `300,000 with the beta on ${model}, ${route}`,
      { max_tokens: 300_000 },
      route === 'batch' && model === 'claude-opus-5' ? [] : ['max_tokens_too_large at max_tokens'],
      model,
      { route, settings: { apiVersion: '2023-06-01', betas: ['output-300k-2026-03-24'] } },
    ]),
  ),
  // thinking
  [
    'a budget of 1,023',
    { thinking: { type: 'enabled', budget_tokens: 1_023 } },
    ['thinking_budget at thinking.budget_tokens'],
    'claude-haiku-4-5',
  ],
  ['a budget of 1,024', { thinking: { type: 'enabled', budget_tokens: 1_024 } }, [], 'claude-haiku-4-5'],
  [
    'no budget',
    { thinking: { type: 'enabled' } },
    ['thinking_budget at thinking.budget_tokens'],
    'claude-haiku-4-5',
  ],
  [
    'a budget of all max_tokens',
    { thinking: { type: 'enabled', budget_tokens: 4_096 } },
    ['thinking_budget at thinking.budget_tokens'],
    'claude-haiku-4-5',
  ],
  [
    'a budget for adaptive thinking',
    { thinking: { type: 'adaptive', budget_tokens: 2_000 } },
    ['thinking_budget at thinking.budget_tokens'],
    'claude-opus-5',
  ],
  ['a thinking type of nobody', { thinking: { type: 'hard' } }, ['thinking_invalid at thinking']],
  [
    'an odd display',
    { thinking: { type: 'adaptive', display: 'all' } },
    ['thinking_invalid at thinking.display'],
    'claude-opus-5',
  ],
  ['a summarized display', { thinking: { type: 'adaptive', display: 'summarized' } }, [], 'claude-opus-5'],
  [
    'thinking with a forced tool',
    { tools: [tool('a')], tool_choice: { type: 'any' }, thinking: { type: 'adaptive' } },
    ['?thinking_with_tool_choice at tool_choice'],
    'claude-opus-4-8',
  ],
  [
    'a thinking budget with a forced tool',
    { tools: [tool('a')], tool_choice: { type: 'any' }, thinking: { type: 'enabled', budget_tokens: 1_024 } },
    ['thinking_with_tool_choice at tool_choice'],
    'claude-haiku-4-5',
  ],
  [
    'thinking by default with a forced tool',
    { tools: [tool('a')], tool_choice: { type: 'any' }, thinking: { type: 'adaptive' } },
    [],
    'claude-opus-5',
  ],
  // sampling, claude-api.md 1.1
  [
    'temperature in the new version',
    { temperature: 1 },
    ['sampling_not_in_version at temperature'],
    undefined,
    NEW_VERSION,
  ],
  ['a temperature above 1', { temperature: 1.5 }, ['sampling_invalid at temperature']],
  [
    'a version of nobody',
    {},
    ['api_version_unknown at api_version'],
    undefined,
    { settings: { apiVersion: '2024-01-01', betas: [] } },
  ],
  ['an effort of nobody', { output_config: { effort: 'huge' } }, ['effort_invalid at output_config.effort']],
  // other parameters
  ['a region of nobody', { inference_geo: 'eu' }, ['inference_geo_invalid at inference_geo']],
  ['an odd service tier', { service_tier: 'batch' }, ['service_tier_invalid at service_tier']],
  ['a user id of 512', { metadata: { user_id: 'x'.repeat(512) } }, []],
  ['a user id of 513', { metadata: { user_id: 'x'.repeat(513) } }, ['user_id_too_long at metadata.user_id']],
  ['stop sequences', { stop_sequences: ['END'] }, []],
  ['an empty stop sequence', { stop_sequences: [''] }, ['stop_sequences_invalid at stop_sequences']],
  ['a misspelt parameter', { temperatur: 1 }, ['?unknown_parameter at temperatur']],
  ['a parameter of tomorrow', { dreams: {} }, ['?unknown_parameter at dreams']],
  [
    'a parameter of a beta',
    { dreams: {} },
    [],
    undefined,
    { settings: { apiVersion: '2023-06-01', betas: ['dreams-1'] } },
  ],
  // tools
  ['a tool with a space in its name', { tools: [tool('a b')] }, ['tool_name_invalid at tools[0].name']],
  ['two tools of one name', { tools: [tool('a'), tool('a')] }, ['duplicate_tool at tools[1].name']],
  ['a tool without a schema', { tools: [{ name: 'a' }] }, ['tool_schema_invalid at tools[0].input_schema']],
  [
    'a tool whose schema is a list',
    { tools: [{ name: 'a', input_schema: { type: 'array' } }] },
    ['tool_schema_invalid at tools[0].input_schema'],
  ],
  ['a server tool', { tools: [{ type: 'web_search_20250305', name: 'web_search' }] }, []],
  [
    'a server tool without max_uses under a budget',
    { tools: [{ type: 'web_search_20250305', name: 'web_search' }] },
    ['server_tool_unbounded at tools[0].max_uses'],
    undefined,
    { hasBudget: true },
  ],
  [
    'a server tool with max_uses under a budget',
    { tools: [{ type: 'web_search_20250305', name: 'web_search', max_uses: 3 }] },
    [],
    undefined,
    { hasBudget: true },
  ],
  [
    'a choice of an absent tool',
    { tools: [tool('a')], tool_choice: { type: 'tool', name: 'b' } },
    ['tool_choice_unknown_tool at tool_choice.name'],
  ],
  ['a choice of nothing', { tool_choice: { type: 'any' } }, ['tool_choice_without_tools at tool_choice']],
  ['an odd choice', { tools: [tool('a')], tool_choice: 'auto' }, ['tool_choice_invalid at tool_choice']],
  [
    '21 strict tools',
    { tools: Array.from({ length: 21 }, (_, i) => strict(`t${i}`, optionals(0))) },
    ['too_many_strict_tools at tools'],
  ],
  [
    'an open strict tool',
    { tools: [strict('a', { type: 'object' })] },
    ['schema_additional_properties at tools[0].input_schema.additionalProperties'],
  ],
  [
    '24 optionals in two strict tools',
    { tools: [strict('a', optionals(12)), strict('b', optionals(12))] },
    [],
  ],
  [
    '25 optionals in a tool and a format',
    { tools: [strict('a', optionals(12))], ...format(optionals(13)) },
    ['schema_too_many_optionals at tools'],
  ],
  // structured output
  ['a format', format(), []],
  [
    'a format with an open object',
    format({ type: 'object' }),
    ['schema_additional_properties at output_config.format.schema.additionalProperties'],
  ],
  [
    'a format without a schema',
    { output_config: { format: { type: 'json_schema' } } },
    ['schema_not_object at output_config.format.schema'],
  ],
  [
    'a format of nobody',
    { output_config: { format: { type: 'xml' } } },
    ['format_invalid at output_config.format'],
  ],
  [
    'a format and a prefill',
    { ...format(), messages: [...plain.messages, { role: 'assistant', content: '{' }] },
    ['prefill_with_format at messages[1]'],
    'claude-haiku-4-5',
  ],
  [
    'a format and citations',
    { ...format(), ...user(text('a'), pdf(1, { citations: { enabled: true } })) },
    ['citations_with_format at messages[0].content[1].citations'],
  ],
  [
    'citations on one of two documents',
    user(pdf(1, { citations: { enabled: true } }), pdf(1)),
    ['citations_mixed at messages[0].content[1].citations'],
  ],
  // messages
  ['no messages', { messages: undefined }, ['messages_missing at messages']],
  ['an empty list of messages', { messages: [] }, ['messages_empty at messages']],
  [
    'a message of nobody',
    { messages: [{ role: 'tool', content: 'a' }] },
    ['role_invalid at messages[0].role'],
  ],
  ['a message without content', { messages: [{ role: 'user' }] }, ['content_invalid at messages[0].content']],
  [
    'an empty message',
    { messages: [{ role: 'user', content: '' }] },
    ['empty_content at messages[0].content'],
  ],
  ['an empty list of blocks', user(), ['empty_content at messages[0].content']],
  ['an empty text block', user(text('')), ['empty_text at messages[0].content[0].text']],
  ['an empty system block', { system: [text('')] }, ['empty_text at system[0].text']],
  ['a system image', { system: [image()] }, ['system_invalid at system[0]']],
  [
    'a turn that paused in a server tool',
    {
      messages: [...plain.messages, { role: 'assistant', content: [{ type: 'server_tool_use', id: 's_1' }] }],
    },
    [],
  ],
  [
    'a tool use without its result',
    {
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: [{ type: 'tool_use', id: 't_1' }] },
        { role: 'user', content: 'b' },
      ],
    },
    ['tool_use_without_result at messages[1]'],
  ],
  [
    'two messages of the assistant with tool uses, answered in one',
    {
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: [{ type: 'tool_use', id: 't_1' }] },
        { role: 'assistant', content: [{ type: 'tool_use', id: 't_2' }] },
        {
          role: 'user',
          content: ['t_1', 't_2'].map((id) => ({ type: 'tool_result', tool_use_id: id })),
        },
      ],
    },
    [],
  ],
  [
    'a tool result that comes a turn late',
    {
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: [{ type: 'tool_use', id: 't_1' }] },
        { role: 'user', content: 'b' },
        { role: 'assistant', content: 'c' },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't_1' }] },
      ],
    },
    ['tool_use_without_result at messages[1]'],
  ],
  [
    'a tool use with its result',
    {
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: [{ type: 'tool_use', id: 't_1' }] },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't_1' }] },
      ],
    },
    [],
  ],
  [
    'a document of the assistant in the new version',
    {
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: [pdf(1)] },
        { role: 'user', content: 'b' },
      ],
    },
    ['assistant_document at messages[1].content[0]'],
    undefined,
    NEW_VERSION,
  ],
  [
    'citations of the user in the new version',
    user({ ...text('a'), citations: [{}] }),
    ['user_citations at messages[0].content[0].citations'],
    undefined,
    NEW_VERSION,
  ],
  ['citations of the user in the old version', user({ ...text('a'), citations: [{}] }), []],
  // media, claude-api.md 5.2
  ['an image', user(image({ width: 8_000, height: 10 })), []],
  [
    'an image of 8,001 pixels',
    user(image({ width: 8_001, height: 10 })),
    ['image_too_wide at messages[0].content[0].source'],
  ],
  [
    '21 images of 2,001 pixels',
    user(...Array.from({ length: 21 }, (_, i) => image({ width: i === 3 ? 2_001 : 9, height: 9 }))),
    ['image_too_wide at messages[0].content[3].source'],
  ],
  [
    '20 images of 2,001 pixels',
    user(...Array.from({ length: 20 }, () => image({ width: 2_001, height: 9 }))),
    [],
  ],
  ['an image of 10 MB in base64', user(image({ size_bytes: 7_500_000 })), []],
  [
    'a larger image',
    user(image({ size_bytes: 7_500_001 })),
    ['image_too_large at messages[0].content[0].source'],
  ],
  [
    'a larger image in base64',
    user({
      type: 'image',
      source: { type: 'base64', media_type: 'image/png', data: 'x'.repeat(10_000_001) },
    }),
    ['image_too_large at messages[0].content[0].source'],
  ],
  [
    'a bitmap',
    user({ type: 'image', source: { type: 'base64', media_type: 'image/bmp', data: 'x' } }),
    ['image_type at messages[0].content[0].source.media_type'],
  ],
  [
    'a bitmap in a tool result',
    user({
      type: 'tool_result',
      tool_use_id: 't',
      content: [{ type: 'image', source: { type: 'base64', media_type: 'image/bmp', data: 'x' } }],
    }),
    ['image_type at messages[0].content[0].content[0].source.media_type'],
  ],
  [
    '101 images on a window of 200k',
    user(...Array.from({ length: 101 }, () => image())),
    ['too_many_images at messages[0].content[100]'],
    'claude-haiku-4-5',
  ],
  ['101 images on a window of 1M', user(...Array.from({ length: 101 }, () => image())), []],
  [
    '601 images',
    user(...Array.from({ length: 601 }, () => image())),
    ['too_many_images at messages[0].content[600]'],
  ],
  ['600 pages', user(pdf(300), pdf(300)), []],
  ['601 pages', user(pdf(300), pdf(301)), ['too_many_pages at messages']],
  ['101 pages on a window of 200k', user(pdf(101)), ['too_many_pages at messages'], 'claude-haiku-4-5'],
  [
    'a title of 501',
    user(pdf(1, { title: 'x'.repeat(501) })),
    ['document_title_too_long at messages[0].content[0].title'],
  ],
  [
    'a text as a PDF',
    user({ type: 'document', source: { type: 'base64', media_type: 'text/plain', data: 'x' } }),
    ['document_type at messages[0].content[0].source.media_type'],
  ],
  // marks, claude-api.md 3.1
  [
    'four marks',
    { system: [text('a', '1h'), text('b', '1h')], ...user(text('c', '5m'), text('d', '5m')) },
    [],
  ],
  [
    'five marks',
    {
      system: [text('a', '5m'), text('b', '5m')],
      ...user(text('c', '5m'), text('d', '5m'), text('e', '5m')),
    },
    ['too_many_marks at messages[0].content[2].cache_control'],
  ],
  [
    'four marks and automatic caching',
    {
      cache_control: { type: 'ephemeral' },
      system: [text('a', '5m'), text('b', '5m')],
      ...user(text('c', '5m'), text('d', '5m'), text('e')),
    },
    ['too_many_marks at cache_control'],
  ],
  [
    'an hour after five minutes',
    { tools: [tool('a', { cache_control: { type: 'ephemeral' } })], system: [text('b', '1h')] },
    ['mark_order at system[0].cache_control.ttl'],
  ],
  [
    'five minutes after an hour',
    { tools: [tool('a', { cache_control: { type: 'ephemeral', ttl: '1h' } })], system: [text('b', '5m')] },
    [],
  ],
  [
    'an hour of automatic caching after five minutes',
    { cache_control: { type: 'ephemeral', ttl: '1h' }, system: [text('b', '5m')] },
    ['mark_order at cache_control.ttl'],
  ],
  [
    'automatic caching that disagrees with the last mark',
    { cache_control: { type: 'ephemeral' }, ...user(text('c', '1h')) },
    ['mark_conflict at cache_control.ttl'],
  ],
  [
    'automatic caching that agrees with the last mark',
    { cache_control: { type: 'ephemeral', ttl: '1h' }, ...user(text('c', '1h')) },
    [],
  ],
  ['no mark', { cache_control: null }, []],
  ['a mark for a day', user(text('c', '24h')), ['mark_invalid at messages[0].content[0].cache_control.ttl']],
  ['a mark of another type', { cache_control: { type: 'forever' } }, ['mark_invalid at cache_control']],
  [
    'a mark on thinking',
    {
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: [{ type: 'thinking', cache_control: { type: 'ephemeral' } }] },
        { role: 'user', content: 'b' },
      ],
    },
    ['mark_not_allowed at messages[1].content[0].cache_control'],
  ],
  // minimums, claude-api.md 3.3
  [
    'a mark below the minimum',
    { system: [text('a', '5m')] },
    ['?mark_below_minimum at system[0]'],
    'claude-sonnet-4-6',
    { prefixTokens: new Map([['system[0]', 1_023]]) },
  ],
  [
    'a mark at the minimum',
    { system: [text('a', '5m')] },
    [],
    'claude-sonnet-4-6',
    { prefixTokens: new Map([['system[0]', 1_024]]) },
  ],
  [
    'a mark below the minimum of its day',
    { system: [text('a', '5m')] },
    ['?mark_below_minimum at system[0]'],
    'claude-sonnet-4-6',
    { prefixTokens: new Map([['system[0]', 1_500]]), at: parseTimestamp('2026-03-15')! },
  ],
  [
    'automatic caching of a short prompt',
    { cache_control: { type: 'ephemeral' } },
    ['?mark_below_minimum at cache_control'],
    'claude-haiku-4-5',
    { promptTokens: 4_095 },
  ],
  // size
  [
    'a prompt as long as the window',
    {},
    ['?context_may_overflow at max_tokens'],
    'claude-haiku-4-5',
    { promptTokens: 200_000 },
  ],
  ['a longer prompt', {}, ['prompt_too_long at messages'], 'claude-haiku-4-5', { promptTokens: 200_001 }],
]

for (const [what, request, expected, model, part] of CASES) {
  test(`${expected.length === 0 ? 'passes' : 'reported'}: ${what}`, () => {
    assert.deepEqual(found(request, model, part), expected)
  })
}

test('several problems are reported at once, and none repeats the text of the prompt', () => {
  const secret = 'the-secret-of-the-prompt'
  const problems = problemsOf({
    stream: true,
    temperature: 7,
    tools: [tool('a'), tool('a')],
    messages: [{ role: 'user', content: [text(secret, '24h'), text('')] }],
  })
  assert.deepEqual(problems.map(({ code }) => code).toSorted(), [
    'duplicate_tool',
    'empty_text',
    'mark_invalid',
    'not_in_batch',
    'sampling_invalid',
  ])
  assert.doesNotMatch(JSON.stringify(problems), new RegExp(secret))
})

test('an API version takes away what its data says, whatever its name', () => {
  const document = { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'd' } }
  const request = {
    temperature: 0,
    messages: [
      { role: 'user', content: [{ ...text('a'), citations: [{}] }] },
      { role: 'assistant', content: [document] },
      { role: 'user', content: 'b' },
    ],
  }
  const nothing = {
    removesSamplingParameters: false,
    refusesAssistantDocuments: false,
    refusesUserCitations: false,
  }
  const under = (takes: Partial<typeof nothing>) => {
    const apiVersions = [{ id: '2027-01-01', ...nothing, ...takes }]
    const rules = { ...catalogue.rules, apiVersions }
    return found(request, undefined, { rules, settings: { apiVersion: '2027-01-01', betas: [] } })
  }
  assert.deepEqual(under({}), [])
  assert.deepEqual(under({ removesSamplingParameters: true }), ['sampling_not_in_version at temperature'])
  assert.deepEqual(under({ refusesAssistantDocuments: true }), [
    'assistant_document at messages[1].content[0]',
  ])
  assert.deepEqual(under({ refusesUserCitations: true }), [
    'user_citations at messages[0].content[0].citations',
  ])
})

test('what an API version has no longer is kept by another only where the model takes it', () => {
  const hint = (model: string) => problemsOf({ temperature: 0 }, model, NEW_VERSION)[0]!.hint
  assert.match(hint('claude-sonnet-4-6')!, /"api_version" to 2023-06-01/)
  assert.equal(hint('claude-opus-5'), 'remove it')
})

test('whatever stands in a request, checking it does not throw', () => {
  const odd: Json[] = [
    null,
    0,
    'x',
    true,
    [],
    [null],
    [[]],
    {},
    { type: 7 },
    { content: null },
    [{ type: 'image', source: 3 }],
  ]
  for (const key of [
    'messages',
    'system',
    'tools',
    'tool_choice',
    'thinking',
    'output_config',
    'cache_control',
    'metadata',
  ]) {
    for (const value of odd) problemsOf({ [key]: value })
    for (const value of odd) problemsOf({ messages: [{ role: 'user', content: value }], [key]: [value] })
  }
})
