/** How large an image may be before the API shrinks it, and how it is cut into tokens (claude-api.md 5.2). */
export interface ImageTier {
  readonly edgePixelsMax: number
  readonly tokensMax: number
}

export interface PixelSize {
  readonly width: number
  readonly height: number
}

/**
 * Tokens of one image: it is shrunk to fit its tier, padded right and below to whole cells, and every cell is one token.
 * @param cellPixels side of a cell.
 */
export function imageTokens(size: PixelSize, tier: ImageTier, cellPixels: number): number {
  const { width, height } = shrunkSize(size, tier, cellPixels)
  return cells(width, cellPixels) * cells(height, cellPixels)
}

/** The largest size of the same shape that fits the tier, by whole pixels of the long edge. */
export function shrunkSize(size: PixelSize, tier: ImageTier, cellPixels: number): PixelSize {
  const long = Math.max(size.width, size.height)
  const short = Math.min(size.width, size.height)
  // Half up, as the documented 2000 × 1500 → 1269 × 952 was rounded; half to even would give 1270 × 952.
  const shortOf = (edge: number): number => Math.max(1, Math.round((edge * short) / long))
  const fits = (edge: number): boolean => {
    const across = cells(edge, cellPixels)
    return (
      across * cellPixels <= tier.edgePixelsMax && across * cells(shortOf(edge), cellPixels) <= tier.tokensMax
    )
  }
  let edge = long
  if (!fits(long)) {
    let low = 1
    let high = long
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (fits(middle)) low = middle
      else high = middle - 1
    }
    edge = low
  }
  return size.width >= size.height
    ? { width: edge, height: shortOf(edge) }
    : { width: shortOf(edge), height: edge }
}

function cells(pixels: number, cellPixels: number): number {
  return Math.ceil(pixels / cellPixels)
}
