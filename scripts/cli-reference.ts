import type { Command, Flag } from '../src/cli/flags.ts'

/** docs/reference/cli.md, from the table that the parser and `--help` are made from. */
export function cliReference(commands: readonly Command[], globalFlags: readonly Flag[]): string {
  const parts = [
    '# The command line',
    'Made from `src/cli/flags.ts` by `npm run docs`.',
    'stdout carries data only; progress and messages go to stderr. Every command takes these:',
    flagTable(globalFlags),
    'Exit codes: 0 all rows succeeded · 1 finished, some did not · 2 usage or configuration · 3 upstream or store ' +
      'unavailable · 4 stopped for a human · 5 in progress.',
    ...commands.flatMap(commandParts),
  ]
  return `${parts.join('\n\n')}\n`
}

function commandParts(command: Command): string[] {
  const args = command.args.map(({ name, required }) => (required ? ` <${name}>` : ` [${name}]`)).join('')
  const parts = [
    `## tithe ${command.name}`,
    `\`tithe ${command.name}${args}\` – ${command.summary}.`,
    command.doc,
  ]
  if (command.args.length > 0) {
    parts.push(command.args.map(({ name, doc }) => `- \`${name}\`: ${doc}`).join('\n'))
  }
  if (command.flags.length > 0) parts.push(flagTable(command.flags))
  const examples = command.examples.map(([line, says]) => (says === '' ? line : `${line}   # ${says}`))
  parts.push(`\`\`\`sh\n${examples.join('\n')}\n\`\`\``)
  return parts
}

function flagTable(flags: readonly Flag[]): string {
  const rows = flags.map(({ flags: spelling, doc, choices, environment }) => {
    const extra = [
      choices === undefined ? '' : ` One of ${choices.map((choice) => `\`${choice}\``).join(', ')}.`,
      environment === undefined ? '' : ` Environment: \`${environment}\`.`,
    ]
    return `| \`${spelling}\` | ${`${doc}${extra.join('')}`.replaceAll('|', '\\|')} |`
  })
  return ['| flag | |', '|---|---|', ...rows].join('\n')
}
