import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadExportNames } from './usage-exports.ts'

test('the names of both exports are dated facts, a name for each token class and none twice', () => {
  for (const [format, fact] of Object.entries(loadExportNames())) {
    const { quantities, ...others } = fact.value
    assert.deepEqual(Object.keys(others), ['day', 'workspace', 'apiKey', 'model', 'tier'], format)
    const classes = ['input', 'cache_write_5m', 'cache_write_1h', 'cache_read', 'output', 'web_search']
    assert.deepEqual(Object.keys(quantities), classes, format)
    const names = [...Object.values(others), ...Object.values(quantities)]
    assert.equal(new Set(names).size, names.length, format)
    assert.ok(!Number.isNaN(Date.parse(fact.from)) && !Number.isNaN(Date.parse(fact.checked)), format)
    assert.ok(fact.source.length > 40, format)
    assert.match(fact.sure, /^[HML?]$/)
  }
})
