import { type Connection, connectionId } from './connection.ts'

/** All open connections of this process, by number and by user. There is no other list of them. */
export class Connections implements Iterable<Connection> {
  readonly #node: string
  readonly #byNumber = new Map<number, Connection>()
  /** Bounded by the open connections. */
  readonly #byUser = new Map<string, Connection[]>()

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

  [Symbol.iterator](): Iterator<Connection> {
    return this.#byNumber.values()
  }

  /** The users that have connections, and how many. */
  *counts(): Generator<readonly [user: string, count: number]> {
    for (const [user, connections] of this.#byUser) yield [user, connections.length]
  }

  /** The connections of a user, oldest first. It changes when they do: copy it before closing any. */
  of(user: string): readonly Connection[] {
    return this.#byUser.get(user) ?? NONE
  }

  /** The connection with a public id. */
  find(id: string): Connection | undefined {
    const number = Number.parseInt(id.slice(this.#node.length + 1), 36)
    return connectionId(this.#node, number) === id ? this.#byNumber.get(number) : undefined
  }

  add(connection: Connection): void {
    this.#byNumber.set(connection.number, connection)
    const own = this.#byUser.get(connection.user)
    if (own) own.push(connection)
    else this.#byUser.set(connection.user, [connection])
  }

  remove(connection: Connection): void {
    this.#byNumber.delete(connection.number)
    const own = this.#byUser.get(connection.user) ?? []
    if (own.length > 1) own.splice(own.indexOf(connection), 1)
    else this.#byUser.delete(connection.user)
  }
}

const NONE: readonly Connection[] = []
