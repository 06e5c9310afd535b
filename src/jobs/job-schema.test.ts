import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import Ajv2020 from 'ajv/dist/2020.js'
import { parse } from 'yaml'
import { deps, folder } from './job-fixture.ts'
import { JobSchema, jobSchemaJson } from './job-schema.ts'
import { loadJob } from './load-job.ts'
import { starterJob } from './starter-job.ts'

test('the published schema is the one in the code', () => {
  const published = readFileSync(new URL('../../docs/reference/job.schema.json', import.meta.url), 'utf8')
  assert.equal(published, jobSchemaJson(), 'it is stale: run npm run docs')
})

test('the published schema is a valid JSON Schema that accepts the starter and refuses an unknown key', () => {
  const validate = new Ajv2020.default({ strict: false }).compile(JSON.parse(jobSchemaJson()))
  const starter = parse(starterJob()) as object
  assert.ok(validate(starter), JSON.stringify(validate.errors))
  assert.ok(!validate({ ...starter, sytem: 'x' }))
})

test('the schema says nothing that the walker of shapes does not know', () => {
  const known = [
    '$schema',
    '$id',
    'title',
    'description',
    'type',
    'anyOf',
    'const',
    'items',
    'required',
    'properties',
  ]
  known.push(
    'patternProperties',
    'additionalProperties',
    'minimum',
    'maximum',
    'minLength',
    'maxLength',
    'minItems',
  )
  const visit = (schema: unknown): void => {
    if (Array.isArray(schema)) schema.forEach(visit)
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return
    for (const [key, value] of Object.entries(schema)) {
      assert.ok(known.includes(key), key)
      if (key === 'properties' || key === 'patternProperties') Object.values(value).forEach(visit)
      else if (key === 'anyOf' || key === 'items') visit(value)
    }
  }
  visit(JSON.parse(jobSchemaJson()))
})

test('every key has a description for editors and a short name for errors', () => {
  for (const [key, schema] of Object.entries(JobSchema.properties)) {
    const { title, description } = schema as { title?: string; description?: string }
    assert.ok(title && description, key)
  }
})

test('the starter job loads as it stands, and so does every line that it offers', async () => {
  const load = async (yaml: string) => loadJob(join(folder({ 'job.yaml': yaml }), 'job.yaml'), deps())
  const job = await load(starterJob())
  const rows = []
  for await (const row of job.rows()) rows.push(row)
  assert.deepEqual(
    rows.map((row) => [row.kind, row.userId]),
    [
      ['row', 'T-1'],
      ['row', 'T-2'],
      ['row', 'T-3'],
    ],
  )
  assert.deepEqual(job.problems, [])
  const offered = starterJob().replaceAll(
    /^# ((?:within|budget|cache|batch|params|upstream| {2}output_config):?.*)$/gm,
    '$1',
  )
  const { settings } = await load(offered)
  assert.deepEqual([settings.withinMs, settings.upstream], [21_600_000, 'anthropic'])
})
