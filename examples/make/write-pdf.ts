import { PAGE_HEIGHT, PAGE_WIDTH, type Page, type PageText } from './page.ts'

/** A PDF 1.4 file in Helvetica, without compression: it can be read with an editor. */
export function writePdf(pages: readonly Page[]): Buffer {
  const objects: string[] = []
  const add = (body: string): number => objects.push(body)
  const catalog = add('<< /Type /Catalog /Pages 2 0 R >>')
  const kids = pages.map((_, index) => `${5 + 2 * index} 0 R`).join(' ')
  add(`<< /Type /Pages /Kids [${kids}] /Count ${pages.length} >>`)
  add('<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>')
  add('<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>')
  for (const page of pages) {
    const resources = '<< /Font << /F1 3 0 R /F2 4 0 R >> >>'
    const contents = objects.length + 2
    add(
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 ${PAGE_WIDTH} ${PAGE_HEIGHT}] /Resources ${resources} /Contents ${contents} 0 R >>`,
    )
    const stream = [
      ...page.rules.map(({ x, y, width }) => `${x} ${PAGE_HEIGHT - y} ${width} 0.6 re f`),
      ...page.texts.map(textOperator),
    ].join('\n')
    add(`<< /Length ${stream.length} >>\nstream\n${stream}\nendstream`)
  }
  let file = '%PDF-1.4\n'
  const offsets = objects.map((body, index) => {
    const offset = file.length
    file += `${index + 1} 0 obj\n${body}\nendobj\n`
    return offset
  })
  const entries = offsets.map((offset) => `${String(offset).padStart(10, '0')} 00000 n \n`).join('')
  const size = objects.length + 1
  const trailer = `trailer\n<< /Size ${size} /Root ${catalog} 0 R >>\nstartxref\n${file.length}\n%%EOF\n`
  return Buffer.from(`${file}xref\n0 ${size}\n0000000000 65535 f \n${entries}${trailer}`, 'latin1')
}

function textOperator({ x, y, size, bold, text, align }: PageText): string {
  const left = align === 'right' ? x - widthOf(text, size) : x
  return `BT /${bold ? 'F2' : 'F1'} ${size} Tf ${left.toFixed(1)} ${PAGE_HEIGHT - y} Td (${escaped(text)}) Tj ET`
}

/** Near enough to set columns right: digits of Helvetica are 0.556 wide, points and commas 0.278. */
function widthOf(text: string, size: number): number {
  const units = [...text].reduce((sum, character) => sum + (/[.,' :]/.test(character) ? 0.278 : 0.556), 0)
  return units * size
}

/** Characters of WinAnsi that Latin-1 does not have. */
const WIN_ANSI: Readonly<Record<string, string>> = {
  '€': '\\200',
  '–': '\\226',
  '’': '\\222',
  '„': '\\204',
  '“': '\\223',
}

function escaped(text: string): string {
  const encoded = text.replace(/[\\()]/g, '\\$&').replace(/[€–’„“]/g, (character) => WIN_ANSI[character]!)
  const foreign = /[^\x20-\x7e\xa0-\xff]/.exec(encoded)
  if (foreign !== null) throw new Error(`${foreign[0]} is not in WinAnsi: "${text}"`)
  return encoded
}
