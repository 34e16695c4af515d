import { distance } from 'fastest-levenshtein'

/**
 * Edits (insert, delete, replace a character) up to which one word counts as a slip for another.
 */
const SLIP = 2
/** A name of this length is ours if it differs by a slip, whatever its prefix. */
const LONG = 10

/**
 * The setting that an unknown name was probably meant to be; undefined if it may be another
 * program's.
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  if (!name.includes('_')) return undefined
  // Other services write these without AUTH_. No other prefix is added: WEBHOOK_URL may be another
  // program's.
  if (known.includes(`AUTH_${name}`)) return `AUTH_${name}`
  const prefix = name.slice(0, name.indexOf('_') + 1)
  const candidates = name.length >= LONG ? known : known.filter((one) => one.startsWith(prefix))
  return nearest(candidates, (one) => distance(name, one))
}

/** The word of the command line that was probably meant. The beginning of a word is enough. */
export function nearestWord(word: string, known: readonly string[]): string | undefined {
  return nearest(known, (one) => {
    const score = Math.min(distance(word, one), distance(word, one.slice(0, word.length)))
    return score < word.length ? score : Infinity
  })
}

/** The first candidate with the fewest edits, if those are a slip. */
function nearest(
  candidates: readonly string[],
  edits: (candidate: string) => number
): string | undefined {
  const scored = candidates.map((one) => ({ one, score: edits(one) }))
  const [best] = scored.toSorted((a, b) => a.score - b.score)
  return best !== undefined && best.score <= SLIP ? best.one : undefined
}
