// What keeps the shape of the project: which way imports go, and what may not be written where. Pure: files come in as
// text, findings go out, so that the rules themselves are tested on bad examples in memory.

export interface Finding {
  readonly file: string
  /** 1-based. */
  readonly line: number
  readonly message: string
}

/** Path from the root of the repository, with slashes → text. */
export type Files = ReadonlyMap<string, string>

interface Import {
  readonly file: string
  readonly line: number
  readonly specifier: string
  /** The imported file, for a relative specifier. */
  readonly target: string | null
  readonly isTypeOnly: boolean
}

// -- which way imports go --

/** A folder's face: these import core and one another only, and folders use each other only through them. */
const INTERFACE_FILES = [
  'src/stores/store.ts',
  'src/stores/served-store.ts',
  'src/upstreams/upstream.ts',
  'src/runtime/runtime.ts',
  'src/gateway/parking.ts',
  'src/server/controls.ts',
]

/** Folder of src → folders that it may import besides itself. Interface files are open to all but the pure ones. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  facts: ['core'],
  tokens: ['core'],
  schemas: ['core'],
  stores: ['core'],
  upstreams: ['core'],
  runtime: ['core'],
  jobs: ['core', 'facts'],
  batches: ['core', 'facts'],
  runs: ['core', 'facts'],
  gateway: ['core', 'facts'],
  server: ['core', 'facts', 'gateway', 'runs', 'batches'],
}
/** Files outside src that are data to it. */
const SHIPPED_DATA = ['package.json', 'docs/reference/job.schema.json']
const PURE_FOLDERS = ['core', 'facts', 'tokens', 'schemas']
/** Their classes are built in wiring.ts; the terminal receives them ready. */
const EFFECT_FOLDERS = ['stores', 'upstreams', 'runtime', 'batches', 'gateway', 'server']
const MAY_IMPORT_WIRING = ['src/index.ts', 'src/testing.ts']
/** A second cache and a second bill are worth something only as long as they share no code with the first. */
const INDEPENDENT = /^src\/upstreams\/local\/(cache|invoice)[^/]*\.ts$/

function wrongDirection({ file, target, isTypeOnly, specifier }: Import): string | null {
  const from = folderOf(file)
  if (target === null) {
    if (from === 'core' && specifier !== 'node:crypto') {
      return `core imports ${specifier}: it is pure and may use node:crypto only; take what you need as an argument`
    }
    return null
  }
  const to = folderOf(target)
  if (target === 'src/index.ts') return 'nothing imports index.ts: import the file that holds the thing'
  if (target === 'src/wiring.ts') {
    return from === 'cli' || MAY_IMPORT_WIRING.includes(file)
      ? null
      : 'only cli, index.ts and testing.ts import wiring.ts: take what it builds as an argument'
  }
  if (INDEPENDENT.test(file) && to === 'core' && !isTypeOnly) {
    return `${file} imports code from ${target}: it may import types only, so that the two check each other`
  }
  if (INTERFACE_FILES.includes(file)) {
    const isFine = to === 'core' || INTERFACE_FILES.includes(target)
    return isFine ? null : `an interface file imports ${target}: it may import core only`
  }
  if (from === to || from === null || SHIPPED_DATA.includes(target)) return null
  if (from === 'cli') {
    const isConcrete = to !== null && EFFECT_FOLDERS.includes(to) && !INTERFACE_FILES.includes(target)
    return isConcrete && !isTypeOnly
      ? `cli imports ${target}: build it in wiring.ts and take it from there`
      : null
  }
  const allowed = MAY_IMPORT[from]
  if (allowed === undefined)
    return `src/${from} is not in the table of tests/tidy.ts: add it and what it may import`
  if (to !== null && allowed.includes(to)) return null
  if (!PURE_FOLDERS.includes(from) && INTERFACE_FILES.includes(target)) return null
  const may = allowed.length === 0 ? 'only core' : allowed.join(', ')
  return `${from} imports ${target}: imports go down only, and ${from} may import ${may}${
    PURE_FOLDERS.includes(from) ? '' : ' and the interface files'
  }; move the code down or take it as an argument`
}

// -- what may not be written where --

interface Ban {
  readonly pattern: RegExp
  readonly message: string
  readonly appliesTo: (file: string) => boolean
}

const outside =
  (...folders: string[]) =>
  (file: string) =>
    file.startsWith('src/') && !isTestFile(file) && !folders.includes(folderOf(file) ?? '')

