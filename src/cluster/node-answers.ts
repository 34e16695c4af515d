import { MAX_ANSWER_CONNECTIONS, REMEMBERED_NAMES } from '../bounds/limits.ts'
import type { Hub } from '../delivery/hub.ts'
import type { Receiver } from '../delivery/receiver.ts'
import {
  type ConnectionRecord,
  connectionRecord,
  type DeliveryRecords
} from '../monitoring/delivery-records.ts'
import type { Answer, ConnectionRow, Member, NodeReport, Question } from './cluster.ts'

const stateOf = (connection: Receiver): ConnectionRow['state'] =>
  connection.stale ? 'stale' : connection.phase
const TROUBLE = {
  stale: 3,
  blocked: 2,
  replaying: 1,
  live: 0,
  closed: 0
} as const satisfies Record<ConnectionRow['state'], number>

type Sort = Extract<Question, { kind: 'list-connections' }>['sort']
type Ranked = Pick<ConnectionRow, 'bufferedBytes' | 'state'>

/** What each order goes by, largest first; of equals the oldest first. */
const RANKS = {
  age: () => 0,
  bufferedBytes: ({ bufferedBytes }) => bufferedBytes,
  state: ({ state }) => TROUBLE[state]
} as const satisfies Record<Sort, (row: Ranked) => number>

/** What this process says of itself and of its connections when a node of the cluster asks, itself included. */
export class HubMember implements Member {
  readonly #hub: Hub
  readonly #records: DeliveryRecords
  readonly #report: () => NodeReport

  constructor(hub: Hub, records: DeliveryRecords, report: () => NodeReport) {
    this.#hub = hub
    this.#records = records
    this.#report = report
  }

  report(): NodeReport {
    return this.#report()
  }

  held(): Iterable<readonly [user: string, count: number]> {
    return this.#hub.held()
  }

  heldOf(user: string): number {
    return this.#hub.heldOf(user)
  }

  answer<K extends Question['kind']>(question: Extract<Question, { kind: K }>): Answer<K>
  answer(question: Question): Answer<Question['kind']> {
    const hub = this.#hub
    switch (question.kind) {
      case 'count-user':
        return hub.connections.of(question.user).length
      case 'close-connection': {
        const connection = hub.connections.find(question.id)
        connection?.close('closed')
        return connection !== undefined
      }
      case 'list-connections':
        return this.#list(question)
      case 'delivery-report':
        return {
          record: this.#records.delivery(question.id) ?? null,
          connections: question.user === undefined ? [] : this.#connectionsOf(question.user)
        }
    }
  }

  /** What a user's connections have read here: those that ended and are still remembered, then the open ones. */
  #connectionsOf(user: string): ConnectionRecord[] {
    const open = this.#hub.connections.of(user).map((connection) => connectionRecord(connection))
    return [...this.#records.closedOf(user), ...open].slice(-MAX_ANSWER_CONNECTIONS)
  }

  /** The first rows, and how many there are. Nearly all have a rank of 0, so only the others are sorted. */
  #list({
    user,
    sort,
    limit
  }: Extract<Question, { kind: 'list-connections' }>): Answer<'list-connections'> {
    const ranked: { readonly connection: Receiver; readonly rank: number }[] = []
    const others: Receiver[] = []
    let total = 0
    for (const connection of this.#hub.connections) {
      if (user !== undefined && connection.user !== user) continue
      total++
      const rank = RANKS[sort]({
        bufferedBytes: connection.bufferedBytes,
        state: stateOf(connection)
      })
      if (rank > 0) ranked.push({ connection, rank })
      else if (others.length < limit) others.push(connection)
    }
    const first = ranked.sort((a, b) => b.rank - a.rank).map(({ connection }) => connection)
    return {
      rows: [...first, ...others].slice(0, limit).map((connection) => this.#row(connection)),
      total
    }
  }

  #row(connection: Receiver): ConnectionRow {
    return {
      id: connection.id,
      user: connection.user,
      transport: connection.transport,
      topics: connection.topics.slice(0, REMEMBERED_NAMES),
      topicCount: connection.topics.length,
      openedAt: Date.now() - Math.round(performance.now() - connection.openedAt),
      cursor: connection.cursor,
      bufferedBytes: connection.bufferedBytes,
      frames: connection.frames,
      remoteAddress: connection.remoteAddress,
      state: stateOf(connection)
    }
  }
}

/** The rows of all nodes as one list, in the order of {@link Question} `sort`, at most `limit`. */
export function mergeRows(
  lists: readonly Answer<'list-connections'>[],
  sort: Sort,
  limit: number
): Answer<'list-connections'> {
  const rows = lists.flatMap((list) => list.rows)
  const rank = RANKS[sort]
  rows.sort((a, b) => rank(b) - rank(a) || a.openedAt - b.openedAt)
  return { rows: rows.slice(0, limit), total: lists.reduce((sum, list) => sum + list.total, 0) }
}
