import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

// Output in the documents is real: a `console` block under the comment `<!-- output -->` holds what its commands print,
// written by `npm run docs` and compared by tests/docs.test.ts. The commands of one document run in one folder, one after
// the other. `<!-- output keep: A > B; C > D -->` keeps the lines from the first that holds A to the next that holds B,
// and so on; what is left out is a line of `…`.

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const BLOCK = /<!-- output(?: keep: (.+?))? -->\n\n?```console\n([\s\S]*?)```/g

/** The document with every block as it is printed today. A block that differs only in what no two runs share is kept. */
export function refreshed(markdown: string): string {
  const blocks = [...markdown.matchAll(BLOCK)]
  if (blocks.length === 0) return markdown
  const shell = new Shell()
  try {
    let text = markdown
    for (const [whole, keep, body = ''] of blocks) {
      const commands = body.split('\n').filter((line) => line.startsWith('$ '))
      const ranges = rangesOf(keep)
      const outputs = commands.map((command) => [command, shell.run(command.slice(2))] as const)
      const printed = outputs.flatMap(([command, lines]) => [command, ...kept(lines, ranges)])
      const unused = ranges.find((range) => !range.used)
      if (unused) throw new Error(`nothing printed holds "${unused.from}":\n${outputs.flat(2).join('\n')}`)
      const fresh = `${printed.join('\n')}\n`
      if (comparable(fresh) !== comparable(body))
        text = text.replace(whole, () => whole.replace(body, () => fresh))
    }
    return text
  } finally {
    shell.close()
  }
}

/** Without ids, clock times, what depends on the rows that a probe drew, and the version of the facts. */
function comparable(text: string): string {
  return text
    .replace(/^.*\b(batch \d|batch latency|msgbatch_).*$/gm, (line) =>
      line.replace(/[\d.]+ (kB|MB|B|s|min|h)\b/g, 'n'),
    )
    .replace(/^ {2}note: .*$/gm, (line) => line.replace(/[\d.,]+/g, 'n'))
    .replace(/\br[0-9a-v]{9}\b/g, 'run')
    .replace(/\bmsgbatch_\w+/g, 'batch')
    .replace(/\b\d\d:\d\d:\d\d\b/g, 'time')
    .replace(/price book \S+/g, 'price book')
}

/** The lines of `ranges`; all of them where no range begins: it belongs to another command of the block. */
function kept(lines: readonly string[], ranges: readonly Range[]): string[] {
  const shown: string[] = []
  let next = 0
  for (const range of ranges) {
    const start = lines.findIndex((line, i) => i >= next && line.includes(range.from))
    if (start === -1) continue
    const end = lines.findIndex((line, i) => i >= start && line.includes(range.to))
    if (end === -1) throw new Error(`no line after "${range.from}" holds "${range.to}":\n${lines.join('\n')}`)
    range.used = true
    if (start > next) shown.push('…')
    shown.push(...lines.slice(start, end + 1))
    next = end + 1
  }
  if (next === 0) return [...lines]
  return next < lines.length ? [...shown, '…'] : shown
}

interface Range {
  readonly from: string
  readonly to: string
  used: boolean
}

function rangesOf(keep: string | undefined): Range[] {
  return (keep?.split('; ') ?? []).map((range) => {
    const [from = '', to = from] = range.split(' > ')
    return { from, to, used: false }
  })
}

/** A folder with the examples in it, and a shell in which `npx tithe` and `npm run` are the program of this checkout. */
class Shell {
  readonly #folder = mkdtempSync(join(tmpdir(), 'tithe-docs-'))
  #lastCode = 0

  constructor() {
    symlinkSync(join(ROOT, 'examples'), join(this.#folder, 'examples'))
  }

  /** Lines of stdout and stderr in the order in which they came. */
  run(command: string): string[] {
    const file = join(this.#folder, '.printed')
    const output = openSync(file, 'w')
    const program = `'${process.execPath}' '${join(ROOT, 'bin/tithe.js')}'`
    const script = [
      `npx() { shift; ${program} "$@"; }`,
      `npm() { shift; ${program} "$@"; }`,
      `code() { return ${this.#lastCode}; }`,
      `code; ${command}`,
    ].join('\n')
    const { TITHE_HOME: _, ...inherited } = process.env
    const env = { ...inherited, ANTHROPIC_API_KEY: '', NO_COLOR: '1' }
    const { status } = spawnSync('bash', ['-c', script], {
      cwd: this.#folder,
      env,
      stdio: ['ignore', output, output],
    })
    closeSync(output)
    this.#lastCode = status ?? 1
    const printed = readFileSync(file, 'utf8')
      .replace(/^.*\bKilled\b.*$/m, 'Killed')
      .trimEnd()
    return printed === '' ? [] : printed.replace(/^\n+/, '').split('\n')
  }

  close(): void {
    rmSync(this.#folder, { recursive: true })
  }
}