const BANS: readonly Ban[] = [
  {
    pattern: /\bDate\.now\(|\bnew Date\(\)/,
    message: 'ask clock.now()',
    appliesTo: outside('runtime', 'cli'),
  },
  {
    pattern: /\bset(Timeout|Interval)\(/,
    message: 'sleep with clock.sleepUntil()',
    appliesTo: outside('runtime', 'cli'),
  },
  { pattern: /\bMath\.random\(/, message: 'draw from ids.random()', appliesTo: outside('runtime', 'cli') },
  {
    pattern: /\bprocess\.env\b/,
    message: 'take it as an argument; cli reads the environment',
    appliesTo: outside('runtime', 'cli'),
  },
  { pattern: /(?<![.\w])fetch\(/, message: 'call an Upstream', appliesTo: outside('upstreams') },
  // biome-ignore format: the words are cut so that this file does not find itself.
  { pattern: new RegExp(`\\b(${'FIX'}ME|${'TO'}DO|${'XX'}X)\\b`), message: 'finish it, or write it into an issue', appliesTo: () => true },
  {
    pattern: /\b(test|describe|it|suite)\.only\(|\bonly: true\b/,
    message: 'run all tests',
    appliesTo: isTestFile,
  },
]

/** Anywhere, comments and documents included. */
const PRIVATE_PLACES: readonly { pattern: RegExp; message: string }[] = [
  {
    pattern: /(?<![\w.*/:-])\/(work|root|home|Users)\/\w/,
    message: 'a path of one machine: write it relative to the repository',
  },
  {
    pattern: /https?:\/\/[^\s/"']*(registry|artifactory|verdaccio|nexus|mirror)[^\s/"']*/i,
    message: 'the host of a registry: leave it to the configuration of npm',
  },
  {
    pattern: /"resolved": ?"/,
    message: 'a download address in the lockfile: install with the .npmrc of the repository',
  },
]

// -- the check --

export interface TidyOptions {
  /** Names of the runtime dependencies. */
  readonly dependencies: readonly string[]
}

export function findUntidy(files: Files, { dependencies }: TidyOptions): Finding[] {
  const findings: Finding[] = []
  const imports: Import[] = []
  for (const [file, text] of files) {
    findings.push(...privatePlaces(file, text))
    if (!file.endsWith('.ts')) continue
    const found = importsOf(file, text, files)
    imports.push(...found)
    findings.push(...bannedCalls(file, text))
    if (!isSource(file)) continue
    for (const each of found) {
      const message = wrongDirection(each) ?? unknownPackage(each, dependencies)
      if (message !== null) findings.push({ file, line: each.line, message })
    }
  }
  findings.push(...cycles(imports.filter((each) => isSource(each.file))), ...importedByNobody(files, imports))
  return findings.sort((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1))
}

export function describeFinding({ file, line, message }: Finding): string {
  return `${file}:${line}: ${message}`
}

/** Source that ships: tests, contracts and what only tests use are judged less strictly. */
function isSource(file: string): boolean {
  return file.startsWith('src/') && file.endsWith('.ts') && !isTestFile(file)
}

function isTestFile(file: string): boolean {
  return (
    file.startsWith('tests/') || /(\.(test|contract|contract-setup|test-server)|-fixture)\.ts$/.test(file)
  )
}

/** `core` for src/core/x.ts; null for files of src itself and outside it. */
function folderOf(file: string): string | null {
  return /^src\/([^/]+)\//.exec(file)?.[1] ?? null
}

const STATEMENT = /^\s*(?:import|export)\s+(type\s)?([^;'"`]*?)\sfrom\s+['"]([^'"]+)['"]/gm
const BARE_IMPORT = /^\s*import\s+['"]([^'"]+)['"]/gm
const IMPORT_CALL = /\bimport\(\s*['"]([^'"]+)['"]/g
/** A worker's entry; its extension differs between sources and build. */
const URL_OF_FILE = /\bnew URL\(\s*['"`](\.{1,2}\/[^'"`]+)['"`],\s*import\.meta\.url/g

function importsOf(file: string, text: string, files: Files): Import[] {
  const code = withoutComments(text)
  const found: Import[] = []
  const add = (at: number, specifier: string, isTypeOnly: boolean) => {
    const path = specifier.startsWith('.') ? resolve(file, specifier) : null
    // A URL may name what is built later; an import of a file that is not there is for the compiler to report.
    const target = path !== null && (files.has(path) || path.endsWith('.json')) ? path : null
    if (path === null || target !== null) {
      found.push({ file, line: lineAt(code, at), specifier, target, isTypeOnly })
    }
  }
  for (const match of code.matchAll(STATEMENT)) {
    const names = match[2]!
      .replace(/^\{|\}$/g, '')
      .split(',')
      .map((name) => name.trim())
      .filter(Boolean)
    const isTypeOnly =
      match[1] !== undefined || (names.length > 0 && names.every((name) => name.startsWith('type ')))
    add(match.index + match[0].search(/\S/), match[3]!, isTypeOnly)
  }
  for (const pattern of [BARE_IMPORT, IMPORT_CALL, URL_OF_FILE]) {
    for (const match of code.matchAll(pattern))
      add(match.index + match[0].search(/\S/), match[1]!.replace(/\$\{\w+\}$/, 'ts'), false)
  }
  return found
}

function unknownPackage({ target, specifier }: Import, dependencies: readonly string[]): string | null {
  if (target !== null || specifier.startsWith('node:') || specifier.startsWith('.')) return null
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
  return dependencies.includes(name)
    ? null
    : `${name} is not among the dependencies: an installed tithe lacks it`
}

/** One finding a cycle, at the import that closes it. */
function cycles(imports: readonly Import[]): Finding[] {
  const byFile = Map.groupBy(imports, (each) => each.file)
  const findings: Finding[] = []
  const finished = new Set<string>()
  const path: string[] = []
  const visit = (file: string) => {
    path.push(file)
    for (const { target, line } of byFile.get(file) ?? []) {
      if (target === null || finished.has(target)) continue
      const start = path.indexOf(target)
      if (start === -1) visit(target)
      else {
        const cycle = [...path.slice(start), target].join(' → ')
        findings.push({
          file,
          line,
          message: `a cycle of imports: ${cycle}; move what both need into a file of its own`,
        })
      }
    }
    path.pop()
    finished.add(file)
  }
  for (const file of byFile.keys()) if (!finished.has(file)) visit(file)
  return findings
}

/** Entry points that no import names. */
const ENTRIES = ['src/index.ts', 'src/testing.ts', 'src/cli/main.ts', 'src/core/index.ts']
/** Facts are validated when they change, by tests, and not whenever the program starts. */
const FACTS_SCHEMA = /^src\/facts\/([a-z]+-)*schema\.ts$/

/** A unit test does not keep a file alive: what only its own test imports is dead. */
function importedByNobody(files: Files, imports: readonly Import[]): Finding[] {
  const isUnitTest = (file: string) => file.startsWith('src/') && isTestFile(file)
  const imported = new Set(imports.filter(({ file }) => !isUnitTest(file)).map(({ target }) => target))
  return [...files.keys()]
    .filter(
      (file) => isSource(file) && !ENTRIES.includes(file) && !FACTS_SCHEMA.test(file) && !imported.has(file),
    )
    .map((file) => ({ file, line: 1, message: 'no file imports this: use it or delete it' }))
}

function bannedCalls(file: string, text: string): Finding[] {
  const bans = BANS.filter((ban) => ban.appliesTo(file))
  // Left-over words stand in comments; calls are looked for in code.
  const code = withoutComments(text).split('\n')
  return text.split('\n').flatMap((line, index) =>
    bans
      .filter(({ pattern, appliesTo }) => pattern.test(appliesTo('any file') ? line : code[index]!))
      .map(({ pattern, message }) => ({
        file,
        line: index + 1,
        message: `${pattern.exec(line)?.[0]} here: ${message}`,
      })),
  )
}

function privatePlaces(file: string, text: string): Finding[] {
  return text.split('\n').flatMap((line, index) =>
    PRIVATE_PLACES.filter(({ pattern }) => pattern.test(line)).map(({ pattern, message }) => ({
      file,
      line: index + 1,
      message: `${pattern.exec(line)![0]}: ${message}`,
    })),
  )
}

/** Whole-line and trailing comments blanked, lines kept. The formatter puts them where these patterns find them. */
function withoutComments(text: string): string {
  return text
    .replace(/^[ \t]*\/\*[\s\S]*?\*\//gm, (comment) => comment.replace(/[^\n]/g, ' '))
    .replace(/(^|\s)\/\/ .*$/gm, '$1')
}

function lineAt(text: string, at: number): number {
  return text.slice(0, at).split('\n').length
}

function resolve(file: string, specifier: string): string {
  const parts = file.split('/').slice(0, -1)
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.') parts.push(part)
  }
  return parts.join('/')
}
