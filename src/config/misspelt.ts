/** Changes of one character that lead from one word to the other, or more than `most`. */
function distance(from: string, to: string, most: number): number {
  if (Math.abs(from.length - to.length) > most) return most + 1
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i++) {
    const next = [i]
    for (let j = 1; j <= to.length; j++) {
      next.push(
        Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1))
      )
    }
    row = next
  }
  return row[to.length]!
}

/** Longer names differ from others' by more than a slip, whatever they begin with. */
const LONG = 10

/** The known name that an unknown one was probably meant to be. Other programs' variables are none of our business. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  if (!name.includes('_')) return undefined
  // Of every other service these go without the prefix. No further prefix is left out: WEBHOOK_URL may well be another program's.
  if (known.includes(`AUTH_${name}`)) return `AUTH_${name}`
  const prefix = name.slice(0, name.indexOf('_') + 1)
  const candidates = name.length >= LONG ? known : known.filter((one) => one.startsWith(prefix))
  let best: { name: string; distance: number } | undefined
  for (const candidate of candidates) {
    const found = distance(name, candidate, 2)
    if (found <= 2 && found < (best?.distance ?? 3)) best = { name: candidate, distance: found }
  }
  return best?.name
}

/** The known word that was probably meant, also by its beginning; for words of a command line, of which all are ours. */
export function nearestWord(word: string, known: readonly string[]): string | undefined {
  const scored = known.map((one) => ({
    one,
    score: Math.min(distance(word, one, 2), distance(word, one.slice(0, word.length), 2))
  }))
  const best = scored.toSorted((a, b) => a.score - b.score)[0]
  return best !== undefined && best.score <= 2 && best.score < word.length ? best.one : undefined
}
