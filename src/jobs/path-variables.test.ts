import assert from 'node:assert/strict'
import { test } from 'node:test'
import { expandVariables } from './path-variables.ts'

test('a variable in a path is the environment’s, or its default', () => {
  const path = `\${DATA:-../data}/rows.csv`
  assert.equal(expandVariables(path, { DATA: '/mnt/data' }), '/mnt/data/rows.csv')
  assert.equal(expandVariables(path, {}), '../data/rows.csv')
  assert.equal(expandVariables(path, { DATA: '' }), '../data/rows.csv', 'an empty one is as good as none')
  assert.equal(expandVariables('plain/$5/{x}.csv', {}), 'plain/$5/{x}.csv')
})

test('a variable that is not set and has no default is named, with what to do', () => {
  assert.throws(() => expandVariables(`\${DATA}/rows.csv`, {}), {
    code: 'unset_variable',
    message: `\${DATA}/rows.csv needs the environment variable DATA, which is not set`,
    hint: `set it, or give a default: \${DATA:-path}`,
  })
})
