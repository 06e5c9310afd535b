// Prints the constants of src/facts/tokenizers.json that are fitted, from half of the shared recordings, and how well the
// shipped ones do on the other half: `node scripts/fit-tokenizers.ts`. Nothing is written: a changed fact is a change
// for a person to look at, with its date.

import { loadCatalogue } from '../src/facts/load.ts'
import { loadTokenFacts } from '../src/facts/tokenizers.ts'
import { readRecordings } from '../tests/recordings/recording.ts'
import { recordingsPath } from '../tests/recordings/recordings-path.ts'
import { fitOnHalfA, judgeTokens } from '../tests/recordings/tokens-judge.ts'

const file = recordingsPath()
const recordings = await readRecordings(file)
const fitted = await fitOnHalfA(recordings, loadCatalogue(), loadTokenFacts(), file)
console.log(JSON.stringify(fitted, null, 2))
const report = await judgeTokens(recordings, loadCatalogue(), fitted, file)
console.error(report.lines.join('\n'))
