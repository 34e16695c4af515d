import { MAX_ANSWER_CONNECTIONS, REMEMBERED_NAMES } from '../bounds/limits.ts'
import type { LocalNode, NodeReport } from '../cluster/cluster.ts'
import type {
  ConnectionRecord,
  ConnectionRow,
  NodeAnswer,
  NodeQuery
} from '../cluster/node-query.ts'
import type { Hub } from '../delivery/hub.ts'
import type { Receiver } from '../delivery/receiver.ts'
import { connectionRecord, type DeliveryRecords } from './delivery-records.ts'

const stateOf = (connection: Receiver): ConnectionRow['state'] =>
  connection.stale ? 'stale' : connection.phase
const SEVERITY = {
  stale: 3,
  blocked: 2,
  replaying: 1,
  live: 0,
  closed: 0
} as const satisfies Record<ConnectionRow['state'], number>

type Sort = Extract<NodeQuery, { kind: 'list-connections' }>['sort']
type Ranked = Pick<ConnectionRow, 'bufferedBytes' | 'state'>

/** What each order sorts by, largest first; equal ranks are sorted oldest first. */
const RANKS = {
  age: () => 0,
  bufferedBytes: ({ bufferedBytes }) => bufferedBytes,
  state: ({ state }) => SEVERITY[state]
} as const satisfies Record<Sort, (row: Ranked) => number>

/** Answers the queries of all nodes, this one included, for this process and its connections. */
export class NodeAnswers implements LocalNode {
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

  slots(): Iterable<readonly [user: string, count: number]> {
    return this.#hub.slots()
  }

  slotsOf(user: string): number {
    return this.#hub.slotsOf(user)
  }

  answer<K extends NodeQuery['kind']>(question: Extract<NodeQuery, { kind: K }>): NodeAnswer<K>
  answer(question: NodeQuery): NodeAnswer<NodeQuery['kind']> {
    const hub = this.#hub
    switch (question.kind) {
      case 'count-user':
        return hub.connections.of(question.user).length
      case 'count-users':
        return question.users.map((user) => hub.connections.of(user).length)
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

  /** The connections of a user here: closed ones that are still remembered, then the open ones. */
  #connectionsOf(user: string): ConnectionRecord[] {
    const open = this.#hub.connections.of(user).map((connection) => connectionRecord(connection))
    return [...this.#records.closedOf(user), ...open].slice(-MAX_ANSWER_CONNECTIONS)
  }

  /** The first rows, and the total. Nearly all have a rank of 0, so only the others are sorted. */
  #list({
    user,
    sort,
    limit
  }: Extract<NodeQuery, { kind: 'list-connections' }>): NodeAnswer<'list-connections'> {
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

/** Joins the rows of all nodes into one list in the given order, at most `limit` rows. */
export function mergeRows(
  lists: readonly NodeAnswer<'list-connections'>[],
  sort: Sort,
  limit: number
): NodeAnswer<'list-connections'> {
  const rows = lists.flatMap((list) => list.rows)
  const rank = RANKS[sort]
  rows.sort((a, b) => rank(b) - rank(a) || a.openedAt - b.openedAt)
  return { rows: rows.slice(0, limit), total: lists.reduce((sum, list) => sum + list.total, 0) }
}
