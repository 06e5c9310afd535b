import { assert } from './assert.ts'
import type { Brand } from './brand.ts'

/**
 * Integer picodollars (10⁻¹² USD). One dollar per million tokens is exactly 1,000,000 picodollars per token, so every
 * published price and every product with the multipliers in use is an integer. Nothing rounds but the renderer.
 */
export type PicoUsd = Brand<bigint, 'PicoUsd'>

export const PICO_PER_USD = 1_000_000_000_000n
export const ZERO_USD = 0n as PicoUsd

export function picoUsd(amount: bigint): PicoUsd {
  return amount as PicoUsd
}

/** `0.05`, `12` or `1e-3` dollars, exactly; null when it is not a number or finer than a picodollar. */
export function parseUsd(text: string | number): PicoUsd | null {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(String(text).trim().replace(/^\$/, ''))
  if (!match) return null
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match
  const shift = 12 + Number(exponent) - fraction.length
  if (shift > 40 || shift < -40) return null
  const digits = BigInt(whole + fraction)
  if (shift >= 0) return picoUsd((sign === '-' ? -1n : 1n) * digits * 10n ** BigInt(shift))
  const divisor = 10n ** BigInt(-shift)
  if (digits % divisor !== 0n) return null
  return picoUsd((sign === '-' ? -1n : 1n) * (digits / divisor))
}

/** Multiplies by a ratio that must leave no remainder: prices are chosen so that it does not. */
export function timesRatio(amount: bigint, numerator: bigint, denominator: bigint): PicoUsd {
  const product = amount * numerator
  assert(
    product % denominator === 0n,
    `${amount} × ${numerator}/${denominator} is a whole number of picodollars`,
  )
  return picoUsd(product / denominator)
}

/** For JSON beside the exact `cost_pico_usd` string, and for charts. May lose digits past 2⁵³ picodollars. */
export function toUsdNumber(amount: bigint): number {
  return Number(amount) / 1e12
}

/** The two spellings of an amount in JSON: `cost_pico_usd`, exact, beside `cost_usd`; both null when unpriced. */
export function moneyFields<Name extends string>(
  name: Name,
  amount: bigint | null,
): { [key in `${Name}_pico_usd`]: string | null } & { [key in `${Name}_usd`]: number | null } {
  return {
    [`${name}_pico_usd`]: amount === null ? null : amount.toString(),
    [`${name}_usd`]: amount === null ? null : toUsdNumber(amount),
  } as ReturnType<typeof moneyFields<Name>>
}

/** `$16.52`, `$0.0031`, `$0.00`; half away from zero. Small amounts keep two significant digits. */
export function formatUsd(amount: bigint, decimals?: number): string {
  const negative = amount < 0n
  const size = negative ? -amount : amount
  let places = decimals ?? 2
  if (decimals === undefined && size > 0n && size < PICO_PER_USD / 10n) {
    places = Math.min(12, 12 - (size.toString().length - 1) + 1)
  }
  const unit = 10n ** BigInt(12 - places)
  const rounded = (size + unit / 2n) / unit
  const text = rounded.toString().padStart(places + 1, '0')
  const whole = text.slice(0, text.length - places).replace(/\B(?=(\d{3})+$)/g, ',')
  const fraction = places > 0 ? `.${text.slice(text.length - places)}` : ''
  return `${negative && rounded > 0n ? '-' : ''}$${whole}${fraction}`
}
