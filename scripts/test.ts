import { spawn } from 'node:child_process'
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

// All tests, or the files that are named; options of `node --test` pass through. Unit suites share one process, which is
// several times faster; what starts processes, kills them or measures memory gets a process for each file.

const root = fileURLToPath(new URL('..', import.meta.url))
const ALL = ['src/**/*.test.ts', 'tests/**/*.test.ts']
const BY_PROCESS = /^tests\/(cli|docs|examples|kill|pack)[./]/
const COUNTS = ['tests', 'pass', 'fail', 'cancelled', 'skipped'] as const
type Counts = Record<(typeof COUNTS)[number], number>

const args = process.argv.slice(2)
const options = args.filter((arg) => arg.startsWith('-'))
const named = args.filter((arg) => !arg.startsWith('-'))
const files = [
  ...new Set((named.length > 0 ? named : ALL).flatMap((pattern) => globSync(pattern, { cwd: root }))),
].sort()

const reports = mkdtempSync(join(tmpdir(), 'tithe-test-'))
const total: Counts = { tests: 0, pass: 0, fail: 0, cancelled: 0, skipped: 0 }
let isBroken = files.length === 0
for (const [isolation, suite] of [
  ['none', files.filter((file) => !BY_PROCESS.test(file))],
  ['process', files.filter((file) => BY_PROCESS.test(file))],
] as const) {
  if (suite.length === 0) continue
  const report = join(reports, `${isolation}.tap`)
  const code = await runNode([
    '--test',
    `--test-isolation=${isolation}`,
    // What people read, and beside it what is counted.
    ...['--test-reporter=dot', '--test-reporter-destination=stdout'],
    ...['--test-reporter=tap', `--test-reporter-destination=${report}`],
    ...options,
    ...suite,
  ])
  const counts = countsIn(existsSync(report) ? readFileSync(report, 'utf8') : '')
  for (const name of COUNTS) total[name] += counts?.[name] ?? 0
  isBroken ||= code !== 0 || counts === null
}
rmSync(reports, { recursive: true })

const shared = process.env['TITHE_SHARED'] ?? join(root, '../shared/data')
if (!existsSync(shared)) {
  process.stdout.write(
    `\n!! Shared data is missing at ${shared}: tests against recorded reality were skipped. Set TITHE_SHARED.\n`,
  )
  if (process.env['CI'] === 'true') isBroken = true
}
process.stdout.write(`\n${COUNTS.map((name) => `# ${name} ${total[name]}\n`).join('')}`)
process.exitCode = isBroken || total.fail + total.cancelled > 0 ? 1 : 0

function runNode(nodeArgs: readonly string[]): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, nodeArgs, { cwd: root, stdio: 'inherit' })
    child.on('error', reject)
    child.on('close', resolve)
  })
}

/** The summary at the end of a report; null when the run died before it. */
function countsIn(report: string): Counts | null {
  const counts = COUNTS.map(
    (name) => [name, new RegExp(`^# ${name} (\\d+)$`, 'm').exec(report)?.[1]] as const,
  )
  if (counts.some(([, count]) => count === undefined)) return null
  return Object.fromEntries(counts.map(([name, count]) => [name, Number(count)])) as Counts
}
