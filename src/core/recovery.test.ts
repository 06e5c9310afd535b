import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareWorkspace, type Evidence, RECOVERY, recoveryOf } from './recovery.ts'

const VALUES = {
  local: ['unanswered', 'presumed_lost', 'accepted'],
  workspace: ['same', 'other', 'unsaid'],
  found: ['none', 'one', 'many'],
  revealed: ['nothing', 'ours', 'ours_twice', 'gone'],
  age: ['fresh', 'settled'],
  human: ['not_asked', 'went_on'],
} as const satisfies { readonly [key in keyof Evidence]: readonly Evidence[key][] }

/** Everything that can be known, in every combination. */
const ALL: readonly Evidence[] = VALUES.local.flatMap((local) =>
  VALUES.workspace.flatMap((workspace) =>
    VALUES.found.flatMap((found) =>
      VALUES.revealed.flatMap((revealed) =>
        VALUES.age.flatMap((age) =>
          VALUES.human.map((human) => ({ local, workspace, found, revealed, age, human })),
        ),
      ),
    ),
  ),
)

const told = (evidence: Evidence) => JSON.stringify(evidence)

test('exactly one line applies to everything that can be known, and every line to something', () => {
  assert.equal(ALL.length, 432)
  const used = new Set(ALL.map(recoveryOf))
  assert.equal(used.size, RECOVERY.length)
})

test('a table with a line too few or too many is noticed', () => {
  const counts = (lines: typeof RECOVERY) =>
    ALL.map(
      (evidence) =>
        lines.filter((line) =>
          Object.entries(evidence).every(([column, value]) => {
            const wanted = line[column as keyof Evidence] as string | readonly string[]
            return wanted === 'any' || [wanted].flat().includes(value)
          }),
        ).length,
    )
  assert.ok(counts(RECOVERY).every((count) => count === 1))
  for (const [index, line] of RECOVERY.entries()) {
    assert.ok(counts(RECOVERY.toSpliced(index, 1)).includes(0), `without: ${line.because}`)
    assert.ok(counts([...RECOVERY, line]).includes(2), `twice: ${line.because}`)
  }
})

test('rows are sent again only when the same workspace has had time to show their batch and shows no candidate', () => {
  for (const evidence of ALL.filter((one) => recoveryOf(one).act === 'resubmit')) {
    const { local, workspace, found, revealed, age } = evidence
    assert.deepEqual(
      [local, workspace, found, revealed, age],
      ['unanswered', 'same', 'none', 'nothing', 'settled'],
      told(evidence),
    )
  }
})

test('a batch is taken for ours by nothing but its results', () => {
  for (const evidence of ALL) {
    const { act } = recoveryOf(evidence)
    if (act === 'adopt' || act === 'account' || act === 'ingest') {
      assert.match(evidence.revealed, /^ours/, told(evidence))
    }
  }
})

test('of another workspace nothing is concluded', () => {
  for (const evidence of ALL.filter((one) => one.workspace !== 'same')) {
    assert.equal(recoveryOf(evidence).act, 'stop', told(evidence))
  }
})

test('a 404 on a batch that is known to exist is never a reason to send its rows again', () => {
  for (const evidence of ALL.filter((one) => one.local === 'accepted')) {
    assert.notEqual(recoveryOf(evidence).act, 'resubmit', told(evidence))
    if (evidence.workspace !== 'same' || evidence.found !== 'none' || evidence.revealed.startsWith('ours'))
      continue
    const expected = evidence.age === 'fresh' ? 'wait' : evidence.human === 'not_asked' ? 'stop' : 'give_up'
    assert.equal(recoveryOf(evidence).act, expected, told(evidence))
  }
})

test('rows are given up only when a human has seen it, or when the upstream itself says that the results are gone', () => {
  for (const evidence of ALL.filter((one) => recoveryOf(one).act === 'give_up')) {
    assert.ok(evidence.human === 'went_on' || evidence.revealed === 'gone', told(evidence))
  }
})

test('whose answer it is: another id is another workspace, a header that is missing where one was recorded says nothing', () => {
  const ids = (organizationId: string | null, workspaceId: string | null) => ({ organizationId, workspaceId })
  assert.equal(compareWorkspace(ids('o', 'w'), ids('o', 'w')), 'same')
  assert.equal(compareWorkspace(ids(null, null), ids('o', 'w')), 'same')
  assert.equal(compareWorkspace(ids(null, null), ids(null, null)), 'same')
  assert.equal(compareWorkspace(ids('o', null), ids('o', 'w')), 'same')
  assert.equal(compareWorkspace(ids('o', 'w'), ids('o', 'x')), 'other')
  assert.equal(compareWorkspace(ids('o', 'w'), ids('x', null)), 'other')
  assert.equal(compareWorkspace(ids('o', 'w'), ids('o', null)), 'unsaid')
  assert.equal(compareWorkspace(ids('o', null), ids(null, null)), 'unsaid')
})
