import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import packageJson from '../package.json' with { type: 'json' }

// What users get: the tarball, unpacked elsewhere beside its dependencies and nothing else. They are linked rather than
// downloaded, so that the test needs no network; a package that is only a development dependency is missed all the same.

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const app = mkdtempSync(join(tmpdir(), 'tithe-app-'))
const installed = join(app, 'node_modules/tithe')

before(() => {
  const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', app], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  const [{ filename }] = JSON.parse(packed.slice(packed.indexOf('['))) as [{ filename: string }]
  mkdirSync(installed, { recursive: true })
  execFileSync('tar', ['-xzf', join(app, filename), '-C', installed, '--strip-components=1'])
  for (const name of Object.keys(packageJson.dependencies)) {
    const link = join(app, 'node_modules', name)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(join(ROOT, 'node_modules', name), link)
  }
  writeFileSync(join(app, 'package.json'), '{"type": "module"}')
})
after(() => rmSync(app, { recursive: true }))

function node(...args: string[]): string {
  const env = { ...process.env, TITHE_HOME: '', ANTHROPIC_API_KEY: '', NO_COLOR: '1' }
  return execFileSync(process.execPath, args, { cwd: app, encoding: 'utf8', env, timeout: 300_000 })
}

test('the package holds what runs and what explains it, and no sources or tests', () => {
  const top = readdirSync(installed).sort()
  for (const name of ['LICENSE', 'README.md', 'bin', 'dist', 'docs', 'examples', 'package.json']) {
    assert.ok(top.includes(name), `${name} is in the package, beside ${top}`)
  }
  assert.ok(!top.includes('src') && !top.includes('tests'))
})

/** Every file that one of these names by a relative path, and what those name; missing ones included. */
function reachedFrom(files: readonly string[]): Set<string> {
  const reached = new Set<string>()
  const queue = [...files]
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (reached.has(file)) continue
    reached.add(file)
    if (file.endsWith('.json') || !existsSync(file)) continue
    for (const [, path] of readFileSync(file, 'utf8').matchAll(
      /['"](\.\.?\/[^'"\n]+\.(?:js|ts|json))['"]/g,
    )) {
      const named = join(dirname(file), path!)
      // Declarations name sources as they were written; beside each stand the module and its types.
      queue.push(...(named.endsWith('.json') ? [named] : pairOf(named)))
    }
  }
  return reached
}

function pairOf(module: string): string[] {
  const stem = module.replace(/\.(d\.ts|ts|js)$/, '')
  return [`${stem}.js`, `${stem}.d.ts`]
}

test('dist holds what the command and the entries reach, whole, and nothing else', () => {
  const dist = join(installed, 'dist')
  const names = ['index.js', 'testing.js', 'cli/main.js', 'stores/worker-main.js']
  const reached = reachedFrom(names.flatMap((name) => pairOf(join(dist, name))))
  const files = new Set(
    readdirSync(dist, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name)),
  )
  const inDist = [...reached].filter((file) => !relative(dist, file).startsWith('..'))
  assert.ok(inDist.length > 100, `only ${inDist.length} files are reached`)
  assert.deepEqual(
    {
      missing: inDist.filter((file) => !files.has(file)),
      unused: [...files].filter((file) => !reached.has(file)),
    },
    { missing: [], unused: [] },
  )
})

test('the installed command knows its version and runs the demo', () => {
  const tithe = join(installed, packageJson.bin.tithe)
  assert.equal(node(tithe, '--version').trim(), packageJson.version)
  assert.match(node(tithe, 'demo'), /succeeded/)
})

test('every entry of the package can be imported, with its types', () => {
  const entries = ['tithe', 'tithe/testing']
  const script = `
    import assert from 'node:assert/strict'
    for (const entry of ${JSON.stringify(entries)}) assert.ok(Object.keys(await import(entry)).length > 0, entry)
    const { openTestUpstream } = await import('tithe/testing')
    const { upstream } = await openTestUpstream()
    assert.equal(upstream.kind, 'local')
    await upstream.close()
  `
  node('--input-type=module', '-e', script)

  cpSync(join(ROOT, 'node_modules/@types/node'), join(app, 'node_modules/@types/node'), { recursive: true })
  cpSync(join(ROOT, 'node_modules/undici-types'), join(app, 'node_modules/undici-types'), { recursive: true })
  const uses = entries.map((entry, i) => `import * as entry${i} from '${entry}'`).join('\n')
  const typed = `${uses}\nexport const all = [${entries.map((_, i) => `entry${i}`)}]\nexport const upstream: Promise<{ upstream: { kind: 'local' } }> = entry1.openTestUpstream()\n`
  writeFileSync(join(app, 'use.ts'), typed)
  const options = {
    strict: true,
    noEmit: true,
    module: 'nodenext',
    target: 'es2024',
    types: ['node'],
    skipLibCheck: false,
  }
  writeFileSync(join(app, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['use.ts'] }))
  node(join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', app)
})
