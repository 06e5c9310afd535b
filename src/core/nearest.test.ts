import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nearest } from './nearest.ts'

const keys = ['model', 'models', 'max_tokens', 'system', 'prompt', 'params', 'output']

test('a typing error finds the key that was meant', () => {
  assert.equal(nearest('max_token', keys), 'max_tokens')
  assert.equal(nearest('maxTokens', keys), 'max_tokens')
  assert.equal(nearest('sytem', keys), 'system')
  assert.equal(nearest('promt', keys), 'prompt')
  assert.equal(nearest('system_prompt', keys), 'system')
})

test('a word that resembles nothing gets no suggestion', () => {
  assert.equal(nearest('webhook', keys), null)
  assert.equal(nearest('x', keys), null)
})

test('a dated model name finds the undated one, not a shorter relative', () => {
  assert.equal(
    nearest('claude-opus-5-20260723', ['claude-opus-5', 'claude-opus-4-8', 'claude-sonnet-5']),
    'claude-opus-5',
  )
})

test('a name that differs only in its separators is nearer than one that it begins', () => {
  assert.equal(
    nearest('claude-haiku-4.5', ['claude-haiku-4-5-20251001', 'claude-haiku-4-5']),
    'claude-haiku-4-5',
  )
})
