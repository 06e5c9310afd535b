import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { TitheError } from '../core/errors.ts'
import { measuredJson, parseMeasured, type Visit } from '../core/measured.ts'

const NAME = 'measured.json'

/**
 * What doctor has measured in this home, oldest first; empty where it never ran.
 * @throws `measured_damaged`, `measured_newer`, `home_unavailable`
 */
export function readMeasured(dir: string): Visit[] {
  const file = join(dir, NAME)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw unavailable(file, error)
  }
  return parseMeasured(text, file)
}

/** Replaces the file as a whole: whoever reads it meanwhile, or a crash, finds the old one or the new. Answers its path. */
export function writeMeasured(dir: string, visits: readonly Visit[]): string {
  const file = join(dir, NAME)
  const fresh = `${file}.${process.pid}`
  try {
    const descriptor = openSync(fresh, 'w', 0o600)
    try {
      writeSync(descriptor, `${JSON.stringify(measuredJson(visits), null, 2)}\n`)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(fresh, file)
  } catch (error) {
    throw unavailable(file, error)
  }
  return file
}

function unavailable(file: string, error: unknown): TitheError {
  return new TitheError('home_unavailable', `cannot use ${file}: ${(error as Error).message}`, {
    hint: 'mend the folder, or choose another with --home or $TITHE_HOME',
    where: { file },
    exitCode: 3,
  })
}
