import { type ExitCode, type RetrySafety, TitheError, type Where } from '../core/errors.ts'
import type { RunStore } from './store.ts'

// What the calling thread and the store's thread say to each other. Arguments and answers are cloned on the way.

export type Method = keyof RunStore

export interface Call {
  readonly id: number
  readonly method: Method
  readonly args: readonly unknown[]
}

/** The first reply, before any call, says that the store is open or why it is not: its id is 0. */
export type Reply =
  | { readonly id: number; readonly kind: 'answer'; readonly answer: unknown }
  | { readonly id: number; readonly kind: 'error'; readonly error: SentError }

/** Cloning an error keeps its message and stack and drops what makes it a TitheError. */
export type SentError =
  | { readonly kind: 'other'; readonly error: unknown }
  | {
      readonly kind: 'tithe'
      readonly code: string
      readonly message: string
      readonly hint: string | undefined
      readonly where: Where | undefined
      readonly retry: RetrySafety
      readonly exitCode: ExitCode
    }

export function sendableError(error: unknown): SentError {
  if (!(error instanceof TitheError)) return { kind: 'other', error }
  const { code, message, hint, where, retry, exitCode } = error
  return { kind: 'tithe', code, message, hint: hint ?? undefined, where: where ?? undefined, retry, exitCode }
}

export function receivedError(sent: SentError): unknown {
  if (sent.kind === 'other') return sent.error
  const { code, message, ...options } = sent
  return new TitheError(code, message, options)
}
