import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import packageJson from '../package.json' with { type: 'json' }
import { describeFinding, findUntidy } from './tidy.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const FOLDERS = ['src', 'tests', 'scripts', 'bench', 'examples', 'docs', 'bin', '.ci']
const TEXT = /\.(ts|js|json|md|ya?ml|sql|sh)$|^\.ci\/run$/
const OPTIONS = { dependencies: ['undici'] }

test('the repository is tidy', () => {
  const files = new Map<string, string>()
  for (const entry of readdirSync(ROOT, { withFileTypes: true })) {
    if (entry.isFile() && TEXT.test(entry.name)) read(entry.name)
  }
  for (const folder of FOLDERS.filter((name) => existsSync(ROOT + name))) {
    for (const entry of readdirSync(`${ROOT}${folder}`, { recursive: true, withFileTypes: true })) {
      const path = `${entry.parentPath.slice(ROOT.length)}/${entry.name}`
      if (entry.isFile() && TEXT.test(path) && !path.includes('node_modules/')) read(path)
    }
  }
  function read(path: string) {
    files.set(path, readFileSync(ROOT + path, 'utf8'))
  }
  // A wrong root would find nothing and be green.
  assert.ok(files.has('src/runtime/runtime.ts') && files.size > 50)
  const found = findUntidy(files, { dependencies: Object.keys(packageJson.dependencies) })
  if (found.length > 0) assert.fail(`\n${found.map(describeFinding).join('\n')}`)
})

/** Findings of a few files in memory. Every source is imported by an entry, so that only what is asked about is found. */
function findings(files: Record<string, string>): string[] {
  const all = new Map(Object.entries(files))
  const sources = Object.keys(files).filter((file) => file.startsWith('src/'))
  all.set('scripts/use.ts', sources.map((file) => `import '../${file}'`).join('\n'))
  return findUntidy(all, OPTIONS).map(describeFinding)
}

function finds(files: Record<string, string>, expected: RegExp): void {
  const found = findings(files)
  assert.equal(found.length, 1, found.join('\n'))
  assert.match(found[0]!, expected)
}

const EMPTY = 'export const nothing = 0\n'

test('an import from core to stores is named with file and line, and what to do', () => {
  finds(
    {
      'src/core/plan.ts':
        "// A plan.\nimport { sum } from './sum.ts'\nimport {\n  type Store,\n} from '../stores/store.ts'\n",
      'src/core/sum.ts': EMPTY,
      'src/stores/store.ts': EMPTY,
    },
    /^src\/core\/plan\.ts:3: core imports src\/stores\/store\.ts: imports go down only.*take it as an argument/,
  )
})

for (const [from, to] of [
  ['src/core/a.ts', 'src/facts/load.ts'],
  ['src/core/a.ts', 'src/runtime/runtime.ts'],
  ['src/facts/a.ts', 'src/tokens/b.ts'],
  ['src/tokens/a.ts', 'src/facts/b.ts'],
  ['src/schemas/a.ts', 'src/upstreams/upstream.ts'],
  ['src/stores/a.ts', 'src/upstreams/anthropic.ts'],
  ['src/stores/a.ts', 'src/facts/load.ts'],
  ['src/upstreams/a.ts', 'src/stores/memory.ts'],
  ['src/upstreams/a.ts', 'src/batches/b.ts'],
  ['src/runtime/a.ts', 'src/stores/sqlite/store.ts'],
  ['src/jobs/a.ts', 'src/tokens/b.ts'],
  ['src/jobs/a.ts', 'src/runs/b.ts'],
  ['src/batches/a.ts', 'src/upstreams/local/b.ts'],
  ['src/batches/a.ts', 'src/runs/b.ts'],
  ['src/runs/a.ts', 'src/jobs/b.ts'],
  ['src/runs/a.ts', 'src/runtime/virtual.ts'],
  ['src/runs/a.ts', 'src/cli/b.ts'],
  ['src/runs/a.ts', 'src/wiring.ts'],
  ['src/cli/a.ts', 'src/index.ts'],
  ['src/cli/a.ts', 'src/stores/memory.ts'],
  ['src/stores/store.ts', 'src/stores/memory.ts'],
  ['src/newcomer/a.ts', 'src/core/b.ts'],
] as const) {
  test(`${from} may not import ${to}`, () => {
    finds(
      { [from]: `import { it } from '${'../'.repeat(2)}${to}'\n`, [to]: EMPTY },
      new RegExp(`^${from}:1: `),
    )
  })
}

for (const [from, to] of [
  ['src/facts/a.ts', 'src/core/b.ts'],
  ['src/stores/a.ts', 'src/runtime/runtime.ts'],
  ['src/upstreams/local/a.ts', 'src/stores/served-store.ts'],
  ['src/upstreams/upstream.ts', 'src/core/b.ts'],
  ['src/jobs/a.ts', 'src/facts/b.ts'],
  ['src/batches/a.ts', 'src/upstreams/upstream.ts'],
  ['src/runs/a.ts', 'src/stores/store.ts'],
  ['src/cli/a.ts', 'src/wiring.ts'],
  ['src/cli/a.ts', 'src/runs/b.ts'],
  ['src/index.ts', 'src/wiring.ts'],
  ['src/wiring.ts', 'src/stores/sqlite/store.ts'],
  ['src/core/a.test.ts', 'src/stores/memory.ts'],
] as const) {
  test(`${from} may import ${to}`, () => {
    const up = '../'.repeat(from.split('/').length - 1)
    assert.deepEqual(findings({ [from]: `import { it } from '${up}${to}'\n`, [to]: EMPTY }), [])
  })
}

