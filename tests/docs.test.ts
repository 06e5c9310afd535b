import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { refreshed } from '../scripts/console-blocks.ts'
import { COMMANDS, GLOBAL_FLAGS } from '../src/cli/flags.ts'
import { parseArguments } from '../src/cli/parse.ts'
import { checkJobShape } from '../src/jobs/check-job-shape.ts'
import { JobSchema } from '../src/jobs/job-schema.ts'

// What the documents say is true: links lead somewhere, commands and flags exist, jobs have the shape of jobs, TypeScript
// compiles, and output is what is really printed.

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const FILES = globSync(['*.md', 'docs/**/*.md', 'examples/**/README.md'], { cwd: ROOT }).sort()
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')

const FENCE = /^```(\w*)\n([\s\S]*?)^```$/gm
const blocksOf = (file: string, ...languages: string[]) =>
  [...read(file).matchAll(FENCE)]
    .filter(([, language = '']) => languages.includes(language))
    .map(([, , body = '']) => body)

test('every relative link leads to a file, and every anchor to a heading', () => {
  assert.ok(FILES.includes('README.md') && FILES.includes('docs/ARCHITECTURE.md'))
  const broken = FILES.flatMap((file) =>
    [
      ...read(file)
        .replace(FENCE, '')
        .matchAll(/\]\(([^)\s]+)\)/g),
    ]
      .map(([, target = '']) => target)
      .filter((target) => !/^[a-z]+:/.test(target) && !leadsSomewhere(file, target))
      .map((target) => `${file}: ${target}`),
  )
  assert.deepEqual(broken, [])
})

function leadsSomewhere(file: string, target: string): boolean {
  const [path = '', anchor] = target.split('#')
  const full = path === '' ? join(ROOT, file) : join(ROOT, dirname(file), path)
  if (!existsSync(full)) return false
  if (anchor === undefined || statSync(full).isDirectory()) return anchor === undefined
  return [...readFileSync(full, 'utf8').matchAll(/^#+ (.+)$/gm)].some(
    ([, heading = '']) => anchor === slug(heading),
  )
}

/** As GitHub makes anchors. */
function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')
}

/** Commands in shell blocks, in inline code, and in the heads of example jobs. */
function commandsOf(file: string): string[] {
  const text = read(file)
  const lines = file.endsWith('.md')
    ? [
        ...blocksOf(file, 'sh', 'console').flatMap((body) => body.split('\n')),
        ...[...text.replace(FENCE, '').matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code),
      ]
    : [...text.matchAll(/^(?:#|\/\/) {3}(tithe .*)$/gm)].map(([, line = '']) => line)
  return lines.flatMap((line) => {
    const command = /^(?:\$ )?(?:[A-Z_]+=\S* )*(?:npx )?tithe (.+?)\s*(?:$| {2,}\S| #|[|>&;] ?.*$)/.exec(
      line,
    )?.[1]
    return command === undefined || /[<[…]/.test(command) ? [] : [command.trim()]
  })
}

test('every command and flag exists', () => {
  const examples = globSync('examples/*/job.{yaml,ts}', { cwd: ROOT })
  const commands = [...FILES, ...examples].flatMap((file) =>
    commandsOf(file).map((command) => [file, command] as const),
  )
  assert.ok(commands.length > 40, `${commands.length} commands found`)
  // `tithe plan` in a sentence names the command and no job.
  const wrong = commands.filter(([, command]) => !parses(command) && !parses(`${command} job.yaml`))
  assert.deepEqual(wrong, [])
})

test('every flag that stands alone in a sentence exists', () => {
  const spellings = [...COMMANDS.flatMap(({ flags }) => flags), ...GLOBAL_FLAGS].map(({ flags }) => flags)
  const known = new Set(spellings.flatMap((flags) => flags.match(/--[a-z-]+/g) ?? []))
  const mentioned = FILES.flatMap((file) =>
    [
      ...read(file)
        .replace(FENCE, '')
        .matchAll(/`(--[a-z-]+)[^`\n]*`/g),
    ].map(([, flag = '']) => [file, flag] as const),
  )
  assert.ok(mentioned.length > 10)
  assert.deepEqual(
    mentioned.filter(([, flag]) => !known.has(flag)),
    [],
  )
})

function parses(command: string): boolean {
  try {
    parseArguments(command.split(/\s+/))
    return true
  } catch {
    return false
  }
}

test('every key of a job has its place in the guide', () => {
  const guide = read('docs/guides/job-file.md')
  const missing = Object.keys(JobSchema.properties).filter((key) => !guide.includes(`\`${key}\``))
  assert.deepEqual(missing, [])
})

const PROOF = /\[([^\]]+)\]\(([^)\s]+\.ts)\)/g

test('every line of what happens when names tests, and each of them exists', () => {
  const guide = 'docs/guides/what-happens-when.md'
  const lines = read(guide)
    .split('\n')
    .filter((line) => /^\| (?!what \|)/.test(line))
  assert.ok(lines.length > 40, `${lines.length} lines`)
  const unproven = lines.filter((line) => {
    const proofs = [...line.matchAll(PROOF)]
    return (
      proofs.length === 0 ||
      !proofs.every(([, name = '', target = '']) => isTest(name, join(dirname(guide), target)))
    )
  })
  assert.deepEqual(unproven, [])
})

/** Whether a file has a test of that name. What a template puts into a name may be anything. */
function isTest(name: string, file: string): boolean {
  const titles = read(file).matchAll(/\b(?:test|it|stored)\(\s*(['"`])(.+?)\1,/g)
  return [...titles].some(([, , title = '']) => {
    const [start = '', ...rest] = title.split(/\$\{[^}]*\}/)
    const end = rest.at(-1)
    return end === undefined ? name === start : name.startsWith(start) && name.endsWith(end)
  })
}

test('every YAML block is a piece of a job', () => {
  let blocks = 0
  for (const file of FILES) {
    for (const body of blocksOf(file, 'yaml')) {
      blocks += 1
      const job = parse(body) as Record<string, unknown>
      const problems = checkJobShape(job, () => ({}))
      assert.deepEqual(problems, [], `${file}:\n${body}`)
    }
  }
  assert.ok(blocks > 5)
})

test('TypeScript in the documents compiles', () => {
  mkdirSync(join(ROOT, 'out'), { recursive: true })
  const folder = mkdtempSync(join(ROOT, 'out/docs-'))
  try {
    let blocks = 0
    for (const file of FILES) {
      for (const body of blocksOf(file, 'ts')) {
        blocks += 1
        writeFileSync(join(folder, `${file.replaceAll('/', '-')}-${blocks}.ts`), body)
      }
    }
    assert.ok(blocks > 0)
    const settings = {
      extends: '../../tsconfig.json',
      include: ['.'],
      compilerOptions: { noUnusedLocals: false },
    }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(settings))
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' })
    assert.equal(status, 0, stdout)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

for (const file of FILES.filter((name) => /^<!-- output/m.test(read(name)))) {
  test(`${file} shows what is printed today; npm run docs renews it`, () => {
    assert.equal(refreshed(read(file)), read(file))
  })
}
