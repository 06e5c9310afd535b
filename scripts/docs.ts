import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { COMMANDS, GLOBAL_FLAGS } from '../src/cli/flags.ts'
import { jobSchemaJson } from '../src/jobs/job-schema.ts'
import { cliReference } from './cli-reference.ts'

// `npm run docs` writes the documents that are made from code; `npm run docs -- --check` fails when one is stale.

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
