/**
 * The candidate that a person most likely meant, for "did you mean": by edit distance, at most a third of the word;
 * a candidate that begins the word, or that the word begins, counts as near. Null when nothing is.
 */
export function nearest(word: string, candidates: Iterable<string>): string | null {
  const wanted = normal(word)
  let best: string | null = null
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1
  for (const candidate of candidates) {
    const name = normal(candidate)
    const begins =
      Math.min(name.length, wanted.length) >= 4 && (name.startsWith(wanted) || wanted.startsWith(name))
    const distance = wanted === name ? 0 : begins ? 1 : editDistance(wanted, name, bestDistance)
    // Of several that begin alike, the longest says the most: `claude-opus-5`, not `claude-opus`.
    if (
      distance < bestDistance ||
      (begins && distance === bestDistance && candidate.length > (best?.length ?? 0))
    ) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

function normal(word: string): string {
  return word.toLowerCase().replace(/[-\s.]/g, '_')
}

/** Levenshtein with neighbouring letters swapped counted once (`sytem`, `systme`); gives up at `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, beforeLast[j - 2]! + 1)
      }
      row.push(cost)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}
