// The command line as a table: the parser, `--help` and docs/reference/cli.md are made from it.

/** What was typed: the values of flags by their camelCase names. */
export type Flags = Readonly<Record<string, string | boolean | undefined>>

export interface Flag {
  /** `--json`, or with a short form and a value: `-n, --rows <n>`. As commander reads it. */
  readonly flags: string
  readonly doc: string
  readonly choices?: readonly string[]
  /** The environment variable that sets it where the flag is absent. */
  readonly environment?: string
}

export interface Command {
  readonly name: CommandName
  readonly summary: string
  /** More than the summary, for `--help` and the reference. */
  readonly doc: string
  readonly args: readonly { readonly name: string; readonly required: boolean; readonly doc: string }[]
  readonly flags: readonly Flag[]
  readonly examples: readonly (readonly [command: string, says: string])[]
}

export type CommandName =
  | 'plan'
  | 'try'
  | 'run'
  | 'resume'
  | 'retry'
  | 'status'
  | 'results'
  | 'cancel'
  | 'report'
  | 'doctor'
  | 'forget'
  | 'recover'
  | 'reconcile'
  | 'models'
  | 'demo'
  | 'init'

const JOB = {
  name: 'job',
  required: true,
  doc: "a job file (YAML, JSON, or TypeScript with defineJob), or a JSONL of {custom_id, params} lines, Anthropic's own batch format",
}
const RUN = {
  name: 'run',
  required: false,
  doc: 'a run id or a unique beginning of one; the latest run when left out',
}

export const GLOBAL_FLAGS: readonly Flag[] = [
  { flags: '--json', doc: 'print data as JSON on stdout, and errors as JSON on stderr' },
  {
    flags: '--home <dir>',
    doc: 'where runs live (default: the nearest .tithe here or in a parent folder, else a new .tithe here)',
    environment: 'TITHE_HOME',
  },
]

const UPSTREAM_FLAGS: readonly Flag[] = [
  {
    flags: '--upstream <name>',
    doc: 'who answers: local is embedded, needs no key and costs nothing; anthropic is the real API (default: the job, else local)',
    choices: ['local', 'anthropic'],
    environment: 'TITHE_UPSTREAM',
  },
  {
    flags: '--base-url <url>',
    doc: 'another address for the upstream anthropic',
    environment: 'ANTHROPIC_BASE_URL',
  },
]

const PACE_FLAGS: readonly Flag[] = [
  {
    flags: '--real-time',
    doc: 'on the local upstream, let batches take their time instead of skipping ahead',
  },
  { flags: '--speed <n>', doc: 'with --real-time: n times as fast' },
  {
    flags: '--concurrency <n>',
    doc: 'on the local upstream: rows of a batch that run at the same time (default: 32)',
  },
]

const JOB_FLAGS: readonly Flag[] = [
  {
    flags: '--skip-invalid',
    doc: 'leave out rows that cannot be sent; they are reported with the outcome invalid',
  },
  { flags: '--within <duration>', doc: "how long you can wait, such as 6h; overrides the job's within" },
  {
    flags: '--budget <dollars>',
    doc: 'the most that may be spent; "25 soft" goes by what is expected; overrides the job\'s budget',
  },
  {
    flags: '--tier <name>',
    doc: 'your usage tier, for limits and finish times',
    choices: ['start', 'build', 'scale'],
    environment: 'TITHE_TIER',
  },
  { flags: '--exact', doc: 'count the tokens of all text, however much there is' },
]

