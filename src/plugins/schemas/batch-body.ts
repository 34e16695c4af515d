import { Pace } from '../../bounds/event-loop-turns.ts'
import { MAX_BATCH_RECIPIENTS, MAX_ENTRIES, MAX_ITEM_TEXT } from '../../bounds/limits.ts'
import { pointerToken, summaryOf } from './faults.ts'
import { type Fault, ProblemError } from './problem.ts'

/** Stands for an item that is too long to be parsed. */
export const OVERSIZED = Symbol('an item that is too long')

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPENING_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSING_BRACKET = 0x5d
const OPENING_BRACE = 0x7b
const CLOSING_BRACE = 0x7d
const SPACE = /[ \t\n\r]*/y
const SCALAR = /[^ \t\n\r,\]}]+/y
/** Characters to scan before the clock is read again. */
const STRIDE = 64 * 1024

const malformed = (cause?: unknown): ProblemError =>
  new ProblemError('malformed', 'The body is not valid JSON.', { cause })

/** Parses a JSON text. Throws `malformed`. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw malformed(cause)
  }
}

/**
 * Finds where the values of a JSON text begin and end, and gives others turns of the event loop.
 * `JSON.parse` then tells whether they are valid.
 */
class Scanner {
  readonly text: string
  readonly pace = new Pace()
  #at = 0

  constructor(text: string) {
    this.text = text
  }

  /** Skips white space, then one character if it is the one given. */
  takes(char: number): boolean {
    this.#space()
    if (this.text.charCodeAt(this.#at) !== char) return false
    this.#at++
    return true
  }

  /** The same, but throws `malformed` if another character follows. */
  expect(char: number): void {
    if (!this.takes(char)) throw malformed()
  }

  /** Whether nothing but white space is left. */
  get ended(): boolean {
    this.#space()
    return this.#at === this.text.length
  }

  /** Reads the text of the next value. */
  async value(): Promise<string> {
    this.#space()
    const { text } = this
    const begin = this.#at
    let look = begin + STRIDE
    let depth = 0
    let quoted = false
    do {
      if (quoted) {
        const quote = text.indexOf('"', this.#at)
        if (quote < 0) throw malformed()
        this.#at = quote + 1
        quoted = isEscaped(text, quote)
      } else {
        const char = text.charCodeAt(this.#at)
        if (char === QUOTE) quoted = true
        else if (char === OPENING_BRACE || char === OPENING_BRACKET) depth++
        else if (char === CLOSING_BRACE || char === CLOSING_BRACKET) depth--
        else if (depth === 0) return this.#scalar()
        else if (Number.isNaN(char)) throw malformed()
        this.#at++
      }
      if (depth < 0) throw malformed()
      if (this.#at > look) {
        look = this.#at + STRIDE
        if (this.pace.over) await this.pace.pause()
      }
    } while (depth > 0 || quoted)
    return text.slice(begin, this.#at)
  }

  #space(): void {
    SPACE.lastIndex = this.#at
    SPACE.test(this.text)
    this.#at = SPACE.lastIndex
  }

  #scalar(): string {
    SCALAR.lastIndex = this.#at
    const found = SCALAR.exec(this.text)
    if (!found) throw malformed()
    this.#at = SCALAR.lastIndex
    return found[0]
  }
}

/** Whether an odd number of backslashes precedes it. */
function isEscaped(text: string, at: number): boolean {
  let before = at - 1
  while (text.charCodeAt(before) === BACKSLASH) before--
  return (at - before) % 2 === 0
}

/**
 * Parses the body of a batch as `JSON.parse` would, in pieces, with turns of the event loop in
 * between. Items that are too long become {@link OVERSIZED}, and the values of other fields are
 * skipped. Throws `malformed`, and `validation` or `payload-too-large` as soon as a limit is
 * exceeded.
 */
export async function parseBatch(text: string): Promise<unknown> {
  const scanner = new Scanner(text)
  // Only an object is valid here. Anything else is parsed just to tell valid JSON from invalid.
  if (!scanner.takes(OPENING_BRACE)) return text.length > MAX_ITEM_TEXT ? null : parseJson(text)
  const body: Record<string, unknown> = {}
  let fields = 0
  if (!scanner.takes(CLOSING_BRACE)) {
    do {
      const name = parseJson(await scanner.value())
      if (typeof name !== 'string') throw malformed()
      if (++fields > MAX_ENTRIES.faults) throw tooManyFields(name)
      scanner.expect(COLON)
      const value =
        name === 'notifications' && scanner.takes(OPENING_BRACKET)
          ? await parseItems(scanner)
          : await skip(scanner)
      // Not by assignment: `__proto__` is an unknown field like any other, and rejected as one.
      Object.defineProperty(body, name, {
        value,
        enumerable: true,
        configurable: true,
        writable: true
      })
    } while (scanner.takes(COMMA))
    scanner.expect(CLOSING_BRACE)
  }
  if (!scanner.ended) throw malformed()
  return body
}

async function skip(scanner: Scanner): Promise<null> {
  await scanner.value()
  return null
}

async function parseItems(scanner: Scanner): Promise<unknown[]> {
  const items: unknown[] = []
  let recipients = 0
  if (scanner.takes(CLOSING_BRACKET)) return items
  do {
    const text = await scanner.value()
    if (items.length === MAX_ENTRIES.batch) throw tooMany()
    const item = text.length > MAX_ITEM_TEXT ? OVERSIZED : parseJson(text)
    items.push(item)
    recipients += recipientsOf(item)
    if (recipients > MAX_BATCH_RECIPIENTS)
      throw new ProblemError('payload-too-large', TOO_MANY_RECIPIENTS)
    if (scanner.pace.over) await scanner.pace.pause()
  } while (scanner.takes(COMMA))
  scanner.expect(CLOSING_BRACKET)
  return items
}

const TOO_MANY_RECIPIENTS = `A batch has at most ${MAX_BATCH_RECIPIENTS} recipients in total; a topic counts as one, and so does everyone. Send several batches, or use a topic.`

/** Number of recipients an item names, even if it is invalid. */
function recipientsOf(item: unknown): number {
  const users = (item as { readonly to?: { readonly users?: unknown } | null } | null)?.to?.users
  return Array.isArray(users) ? new Set(users).size : 1
}

/** Thrown once there are more faults than a problem reports: the rest need not be read. */
function tooManyFields(name: string): ProblemError {
  const errors: Fault[] = [
    {
      pointer: `/${pointerToken(name)}`,
      detail: 'is one field too many; remove all except notifications'
    }
  ]
  return new ProblemError('validation', summaryOf(errors), { errors })
}

function tooMany(): ProblemError {
  const errors: Fault[] = [
    { pointer: '/notifications', detail: `must hold at most ${MAX_ENTRIES.batch} notifications` }
  ]
  return new ProblemError('validation', summaryOf(errors), { errors })
}
