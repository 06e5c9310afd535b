import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Usage } from './report-usage.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

export interface Measured extends Usage {
  readonly wall_ms: number
  readonly stdout: string
}

/**
 * Runs a script of the repository in a process of its own: what another measurement left in the heap, or compiled, changes
 * nothing. The process itself reports its peak memory when it ends.
 */
export function runChild(script: string, ...args: string[]): Promise<Measured> {
  const hook = join(ROOT, 'bench/report-usage.ts')
  return new Promise((resolve, reject) => {
    const begun = performance.now()
    const child = spawn(process.execPath, ['--import', hook, join(ROOT, script), ...args], {
      cwd: ROOT,
      env: { ...process.env, ANTHROPIC_API_KEY: 'bench', TITHE_UPSTREAM: '', NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    let stdout = ''
    let stderr = ''
    let usage: Usage | null = null
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.on('message', (message) => {
      usage = message as Usage
    })
    child.on('error', reject)
    child.on('close', (code) => {
      const wall_ms = Math.round(performance.now() - begun)
      // 1: it did all its work, and some rows did not succeed.
      if (usage !== null && (code === 0 || code === 1)) resolve({ ...usage, wall_ms, stdout })
      else reject(new Error(`${script} ${args.join(' ')} ended with ${code}: ${stderr.slice(-1_000)}`))
    })
  })
}