test('core imports no package and no builtin but node:crypto', () => {
  finds(
    { 'src/core/a.ts': "import { createHash } from 'node:crypto'\nimport fs from 'node:fs'\n" },
    /a\.ts:2: core imports node:fs/,
  )
  finds({ 'src/core/a.ts': "const { Pool } = await import('undici')\n" }, /a\.ts:1: core imports undici/)
})

test('the local cache and invoice import types from core and no code', () => {
  const code = (what: string) => ({
    'src/upstreams/local/cache.ts': `import { ${what} } from '../../core/usage.ts'\n`,
    'src/core/usage.ts': EMPTY,
  })
  assert.deepEqual(findings(code('type Usage, type Ttl')), [])
  finds(code('type Usage, usageOf'), /cache\.ts:1: .* may import types only/)
})

test('a cycle is found across folders and through type imports', () => {
  finds(
    {
      'src/core/a.ts': "import { b } from './b.ts'\n",
      'src/core/b.ts': "import { c } from './c.ts'\n",
      'src/core/c.ts': "\nimport type { A } from './a.ts'\n",
    },
    /^src\/core\/c\.ts:2: a cycle of imports: src\/core\/a\.ts → src\/core\/b\.ts → src\/core\/c\.ts → src\/core\/a\.ts/,
  )
})

for (const [call, remedy] of [
  ['Date.now()', 'clock.now'],
  ['new Date()', 'clock.now'],
  ['setTimeout(f, 1)', 'clock.sleepUntil'],
  ['setInterval(f, 1)', 'clock.sleepUntil'],
  ['Math.random()', 'ids.random'],
  ['process.env.HOME', 'argument'],
  ['fetch(url)', 'Upstream'],
] as const) {
  test(`${call} belongs at the edge`, () => {
    finds(
      { 'src/runs/a.ts': `const now = 1\nconst it = ${call}\n` },
      new RegExp(`^src/runs/a\\.ts:2: .*${remedy}`),
    )
    assert.deepEqual(
      findings({ 'src/runs/a.ts': `// Not ${call}: that would be real time.\n/** ${call} */\n` }),
      [],
    )
    const home = call.startsWith('fetch') ? 'src/upstreams/a.ts' : 'src/runtime/a.ts'
    assert.deepEqual(findings({ [home]: `const it = ${call}\n` }), [])
  })
}

test('a date from an argument is fine', () => {
  assert.deepEqual(findings({ 'src/core/a.ts': 'export const day = new Date(at).toISOString()\n' }), [])
})

test('left-over notes are found in comments too, and a test that runs alone', () => {
  finds({ 'src/core/a.ts': `// ${'TO'}DO: later\n` }, /^src\/core\/a\.ts:1: .*finish it/)
  finds({ 'tests/b.ts': `a()\n// ${'FIX'}ME\n` }, /^tests\/b\.ts:2: .*finish it/)
  finds(
    { 'src/core/a.test.ts': `test.${'only'}('x', () => {})\n` },
    /^src\/core\/a\.test\.ts:1: .*run all tests/,
  )
})

test('a file that only its own test imports is dead; a worker that is named by its URL is not', () => {
  const files = new Map([
    ['src/index.ts', "new Worker(new URL('./runs/worker.ts', import.meta.url))\n"],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the text of a source file.
    ['src/testing.ts', 'new Worker(new URL(`./runs/other-worker.${extension}`, import.meta.url))\n'],
    ['src/runs/worker.ts', EMPTY],
    ['src/runs/other-worker.ts', EMPTY],
    ['src/core/dead.ts', EMPTY],
    ['src/core/dead.test.ts', "import './dead.ts'\n"],
  ])
  const found = findUntidy(files, OPTIONS).map(describeFinding)
  assert.deepEqual(found, ['src/core/dead.ts:1: no file imports this: use it or delete it'])
})

test('a package that an installed tithe would lack is found', () => {
  finds(
    { 'src/runs/a.ts': "import fc from 'fast-check'\n" },
    /^src\/runs\/a\.ts:1: fast-check is not among the dependencies/,
  )
  assert.deepEqual(findings({ 'src/runs/a.ts': "import { Pool } from 'undici/lib'\n" }), [])
  assert.deepEqual(findings({ 'src/runs/a.test.ts': "import fc from 'fast-check'\n" }), [])
})

test('paths of one machine and hosts of registries are found in any text', () => {
  finds({ 'docs/a.md': `see\n/${'home'}/someone/notes\n` }, /^docs\/a\.md:2: .*relative to the repository/)
  finds({ 'docs/a.md': `https://npm.${'registry'}.example/x\n` }, /registry/)
  finds({ 'package-lock.json': `"${'resolved'}": "https://example.com/a.tgz"\n` }, /download address/)
  assert.deepEqual(
    findings({ 'docs/a.md': 'docs/home/page, ~/.work/x and https://example.com/home/page\n' }),
    [],
  )
})
