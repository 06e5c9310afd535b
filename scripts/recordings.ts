// Holds the core against recorded reality: `npm run recordings -- [FILE…] [--json]`.
//
// Files are .jsonl or .jsonl.gz with one recorded exchange a line, images and PDFs in `blobs` beside the first; without
// any, the shared recordings. Exit code 2 when a file cannot be read.

import { loadCatalogue } from '../src/facts/load.ts'
import { loadTokenFacts } from '../src/facts/tokenizers.ts'
import { cacheSummary, judgeCache } from '../tests/recordings/cache-judge.ts'
import { type Recording, readRecordings } from '../tests/recordings/recording.ts'
import { recordingsPath } from '../tests/recordings/recordings-path.ts'
import { judgeTokens } from '../tests/recordings/tokens-judge.ts'

const args = process.argv.slice(2)
const asJson = args.includes('--json')
const files = args.filter((arg) => arg !== '--json')
if (files.length === 0) files.push(recordingsPath())

let recordings: Recording[] = []
try {
  for (const file of files) recordings = recordings.concat(await readRecordings(file))
} catch (error) {
  console.error(`recordings: ${error instanceof Error ? error.message : error}`)
  process.exit(2)
}

const catalogue = loadCatalogue()
const cache = judgeCache(recordings, catalogue)
const { lines: tokenLines, ...tokens } = await judgeTokens(recordings, catalogue, loadTokenFacts(), files[0]!)
if (asJson) {
  console.log(JSON.stringify({ schema: 'tithe.recordings/1', files, cache, tokens }, null, 2))
} else {
  console.log([...cacheSummary(cache), '', ...tokenLines].join('\n'))
}
