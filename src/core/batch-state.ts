import { assertNever } from './assert.ts'
import type { Instant } from './instant.ts'

/**
 * Where a submission is. `in_progress`, `canceling` and `ended` are the API's own words; the others are ours.
 *
 * planned     Rows are assigned, nothing was sent, or what was sent was put off: it is submitted when `nextPollAt` has come.
 * submitting  The intent is recorded and the create may have been sent. Money may be spent. A crash here means: look for
 *             the batch in the upstream's list before anything else; never send again while it may exist.
 * in_progress The upstream has it, by its id. A crash changes nothing: it is polled again.
 * canceling   A cancel was asked for; rows already done keep their results.
 * ended       Results wait to be read. A crash in the middle of reading is harmless: results are keyed by custom_id and
 *             the same result twice changes nothing.
 * ingested    Every row has its attempt recorded. Final.
 * refused     The upstream said no before creating anything, or it was never sent. Final; its rows go back or end.
 * lost        Given up. Without a batch id: presumed lost, its rows were sent again, and a latecomer turns up as a
 *             duplicate. With one: its results can no longer be read, its rows are unretrievable.
 */
export type SubmissionState =
  | 'planned'
  | 'submitting'
  | 'in_progress'
  | 'canceling'
  | 'ended'
  | 'ingested'
  | 'refused'
  | 'lost'

const OPEN_STATES: readonly SubmissionState[] = ['planned', 'submitting', 'in_progress', 'canceling', 'ended']

export function isOpen(state: SubmissionState): boolean {
  return OPEN_STATES.includes(state)
}

/** What `decide` looks at. */
export interface SubmissionView {
  readonly state: SubmissionState
  readonly nextPollAt: Instant | null
}

export type SubmissionCommand =
  | { readonly kind: 'submit' }
  | { readonly kind: 'reconcile' }
  | { readonly kind: 'poll' }
  | { readonly kind: 'ingest' }
  | { readonly kind: 'withdraw' }
  | { readonly kind: 'cancel' }
  | { readonly kind: 'wait'; readonly until: Instant }
  | { readonly kind: 'nothing' }

/** What to do next with a submission, of a run that is being canceled or not. Pure: the driver performs it. */
export function decide(view: SubmissionView, now: Instant, canceling: boolean): SubmissionCommand {
  const due = (kind: 'submit' | 'reconcile' | 'poll'): SubmissionCommand =>
    view.nextPollAt === null || view.nextPollAt <= now ? { kind } : { kind: 'wait', until: view.nextPollAt }
  switch (view.state) {
    case 'planned':
      return canceling ? { kind: 'withdraw' } : due('submit')
    case 'submitting':
      return due('reconcile')
    case 'in_progress':
      return canceling ? { kind: 'cancel' } : due('poll')
    case 'canceling':
      return due('poll')
    case 'ended':
      return { kind: 'ingest' }
    case 'ingested':
    case 'refused':
    case 'lost':
      return { kind: 'nothing' }
    default:
      return assertNever(view.state, 'decide')
  }
}

/** What was learned about a submission. `deleted`: its batch, at the upstream, after everything that it had was read or given up. */
export type SubmissionEvent =
  | 'intent_recorded'
  | 'accepted'
  | 'adopted'
  | 'refused'
  | 'put_off'
  | 'presumed_lost'
  | 'cancel_requested'
  | 'ended'
  | 'ingested'
  | 'gone'
  | 'turned_up'
  | 'deleted'

/** Every legal step; anything else is a bug of ours or a foreign hand in the store. */
const STEPS: Readonly<Record<SubmissionState, Partial<Record<SubmissionEvent, SubmissionState>>>> = {
  planned: { intent_recorded: 'submitting', refused: 'refused' },
  submitting: {
    accepted: 'in_progress',
    adopted: 'in_progress',
    refused: 'refused',
    put_off: 'planned',
    presumed_lost: 'lost',
  },
  in_progress: { cancel_requested: 'canceling', ended: 'ended', gone: 'lost' },
  canceling: { cancel_requested: 'canceling', ended: 'ended', gone: 'lost' },
  ended: { ingested: 'ingested', gone: 'lost' },
  ingested: { deleted: 'ingested' },
  refused: {},
  lost: { turned_up: 'ended', deleted: 'lost' },
}

/** What is true after an event; null when the event cannot happen in that state. */
export function evolve(state: SubmissionState, event: SubmissionEvent): SubmissionState | null {
  return STEPS[state][event] ?? null
}
