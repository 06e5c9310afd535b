import { type Static, Type } from 'typebox'
import type { JsonObject } from '../core/json.ts'
import { API_VERSIONS, DEFAULT_API_VERSION } from './api-versions.ts'

// The job file as a schema: the authority for what a job may say. `title` says in a few words what is expected there,
// for error messages; `description` is for editors and docs/reference/job.schema.json, which is made from this file.

const strict = { additionalProperties: false } as const

const FreeObject = Type.Record(Type.String(), Type.Unknown(), { title: 'an object' })

const TextFile = Type.Object(
  {
    file: Type.String({ title: 'a path', description: 'UTF-8 text, relative to the job file.' }),
    literal: Type.Optional(
      Type.Boolean({
        title: 'true or false',
        description: 'true: braces in the file are text, not placeholders.',
      }),
    ),
  },
  { ...strict, title: '{file: path}' },
)

/** A content block as the API takes it: only its `type` is looked at here. */
export type JobBlock = JsonObject & { readonly type: string }

const block = (title: string) =>
  Type.Unsafe<JobBlock>(Type.Object({ type: Type.String({ title: 'a block type' }) }, { title }))

const Part = Type.Union(
  [
    Type.String(),
    TextFile,
    Type.Object(
      { attachment: Type.String({ title: 'a path or a template' }) },
      { ...strict, title: '{attachment: path}' },
    ),
    block('a content block of the API'),
  ],
  { title: 'a text, {file: path}, {attachment: path} or a content block of the API ({type: …})' },
)

const Parts = Type.Array(Part, { minItems: 1, title: 'a list of parts' })

const SystemPart = Type.Union([Type.String(), TextFile, block('a text block of the API')], {
  title: 'a text, {file: path} or a text block of the API',
})

const Rate = (what: string) =>
  Type.Optional(Type.Number({ minimum: 0, title: 'dollars per million tokens', description: what }))

const InputFile = Type.Object(
  {
    file: Type.String({ title: 'a path' }),
    format: Type.Optional(
      Type.Union(
        [
          Type.Literal('csv'),
          Type.Literal('tsv'),
          Type.Literal('jsonl'),
          Type.Literal('json'),
          Type.Literal('parquet'),
        ],
        {
          title: 'csv, tsv, jsonl, json or parquet',
          description: 'Where the name of the file does not show it.',
        },
      ),
    ),
    delimiter: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 1,
        title: 'one character',
        description: 'Of a CSV file, such as ";".',
      }),
    ),
  },
  { ...strict, title: '{file: path}' },
)

const Input = Type.Union(
  [
    Type.String(),
    Type.Array(FreeObject, { title: 'a list of rows' }),
    InputFile,
    Type.Object(
      {
        files: Type.Union([Type.String(), Type.Array(Type.String({ title: 'a pattern' }))], {
          title: 'a pattern or a list of patterns',
        }),
      },
      { ...strict, title: '{files: pattern}' },
    ),
    Type.Object(
      { rows: Type.Array(FreeObject, { title: 'a list of rows' }) },
      { ...strict, title: '{rows: […]}' },
    ),
  ],
  {
    title: 'a path, a pattern, {file, format}, {files: pattern} or a list of rows',
    description:
      'CSV, TSV, JSONL, JSON or Parquet; or a pattern such as invoices/*.pdf whose files are the rows, with the columns path, name, stem and text.',
  },
)

