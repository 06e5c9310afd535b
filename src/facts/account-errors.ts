import type { AccountErrors } from '../core/account-error.ts'
import accountErrorsFile from './account-errors.json' with { type: 'json' }

/** How the API says that a key or an account must be mended; `account-errors.test.ts` holds the file to its shape. */
export function loadAccountErrors(): AccountErrors {
  return accountErrorsFile as AccountErrors
}
