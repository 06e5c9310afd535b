import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

// The program as its users start it: a process of its own, a folder of its own, nothing of this environment but the path.

export const BIN = fileURLToPath(new URL('../../bin/tithe.js', import.meta.url))
const ROOT = realpathSync(mkdtempSync(join(tmpdir(), 'tithe-cli-')))
process.on('exit', () => rmSync(ROOT, { recursive: true, force: true }))

/** How a process ended, with everything that it wrote. */
export interface Ended {
  /** Null when a signal ended it. */
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Started {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Resolves when stderr holds the text, rejects when the process ends before. */
  says(text: string): Promise<void>
}

export type Files = Readonly<Record<string, string | Uint8Array>>

/** A new folder with these files, by relative path. */
export function folder(files: Files = {}): string {
  const path = mkdtempSync(join(ROOT, 'f-'))
  addFiles(path, files)
  return path
}

export function addFiles(path: string, files: Files): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), content)
  }
}

/** @param environment over a bare one. The home is `.tithe` in the folder unless it says `TITHE_HOME`. */
export function start(
  cwd: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Started {
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd,
    env: {
      PATH: process.env['PATH'],
      TMPDIR: tmpdir(),
      NODE_COMPILE_CACHE: join(ROOT, 'compiled'),
      TITHE_HOME: join(cwd, '.tithe'),
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
  const says = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => stderr.includes(text) && resolve()
      child.stderr.on('data', look)
      child.on('close', () => reject(new Error(`ended without saying "${text}":\n${stderr}`)))
      look()
    })
  return { child, ended, says }
}

/** Starts it and waits for its end. */
export function tithe(cwd: string, ...args: string[]): Promise<Ended> {
  return start(cwd, args).ended
}

/** What a command prints under `--json`. */
export async function titheJson(cwd: string, ...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await tithe(cwd, ...args, '--json')
  try {
    return JSON.parse(stdout) as Record<string, unknown>
  } catch {
    throw new Error(`tithe ${args.join(' ')} ended with ${code} and no JSON:\n${stdout}\n${stderr}`)
  }
}
