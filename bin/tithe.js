#!/usr/bin/env node
// Runs the sources in a checkout and the built files in an installed package, which has no src folder.
import { existsSync } from 'node:fs'

const [major = 0] = process.versions.node.split('.').map(Number)
if (major < 24) {
  process.stderr.write(
    `error: tithe needs Node.js 24 or newer, and this is ${process.version}\nhint: in a checkout, run 'npm ci' first and then 'npx tithe': the right Node.js comes with it\n`,
  )
  process.exit(2)
}
const source = new URL('../src/cli/main.ts', import.meta.url)
const { main } = await import(
  existsSync(source) ? source.href : new URL('../dist/cli/main.js', import.meta.url).href
)
process.exitCode = await main(process.argv.slice(2))
