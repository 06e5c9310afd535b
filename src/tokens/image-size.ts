import { createRequire } from 'node:module'
import type { SizeOfImage } from '../core/token-estimate.ts'

/** Characters of base64 that hold the size: at the front of PNG, GIF and WebP, after any embedded preview in JPEG. */
const HEAD_LENGTH = 400_000

let imageSize: ((bytes: Uint8Array) => { readonly width: number; readonly height: number }) | null = null

/** Pixels of a base64 image, from its head; null when it is not an image that we can read. */
export const sizeOfImage: SizeOfImage = (base64) => {
  imageSize ??= (createRequire(import.meta.url)('image-size') as { imageSize: typeof imageSize }).imageSize!
  try {
    const { width, height } = imageSize(Buffer.from(base64.slice(0, HEAD_LENGTH), 'base64'))
    return { width, height }
  } catch {
    // Not an error here: the estimate then says that it has not seen the image, and the API will refuse it.
    return null
  }
}