export const JobSchema = Type.Object(
  {
    $schema: Type.Optional(Type.String({ title: 'a text', description: 'For editors; has no effect.' })),
    name: Type.Optional(
      Type.String({ title: 'a text', description: 'Shown in lists. Default: the name of the file.' }),
    ),
    model: Type.Optional(Type.String({ title: 'a model id', description: 'A model id or alias.' })),
    models: Type.Optional(
      Type.Array(Type.String({ title: 'a model id' }), {
        minItems: 1,
        title: 'a list of model ids',
        description: 'Instead of model: every row is sent to each of them, to compare accuracy and cost.',
      }),
    ),
    max_tokens: Type.Optional(
      Type.Integer({
        minimum: 1,
        title: 'a number of tokens',
        description: 'Output tokens at most, per row.',
      }),
    ),
    system: Type.Optional(
      Type.Union([Type.String(), TextFile, Type.Array(SystemPart, { title: 'a list of system parts' })], {
        title: 'a text, {file: path} or a list of blocks',
        description:
          'The system prompt. Shared by all rows, and cached, as long as it holds no placeholder. file:path is short for {file: path}.',
      }),
    ),
    tools: Type.Optional(
      Type.Union([TextFile, Type.Array(FreeObject, { title: 'a list of tools' })], {
        title: '{file: path} or a list of tools',
        description: 'Tool definitions as the API takes them, or a JSON file with a list of them.',
      }),
    ),
    prompt: Type.Optional(
      Type.Union([Type.String(), TextFile, Parts], {
        title: 'a text, {file: path} or a list of parts',
        description:
          'The user message. {{column}} stands for a value of the row; \\{{ is a literal brace. Text before the first placeholder becomes a block of its own, which can be cached.',
      }),
    ),
    messages: Type.Optional(
      Type.Array(
        Type.Object(
          {
            role: Type.Union([Type.Literal('user'), Type.Literal('assistant'), Type.Literal('system')], {
              title: 'user, assistant or system',
            }),
            content: Type.Union([Type.String(), TextFile, Parts], {
              title: 'a text, {file: path} or a list of parts',
            }),
          },
          { ...strict, title: '{role, content}' },
        ),
        {
          minItems: 1,
          title: 'a list of messages',
          description: 'Instead of prompt: a whole conversation, with examples for instance.',
        },
      ),
    ),
    attachments: Type.Optional(
      Type.Array(Type.String({ title: 'a column or a path' }), {
        title: 'a list of columns or paths',
        description:
          'PNG, JPEG, GIF, WebP or PDF files, placed before the text of the last user message: columns that hold paths (photo; photo? where it may be empty), templates (scans/{{id}}.png) or paths. Relative to the job file.',
      }),
    ),
    output: Type.Optional(
      Type.Object(
        {
          schema: Type.Union([Type.String(), FreeObject], {
            title: 'a JSON Schema or the path of one',
            description:
              'Answers are JSON of this schema (output_config.format); each is checked against it.',
          }),
        },
        { ...strict, title: '{schema: …}', description: 'What an answer must look like.' },
      ),
    ),
    expected_output: Type.Optional(
      Type.Number({
        minimum: 0,
        title: 'a number of tokens',
        description: 'Output tokens of a typical row, for the forecast. Otherwise measured by the probe.',
      }),
    ),
    params: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        title: 'an object of request parameters',
        description:
          'Forwarded untouched: thinking, output_config.effort, tool_choice, stop_sequences, metadata …',
      }),
    ),
    api_version: Type.Optional(
      Type.Unsafe<string>(
        Type.Union(
          API_VERSIONS.map((version) => Type.Literal(version)),
          {
            title: API_VERSIONS.join(' or '),
            description: `The header anthropic-version. Default: ${DEFAULT_API_VERSION}.`,
          },
        ),
      ),
    ),
    betas: Type.Optional(
      Type.Array(Type.String({ title: 'a beta name' }), {
        title: 'a list of beta names',
        description: 'The header anthropic-beta.',
      }),
    ),
    input: Type.Optional(Input),
    id: Type.Optional(
      Type.String({
        title: 'a column',
        description:
          'The column whose value names the row, unique. Default: the number of the row, or the file name.',
      }),
    ),
    overrides: Type.Optional(
      Type.Object(
        {
          model: Type.Optional(
            Type.String({ title: 'a column', description: 'Column that holds a model id.' }),
          ),
          params: Type.Optional(
            Type.String({ title: 'a column', description: 'Column that holds request parameters as JSON.' }),
          ),
          api_version: Type.Optional(Type.String({ title: 'a column' })),
          betas: Type.Optional(
            Type.String({
              title: 'a column',
              description: 'Column that holds beta names, separated by commas.',
            }),
          ),
        },
        {
          ...strict,
          title: '{model: column, params: column}',
          description: 'Columns by which a row differs from the job. An empty value keeps what the job says.',
        },
      ),
    ),
    expect: Type.Optional(
      Type.Object(
        {
          column: Type.String({ title: 'a column', description: 'Holds the right answers.' }),
          match: Type.Optional(
            Type.Union([Type.Literal('exact'), Type.Literal('json'), Type.Literal('fields')], {
              title: 'exact, json or fields',
              description:
                'exact (default): the same text; json: the same JSON; fields: the share of equal keys.',
            }),
          ),
          field: Type.Optional(
            Type.String({ title: 'a key', description: 'The key of a JSON answer that is compared.' }),
          ),
        },
        {
          ...strict,
          title: '{column, match}',
          description: 'Makes the job an evaluation: accuracy beside cost.',
        },
      ),
    ),
    within: Type.Optional(
      Type.String({ title: 'a duration such as 6h', description: 'How long the results can wait.' }),
    ),
    budget: Type.Optional(
      Type.Union([Type.Number(), Type.String()], {
        title: 'dollars, such as 25, "$25" or "25 soft"',
        description: 'No wave is sent whose worst case would pass it; with soft, whose expected cost would.',
      }),
    ),
    cache: Type.Optional(
      Type.Union(
        [
          Type.Literal('auto'),
          Type.Literal('off'),
          Type.Object(
            { ttl: Type.Union([Type.Literal('5m'), Type.Literal('1h')], { title: '5m or 1h' }) },
            { ...strict, title: '{ttl: 5m or 1h}' },
          ),
        ],
        {
          title: 'auto, off or {ttl: 5m or 1h}',
          description: 'Default: auto, marks where they are expected to pay.',
        },
      ),
    ),
    batch: Type.Optional(
      Type.Union([Type.Literal('auto'), Type.Literal('off')], {
        title: 'auto or off',
        description: 'Default: auto. off: realtime at full price.',
      }),
    ),
    tier: Type.Optional(
      Type.Union([Type.Literal('start'), Type.Literal('build'), Type.Literal('scale')], {
        title: 'start, build or scale',
        description: 'The usage tier of your account, for the rate limits. Default: start.',
      }),
    ),
    prices: Type.Optional(
      Type.Record(
        Type.String(),
        Type.Object(
          {
            input: Rate('Input.'),
            output: Rate('Output.'),
            write_5m: Rate('Cache writes of 5 minutes.'),
            write_1h: Rate('Cache writes of 1 hour.'),
            read: Rate('Cache reads.'),
          },
          { ...strict, title: '{input, output, write_5m, write_1h, read}' },
        ),
        {
          title: 'rates by model id',
          description:
            'Contract rates in dollars per million tokens, realtime; they replace the published prices.',
        },
      ),
    ),
    upstream: Type.Optional(
      Type.String({
        title: 'local, anthropic or a URL',
        description: 'Default: local, which spends nothing.',
      }),
    ),
    max_attempts: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 20,
        title: 'a number from 1 to 20',
        description: 'Per row. Default: 3.',
      }),
    ),
    on_truncated: Type.Optional(
      Type.Union([Type.Literal('keep'), Type.Literal('retry')], {
        title: 'keep or retry',
        description:
          'An answer cut at max_tokens: keep it (default), or ask again with twice the room, which is paid for again.',
      }),
    ),
    on_refused: Type.Optional(
      Type.Union([Type.Literal('keep'), Type.Literal('retry')], {
        title: 'keep or retry',
        description:
          'An answer that the model refused: keep it (default), or ask again, which is paid for again.',
      }),
    ),
    on_schema_invalid: Type.Optional(
      Type.Union([Type.Literal('keep'), Type.Literal('retry')], {
        title: 'keep or retry',
        description:
          'An answer that does not fit output.schema: keep it (default), or ask again, which is paid for again.',
      }),
    ),
    on_deadline: Type.Optional(
      Type.Union([Type.Literal('realtime'), Type.Literal('pay_twice'), Type.Literal('announce')], {
        title: 'realtime, pay_twice or announce',
        description:
          'When batches would be later than `within`: cancel them in time and answer what they have not done in realtime (default); as well what a batch has not given back by then, though it may be paid for twice; or only say so.',
      }),
    ),
    delete_remote: Type.Optional(
      Type.Union([Type.Literal('never'), Type.Literal('after_ingest')], {
        title: 'never or after_ingest',
        description: 'Whether a batch is deleted at the API once its results are stored. Default: never.',
      }),
    ),
    presume_lost_after: Type.Optional(
      Type.String({
        title: 'a duration such as 30m',
        description:
          'How long the list of batches may not show a create whose answer was lost before its rows are sent again. Default: 30m, an assumption.',
      }),
    ),
    rows: Type.Optional(
      Type.Integer({
        minimum: 1,
        title: 'a number of rows',
        description: 'Instead of input, with tokens: sizes for a plan without data.',
      }),
    ),
    tokens: Type.Optional(
      Type.Object(
        {
          shared: Type.Integer({
            minimum: 0,
            title: 'a number of tokens',
            description: 'The same in every row.',
          }),
          own: Type.Integer({ minimum: 0, title: 'a number of tokens', description: 'Of one row alone.' }),
          output: Type.Integer({ minimum: 0, title: 'a number of tokens', description: 'Of one answer.' }),
        },
        { ...strict, title: '{shared, own, output}', description: 'Plan only: sizes of one row.' },
      ),
    ),
  },
  {
    ...strict,
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'a Tithe job',
    description:
      'What to send to the Claude API for every row of an input, and how long and how much it may take.',
  },
)

export type JobFile = Static<typeof JobSchema>
export type JobInput = NonNullable<JobFile['input']>
export type InputFile = Static<typeof InputFile>
export type InputFormat = NonNullable<InputFile['format']>
export type JobPart = Static<typeof Part>

/** docs/reference/job.schema.json, byte for byte. */
export function jobSchemaJson(): string {
  return `${JSON.stringify(JobSchema, null, 2)}\n`
}
