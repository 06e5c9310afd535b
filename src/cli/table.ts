export interface Column {
  readonly header: string
  readonly align?: 'left' | 'right'
}

export interface TableOptions {
  /** Columns of the terminal; the last column is wrapped within it. Unlimited when left out. */
  readonly width?: number
  /** Spaces before every line. */
  readonly indent?: number
}

const GAP = 2
/** Below this a wrapped column is harder to read than a line that is too long. */
const LAST_COLUMN_MIN = 20

/** A table with its header, columns aligned, no lines drawn. Cells may hold colour. Without trailing blanks. */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  options: TableOptions = {},
): string {
  const lines = [columns.map((column) => column.header), ...rows]
  const widths = columns.map((_, i) => Math.max(...lines.map((cells) => visibleWidth(cells[i] ?? ''))))
  const indent = ' '.repeat(options.indent ?? 0)
  const before = indent.length + widths.slice(0, -1).reduce((sum, width) => sum + width + GAP, 0)
  const lastWidth = Math.max(LAST_COLUMN_MIN, (options.width ?? Number.POSITIVE_INFINITY) - before)

  return lines
    .flatMap((cells) => {
      const [first = '', ...rest] = wrapText(cells[columns.length - 1] ?? '', lastWidth)
      const head = columns.map((column, i) => {
        const last = i === columns.length - 1
        const cell = last ? first : (cells[i] ?? '')
        const padding = ' '.repeat(
          Math.max(0, (last ? Math.min(widths[i]!, lastWidth) : widths[i]!) - visibleWidth(cell)),
        )
        return column.align === 'right' ? padding + cell : cell + padding
      })
      return [indent + head.join(' '.repeat(GAP)), ...rest.map((text) => ' '.repeat(before) + text)]
    })
    .map((line) => line.trimEnd())
    .join('\n')
}

/** Breaks text at spaces into lines of at most `width`; a longer word stands alone. */
export function wrapText(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`
    if (line !== '' && visibleWidth(longer) > width) {
      lines.push(line)
      line = word
    } else {
      line = longer
    }
  }
  return [...lines, line]
}

/** Characters as a terminal shows them: colour takes no room. */
export function visibleWidth(text: string): number {
  return [...text.replace(/\u001b\[[0-9;]*m/g, '')].length
}
