import { assert } from './assert.ts'
import type { Brand } from './brand.ts'

/** Legal for the API: `^[a-zA-Z0-9_-]{1,64}$` (claude-api.md 2.2). One bad id refuses the whole batch. */
export type CustomId = Brand<string, 'CustomId'>

export const CUSTOM_ID_LENGTH_MAX = 64

export interface CustomIdParts {
  readonly run: string
  readonly submission: number
  readonly ordinal: number
}

/**
 * `<run>-<submission>-<row ordinal, base36>-<slug of the user's id>`. The first three parts are the identity: a result
 * proves by them which recorded intent it answers. The slug is decoration, cut to fit, so 'a.b' and 'a b' never meet.
 */
export function customIdFor(parts: CustomIdParts & { readonly userId: string }): CustomId {
  const identity = `${parts.run}-${parts.submission}-${parts.ordinal.toString(36)}`
  assert(identity.length <= CUSTOM_ID_LENGTH_MAX, `the identity ${identity} fits a custom_id`)
  const room = CUSTOM_ID_LENGTH_MAX - identity.length - 1
  const slug = room > 0 ? parts.userId.replace(/[^a-zA-Z0-9_-]+/g, '_').slice(0, room) : ''
  return (slug === '' ? identity : `${identity}-${slug}`) as CustomId
}

/** A custom_id of ours as it is without its slug, which is the user's; any other as it is. */
export function withoutSlug(customId: string): string {
  return parseCustomId(customId) === null ? customId : customId.split('-').slice(0, 3).join('-')
}

/** The identity in a custom_id of ours; null for one that is not ours. */
export function parseCustomId(text: string): CustomIdParts | null {
  const match = /^(r[0-9a-z]{9})-([1-9]\d{0,8})-([0-9a-z]{1,7})(?:-|$)/.exec(text)
  if (!match || text.length > CUSTOM_ID_LENGTH_MAX) return null
  return { run: match[1]!, submission: Number(match[2]), ordinal: Number.parseInt(match[3]!, 36) }
}
