import type { Writable } from 'node:stream'

/** The terminal as the commands see it. stdout carries data only; everything else goes to stderr. */
export interface Terminal {
  readonly json: boolean
  /** stderr is a terminal: a line may be drawn over. */
  readonly live: boolean
  readonly colour: boolean
  readonly width: number
  /** Data. Waits when the reader is slower. */
  out(text: string): Promise<void>
  /** Progress and notes. Silent under --json, where stderr holds errors and nothing else. */
  say(text: string): void
  /** An error, as text or as JSON. */
  fail(text: string): void
  /** The progress line: drawn over on a terminal; the caller prints plain lines elsewhere. */
  status(text: string): void
  clearStatus(): void
}

export function openTerminal(json: boolean, environment: NodeJS.ProcessEnv): Terminal {
  const live = process.stderr.isTTY === true && !json
  let drawn = false
  const clearStatus = () => {
    if (!drawn) return
    process.stderr.write('\r\u001b[2K')
    drawn = false
  }
  const fail = (text: string) => {
    clearStatus()
    process.stderr.write(`${text}\n`)
  }
  const width = Math.max(60, Math.min(process.stderr.columns ?? 110, 140))
  return {
    json,
    live,
    colour: process.stdout.isTTY === true && !environment['NO_COLOR'] && environment['TERM'] !== 'dumb',
    width,
    out: (text) => {
      clearStatus()
      return write(process.stdout, text)
    },
    say: (text) => {
      if (!json) fail(text)
    },
    fail,
    status: (text) => {
      if (!live) return
      clearStatus()
      process.stderr.write(text.slice(0, width - 1))
      drawn = true
    },
    clearStatus,
  }
}

function write(stream: Writable, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    if (stream.write(text, (error) => (error ? reject(error) : undefined))) resolve()
    else stream.once('drain', resolve)
  })
}
