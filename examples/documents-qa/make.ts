import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { PAGE_HEIGHT, type Page, PageBuilder } from '../make/page.ts'
import { writePdf } from '../make/write-pdf.ts'

// Writes documents/*.pdf from the texts beside them: `node examples/documents-qa/make.ts`.

const LINE = 14
const LINE_LENGTH = 92

for (const file of globSync('documents/*.md', { cwd: import.meta.dirname })) {
  const path = `${import.meta.dirname}/${file}`
  writeFileSync(path.replace(/md$/, 'pdf'), writePdf(pagesOf(readFileSync(path, 'utf8'))))
}

function pagesOf(markdown: string): Page[] {
  let page = new PageBuilder()
  const pages = [page]
  for (const paragraph of markdown.trim().split(/\n{2,}/)) {
    const [, marks = '', text = ''] = /^(#*) ?([\s\S]*)$/.exec(paragraph)!
    const lines = wrapped(text.replaceAll('\n', ' '))
    if (page.y + lines.length * LINE > PAGE_HEIGHT - 60) {
      page = new PageBuilder()
      pages.push(page)
    }
    const style = marks === '' ? {} : { bold: true, size: marks === '#' ? 15 : 11 }
    for (const line of lines) page.text(60, line, style).down(LINE)
    page.down(LINE / 2)
  }
  return pages
}

function wrapped(text: string): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= LINE_LENGTH)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}
