const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** `length` characters of [0-9A-Za-z], as in the API's own ids. @param random uniform in [0, 1). */
export function randomToken(length: number, random: () => number): string {
  let token = ''
  for (let i = 0; i < length; i++) token += ALPHABET[Math.floor(random() * ALPHABET.length)]
  return token
}
