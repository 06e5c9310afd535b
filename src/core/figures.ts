// How figures are written for people, in plans, reports and messages alike. Money: money.ts; time: instant.ts.

/** `1,234,567`. */
export function formatCount(value: number): string {
  return value.toLocaleString('en-US')
}

/** A share of one as `72.5 %`. */
export function formatPercent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}
