#!/usr/bin/env node
// Runs the sources in a checkout and the built files in an installed package, which has no src folder.
import { existsSync } from 'node:fs'
// The whole module: an older Node.js, which is to be told its version, has no such names to import.
import module from 'node:module'
import { stopGrowing } from './memory.js'

const [major = 0] = process.versions.node.split('.').map(Number)
if (major < 24) {
  process.stderr.write(
    `error: tithe needs Node.js 24 or newer, and this is ${process.version}\nhint: in a checkout, run 'npm ci' first and then 'npx tithe': the right Node.js comes with it\n`,
  )
  process.exit(2)
}
// A command loads a thousand modules; the second time they come compiled, from the folder for temporary files.
module.enableCompileCache()
const hasSources = existsSync(new URL('../src', import.meta.url))
const fileOf = (name) =>
  new URL(hasSources ? `../src/${name}.ts` : `../dist/${name}.js`, import.meta.url).href
// A job in TypeScript that imports 'tithe' gets this very program, also in a folder where it is not installed.
module.registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'tithe' ? { url: fileOf('index'), shortCircuit: true } : next(specifier, context),
})
const { main } = await import(fileOf('cli/main'))
stopGrowing()
process.exitCode = await main(process.argv.slice(2))