export const COMMANDS: readonly Command[] = [
  {
    name: 'plan',
    summary: 'price a job by every route before anything is sent',
    doc: 'Reads the job and its rows, counts tokens, finds what rows share, and prices each route with its band. Sends nothing.',
    args: [JOB],
    flags: [
      ...JOB_FLAGS,
      {
        flags: '--models',
        doc: 'price the job on every current model, with its tokenizer and what it would refuse',
      },
      ...UPSTREAM_FLAGS,
    ],
    examples: [
      ['tithe plan examples/tickets/job.yaml', 'routes, costs, where the marks go'],
      ['tithe plan job.yaml --models', 'the same job on every current model'],
      ['tithe plan batch.jsonl --json', "a plan of Anthropic's own batch format, as data"],
    ],
  },
  {
    name: 'try',
    summary: 'answer a few rows in realtime and show them',
    doc: 'Sends a sample of rows one by one over Messages and prints prompt, answer, validation and cost. Nothing is stored.',
    args: [JOB],
    flags: [
      { flags: '-n, --rows <n>', doc: 'how many rows (default: 5)' },
      ...JOB_FLAGS.slice(0, 1),
      ...UPSTREAM_FLAGS,
      { flags: '--yes', doc: 'do not ask before spending on a real key' },
    ],
    examples: [['tithe try job.yaml -n 3', 'three rows, answered now']],
  },
  {
    name: 'run',
    summary: 'plan a job, run it to the end and account for it',
    doc:
      'Shows the plan, then runs it: primer, probe, waves of batches. Can be interrupted at any instant; resume goes on. ' +
      'A job that already has a finished run is not bought again unless you say --again.',
    args: [JOB],
    flags: [
      { flags: '--yes', doc: 'do not ask before spending on a real key' },
      { flags: '--again', doc: 'run a finished job a second time' },
      { flags: '--detach', doc: 'go on in the background and exit with 5' },
      { flags: '-o, --output <file>', doc: 'write the results there as well: .jsonl, .csv or .parquet' },
      ...JOB_FLAGS,
      ...UPSTREAM_FLAGS,
      ...PACE_FLAGS,
    ],
    examples: [
      ['tithe run examples/tickets/job.yaml', 'on the embedded upstream: no key, no cost'],
      ['tithe run job.yaml --upstream anthropic', 'on the real API; asks before it spends'],
      ['tithe run job.yaml --yes --json > report.json', 'from a script'],
    ],
  },
  {
    name: 'resume',
    summary: 'go on with a run that was interrupted, stopped or detached',
    doc: 'Reads only the home, not the job file. A run that stopped for a human goes on: calling this is the decision.',
    args: [RUN],
    flags: [
      {
        flags: '--once',
        doc: 'do what is due now and come back with 5 while the run is in progress: for cron',
      },
      { flags: '--budget <dollars>', doc: 'go on with another budget: 40, or "40 soft"' },
      { flags: '-o, --output <file>', doc: 'write the results there when the run has finished' },
      ...PACE_FLAGS,
    ],
    examples: [
      ['tithe resume', 'the latest run'],
      ['tithe resume r01k --once', 'one step, from cron'],
    ],
  },
  {
    name: 'retry',
    summary: 'send rows without a usable answer again, by the job as it is now',
    doc:
      'For a run that is over or stopped. The rows are rendered again from the job file, go out within the same run, and the ' +
      'newest answer counts; what came before stays as history and cost. Shows what it would send and the most that it costs. ' +
      'max_attempts and within count anew.',
    args: [RUN],
    flags: [
      {
        flags: '--only <outcome>',
        doc: 'only rows of one kind; unretrievable ones, which may have been paid for, only so',
        choices: [
          'errored',
          'expired',
          'truncated',
          'invalid',
          'refused',
          'schema_invalid',
          'unfinished',
          'canceled',
          'unretrievable',
        ],
      },
      { flags: '--job <file>', doc: 'the job file, where it is not where the run began' },
      { flags: '--yes', doc: 'do not ask before spending on a real key' },
      { flags: '--budget <dollars>', doc: 'with another budget, for the whole run: 40, or "40 soft"' },
      { flags: '-o, --output <file>', doc: 'write the results there when the run has finished' },
      ...PACE_FLAGS,
    ],
    examples: [
      ['tithe retry --only truncated', 'the latest run, after max_tokens was raised in the job'],
      ['tithe retry r01k', 'everything that has no usable answer'],
    ],
  },
  {
    name: 'status',
    summary: 'where a run stands, batch by batch',
    doc: 'Reads the store only: it asks no upstream and disturbs no driver.',
    args: [RUN],
    flags: [{ flags: '--watch', doc: 'print again whenever something changed, until the run has ended' }],
    examples: [['tithe status --watch', 'follow the latest run']],
  },
  {
    name: 'results',
    summary: 'the results of a run as JSONL, CSV or Parquet',
    doc: "Each row with your id and columns, outcome, answer, stop reason, tokens by class and cost. --raw gives Anthropic's own results lines with your ids.",
    args: [RUN],
    flags: [
      {
        flags: '-o, --output <file>',
        doc: 'a file instead of stdout; .jsonl, .csv and .parquet choose the format',
      },
      { flags: '--format <name>', doc: 'the format on stdout', choices: ['jsonl', 'csv'] },
      { flags: '--raw', doc: "Anthropic's results JSONL, as received, with your ids" },
      {
        flags: '--only <outcome>',
        doc: 'only rows of one kind',
        choices: [
          'succeeded',
          'errored',
          'canceled',
          'expired',
          'invalid',
          'unretrievable',
          'refused',
          'truncated',
          'schema_invalid',
          'unfinished',
        ],
      },
    ],
    examples: [
      ['tithe results -o results.parquet', 'the latest run'],
      ['tithe results --only errored', 'what went wrong'],
    ],
  },
  {
    name: 'cancel',
    summary: 'cancel a run; rows that are done keep their results',
    doc: 'Cancels its batches upstream, waits until they have ended, and keeps and accounts for every row that was answered.',
    args: [RUN],
    flags: PACE_FLAGS,
    examples: [['tithe cancel r01k', '']],
  },
  {
    name: 'report',
    summary: 'what a run cost, saved and got right',
    doc: 'Cost by model and token class, savings against realtime, cache hit rate, forecast and its error, accuracy where expected answers were given.',
    args: [RUN],
    flags: [],
    examples: [['tithe report --json', 'the latest run, as data']],
  },
  {
    name: 'reconcile',
    summary: "compare the ledger with the provider's own count of usage",
    doc:
      'Holds the measured entries of all runs of this home against a usage export, by UTC day, model, tier and token class. ' +
      'Exits with 1 when the ledger claims what the export lacks; more in the export may be other programs. Asks no upstream.',
    args: [
      {
        name: 'file',
        required: true,
        doc: "the export: the CSV of the Console's usage page, or pages of the Admin API's usage_report/messages by model and service_tier, as JSON or JSONL",
      },
    ],
    flags: [
      {
        flags: '--workspace <name>',
        doc: 'only rows of this workspace, as the export names it; Default for the default one',
      },
      { flags: '--api-key <name>', doc: 'only rows of this API key, as the export names it' },
      {
        flags: '--exclusive',
        doc: 'nobody else uses what was exported: exit with 1 for more in the export, too',
      },
      {
        flags: '--simulated',
        doc: 'compare the entries of the local upstream instead, to try it without a key',
      },
    ],
    examples: [
      ['tithe reconcile claude_api_tokens_2026_11.csv', "the Console's export"],
      ['tithe reconcile usage.jsonl --workspace Default --exclusive', 'a workspace of its own, to the token'],
    ],
  },
  {
    name: 'doctor',
    summary: 'measure an upstream within a stated spend, for later plans',
    doc:
      'Checks workspace, API versions, hits behind a primer, whether realtime and batches share a cache, reads across TTLs, ' +
      'and how long batches and cancels take. A check begins only if its worst case fits into what is left of the spend. ' +
      'What was found is kept in the home, and plans for this upstream reckon with it.',
    args: [],
    flags: [
      { flags: '--spend <dollars>', doc: 'the most that it may spend, such as 0.05; always needed' },
      { flags: '--yes', doc: 'do not ask before spending on a real key' },
      ...UPSTREAM_FLAGS,
      ...PACE_FLAGS,
    ],
    examples: [
      ['tithe doctor --spend 0.05 --upstream anthropic', 'on a real key; asks before it spends'],
      ['tithe doctor --spend 0.05 --json', 'on the embedded upstream: simulated, and free'],
    ],
  },
  {
    name: 'forget',
    summary: 'remove the content of a run and keep its ledger',
    doc:
      'Removes requests, answers, columns, ids and error texts of a run from the home, down to the bytes on the disk. Outcomes, ' +
      'tokens and money stay, so the report keeps its figures. Cannot be undone. For a run that is finished or canceled, while ' +
      'nothing in the home is driven.',
    args: [RUN],
    flags: [
      { flags: '--remote', doc: 'delete its batches at the upstream as well' },
      { flags: '--yes', doc: 'do not ask' },
    ],
    examples: [['tithe forget r01k --remote', 'here and at the upstream']],
  },
  {
    name: 'recover',
    summary: 'rebuild a lost run from the batches of the workspace',
    doc:
      'For a home that is gone: lists the batches of the workspace, finds those whose custom_ids are of this job, and rebuilds ' +
      'the run with their results and what they cost. Sends nothing. Rows that no batch has answered wait for resume.',
    args: [JOB],
    flags: [
      { flags: '--run <run>', doc: 'which run, when several fit the job: its id or a beginning of it' },
      {
        flags: '--accept-unknown',
        doc: 'do not wait for batches that cannot be read: rows that they may have answered can be sent, and paid for, again',
      },
      ...JOB_FLAGS,
      ...UPSTREAM_FLAGS,
    ],
    examples: [['tithe recover job.yaml --upstream anthropic', 'the home was lost, the batches were not']],
  },
  {
    name: 'models',
    summary: 'every model with prices, cache minimums, tokenizer and retirement',
    doc: 'The dated facts that plans and bills are computed from, with their sources.',
    args: [],
    flags: [{ flags: '--all', doc: 'retired models too' }],
    examples: [['tithe models --json', '']],
  },
  {
    name: 'demo',
    summary: 'run the tickets and invoices examples on the embedded upstream',
    doc: 'Plan, progress, results and report of two real workloads. Needs no key, sends nothing anywhere.',
    args: [],
    flags: [
      {
        flags: '--chaos',
        doc: 'one example with lost answers, refusals, cut results, an expired batch and a kill -9 instead',
      },
    ],
    examples: [
      ['tithe demo', ''],
      ['tithe demo --chaos', 'everything that can go wrong, and what became of it'],
    ],
  },
  {
    name: 'init',
    summary: 'write a commented starter job',
    doc: 'Writes job.yaml, or the file named, with every key explained. Never overwrites.',
    args: [{ name: 'file', required: false, doc: 'where to write it (default: job.yaml)' }],
    flags: [],
    examples: [['tithe init tickets.yaml', '']],
  },
]
