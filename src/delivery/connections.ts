import { connectionId, type Receiver } from './receiver.ts'

/**
 * All open connections of this process, polls included, by number and by user. No other list of
 * them exists.
 */
export class Connections implements Iterable<Receiver> {
  readonly #node: string
  readonly #byNumber = new Map<number, Receiver>()
  /** Bounded by the open connections. */
  readonly #byUser = new Map<string, Receiver[]>()

  constructor(node: string) {
    this.#node = node
  }

  get size(): number {
    return this.#byNumber.size
  }

  /** How many users have a connection. */
  get users(): number {
    return this.#byUser.size
  }

  /** Oldest first. Connections may be closed meanwhile: a Map skips deleted entries. */
  [Symbol.iterator](): Iterator<Receiver> {
    return this.#byNumber.values()
  }

  /** The users that have connections, and how many. */
  *counts(): Generator<readonly [user: string, count: number]> {
    for (const [user, own] of this.#byUser) yield [user, own.length]
  }

  /**
   * The connections of a user, oldest first. Copy the array before closing any: closing removes
   * from it.
   */
  of(user: string): readonly Receiver[] {
    return this.#byUser.get(user) ?? NONE
  }

  /** The connection with a public id. */
  find(id: string): Receiver | undefined {
    const number = Number.parseInt(id.slice(this.#node.length + 1), 36)
    return connectionId(this.#node, number) === id ? this.#byNumber.get(number) : undefined
  }

  add(receiver: Receiver): void {
    this.#byNumber.set(receiver.number, receiver)
    const own = this.#byUser.get(receiver.user)
    if (own) own.push(receiver)
    else this.#byUser.set(receiver.user, [receiver])
  }

  remove(receiver: Receiver): void {
    this.#byNumber.delete(receiver.number)
    const own = this.#byUser.get(receiver.user) ?? []
    if (own.length > 1) own.splice(own.indexOf(receiver), 1)
    else this.#byUser.delete(receiver.user)
  }
}

const NONE: readonly Receiver[] = []
