import { Argument, Command as Commander, CommanderError, Option } from 'commander'
import packageJson from '../../package.json' with { type: 'json' }
import { TitheError } from '../core/errors.ts'
import { COMMANDS, type Command, type CommandName, type Flag, GLOBAL_FLAGS } from './flags.ts'

export type Parsed =
  | {
      readonly kind: 'command'
      readonly command: CommandName
      readonly args: readonly string[]
      readonly flags: Readonly<Record<string, string | boolean | undefined>>
    }
  | { readonly kind: 'help'; readonly text: string }

const EXIT_CODES = `
Exit codes: 0 all rows succeeded · 1 finished, some did not · 2 usage or
configuration · 3 upstream or store unavailable · 4 stopped for a human ·
5 in progress
`

/** What was typed, validated and nothing more: parsing does nothing. @throws TitheError `bad_command_line`. */
export function parseArguments(argv: readonly string[]): Parsed {
  let parsed: Parsed | null = null
  let text = ''
  const program = buildProgram((command, args, flags) => {
    parsed = { kind: 'command', command, args, flags }
  })
  const configure = (command: Commander) => {
    command.exitOverride()
    command.configureOutput({ writeOut: (part) => (text += part), writeErr: (part) => (text += part) })
    for (const child of command.commands) configure(child as Commander)
  }
  configure(program)
  try {
    program.parse(argv.length === 0 ? ['--help'] : [...argv], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return { kind: 'help', text }
    throw misspelt(error.message, argv)
  }
  return parsed ?? { kind: 'help', text: program.helpInformation() }
}

/** Commander's words, which end in its suggestion, as an error of ours. */
function misspelt(words: string, argv: readonly string[]): TitheError {
  const [, message = words, suggestion] = /^(?:error: )?(.*?)(?:\n\((.*)\))?$/s.exec(words.trim()) ?? []
  const known = COMMANDS.find((command) => argv.includes(command.name))
  const help = known === undefined ? 'tithe --help' : `tithe ${known.name} --help`
  return new TitheError('bad_command_line', message, {
    hint: `${suggestion === undefined ? '' : `${lowerFirst(suggestion)} `}'${help}' lists what there is`,
  })
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}

export function buildProgram(
  onCommand: (
    command: CommandName,
    args: string[],
    flags: Record<string, string | boolean | undefined>,
  ) => void,
): Commander {
  const program = new Commander('tithe')
    .description(
      'The optimisation layer for the Claude API: batches at half price, caches that are hit, bills that agree.',
    )
    .version(packageJson.version)
    .showSuggestionAfterError(true)
    .helpCommand(false)
    .addHelpText('after', EXIT_CODES)
  for (const command of COMMANDS) program.addCommand(buildCommand(command, onCommand))
  return program
}

function buildCommand(
  command: Command,
  onCommand: (
    command: CommandName,
    args: string[],
    flags: Record<string, string | boolean | undefined>,
  ) => void,
): Commander {
  const built = new Commander(command.name).summary(command.summary).description(command.doc)
  for (const arg of command.args) {
    built.addArgument(new Argument(arg.required ? `<${arg.name}>` : `[${arg.name}]`, arg.doc))
  }
  for (const flag of [...command.flags, ...GLOBAL_FLAGS]) built.addOption(optionOf(flag))
  built.addHelpText('after', examplesText(command))
  built.action((...values: unknown[]) => {
    const args = values
      .slice(0, command.args.length)
      .filter((value): value is string => typeof value === 'string')
    onCommand(command.name, args, built.opts())
  })
  return built
}

function optionOf(flag: Flag): Option {
  const option = new Option(flag.flags, flag.environment ? `${flag.doc} [$${flag.environment}]` : flag.doc)
  return flag.choices ? option.choices(flag.choices) : option
}

function examplesText(command: Command): string {
  const lines = command.examples.flatMap(([line, says]) => [
    ...(says === '' ? [] : [`  # ${says}`]),
    `  ${line}`,
  ])
  return `\nExamples:\n${lines.join('\n')}\n`
}
