import type { Files } from './tithe.ts'

// Everything that a user can get wrong in a job or its input, with what must be said about it.

export interface Mistake {
  /** A sentence: what was done. */
  readonly made: string
  readonly files: Files
  /** What is run; default `run job.yaml`. */
  readonly args?: readonly string[]
  /** Parts of what is said: what is wrong, where it stands, what to do. */
  readonly says: readonly string[]
}

const ROWS = 'id,text\n1,hello\n2,bye\n'

/** A good job whose first lines are always these, so that a test can name the line of what it adds. */
function job(extra = '', changes: Readonly<Record<string, string>> = {}): string {
  const lines = { model: 'claude-opus-5', max_tokens: '4000', prompt: '"Sort: {{text}}"', input: 'rows.csv' }
  const text = Object.entries({ ...lines, ...changes }).map(([key, value]) => `${key}: ${value}\n`)
  return `${text.join('')}${extra}`
}

function inJob(made: string, extra: string, says: readonly string[], files: Files = {}): Mistake {
  return { made, files: { 'job.yaml': job(extra), 'rows.csv': ROWS, ...files }, says }
}

function inInput(made: string, name: string, content: string | Uint8Array, says: readonly string[]): Mistake {
  return { made, files: { 'job.yaml': job('', { input: name }), [name]: content }, says }
}

/** The parameter matrix: what a model or a batch does not take, said of the job and not of each row. */
function refused(made: string, model: string, params: string, says: readonly string[], extra = ''): Mistake {
  const files = { 'job.yaml': job(`params: ${params}\n${extra}`, { model }), 'rows.csv': ROWS }
  return { made, files, says: ['job.yaml:5', ...says] }
}

const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)

function png(width: number, height: number): Buffer {
  const image = Buffer.from(PNG)
  image.writeUInt32BE(width, 16)
  image.writeUInt32BE(height, 20)
  return image
}

function pdf(pages: number): string {
  const kids = Array.from({ length: pages }, (_, index) => `${index + 3} 0 R`)
  const objects = kids.map(
    (_, index) => `${index + 3} 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>> endobj`,
  )
  return `%PDF-1.4\n1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj\n2 0 obj <</Type/Pages/Kids[${kids.join(' ')}]/Count ${pages}>> endobj\n${objects.join('\n')}\ntrailer <</Root 1 0 R>>\n%%EOF\n`
}

function attached(
  made: string,
  name: string,
  content: string | Uint8Array | null,
  says: readonly string[],
): Mistake {
  const files = {
    'job.yaml': job('attachments: [photo]\n', { model: 'claude-haiku-4-5' }),
    'rows.csv': `text,photo\nhello,${name}\n`,
    ...(content === null ? {} : { [name]: content }),
  }
  return { made, files, says: ['rows.csv:2', ...says, '1 of 1 rows cannot be sent', 'nothing was sent'] }
}

function batchLine(custom_id: string, changes: object = {}): string {
  const messages = [{ role: 'user', content: 'hello' }]
  return `${JSON.stringify({ custom_id, params: { model: 'claude-sonnet-4-6', max_tokens: 9, messages, ...changes } })}\n`
}

function inBatchFile(made: string, lines: string, says: readonly string[]): Mistake {
  return {
    made,
    files: { 'batch.jsonl': lines },
    args: ['run', 'batch.jsonl'],
    says: [...says, 'nothing was sent'],
  }
}

function onCommandLine(
  made: string,
  args: readonly string[],
  says: readonly string[],
  files: Files = {},
): Mistake {
  return { made, files: { 'job.yaml': job(), 'rows.csv': ROWS, ...files }, args, says }
}

const MARK = 'cache_control: {type: ephemeral}'

