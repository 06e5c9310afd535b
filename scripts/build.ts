import { spawnSync } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

// Sources to dist/, one .js and one .d.ts for each .ts. The compiler does both: it rewrites imports from .ts to .js and
// brings along the JSON that is imported (docs/decisions/2026-11-22-build-with-tsc.md).

/**
 * What tests alone run: the model of the cache that plans and the local upstream are held against, and the shapes of the
 * fact files. Left out here and not by tsconfig.build.json, because the loader of facts takes its types from a shape.
 */
const ONLY_IN_TESTS = /\/(core\/cache-sim|facts\/[a-z]+-schema)\.(js|d\.ts)$/

const root = fileURLToPath(new URL('..', import.meta.url))
for (const folder of ['out/build', 'dist']) rmSync(`${root}${folder}`, { recursive: true, force: true })
const tsc = spawnSync(
  process.execPath,
  [`${root}node_modules/typescript/bin/tsc`, '-p', 'tsconfig.build.json'],
  {
    cwd: root,
    stdio: 'inherit',
  },
)
if (tsc.status !== 0) process.exit(1)
// package.json is imported for its version, so that the compiler's root is that of the repository.
cpSync(`${root}out/build/src`, `${root}dist`, {
  recursive: true,
  filter: (path) => !ONLY_IN_TESTS.test(path),
})
