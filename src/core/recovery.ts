import { assert } from './assert.ts'

// What to do about a batch of which too little is known. A create is not idempotent and carries no name, and the list
// shows no custom_ids: when its answer is lost, or a batch cannot be read, guessing would pay twice or lose what was paid
// for. So every combination of what can be known stands in one table, and exactly one line of it applies (recovery.test.ts
// tries them all).
//
// Two rules are behind it. A batch is ours by a recorded id or by custom_ids in its results; place, size and time in the
// list make a candidate, never proof, so a candidate is waited for and neither adopted nor canceled: it may be another
// program's. And what a list does not show proves nothing unless it is the same workspace's list.

/** What is known about one submission when its driver asks. */
export interface Evidence {
  /**
   * unanswered: the intent is recorded and no answer to the create. presumed_lost: given up, its rows were sent again.
   * accepted: the id of its batch is recorded.
   */
  readonly local: 'unanswered' | 'presumed_lost' | 'accepted'
  /** Whose list it is, against what was recorded before; `unsaid` when nothing says so any more. */
  readonly workspace: 'same' | 'other' | 'unsaid'
  /** Candidates in the list that are not decided yet. Of an accepted one: whether its batch is there; 404 is `none`. */
  readonly found: 'none' | 'one' | 'many'
  /** What results that could be read say; `gone`: they were archived or deleted, so nothing will ever say it. */
  readonly revealed: 'nothing' | 'ours' | 'ours_twice' | 'gone'
  /** settled: what is not shown by now is not there. How long that takes is an assumption, and the user's to change. */
  readonly age: 'fresh' | 'settled'
  /** Whether the run stopped for this very reason before, and a human went on. */
  readonly human: 'not_asked' | 'went_on'
}

/**
 * wait: look again later. adopt: record the batch as this submission's. resubmit: give it up; its rows go into a later
 * batch. account: its answers are paid for and decide nothing. leave: nothing is to be done. poll, ingest: it goes on as
 * if nothing had been. give_up: its rows are unretrievable, and are not sent again. stop: a human decides.
 */
export type RecoveryAction =
  | 'wait'
  | 'adopt'
  | 'resubmit'
  | 'account'
  | 'leave'
  | 'poll'
  | 'ingest'
  | 'give_up'
  | 'stop'

type Column<Value> = Value | readonly Value[] | typeof ANY

export interface RecoveryCase {
  readonly local: Column<Evidence['local']>
  readonly workspace: Column<Evidence['workspace']>
  readonly found: Column<Evidence['found']>
  readonly revealed: Column<Evidence['revealed']>
  readonly age: Column<Evidence['age']>
  readonly human: Column<Evidence['human']>
  readonly act: RecoveryAction
  /** Shown in `status`. */
  readonly because: string
}

const ANY = 'any'
const SOME = ['one', 'many'] as const
const OURS = ['ours', 'ours_twice'] as const
const UNREAD = ['nothing', 'gone'] as const

