import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { type Page, PageBuilder } from '../make/page.ts'
import { writePdf } from '../make/write-pdf.ts'
import { writePng } from '../make/write-png.ts'
import documents from './documents.json' with { type: 'json' }

// Writes files/ and invoices.csv: `node examples/invoices/make.ts`. The right answers in the CSV come from the same data
// as the documents, so they cannot disagree. All firms, people and numbers are invented.

interface Invoice {
  /** As people name their files: with points, spaces and brackets, none of which a custom_id may hold. */
  readonly file: string
  readonly style: string
  readonly vendor: string
  readonly address: readonly string[]
  readonly customer: readonly string[]
  readonly number: string
  /** ISO. */
  readonly date: string
  readonly due: string | null
  readonly currency: string
  readonly vatPercent: number
  readonly items: readonly (readonly [what: string, quantity: number, priceCents: number])[]
  readonly note?: string
  /** Radians by which a scan lies askew. */
  readonly skew?: number
}

/** The words, dates and numbers of a country. */
interface Style {
  readonly title: string
  readonly number: string
  readonly date: string
  readonly due: string
  readonly to: string
  readonly columns: readonly [what: string, quantity: string, price: string, amount: string]
  readonly net: string
  readonly vat: (percent: number) => string
  readonly total: string
  readonly writeDate: (year: string, month: string, day: string) => string
  readonly writeCents: (cents: number, currency: string) => string
}

const MONTHS = 'January February March April May June July August September October November December'.split(
  ' ',
)
const SIGNS: Readonly<Record<string, string>> = { EUR: '€', GBP: '£', USD: '$' }

const german: Style = {
  title: 'Rechnung',
  number: 'Rechnungsnummer',
  date: 'Rechnungsdatum',
  due: 'Zahlbar bis',
  to: 'An',
  columns: ['Bezeichnung', 'Menge', 'Einzelpreis', 'Betrag'],
  net: 'Nettobetrag',
  vat: (percent) => `zzgl. ${percent} % USt.`,
  total: 'Gesamtbetrag',
  writeDate: (year, month, day) => `${day}.${month}.${year}`,
  writeCents: (cents, currency) => `${grouped(cents, '.', ',')} ${SIGNS[currency] ?? currency}`,
}
const british: Style = {
  title: 'INVOICE',
  number: 'Invoice no.',
  date: 'Date of issue',
  due: 'Payment due',
  to: 'Bill to',
  columns: ['Description', 'Qty', 'Unit price', 'Amount'],
  net: 'Subtotal',
  vat: (percent) => `VAT ${percent}%`,
  total: 'Total due',
  writeDate: (year, month, day) => `${Number(day)} ${MONTHS[Number(month) - 1]} ${year}`,
  writeCents: (cents, currency) => `${SIGNS[currency] ?? `${currency} `}${grouped(cents, ',', '.')}`,
}
const STYLES: Readonly<Record<string, Style>> = {
  german,
  british,
  american: {
    ...british,
    title: 'Invoice',
    number: 'Invoice #',
    date: 'Date',
    due: 'Due',
    vat: (percent) => `Sales tax (${percent}%)`,
    total: 'BALANCE DUE',
    writeDate: (year, month, day) => `${month}/${day}/${year}`,
  },
  credit: { ...british, title: 'CREDIT NOTE', number: 'Credit note no.', total: 'Total credit' },
  french: {
    title: 'FACTURE',
    number: 'Facture n°',
    date: 'Date',
    due: 'Échéance',
    to: 'Client',
    columns: ['Désignation', 'Qté', 'P.U. HT', 'Montant HT'],
    net: 'Total HT',
    vat: (percent) => `TVA ${percent} %`,
    total: 'Total TTC',
    writeDate: (year, month, day) => `${day}/${month}/${year}`,
    writeCents: (cents, currency) => `${grouped(cents, ' ', ',')} ${SIGNS[currency] ?? currency}`,
  },
  swiss: {
    ...german,
    vat: (percent) => `MWST ${percent} %`,
    total: 'Rechnungsbetrag',
    writeCents: (cents, currency) => `${currency} ${grouped(cents, "'", '.')}`,
  },
  till: {
    ...british,
    title: 'Receipt',
    number: 'No',
    date: 'Date',
    to: 'For',
    net: 'Net',
    total: 'TOTAL',
    writeDate: (year, month, day) => `${year}-${month}-${day}`,
    writeCents: (cents) => grouped(cents, '', '.'),
  },
}

