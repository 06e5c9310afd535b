// How figures are written for people, in plans, reports and messages alike. Money: money.ts; time: instant.ts.

/** `1,234,567`. */
export function formatCount(value: number): string {
  return value.toLocaleString('en-US')
}

/** A share of one as `72.5 %`. */
export function formatPercent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}

/** `950 B`, `8.3 kB`, `63.0 MB` */
export function formatBytes(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`
  if (bytes < 1_000_000) return `${(bytes / 1_000).toFixed(1)} kB`
  return `${(bytes / 1_000_000).toFixed(1)} MB`
}
