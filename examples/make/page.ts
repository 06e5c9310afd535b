// One page, described once, written as PDF (write-pdf.ts) or as an image (write-png.ts). Only what the examples need:
// they are made by code in the repository, so that nobody's real documents are in it, and nothing else is installed.

/** Points from the top left corner of an A4 page. */
export interface Page {
  readonly texts: readonly PageText[]
  readonly rules: readonly PageRule[]
}

export interface PageText {
  readonly x: number
  /** Of the baseline. */
  readonly y: number
  readonly size: number
  readonly bold: boolean
  readonly text: string
  /** `right`: x is where the text ends. */
  readonly align: 'left' | 'right'
}

/** A thin line from left to right. */
export interface PageRule {
  readonly x: number
  readonly y: number
  readonly width: number
}

export const PAGE_WIDTH = 595
export const PAGE_HEIGHT = 842

/** Collects what stands on a page from the top down, in the order in which it is read. */
export class PageBuilder {
  readonly texts: PageText[] = []
  readonly rules: PageRule[] = []
  y = 60

  down(points: number): this {
    this.y += points
    return this
  }

  text(x: number, text: string, style: Partial<Pick<PageText, 'size' | 'bold' | 'align'>> = {}): this {
    this.texts.push({ x, y: this.y, text, size: 10, bold: false, align: 'left', ...style })
    return this
  }

  rule(x: number, width: number): this {
    this.rules.push({ x, y: this.y, width })
    return this
  }
}