/** 123456 → 1.234,56 with the marks of a country. */
function grouped(cents: number, thousands: string, decimal: string): string {
  const [whole = '', rest = ''] = (Math.abs(cents) / 100).toFixed(2).split('.')
  return `${cents < 0 ? '-' : ''}${whole.replace(/\B(?=(\d{3})+$)/g, thousands)}${decimal}${rest}`
}

const LEFT = 60
const RIGHT = 540
const ROWS_PER_PAGE = 26

function pagesOf(invoice: Invoice): Page[] {
  const { items, currency } = invoice
  const style = STYLES[invoice.style]!
  const money = (cents: number) => style.writeCents(cents, currency)
  const pages: Page[] = []
  for (let first = 0; first < items.length; first += ROWS_PER_PAGE) {
    const page = new PageBuilder()
    if (first === 0) writeHead(page, invoice, style)
    const [what, quantity, price, amount] = style.columns
    page.text(LEFT, what, { bold: true })
    for (const [x, column] of [
      [330, quantity],
      [450, price],
      [RIGHT, amount],
    ] as const) {
      page.text(x, column, { bold: true, align: 'right' })
    }
    page.down(8).rule(LEFT, RIGHT - LEFT)
    for (const [item, count, cents] of items.slice(first, first + ROWS_PER_PAGE)) {
      page.down(18).text(LEFT, item).text(330, String(count), { align: 'right' })
      page.text(450, money(cents), { align: 'right' }).text(RIGHT, money(count * cents), { align: 'right' })
    }
    page.down(10).rule(LEFT, RIGHT - LEFT)
    if (first + ROWS_PER_PAGE >= items.length) writeSums(page, invoice, style)
    pages.push(page)
  }
  return pages
}

function writeHead(page: PageBuilder, invoice: Invoice, style: Style): void {
  const date = (iso: string) => style.writeDate(...(iso.split('-') as [string, string, string]))
  page.text(LEFT, invoice.vendor, { size: 16, bold: true })
  for (const line of invoice.address) page.down(16).text(LEFT, line, { size: 9 })
  page.down(44).text(LEFT, style.title, { size: 18, bold: true })
  page.down(26).text(LEFT, `${style.to}: ${invoice.customer.join(', ')}`)
  page.down(18).text(LEFT, `${style.number}: ${invoice.number}`)
  page.down(18).text(LEFT, `${style.date}: ${date(invoice.date)}`)
  if (invoice.due !== null) page.down(18).text(LEFT, `${style.due}: ${date(invoice.due)}`)
  page.down(34)
}

function writeSums(page: PageBuilder, invoice: Invoice, style: Style): void {
  const { netCents, vatCents } = sumsOf(invoice)
  const line = (label: string, cents: number, bold = false) => {
    page.down(20).text(450, label, { bold, align: 'right' })
    page.text(RIGHT, style.writeCents(cents, invoice.currency), { bold, align: 'right' })
  }
  line(style.net, netCents)
  if (invoice.vatPercent > 0) line(style.vat(invoice.vatPercent), vatCents)
  line(style.total, netCents + vatCents, true)
  if (invoice.note !== undefined) page.down(50).text(LEFT, invoice.note, { size: 9 })
}

function sumsOf({ items, vatPercent }: Invoice): { netCents: number; vatCents: number } {
  const netCents = items.reduce((sum, [, quantity, cents]) => sum + quantity * cents, 0)
  return { netCents, vatCents: Math.round((netCents * vatPercent) / 100) }
}

/** What a reader should find; images are printed in capitals, and names are copied as printed. */
function expectedOf(invoice: Invoice): string {
  const { netCents, vatCents } = sumsOf(invoice)
  return JSON.stringify({
    vendor: isImage(invoice) ? invoice.vendor.toUpperCase() : invoice.vendor,
    invoice_number: invoice.number,
    invoice_date: invoice.date,
    due_date: invoice.due,
    currency: invoice.currency,
    net: netCents / 100,
    vat: vatCents / 100,
    total: (netCents + vatCents) / 100,
  })
}

function isImage(invoice: Invoice): boolean {
  return invoice.file.endsWith('.png')
}

const folder = new URL('files/', import.meta.url)
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder)
const lines = ['file,expected']
for (const invoice of documents as unknown as readonly Invoice[]) {
  const pages = pagesOf(invoice)
  const bytes = isImage(invoice) ? writePng(pages[0]!, invoice.skew ?? 0) : writePdf(pages)
  writeFileSync(new URL(encodeURIComponent(invoice.file), folder), bytes)
  lines.push(`${invoice.file},"${expectedOf(invoice).replaceAll('"', '""')}"`)
}
writeFileSync(new URL('invoices.csv', import.meta.url), `${lines.join('\n')}\n`)
