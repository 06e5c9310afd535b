import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { JsonObject } from '../core/json.ts'
import { RequestSplitter } from '../core/stored-request.ts'
import { openMemoryStore } from '../stores/memory.ts'
import { newRow, plan, runRecord, started } from '../stores/store.contract.ts'
import { batchElement, RowRenderer, submissionElements } from './render-rows.ts'

const RUN = runRecord().id

test('what is taken from the store as it stands is, to the byte, what parsing and writing it again gives', async () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 40 })
  const request = fc.record({
    model: fc.constant('claude-opus-5'),
    max_tokens: fc.integer({ min: 1, max: 64_000 }),
    system: fc.oneof(text, fc.constant('A handbook that is long enough to stand apart. '.repeat(8))),
    messages: fc.array(
      fc.record({ role: fc.constant('user'), content: fc.oneof(text, fc.constant('"tithe_x')) }),
      {
        minLength: 1,
        maxLength: 3,
      },
    ),
    metadata: fc.dictionary(text, fc.oneof(text, fc.double({ noNaN: true }), fc.boolean())),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 6 }), async (requests) => {
      const store = openMemoryStore()
      const splitter = new RequestSplitter()
      const rows = []
      const blocks = []
      for (const [ordinal, one] of requests.entries()) {
        const stored = splitter.split(one as JsonObject as never, 1)
        for (const { hash, json } of stored.blocks) {
          blocks.push({ hash, ref: await store.bodies.append(Buffer.from(json)) })
        }
        rows.push(newRow(ordinal, { request: await store.bodies.append(Buffer.from(stored.json)) }))
      }
      const fence = await started(store.runs, rows)
      await store.runs.putBlocks(RUN, fence, blocks)
      const number = await plan(
        store.runs,
        fence,
        rows.map((row) => row.ordinal),
      )
      const deps = { store, readAttachment: () => Promise.reject(new Error('none here')) }
      const renderer = new RowRenderer(RUN, deps)
      let seen = 0
      for await (const element of submissionElements(deps, RUN, number, () => [])) {
        assert.ok(element.kind === 'element')
        const rendered = await renderer.render(element.row, [])
        assert.ok(rendered.kind === 'rendered')
        const sent = Buffer.concat(element.pieces).toString()
        assert.equal(sent, batchElement(RUN, number, rendered))
        assert.deepEqual(JSON.parse(sent).params, JSON.parse(JSON.stringify(requests[seen])))
        seen += 1
      }
      assert.equal(seen, requests.length)
    }),
  )
})
