import { type Channel, isChannel } from '../../log/channel.ts'

/** Redis returned something that the command or script never returns. */
export class UnexpectedReply extends Error {
  constructor(expected: string, reply: unknown) {
    // The message does not quote the value: it may be published content.
    super(`Redis returned ${reply === null ? 'nil' : typeof reply} instead of ${expected}`)
    this.name = 'UnexpectedReply'
  }
}

/** A reply that is an array. */
export function listOf(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply)) throw new UnexpectedReply('an array', reply)
  return reply
}

/** A string or an integer, as text; nil is empty. */
export function textOf(reply: unknown): string {
  if (typeof reply === 'string') return reply
  if (typeof reply === 'number') return String(reply)
  if (reply === null) return ''
  throw new UnexpectedReply('a string', reply)
}

/** An integer, also if Redis returns it as text. */
export function numberOf(reply: unknown): number {
  const number = reply === '' || reply === null ? Number.NaN : Number(reply)
  if (Number.isNaN(number)) throw new UnexpectedReply('a number', reply)
  return number
}

/** A moment in milliseconds, or `none` if the reply is empty. */
export const momentOr = <T>(none: T, reply: unknown): number | T =>
  reply === '' || reply === null ? none : numberOf(reply)

/** The name of a channel. */
export function channelOf(reply: unknown): Channel {
  const text = textOf(reply)
  if (!isChannel(text)) throw new UnexpectedReply('a channel', reply)
  return text
}

/** A hash, as ioredis returns HGETALL outside and inside a pipeline. */
export function hashOf(reply: unknown): ReadonlyMap<string, string> {
  if (typeof reply !== 'object' || reply === null) throw new UnexpectedReply('a hash', reply)
  return new Map(Object.entries(reply).map(([field, value]) => [field, textOf(value)]))
}

/**
 * Reads the values of a reply one after the other. Throws {@link UnexpectedReply} if one is
 * missing.
 */
export class ReplyReader {
  readonly #values: readonly unknown[]
  #next = 0

  constructor(reply: unknown) {
    this.#values = listOf(reply)
  }

  /** True if every value has been read. */
  get done(): boolean {
    return this.#next >= this.#values.length
  }

  skip(count = 1): this {
    this.#next += count
    return this
  }

  text(): string {
    return textOf(this.#take())
  }

  number(): number {
    return numberOf(this.#take())
  }

  /** True for 1. */
  flag(): boolean {
    return this.number() === 1
  }

  channel(): Channel {
    return channelOf(this.#take())
  }

  #take(): unknown {
    if (this.done) throw new UnexpectedReply('one more value', undefined)
    return this.#values[this.#next++]
  }
}

/** Runs a pipeline and returns what each command returned; rejects with the first error. */
export async function resultsOf(pipeline: {
  exec(): Promise<[error: Error | null, result: unknown][] | null>
}): Promise<unknown[]> {
  const results = (await pipeline.exec()) ?? []
  return results.map(([error, result]) => {
    if (error) throw error
    return result
  })
}
