/** What `tithe init` writes: a job that runs as it stands, with every common key explained. */
export function starterJob(): string {
  return `# A Tithe job. \`tithe plan job.yaml\` says what it costs, \`tithe run job.yaml\` runs it.
# Nothing is spent until you say so: the default upstream is local and simulated.
# yaml-language-server: $schema=node_modules/tithe/docs/reference/job.schema.json

name: tickets
model: claude-haiku-5-5       # or models: [ … ] to compare several; \`tithe models\` lists them
max_tokens: 200               # the most output tokens of one row
expected_output: 15           # of a typical row; left out, the first rows measure it

# The same for every row: it goes first and is cached. A long text is best kept in a file:
# system: {file: handbook.md}
system: |
  You sort support tickets. Answer with the category and the urgency of the ticket.

# {{column}} stands for a value of the row. Keep what all rows share above the first placeholder.
# Literal braces are written \\{{.
prompt: |
  Ticket:
  {{text}}

# Columns that hold paths of images or PDFs, relative to this file; a question mark where it may be empty.
# attachments: [photo?]

# Any other request parameter, forwarded untouched. This model thinks before it answers unless told not to.
params:
  thinking: {type: disabled}

# Answers as JSON of this schema, each one checked.
output:
  schema:
    type: object
    properties:
      category: {type: string, enum: [billing, technical, other]}
      urgency: {type: string, enum: [low, high]}
    required: [category, urgency]
    additionalProperties: false

# CSV, TSV, JSONL, JSON or Parquet (input: tickets.csv), files as rows (input: tickets/*.txt), or rows written here.
input:
  - {ticket: T-1, text: I was charged twice in May., category: billing}
  - {ticket: T-2, text: The app closes when I open my profile., category: technical}
  - {ticket: T-3, text: Do you have an office in Lyon?, category: other}
id: ticket                    # names the rows in the results; left out, they are numbered

# With right answers in a column, the report shows accuracy beside cost.
expect: {column: category, match: exact, field: category}

# within: 6h                  # how long the results can wait
# budget: 5                   # dollars that the run may never pass
# cache: auto                 # off, or {ttl: 1h}
# batch: auto                 # off: realtime at full price
# upstream: anthropic         # the real API, with ANTHROPIC_API_KEY
`
}