export const MISTAKES: Readonly<Record<string, readonly Mistake[]>> = {
  'the job file': [
    inJob('an unknown key', 'max_token: 3\n', ['job.yaml:5:1', '`max_token`', 'did you mean `max_tokens`?']),
    inJob('an unknown key deeper down', 'output: {shema: {}}\n', [
      'job.yaml:5:10 output.shema',
      'did you mean `schema`?',
    ]),
    inJob('a request parameter at the top', 'temperature: 0\n', [
      '`temperature`',
      'request parameters go under `params`',
    ]),
    inJob('a value of the wrong type', 'max_attempts: often\n', [
      'job.yaml:5:15 max_attempts',
      'must be a number from 1 to 20, not "often"',
    ]),
    inJob('a key that stands twice', 'model: claude-opus-5\n', ['job.yaml:5:1', 'keep one']),
    inJob('a duration that is none', 'within: soon\n', ['job.yaml:5:9 within', '"soon"', '90m, 6h, 2d']),
    inJob('an amount that is none', 'budget: lots\n', ['job.yaml:5:9 budget', '"lots"', 'write dollars']),
    inJob('a mistyped upstream', 'upstream: antropic\n', [
      'job.yaml:5:11 upstream',
      '"antropic"',
      'anthropic (the real API)',
    ]),
    inJob('a parameter that is a key of its own', 'params: {model: x}\n', [
      'params.model',
      'write `model` at the top',
    ]),
    inJob('several slips at once', 'within: soon\nbudget: lots\nmodle: x\n', [
      'within: `within` is not a duration',
      'budget: `budget` is not an amount',
      '`modle`',
      'job.yaml has 3 errors',
      'nothing was sent',
    ]),
    { made: 'no job file', files: {}, says: ['there is no file job.yaml', 'check the path'] },
    { made: 'an empty job file', files: { 'job.yaml': '' }, says: ['job.yaml holds no job', 'tithe init'] },
    { made: 'a folder as a job', files: { 'job.yaml/x': '' }, says: ['job.yaml is a directory'] },
    {
      made: 'an input as a job',
      files: { 'rows.csv': ROWS },
      args: ['run', 'rows.csv'],
      says: ['rows.csv is an input, not a job', 'input: rows.csv'],
    },
    {
      made: 'YAML that does not parse',
      files: { 'job.yaml': 'model: [a\nmax_tokens: 3\n' },
      says: ['job.yaml:2:1', 'is not valid YAML', 'quotes'],
    },
    {
      made: 'a tab',
      files: { 'job.yaml': 'output:\n\tschema: a.json\n' },
      says: ['job.yaml:2:1', 'indent with spaces'],
    },
    {
      made: 'a placeholder without quotes',
      files: { 'job.yaml': job('', { prompt: '{{text}}' }), 'rows.csv': ROWS },
      says: ['job.yaml:3:10', 'put quotes around', '"{{column}}"'],
    },
    {
      made: 'JSON that does not parse',
      files: { 'job.json': '{"model": "claude-opus-5", "input"' },
      args: ['run', 'job.json'],
      says: ['job.json:1', 'is not valid JSON'],
    },
    {
      made: 'a program that does not export a job',
      files: { 'job.mts': 'export const job = {}\n' },
      args: ['run', 'job.mts'],
      says: ['job.mts', 'no job as its default export', 'export default defineJob'],
    },
    {
      made: 'sizes instead of rows',
      files: { 'job.yaml': 'model: claude-opus-5\nrows: 9\ntokens: {shared: 9, own: 9, output: 9}\n' },
      says: ['states sizes instead of giving rows', 'can be planned, not run', 'give it an input'],
    },
    {
      made: 'an unknown model',
      files: { 'job.yaml': job('', { model: 'claude-opus5' }), 'rows.csv': ROWS },
      says: ['job.yaml:1:8 model', 'no model is called claude-opus5', 'did you mean claude-opus-5?'],
    },
    {
      made: 'a retired model',
      files: { 'job.yaml': job('', { model: 'claude-3-opus-20240229' }), 'rows.csv': ROWS },
      says: ['job.yaml:1:8 model', 'was retired on 2026-01-05', 'use claude-opus-'],
    },
    inJob('rates for a model that does not exist', 'prices: {claude-opus-55: {input: 1}}\n', [
      'prices.claude-opus-55',
      'did you mean claude-opus-5',
    ]),
  ],

  'files that the job names': [
    {
      made: 'a missing input',
      files: { 'job.yaml': job() },
      says: ['job.yaml:4:8 input', 'there is no file rows.csv'],
    },
    inJob('a missing system file', 'system: {file: handbook.md}\n', [
      'job.yaml:5',
      'no file handbook.md',
      'relative to the job file',
    ]),
    inJob('a missing system file in one word', 'system: file:handbook.md\n', [
      'job.yaml:5:9 system',
      'no file handbook.md',
    ]),
    inJob('a missing schema file', 'output: {schema: a.json}\n', [
      'job.yaml:5:18 output.schema',
      'no file a.json',
    ]),
    inJob(
      'a schema file that is not JSON',
      'output: {schema: a.json}\n',
      ['a.json is not JSON', 'mend the file'],
      {
        'a.json': '{"type": }',
      },
    ),
    inJob(
      'a pattern that matches nothing',
      '',
      ['input', 'no file matches docs/*.md', 'relative to the job file'],
      {
        'job.yaml': job('', { input: 'docs/*.md' }),
      },
    ),
    inJob(
      'a system file that is not UTF-8',
      'system: {file: a.md}\n',
      ['a.md is not UTF-8', 'line 2', 'iconv'],
      {
        'a.md': Buffer.from('one\ncaf\xe9\n', 'latin1'),
      },
    ),
  ],

  'the input': [
    inInput('ragged lines', 'rows.csv', 'id,text\n1,hello\n2,a,b\n3\n', [
      'rows.csv:3: line 3 of rows.csv has 3 fields, the header 2',
      'rows.csv:4: line 4 of rows.csv has 1 field',
      '2 of 3 rows cannot be sent',
      '--skip-invalid',
      'nothing was sent',
    ]),
    inInput('Latin 1', 'rows.csv', Buffer.from('text\nhello\ncaf\xe9\n', 'latin1'), [
      'rows.csv:3',
      'not UTF-8: line 3, byte 14 (0xe9)',
      'iconv -f WINDOWS-1252',
    ]),
    inInput('UTF-16', 'rows.csv', Buffer.from('\ufefftext\nhello\n', 'utf16le'), [
      'rows.csv:1',
      'is UTF-16',
      'iconv -f UTF-16',
    ]),
    inInput('a quote that is never closed', 'rows.csv', 'text\n"hello\nbye\n', [
      'rows.csv:2',
      'never closed',
      '""',
    ]),
    inInput('a column named twice', 'rows.csv', 'text,text\n1,2\n', [
      'rows.csv:1',
      '"text" twice',
      'rename one',
    ]),
    inInput('another delimiter', 'rows.csv', 'id;text\n1;hello\n', [
      '{{text}} names no column',
      'delimiter: ";"',
    ]),
    inInput('a header and no rows', 'rows.csv', 'text\n', ['job.yaml:4:8 input', 'holds no rows: rows.csv']),
    inInput('an empty file', 'rows.csv', '', ['job.yaml:4:8 input', 'holds no rows: rows.csv']),
    inInput('a format that is not read', 'rows.xlsx', 'x', [
      'job.yaml:4:8 input',
      'rows.xlsx',
      'csv | tsv | jsonl',
    ]),
    inInput('a bad line of JSONL', 'rows.jsonl', '{"text":"a"}\n{"text": oops}\n', [
      'rows.jsonl:2: line 2 of rows.jsonl is not JSON',
      '1 of 2 rows cannot be sent',
      '--skip-invalid',
    ]),
    inInput('nothing but bad lines', 'rows.jsonl', '{oops}\n{oops}\n', [
      'rows.jsonl:1',
      'is not JSON',
      'mend the file',
    ]),
    inInput('a list that is cut', 'rows.json', '[{"text":"a"},\n{"text":"b"', [
      'rows.json:2',
      'ends in the middle',
      'not closed',
    ]),
    inInput('an object for a list', 'rows.json', '{"text":"a"}', [
      'rows.json:1',
      'holds no rows',
      'an array of objects',
    ]),
    inInput('no Parquet', 'rows.parquet', 'hello', ['rows.parquet cannot be read as Parquet']),
    inInput('a row without the value', 'rows.jsonl', '{"text":"a"}\n{"txt":"b"}\n', [
      'rows.jsonl:2',
      'no value for {{text}}',
      'null for nothing',
    ]),
    {
      made: 'a placeholder without a column',
      files: { 'job.yaml': job('', { prompt: '"Sort: {{txt}}"' }), 'rows.csv': ROWS },
      says: ['job.yaml:3:9 prompt', '{{txt}} names no column', 'did you mean {{text}}?', 'columns: id, text'],
    },
    {
      made: 'a placeholder that is not closed',
      files: { 'job.yaml': job('', { prompt: '"Sort: {{text"' }), 'rows.csv': ROWS },
      says: ['job.yaml:3:9 prompt', 'begins no placeholder', '{{column}}'],
    },
    inJob('an id column that is not there', 'id: key\n', ['job.yaml:5:5 id', '"key"', 'columns: id, text']),
    inJob(
      'duplicate ids',
      'id: id\n',
      ['rows.csv:4', 'the id "1" stands in line 2 and in line 4', 'make them unique'],
      {
        'rows.csv': 'id,text\n1,a\n2,b\n1,c\n',
      },
    ),
    inJob('an empty id', 'id: id\n', ['rows.csv:2', 'the id in "id" is empty', 'leave `id` out'], {
      'rows.csv': 'id,text\n,a\n2,b\n',
    }),
    inJob('expected answers that are not there', 'expect: {column: label}\n', [
      'expect.column',
      '"label"',
      'columns: id, text',
    ]),
    inJob(
      'an unknown model in a row',
      'overrides: {model: by}\n',
      ['rows.csv:2', 'claude-opus5', 'did you mean claude-opus-5?'],
      {
        'rows.csv': 'text,by\na,claude-opus5\nb,\n',
      },
    ),
    inJob(
      'parameters of a row that are not JSON',
      'overrides: {params: with}\n',
      ['rows.csv:2', '"with" is not JSON'],
      {
        'rows.csv': 'text,with\na,{oops\nb,\n',
      },
    ),
    {
      made: 'a prompt that a row leaves empty',
      files: { 'job.yaml': job('', { prompt: '"{{text}}"' }), 'rows.csv': 'id,text\n1,a\n2,\n' },
      says: ['rows.csv:3', 'leaves the prompt empty', '1 of 2 rows cannot be sent'],
    },
  ],

  attachments: [
    attached('a missing image', 'a.png', null, ['there is no file a.png', 'relative to the job file']),
    {
      made: 'a folder',
      files: {
        'job.yaml': job('attachments: [photo]\n'),
        'rows.csv': 'text,photo\nhello,a.png\n',
        'a.png/x': '',
      },
      says: ['rows.csv:2', 'a.png is a directory'],
    },
    attached('an empty image', 'a.png', '', ['a.png is empty']),
    attached('a mislabelled image', 'a.jpg', PNG, [
      'a.jpg is named as JPEG but holds PNG',
      'rename it to a.png',
    ]),
    attached('a damaged image', 'a.png', PNG.subarray(0, 20), [
      'a.png is a damaged PNG file',
      'save it again',
    ]),
    attached('a text as an image', 'a.png', 'hello', [
      'none of the kinds the API reads',
      'PNG, JPEG, GIF, WebP and PDF',
    ]),
    attached('a kind that is not read', 'a.tiff', 'II*\0aaaa', ['a.tiff is a TIFF file', 'convert it']),
    attached('an image too wide', 'a.png', png(9_000, 10), [
      '9000 × 10 pixels, at most 8000',
      'scale the image down',
    ]),
    attached('an image too heavy', 'a.png', Buffer.concat([PNG, Buffer.alloc(8_000_000)]), [
      'in base64, at most 10000000',
      'scale',
    ]),
    attached('a damaged PDF', 'a.pdf', '%PDF-1.4 nothing', ['a.pdf is a damaged PDF file', 'save it again']),
    attached('a PDF of too many pages', 'a.pdf', pdf(101), [
      '101 PDF pages',
      'at most 100',
      'split the document',
    ]),
    {
      made: 'too many images in a row',
      files: {
        'job.yaml': job(`attachments: [${Array(101).fill('a.png').join(', ')}]\n`, {
          model: 'claude-haiku-4-5',
        }),
        'rows.csv': ROWS,
        'a.png': PNG,
      },
      says: ['101 images', 'at most 100 in a request', 'split the row'],
    },
    {
      made: 'a row that names no file',
      files: { 'job.yaml': job('attachments: [photo]\n'), 'rows.csv': 'text,photo\nhello,\n' },
      says: ['rows.csv:2', 'names no file in "photo"', 'photo?'],
    },
  ],

  'what the API refuses': [
    refused('stream', 'claude-opus-5', '{stream: true}', ['`stream`', 'nobody to stream to']),
    refused('speed', 'claude-opus-5', '{speed: fast}', ['"speed" is refused in a batch', 'remove it']),
    refused('fallbacks', 'claude-opus-5', '{fallbacks: [a]}', [
      '"fallbacks" is refused in a batch',
      'second run',
    ]),
    refused('temperature', 'claude-opus-5', '{temperature: 0}', [
      'params.temperature',
      'does not take temperature',
    ]),
    refused('top_p', 'claude-opus-5', '{top_p: 0.5}', ['params.top_p', 'does not take top_p']),
    refused('a temperature out of range', 'claude-sonnet-4-6', '{temperature: 2}', ['between 0 and 1']),
    refused(
      'temperature in the newer version',
      'claude-sonnet-4-6',
      '{temperature: 0}',
      ['API version 2026-10-21 has no temperature', '2023-06-01'],
      'api_version: 2026-10-21\n',
    ),
    refused('thinking by budget', 'claude-opus-5', '{thinking: {type: enabled, budget_tokens: 2000}}', [
      'params.thinking.type',
      'does not take thinking of type "enabled"',
      '"adaptive"',
    ]),
    refused('thinking turned off', 'claude-fable-5', '{thinking: {type: disabled}}', ['always thinks']),
    refused('thinking that is no object', 'claude-opus-5', '{thinking: true}', ['one of adaptive, enabled']),
    refused(
      'too small a thinking budget',
      'claude-haiku-4-5',
      '{thinking: {type: enabled, budget_tokens: 9}}',
      ['from 1024 on'],
    ),
    refused(
      'a thinking budget above max_tokens',
      'claude-haiku-4-5',
      '{thinking: {type: enabled, budget_tokens: 4001}}',
      ['less than max_tokens 4000', 'raise max_tokens'],
    ),
    refused('an effort that does not exist', 'claude-opus-5', '{output_config: {effort: huge}}', [
      'one of low, medium',
    ]),
    refused('an effort where there is none', 'claude-haiku-4-5', '{output_config: {effort: low}}', [
      'has no effort',
      'remove',
    ]),
    refused('an effort that it does not take', 'claude-opus-4-6', '{output_config: {effort: xhigh}}', [
      'does not take effort "xhigh"',
      'it takes low',
    ]),
    refused(
      'a forced tool',
      'claude-opus-5-5',
      '{tool_choice: {type: any}}',
      ['does not take tool_choice of type "any"', 'use auto'],
      'tools: [{name: x, input_schema: {type: object}}]\n',
    ),
    refused(
      'a choice of a tool that is not there',
      'claude-opus-5',
      '{tool_choice: {type: tool, name: y}}',
      ['names a tool that is not in tools'],
      'tools: [{name: x, input_schema: {type: object}}]\n',
    ),
    refused('a place of inference', 'claude-haiku-4-5', '{inference_geo: us}', [
      'does not take inference_geo',
    ]),
    refused('an unknown place of inference', 'claude-opus-5', '{inference_geo: eu}', ['"us" or "global"']),
    refused('an unknown service tier', 'claude-opus-5', '{service_tier: priority}', [
      '"auto" or "standard_only"',
    ]),
    refused('a user id too long', 'claude-opus-5', `{metadata: {user_id: ${'x'.repeat(513)}}}`, [
      '513 characters; 512',
    ]),
    refused('an empty stop sequence', 'claude-opus-5', '{stop_sequences: [""]}', ['non-empty strings']),
    {
      made: 'an assistant message to continue',
      files: {
        'job.yaml':
          'model: claude-opus-5\nmax_tokens: 4000\ninput: rows.csv\nmessages:\n  - {role: user, content: "{{text}}"}\n  - {role: assistant, content: "{"}\n',
        'rows.csv': ROWS,
      },
      says: ['job.yaml:6', 'does not continue an assistant message', 'output_config.format'],
    },
    {
      made: 'the role system',
      files: {
        'job.yaml':
          'model: claude-sonnet-5\nmax_tokens: 4000\ninput: rows.csv\nmessages:\n  - {role: system, content: x}\n  - {role: user, content: "{{text}}"}\n',
        'rows.csv': ROWS,
      },
      says: ["role 'system' is not supported", 'top-level "system"'],
    },
    inJob('a tool with a bad name', 'tools: [{name: a b, input_schema: {type: object}}]\n', [
      'job.yaml:5',
      'tools[0].name',
    ]),
    inJob('a tool without a schema', 'tools: [{name: ab}]\n', [
      'job.yaml:5',
      'tools[0].input_schema',
      '"type": "object"',
    ]),
    inJob(
      'a schema that is not compiled',
      'output:\n  schema:\n    type: object\n    properties: {a: {type: integer, minimum: 1}}\n',
      [
        'job.yaml:7:5 output.schema',
        '"additionalProperties": false',
        'limits a number by "minimum"',
        'has 2 errors',
      ],
    ),
    inJob(
      'a schema that refers to itself',
      'output:\n  schema: {type: object, additionalProperties: false, properties: {a: {$ref: "#"}}}\n',
      ['job.yaml:6:11 output.schema', 'leads back to itself'],
    ),
    inJob('a schema that is none', 'output: {schema: {type: objekt}}\n', [
      'job.yaml:5:18 output.schema',
      'no valid JSON Schema',
    ]),
    inJob(
      'more than 4 marks',
      `system:\n${[1, 2, 3, 4, 5].map((i) => `  - {type: text, text: t${i}, ${MARK}}\n`).join('')}`,
      ['job.yaml:10', '5 blocks have cache_control; the API takes at most 4', 'keep those at the ends'],
    ),
    inJob(
      '1h after 5m',
      `system:\n  - {type: text, text: a, ${MARK}}\n  - {type: text, text: b, cache_control: {type: ephemeral, ttl: 1h}}\n`,
      ['job.yaml:7', 'comes after the 5m mark at system[0]', '1h marks must come first'],
    ),
    {
      made: 'max_tokens above the limit of the model',
      files: { 'job.yaml': job('', { max_tokens: '128001' }), 'rows.csv': ROWS },
      says: ['job.yaml:2:13 max_tokens', '128001 > 128000', 'output-300k'],
    },
    {
      made: 'a prompt longer than the context',
      files: {
        'job.yaml': job('', { model: 'claude-haiku-4-5' }),
        'rows.csv': `text\n${'word '.repeat(240_000)}\n`,
      },
      says: ['rows.csv:2', 'takes 200000', 'shorten it'],
    },
  ],

  'a budget that could not hold': [
    inJob(
      'a server tool without max_uses',
      'budget: 5\ntools: [{type: web_search_20250305, name: web_search}]\n',
      ['job.yaml:6:9 tools[0].max_uses', 'no budget can hold', 'add max_uses'],
    ),
    {
      made: 'a server tool without max_uses, and the budget on the command line',
      files: {
        'job.yaml': job('tools: [{type: web_search_20250305, name: web_search}]\n'),
        'rows.csv': ROWS,
      },
      args: ['run', 'job.yaml', '--budget', '5'],
      says: ['tools[0].max_uses', 'no budget can hold'],
    },
    {
      made: 'a model without a price',
      files: { 'job.yaml': job('budget: 5\n', { model: 'claude-mythos-preview' }), 'rows.csv': ROWS },
      says: ['claude-mythos-preview has no price', 'prices'],
    },
    {
      made: 'a model of another server without a price',
      files: { 'job.yaml': job('upstream: http://127.0.0.1:9\n', { model: 'llama' }), 'rows.csv': ROWS },
      args: ['run', 'job.yaml', '--budget', '5'],
      says: ['llama has no price', 'state its rates under `prices`'],
    },
  ],

  "Anthropic's own batch format": [
    inBatchFile(
      'stream, speed and max_tokens: 0',
      batchLine('a', { stream: true }) +
        batchLine('b', { speed: 'fast' }) +
        batchLine('c', { max_tokens: 0 }),
      [
        'batch.jsonl:1 params.stream: "stream" is refused in a batch',
        'batch.jsonl:2 params.speed',
        'batch.jsonl:3 params.max_tokens: max_tokens: 0 is refused in a batch',
        '3 of 3 rows cannot be sent',
      ],
    ),
    inBatchFile(
      'the same slip in every line',
      Array.from({ length: 30 }, (_, i) => batchLine(`r${i}`, { stream: true })).join(''),
      ['batch.jsonl:1 params.stream', '(and 19 more like it)', '30 of 30 rows cannot be sent'],
    ),
    inBatchFile('a line that is not JSON', `${batchLine('a')}{oops\n`, [
      'batch.jsonl:2: line 2 of batch.jsonl is not JSON',
      '--skip-invalid',
    ]),
    inBatchFile('an id twice', batchLine('a') + batchLine('b') + batchLine('a'), [
      'batch.jsonl:3 custom_id',
      'in line 1 and in line 3',
    ]),
    inBatchFile('a key too many', `${JSON.stringify({ custom_id: 'a', params: {}, method: 'POST' })}\n`, [
      'batch.jsonl:1 method',
      'no key "method"',
    ]),
    inBatchFile('a retired model', batchLine('a', { model: 'claude-3-opus-20240229' }), [
      'batch.jsonl:1 params.model',
      'was retired',
    ]),
  ],

  'the command line': [
    onCommandLine('an unknown command', ['pln', 'job.yaml'], ["unknown command 'pln'", 'did you mean plan?']),
    onCommandLine(
      'an unknown flag',
      ['run', 'job.yaml', '--budgt', '5'],
      ["unknown option '--budgt'", 'did you mean --budget?'],
    ),
    onCommandLine('no job', ['run'], ["missing required argument 'job'", "'tithe run --help'"]),
    onCommandLine(
      'a choice that there is not',
      ['plan', 'job.yaml', '--tier', 'gold'],
      ['gold', 'start, build, scale'],
    ),
    onCommandLine(
      'a duration that is none',
      ['run', 'job.yaml', '--within', '0h'],
      ['--within', '90m or 6h, not 0h'],
    ),
    onCommandLine('an amount that is none', ['run', 'job.yaml', '--budget', '-1'], ['--budget']),
    onCommandLine(
      'a speed without real time',
      ['run', 'job.yaml', '--speed', '3'],
      ['--speed goes with --real-time'],
    ),
    onCommandLine(
      'no rows to try',
      ['try', 'job.yaml', '-n', '0'],
      ['-n takes a whole number above 0, not 0'],
    ),
    onCommandLine(
      'results into a folder that is not there',
      ['run', 'job.yaml', '-o', 'out/a.csv'],
      ['out/a.csv', 'does not exist'],
    ),
    onCommandLine(
      'results into a folder',
      ['run', 'job.yaml', '-o', 'a.csv'],
      ['a.csv: it is a directory', 'a.csv/results.jsonl'],
      { 'a.csv/x': '' },
    ),
    onCommandLine(
      'results in a format that there is not',
      ['run', 'job.yaml', '-o', 'a.xlsx'],
      ['a.xlsx', '.jsonl, .csv or .parquet'],
    ),
    onCommandLine(
      'the real API without a key',
      ['run', 'job.yaml', '--upstream', 'anthropic'],
      ['ANTHROPIC_API_KEY is not set', '--upstream local'],
    ),
    onCommandLine(
      'a doctor without a spend',
      ['doctor'],
      ['doctor needs --spend: the most that it may spend', 'tithe doctor --spend 0.05'],
    ),
    onCommandLine(
      'a spend of nothing',
      ['doctor', '--spend', '0'],
      ['--spend takes dollars such as 12.50, not 0'],
    ),
    onCommandLine(
      'a spend in which no check fits',
      ['doctor', '--spend', '0.00001'],
      ['not one check fits into the spend: nothing was sent', 'all of them together may cost $0.00'],
    ),
    onCommandLine(
      'measurements that are damaged',
      ['plan', 'job.yaml'],
      ['measured.json', 'visits[0].at', "'tithe doctor' measures again"],
      { '.tithe/measured.json': '{"schema": "tithe.measured/1", "visits": [{}]}' },
    ),
    onCommandLine(
      'measurements of a later version',
      ['doctor', '--spend', '0.05'],
      ['measured.json', 'kept as tithe.measured/2, not tithe.measured/1', 'another version of tithe'],
      { '.tithe/measured.json': '{"schema": "tithe.measured/2"}' },
    ),
    onCommandLine(
      'a configuration with an unknown key',
      ['plan', 'job.yaml'],
      ['tithe.yaml hom', 'unknown key hom', 'did you mean home?'],
      { 'tithe.yaml': 'hom: x\n' },
    ),
    onCommandLine('a run that is not there', ['status', 'r123'], ['no run begins with r123']),
    onCommandLine('no run at all', ['results'], ['there is no run yet', 'tithe run job.yaml']),
    onCommandLine(
      'a starter over a file',
      ['init', 'job.yaml'],
      ['job.yaml is there already', 'name another file'],
    ),
  ],
}
