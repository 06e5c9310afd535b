import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { COMMANDS, GLOBAL_FLAGS } from '../src/cli/flags.ts'
import { jobSchemaJson } from '../src/jobs/job-schema.ts'
import { cliReference } from './cli-reference.ts'
import { refreshed } from './console-blocks.ts'

// `npm run docs` writes the documents that are made from code, and the output of commands into those that show some;
// `npm run docs -- --check` fails when a page of the first kind is stale (tests/docs.test.ts looks at the second).

const PAGES: Readonly<Record<string, () => string>> = {
  'docs/reference/cli.md': () => cliReference(COMMANDS, GLOBAL_FLAGS),
  'docs/reference/job.schema.json': jobSchemaJson,
}

const root = fileURLToPath(new URL('..', import.meta.url))
const isCheck = process.argv.includes('--check')
for (const [page, render] of Object.entries(PAGES)) {
  const path = root + page
  const text = render()
  const isFresh = existsSync(path) && readFileSync(path, 'utf8') === text
  if (isFresh) continue
  if (isCheck) {
    process.stderr.write(`${page} is not what the code says: run 'npm run docs' and commit it\n`)
    process.exitCode = 1
  } else {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    process.stderr.write(`${page} written\n`)
  }
}

if (!isCheck) {
  for (const page of globSync(['README.md', 'docs/**/*.md'], { cwd: root })) {
    const before = readFileSync(root + page, 'utf8')
    const after = refreshed(before)
    if (after === before) continue
    writeFileSync(root + page, after)
    process.stderr.write(`${page}: output renewed\n`)
  }
}
