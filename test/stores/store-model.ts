import type { Channel } from '../../src/log/channel.ts'
import { isPersonal, userChannel } from '../../src/log/channel.ts'
import type { MarkOp } from '../../src/log/event.ts'
import type { Publication } from '../../src/log/notification.ts'

interface ModelEntry {
  readonly channel: Channel
  readonly seq: number
  readonly id: string
  readonly key: string | undefined
  readonly times: number
  /** Seq of the entry it replaced. */
  readonly replaced?: number | undefined
}

interface ModelState {
  readonly channel: Channel
  readonly seq: number
  readonly op: string
  /** Only a client that resumes at this seq or later receives it. */
  readonly since: number
}

/**
 * What a log should contain, in the simplest form: two lists that are searched. Without expiry and
 * retention.
 */
export class StoreModel {
  head = 0
  entries: ModelEntry[] = []
  states: ModelState[] = []
  /** `user seq` → marks. */
  readonly marks = new Map<string, { read: boolean; archived: boolean }>()

  publish({ id, key }: Publication, channels: readonly Channel[]): void {
    for (const channel of channels) {
      const before =
        key === undefined
          ? undefined
          : this.entries.find((entry) => entry.channel === channel && entry.key === key)
      this.entries = this.entries.filter((entry) => entry !== before)
      if (before) this.#removed(before)
      this.head += 1
      this.entries.push({
        channel,
        seq: this.head,
        id,
        key,
        times: before ? before.times + 1 : 0,
        replaced: before?.seq
      })
      this.#leaveRoom(channel)
    }
  }

  recall(id: string): boolean {
    const gone = this.entries.filter((entry) => entry.id === id)
    this.entries = this.entries.filter((entry) => entry.id !== id)
    for (const entry of gone) {
      this.#removed(entry)
      this.#state(entry.channel, 'removed')
    }
    return gone.length > 0
  }

  mark(
    user: string,
    op: MarkOp,
    wanted: (entry: ModelEntry) => boolean,
    scope: readonly Channel[]
  ): number {
    let affected = 0
    for (const entry of this.entries) {
      if (!scope.includes(entry.channel) || !wanted(entry)) continue
      const at = `${user} ${entry.seq}`
      const old = this.marks.get(at)
      if (
        op === 'seen'
          ? old
          : op === 'read'
            ? old?.read
            : op === 'archived'
              ? old?.archived
              : !old?.read || old.archived
      )
        continue
      const read = op === 'read' || (op !== 'unread' && (old?.read ?? false))
      this.marks.set(at, { read, archived: op === 'archived' || (old?.archived ?? false) })
      affected += 1
    }
    if (affected > 0) this.#state(userChannel(user), op)
    return affected
  }

  erase(user: string): void {
    const own = userChannel(user)
    this.entries = this.entries.filter(({ channel }) => channel !== own)
    this.states = this.states.filter(({ channel }) => channel !== own)
    for (const at of this.marks.keys()) if (at.startsWith(`${user} `)) this.marks.delete(at)
    this.#state(own, 'removed')
  }

  /** What a user sees: counts, the ids of each list newest first, and the log after a seq. */
  view(user: string, scope: readonly Channel[], after: number) {
    const mine = this.entries
      .filter(({ channel }) => scope.includes(channel))
      .map((entry) => ({ ...entry, mark: this.marks.get(`${user} ${entry.seq}`) }))
    const unread = mine.filter(({ mark }) => !mark?.read && !mark?.archived)
    const ids = (list: readonly ModelEntry[]): string[] => list.map(({ id }) => id).reverse()
    const states = this.states
      .filter(({ channel, since }) => scope.includes(channel) && since <= after)
      .map(({ seq, op }) => ({ seq, what: op }))
    const log = [...mine.map(({ seq, id, times }) => ({ seq, what: `${id} ${times}` })), ...states]
    return {
      counts: { unread: unread.length, unseen: unread.filter(({ mark }) => !mark).length },
      all: ids(mine.filter(({ mark }) => !mark?.archived)),
      unread: ids(unread),
      archived: ids(mine.filter(({ mark }) => mark?.archived)),
      log: log.filter(({ seq }) => seq > after).sort((a, b) => a.seq - b.seq)
    }
  }

  /**
   * When an entry that replaced another is gone, the log reports at its seq that the other is gone.
   */
  #removed({ channel, seq, replaced }: ModelEntry): void {
    if (replaced !== undefined) this.states.push({ channel, seq, op: 'removed', since: replaced })
  }

  #state(channel: Channel, op: string): void {
    this.head += 1
    this.states.push({ channel, seq: this.head, op, since: 0 })
    this.#leaveRoom(channel)
  }

  /** The seq after an event of a shared channel stays unused. */
  #leaveRoom(channel: Channel): void {
    if (!isPersonal(channel)) this.head += 1
  }
}
