import { crc32, deflateSync } from 'node:zlib'
import { PAGE_HEIGHT, PAGE_WIDTH, type Page } from './page.ts'

// The page as a black and white image, in capitals of 5 by 7 dots like those of a till.

/** Seven rows of five bits from the top, each row a digit of base 32. */
const GLYPHS = new Map(
  `A ehhvhhh  B uhhuhhu  C ehggghe  D uhhhhhu  E vgguggv  F vgguggg  G ehgnhhf  H hhhvhhh  I e44444e  J 72222ic
   K hikokih  L ggggggv  M hrllhhh  N hhpljhh  O ehhhhhe  P uhhuggg  Q ehhhlid  R uhhukih  S fgge11u  T v444444
   U hhhhhhe  V hhhhha4  W hhhllla  X hha4ahh  Y hha4444  Z v1248gv  Ä a0ehvhh  Ö a0ehhhe  Ü a0hhhhe  0 ehjlphe
   1 4c4444e  2 eh1248v  3 v2421he  4 26aiv22  5 vgu11he  6 68guhhe  7 v124888  8 ehhehhe  9 ehhf12c  . 00000cc
   , 0000c48  - 000e000  : 0cc0cc0  / 01248g0  % op248j3  ( 2488842  ) 8422248  & cik8lid  # aavavaa  ! 4444404
   € 78u8u87  $ 4fke5u4  £ 698s88v`
    .split(/\s{2,}/)
    .map((entry) => [entry[0]!, entry.slice(2)] as const),
)

/** Pixels per point: 90 dots per inch, what a hasty scan has. */
const SCALE = 1.25

/** A PNG of one bit a pixel. @param skew radians by which the paper lay askew on the glass. */
export function writePng(page: Page, skew = 0): Buffer {
  const width = Math.round(PAGE_WIDTH * SCALE)
  const height = Math.round(PAGE_HEIGHT * SCALE)
  const dots = dotsOf(page)
  const rowBytes = Math.ceil(width / 8)
  const pixels = Buffer.alloc((rowBytes + 1) * height, 0xff)
  for (let row = 0; row < height; row += 1) {
    pixels[row * (rowBytes + 1)] = 0
    for (let column = 0; column < width; column += 1) {
      const x = column + skew * (row - height / 2)
      const y = row - skew * (column - width / 2)
      if (dots.has(Math.round(y) * width + Math.round(x))) {
        pixels[row * (rowBytes + 1) + 1 + (column >> 3)]! &= ~(0x80 >> (column & 7))
      }
    }
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([1, 0, 0, 0, 0], 8)
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(pixels, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

/** Black pixels, each as y · width + x. */
function dotsOf(page: Page): Set<number> {
  const width = Math.round(PAGE_WIDTH * SCALE)
  const dots = new Set<number>()
  const fill = (left: number, top: number, size: number) => {
    for (let y = top; y < top + size; y += 1)
      for (let x = left; x < left + size; x += 1) dots.add(y * width + x)
  }
  for (const { x, y, width: length } of page.rules) {
    for (let dot = 0; dot < length * SCALE; dot += 1)
      fill(Math.round(x * SCALE) + dot, Math.round(y * SCALE), 1)
  }
  for (const { x, y, text, size, bold, align } of page.texts) {
    const dot = size >= 16 ? 3 : 2
    const capitals = [...text.replaceAll('ß', 'SS').toUpperCase()]
    const left = Math.round(x * SCALE) - (align === 'right' ? capitals.length * 6 * dot : 0)
    const top = Math.round(y * SCALE) - 7 * dot
    for (const [place, character] of capitals.entries()) {
      if (character === ' ') continue
      const glyph = GLYPHS.get(character)
      if (glyph === undefined) throw new Error(`no glyph for ${character} in "${text}"`)
      for (const [row, digit] of [...glyph].entries()) {
        const bits = Number.parseInt(digit, 32)
        for (let bit = 0; bit < 5; bit += 1) {
          if ((bits & (16 >> bit)) === 0) continue
          fill(left + (place * 6 + bit) * dot, top + row * dot, dot + (bold ? 1 : 0))
        }
      }
    }
  }
  return dots
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(data.length)
  const check = Buffer.alloc(4)
  check.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, check])
}