// biome-ignore format: a table is read by its columns
export const RECOVERY: readonly RecoveryCase[] = [
  { local: ANY,             workspace: 'other',  found: ANY,    revealed: ANY,          age: ANY,       human: ANY,         act: 'stop',     because: 'another organisation or workspace answers than the one that the batch belongs to: what it does not show proves nothing' },
  { local: ANY,             workspace: 'unsaid', found: ANY,    revealed: ANY,          age: ANY,       human: ANY,         act: 'stop',     because: 'the upstream no longer says whose batches it shows: what it does not show proves nothing' },

  { local: 'unanswered',    workspace: 'same',   found: ANY,    revealed: 'ours',       age: ANY,       human: ANY,         act: 'adopt',    because: 'its results carry our custom_ids' },
  { local: 'unanswered',    workspace: 'same',   found: ANY,    revealed: 'ours_twice', age: ANY,       human: ANY,         act: 'adopt',    because: 'the results of more than one batch carry our custom_ids: the oldest is adopted, the others are duplicates' },
  { local: 'unanswered',    workspace: 'same',   found: ANY,    revealed: 'gone',       age: ANY,       human: ANY,         act: 'stop',     because: 'a batch that could be this one was archived or deleted before it was read: whether its rows were paid for cannot be known' },
  { local: 'unanswered',    workspace: 'same',   found: 'one',  revealed: 'nothing',    age: ANY,       human: ANY,         act: 'wait',     because: 'a batch in the list could be this one, or another program\'s: the custom_ids in its results will tell' },
  { local: 'unanswered',    workspace: 'same',   found: 'many', revealed: 'nothing',    age: ANY,       human: ANY,         act: 'wait',     because: 'several batches in the list could be this one: the custom_ids in their results will tell' },
  { local: 'unanswered',    workspace: 'same',   found: 'none', revealed: 'nothing',    age: 'fresh',   human: ANY,         act: 'wait',     because: 'no batch in the list yet: a slow create may still land' },
  { local: 'unanswered',    workspace: 'same',   found: 'none', revealed: 'nothing',    age: 'settled', human: ANY,         act: 'resubmit', because: 'the list has had time to show it and does not: presumed lost, its rows are sent again' },

  { local: 'presumed_lost', workspace: 'same',   found: ANY,    revealed: OURS,         age: ANY,       human: ANY,         act: 'account',  because: 'it was presumed lost and turned up: what it answered is paid for twice' },
  { local: 'presumed_lost', workspace: 'same',   found: ANY,    revealed: 'gone',       age: ANY,       human: ANY,         act: 'leave',    because: 'a batch that could be this one was archived or deleted before it was read: what it may have cost is unknown' },
  { local: 'presumed_lost', workspace: 'same',   found: SOME,   revealed: 'nothing',    age: ANY,       human: ANY,         act: 'wait',     because: 'presumed lost, and a batch in the list could be this one after all: the custom_ids in its results will tell' },
  { local: 'presumed_lost', workspace: 'same',   found: 'none', revealed: 'nothing',    age: ANY,       human: ANY,         act: 'leave',    because: 'the list still does not show it' },

  { local: 'accepted',      workspace: 'same',   found: SOME,   revealed: 'nothing',    age: ANY,       human: ANY,         act: 'poll',     because: 'the upstream has it' },
  { local: 'accepted',      workspace: 'same',   found: ANY,    revealed: OURS,         age: ANY,       human: ANY,         act: 'ingest',   because: 'its results can be read' },
  { local: 'accepted',      workspace: 'same',   found: SOME,   revealed: 'gone',       age: ANY,       human: ANY,         act: 'give_up',  because: 'its results were archived or deleted before they were read: what they cost is unknown' },
  { local: 'accepted',      workspace: 'same',   found: 'none', revealed: UNREAD,       age: 'fresh',   human: ANY,         act: 'wait',     because: 'a batch may be 404 for a short while' },
  { local: 'accepted',      workspace: 'same',   found: 'none', revealed: UNREAD,       age: 'settled', human: 'not_asked', act: 'stop',     because: 'it is known to exist and the upstream answers 404: deleted, or another key' },
  { local: 'accepted',      workspace: 'same',   found: 'none', revealed: UNREAD,       age: 'settled', human: 'went_on',   act: 'give_up',  because: 'it is known to exist and the upstream still answers 404: what its rows cost is unknown' },
]

/** The one line of the table that applies. */
export function recoveryOf(evidence: Evidence): RecoveryCase {
  const found = RECOVERY.filter((line) => applies(line, evidence))
  const [only] = found
  assert(
    only !== undefined && found.length === 1,
    `one line of RECOVERY applies to ${JSON.stringify(evidence)}`,
  )
  return only
}

const COLUMNS = ['local', 'workspace', 'found', 'revealed', 'age', 'human'] as const

function applies(line: RecoveryCase, evidence: Evidence): boolean {
  return COLUMNS.every((column) => {
    const wanted: Column<string> = line[column]
    return (
      wanted === ANY ||
      wanted === evidence[column] ||
      (Array.isArray(wanted) && wanted.includes(evidence[column]))
    )
  })
}

/** Who the upstream says that it is, in the headers of its answers; null where it says nothing. */
export interface WorkspaceIds {
  readonly organizationId: string | null
  readonly workspaceId: string | null
}

/** What an answer says against what was recorded. Where nothing was recorded there is nothing to compare. */
export function compareWorkspace(recorded: WorkspaceIds, said: WorkspaceIds): Evidence['workspace'] {
  const pairs = [
    [recorded.organizationId, said.organizationId],
    [recorded.workspaceId, said.workspaceId],
  ] as const
  if (pairs.some(([known, told]) => known !== null && told !== null && known !== told)) return 'other'
  return pairs.some(([known, told]) => known !== null && told === null) ? 'unsaid' : 'same'
}
