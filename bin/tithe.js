#!/usr/bin/env node
// Runs the sources in a checkout and the built files in an installed package, which has no src folder.
import { existsSync } from 'node:fs'
import { registerHooks } from 'node:module'

const [major = 0] = process.versions.node.split('.').map(Number)
if (major < 24) {
  process.stderr.write(
    `error: tithe needs Node.js 24 or newer, and this is ${process.version}\nhint: in a checkout, run 'npm ci' first and then 'npx tithe': the right Node.js comes with it\n`,
  )
  process.exit(2)
}
const hasSources = existsSync(new URL('../src', import.meta.url))
const fileOf = (name) =>
  new URL(hasSources ? `../src/${name}.ts` : `../dist/${name}.js`, import.meta.url).href
// A job in TypeScript that imports 'tithe' gets this very program, also in a folder where it is not installed.
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'tithe' ? { url: fileOf('index'), shortCircuit: true } : next(specifier, context),
})
const { main } = await import(fileOf('cli/main'))
process.exitCode = await main(process.argv.slice(2))
