import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

// Everything that can be said about the code without running it, at the same time; prints only what failed.

const root = fileURLToPath(new URL('..', import.meta.url))
const bin = (name: string) => `${root}node_modules/.bin/${name}`
const CHECKS: Readonly<Record<string, readonly [command: string, ...args: string[]]>> = {
  types: [bin('tsc'), '-p', '.'],
  'lint and format': [bin('biome'), 'check', '--error-on-warnings', '.'],
  tidy: [process.execPath, '--test', '--test-isolation=none', '--test-reporter=dot', 'tests/tidy.test.ts'],
  documents: [process.execPath, 'scripts/docs.ts', '--check'],
}

const results = await Promise.all(
  Object.entries(CHECKS).map(async ([name, [command, ...args]]) => {
    const { passed, output } = await run(command, args)
    process.stdout.write(passed ? `✔ ${name}\n` : `✖ ${name}\n${output.trimEnd()}\n\n`)
    return passed
  }),
)
if (results.includes(false)) process.exitCode = 1

function run(command: string, args: readonly string[]): Promise<{ passed: boolean; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, PATH: `${root}node_modules/.bin:${process.env['PATH']}` },
    })
    let output = ''
    child.stdout.on('data', (part: Buffer) => (output += part))
    child.stderr.on('data', (part: Buffer) => (output += part))
    child.on('error', (error) => resolve({ passed: false, output: error.message }))
    child.on('close', (code) => resolve({ passed: code === 0, output }))
  })
}
