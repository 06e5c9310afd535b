import type { Fact } from './models.ts'

// Errors that are not of the row or the batch that met them: of the key, the account, its spend limit. The next call would
// meet them as well, so a run stops, and its rows wait until a person has mended what is wrong (claude-api.md 6.1).

/** How the API says so: dated, since its words may change. */
export interface AccountErrors {
  readonly types: Fact<readonly string[]>
  /** Of the account, or of the one row that names what the key may not use: such a row is not asked without end. */
  readonly perhapsTypes: Fact<readonly string[]>
  /** How the message of an `invalid_request_error` begins when the organisation's own limit is reached. */
  readonly spendLimitText: Fact<string>
  /** `error.details.error_code` when the tier's monthly cap is reached. */
  readonly spendCapCode: Fact<string>
}

export interface ErrorSeen {
  readonly type: string | null
  readonly message: string | null
  /** `error.details.error_code`; null for most errors. */
  readonly code: string | null
}

export interface AccountTrouble {
  /** What a person has to do. */
  readonly mend: string
  readonly mayBeOfRow: boolean
}

const MENDS: ReadonlyMap<string, string> = new Map([
  ['authentication_error', 'mend the API key'],
  ['billing_error', "mend the account's billing"],
  ['permission_error', 'give the key the permission that it lacks'],
])

/** What must be mended before anything more is sent; null for an error of the row, the batch, or the moment. */
export function accountTrouble(error: ErrorSeen, known: AccountErrors): AccountTrouble | null {
  const isSpendLimit =
    error.type === 'invalid_request_error' && error.message?.startsWith(known.spendLimitText.value) === true
  if (isSpendLimit || error.code === known.spendCapCode.value) {
    return { mend: 'raise the spend limit, or wait until it is lifted', mayBeOfRow: false }
  }
  const type = error.type ?? ''
  const mayBeOfRow = known.perhapsTypes.value.includes(type)
  if (!mayBeOfRow && !known.types.value.includes(type)) return null
  return { mend: MENDS.get(type) ?? 'mend the account', mayBeOfRow }
}
