import { detachedTexts } from '../bounds/bounded-cache.ts'
import { EVERYONE, isPersonal, topicOf, userOf } from '../log/channel.ts'
import { formatCursor } from '../log/cursor.ts'
import type { Log } from '../log/store.ts'
import type { Codec } from './codec.ts'
import type { Connection, Run } from './connection.ts'
import type { Outgoing } from './encoded-event.ts'

/** Connections that read the same shared channels in the same codec, so that they share their frames. */
export interface Group {
  readonly topics: readonly string[]
  readonly codec: Codec
  /** A flat array: it is what is written to. */
  readonly connections: Connection[]
  /** What the running {@link Lane.deliver} has for it so far. */
  due: Outgoing[]
}

/** One log as this process follows it: how far it has come, and who reads its shared channels. A user's connections are all in one. */
export class Lane {
  readonly log: Log
  /** Place of the newest event that was handed to connections. */
  position: number
  /** Bounded by the open connections, as is the next. */
  readonly #groups = new Map<string, Group>()
  /** Who reads a topic. Nearly always one group, which then stands for itself: a set for each takes far more room. */
  readonly #readers = new Map<string, Group | Set<Group>>()
  readonly #codecs: Codec[] = []
  /** The newest heartbeat of each codec. */
  readonly #heartbeats = new Map<Codec, { position: number; epoch: string; frame: Buffer }>()

  constructor(log: Log) {
    this.log = log
    this.position = log.head
  }

  /** Where a connection with these topics belongs. */
  group(topics: readonly string[], codec: Codec): Group {
    const sorted = [...new Set(topics)].sort()
    const key = this.#key(sorted, codec)
    let group = this.#groups.get(key)
    if (!group) {
      group = { topics: Object.freeze(detachedTexts(sorted)), codec, connections: [], due: [] }
      this.#groups.set(key, group)
      for (const topic of group.topics) {
        const readers = this.#readers.get(topic)
        if (readers === undefined) this.#readers.set(topic, group)
        else if (readers instanceof Set) readers.add(group)
        else this.#readers.set(topic, new Set([readers, group]))
      }
    }
    return group
  }

  leave(connection: Connection): void {
    const key = this.#key(connection.topics, connection.codec)
    const group = this.#groups.get(key)
    const last = group?.connections.pop()
    if (group && last && last !== connection) {
      group.connections[connection.groupIndex] = last
      last.groupIndex = connection.groupIndex
    }
    if (group?.connections.length !== 0) return
    this.#groups.delete(key)
    for (const topic of group.topics) {
      const readers = this.#readers.get(topic)
      if (readers instanceof Set) readers.delete(group)
      if (!(readers instanceof Set) || readers.size === 0) this.#readers.delete(topic)
    }
  }

  /** How many groups, and topics that any of them reads, there are. */
  get sizes(): { readonly groups: number; readonly topics: number } {
    return { groups: this.#groups.size, topics: this.#readers.size }
  }

  /** The heartbeat frame for the position. */
  heartbeatFrame(codec: Codec): Buffer {
    const { position } = this
    const { epoch } = this.log
    const known = this.#heartbeats.get(codec)
    if (known && known.position === position && known.epoch === epoch) return known.frame
    const frame = codec.frame('heartbeat', '{}', formatCursor(epoch, position))
    this.#heartbeats.set(codec, { position, epoch, frame })
    return frame
  }

  /** To everybody but the users who also get something of their own, who are returned: theirs goes out in one piece, in order. */
  deliver(
    shared: readonly Outgoing[],
    personal: ReadonlyMap<string, unknown>
  ): ReadonlySet<Connection> {
    const mixed = new Set<Connection>()
    const groups: Group[] = []
    for (const outgoing of shared) {
      for (const group of this.#readersOf(outgoing.event.channel)) {
        if (group.due.push(outgoing) === 1) groups.push(group)
      }
    }
    for (const group of groups) {
      const mine = group.due
      group.due = []
      const run = runOf(mine, group.codec)
      const connections = group.connections
      for (const outgoing of mine) outgoing.connections += connections.length
      // From the end: one that is closed by its write is replaced by one that had its turn.
      for (let i = connections.length - 1; i >= 0; i--) {
        const connection = connections[i]
        if (!connection) continue
        if (personal.size > 0 && personal.has(connection.user)) mixed.add(connection)
        else if (run) connection.deliverRun(run)
        else connection.deliver(mine)
      }
    }
    return mixed
  }

  /** Counts over a shared channel may have changed. */
  recount(channel: Outgoing['event']['channel']): void {
    for (const group of this.#readersOf(channel))
      for (const connection of group.connections) connection.recount()
  }

  /** The groups that read a shared channel. */
  #readersOf(channel: Outgoing['event']['channel']): Iterable<Group> {
    if (channel === EVERYONE) return this.#groups.values()
    const topic = topicOf(channel)
    const readers = topic === undefined ? undefined : this.#readers.get(topic)
    return readers instanceof Set ? readers : readers === undefined ? NOBODY : [readers]
  }

  #key(topics: readonly string[], codec: Codec): string {
    let number = this.#codecs.indexOf(codec)
    if (number < 0) number = this.#codecs.push(codec) - 1
    return `${number} ${topics.join(' ')}`
  }
}

const NOBODY: readonly Group[] = []

function covers(topics: readonly string[], channel: Outgoing['event']['channel']): boolean {
  if (channel === EVERYONE) return true
  const topic = topicOf(channel)
  return topic !== undefined && topics.includes(topic)
}

/** True where the connection reads what lies in the channel. */
export const readsChannel = (
  connection: Connection,
  channel: Outgoing['event']['channel']
): boolean =>
  isPersonal(channel) ? userOf(channel) === connection.user : covers(connection.topics, channel)

/** Null where the frames differ from reader to reader. */
function runOf(outgoing: readonly Outgoing[], codec: Codec): Run | null {
  let created = 0
  let recount = false
  for (const { event } of outgoing) {
    if (event.kind === 'ephemeral') return null
    if (event.kind === 'notification' && event.op === 'created') created++
    else recount = true
  }
  const bytes = codec.join(outgoing.map((one) => one.frame(codec)))
  return {
    outgoing,
    bytes,
    first: outgoing[0]!.seq!,
    last: outgoing.at(-1)!.seq!,
    created,
    recount
  }
}
