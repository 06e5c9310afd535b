import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { AttachmentSource } from '../core/attachment.ts'
import { type Problem, TitheError } from '../core/errors.ts'
import { instant } from '../core/instant.ts'
import type { InputRow, InvalidRow } from '../core/rows.ts'
import { loadCatalogue } from '../facts/load.ts'
import type { JobDefinition } from './define-job.ts'
import { type JobDeps, loadJob } from './load-job.ts'

// For the tests of this folder.

/** A new directory with these files, by relative path. */
export function folder(files: Readonly<Record<string, string | Uint8Array>>): string {
  const directory = mkdtempSync(join(tmpdir(), 'tithe-job-'))
  for (const [name, content] of Object.entries(files)) {
    const path = join(directory, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
  }
  return directory
}

/** A world in which the API refuses nothing, unless a test says so. */
export function deps(changes: Partial<JobDeps> = {}): JobDeps {
  return {
    catalogue: loadCatalogue(),
    now: instant(Date.parse('2026-11-22')),
    countText: (text) => text.split(/\s+/).filter(Boolean).length,
    checkRequest: () => [],
    checkOutputSchema: () => [],
    ...changes,
  }
}

/** The smallest job over some rows, with whatever a test is about. */
export function smallJob(changes: JobDefinition = {}): JobDefinition {
  return {
    model: 'claude-sonnet-5',
    max_tokens: 50,
    prompt: 'Say {{text}}',
    input: [{ text: 'a' }],
    ...changes,
  }
}

/** Every problem of a job that cannot be loaded. */
export async function problemsOf(
  source: string | JobDefinition,
  changes: Partial<JobDeps> = {},
): Promise<readonly Problem[]> {
  const error = await loadJob(source, deps(changes)).then(
    () => assert.fail('the job was loaded'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof TitheError, `${error}`)
  assert.equal(error.exitCode, 2)
  return error.problems
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const item of items) list.push(item)
  return list
}

export async function rowsOf(
  source: string | JobDefinition,
  changes: Partial<JobDeps> = {},
): Promise<(InputRow | InvalidRow)[]> {
  return collect((await loadJob(source, deps(changes))).rows())
}

/** The rows of a job, all of which must be sendable. */
export async function goodRows(
  source: string | JobDefinition,
  changes: Partial<JobDeps> = {},
): Promise<InputRow[]> {
  return (await rowsOf(source, changes)).map((row) => {
    assert.equal(row.kind, 'row', JSON.stringify(row))
    return row as InputRow
  })
}

/** The only problem of the only invalid row. */
export function onlyProblem(rows: readonly (InputRow | InvalidRow)[]): Problem {
  const invalid = rows.filter((row) => row.kind === 'invalid')
  assert.equal(invalid.length, 1, JSON.stringify(invalid))
  const errors = invalid[0]!.problems.filter((one) => one.severity === 'error')
  assert.equal(errors.length, 1, JSON.stringify(errors))
  return errors[0]!
}

/** The blocks of the last message of a row. */
export function blocksOf(
  row: InputRow | InvalidRow,
): readonly { type: string; text?: string; source?: AttachmentSource }[] {
  assert.equal(row.kind, 'row')
  const messages = (row as InputRow).request['messages'] as unknown as readonly { content: [] }[]
  return messages.at(-1)!.content
}

/** The texts of these blocks. */
export function promptTexts(row: InputRow | InvalidRow): (string | undefined)[] {
  return blocksOf(row).map((block) => block.text)
}
