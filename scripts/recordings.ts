// Holds the core against recorded reality: `npm run recordings -- [FILE…] [--json]`.
//
// Files are .jsonl or .jsonl.gz with one recorded exchange a line; without any, the shared recordings. Exit code 2 when a
// file cannot be read.

import { loadCatalogue } from '../src/facts/load.ts'
import { cacheSummary, judgeCache } from '../tests/recordings/cache-judge.ts'
import { type Recording, readRecordings } from '../tests/recordings/recording.ts'
import { recordingsPath } from '../tests/recordings/recordings-path.ts'

const args = process.argv.slice(2)
const asJson = args.includes('--json')
const files = args.filter((arg) => arg !== '--json')
if (files.length === 0) files.push(recordingsPath())

const recordings: Recording[] = []
try {
  for (const file of files) {
    for await (const recording of readRecordings(file)) recordings.push(recording)
  }
} catch (error) {
  console.error(`recordings: ${error instanceof Error ? error.message : error}`)
  process.exit(2)
}

const cache = judgeCache(recordings, loadCatalogue())
if (asJson) {
  console.log(JSON.stringify({ schema: 'tithe.recordings/1', files, cache }, null, 2))
} else {
  console.log(cacheSummary(cache).join('\n'))
}
