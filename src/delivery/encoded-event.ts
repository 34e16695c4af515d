import { isPersonal } from '../log/channel.ts'
import { formatCursor } from '../log/cursor.ts'
import type { EphemeralEvent, LoggedEvent } from '../log/event.ts'
import { encodeItem } from '../log/item.ts'
import type { Counts } from '../log/notification.ts'
import type { Codec } from './codec.ts'

/** An event that has a frame. */
export type Sendable = LoggedEvent | EphemeralEvent

export const encodeCounts = (counts: Counts): string =>
  `{"unread":${counts.unread},"unseen":${counts.unseen}}`

/** The `data` of an event's frame without the closing brace, so that counts may follow. */
function openData(event: Sendable, epoch: string): string {
  switch (event.kind) {
    case 'notification':
      return `{"op":"${event.op}","item":${encodeItem(event.entry, event.channel, formatCursor(epoch, event.seq), event.marks)}`
    case 'ephemeral':
      return `{"op":"created","item":${encodeItem(event.entry, event.channel, null)}`
    case 'state':
      return `{"op":"${event.op}","ids":${JSON.stringify(event.ids)},"upTo":${event.upTo === null ? 'null' : `"${formatCursor(epoch, event.upTo)}"`}`
  }
}

/** One event on its way out: its JSON is made once, its shared frame once per codec. */
export class EncodedEvent {
  readonly event: Sendable
  /** True if a notification was appended: everyone who receives it adds one to both counts. */
  readonly created: boolean
  #connections = 0
  readonly #epoch: string
  readonly #open: string
  readonly #shared = new Map<Codec, Buffer>()
  #personal: { codec: Codec; unread: number; unseen: number; frame: Buffer } | undefined

  constructor(event: Sendable, epoch: string) {
    this.event = event
    this.created = event.kind === 'notification' && event.op === 'created'
    this.#epoch = epoch
    this.#open = openData(event, epoch)
  }

  /** How many open connections it was handed to. */
  get connections(): number {
    return this.#connections
  }

  handedTo(connections: number): void {
    this.#connections += connections
  }

  get name(): 'notification' | 'state' {
    return this.event.kind === 'state' ? 'state' : 'notification'
  }

  /** Place in the log; an ephemeral event has none. */
  get seq(): number | undefined {
    return this.event.kind === 'ephemeral' ? undefined : this.event.seq
  }

  get personal(): boolean {
    return isPersonal(this.event.channel)
  }

  /** The frame that all readers of a shared channel get. */
  frame(codec: Codec): Buffer {
    let frame = this.#shared.get(codec)
    if (!frame) {
      frame = codec.frame(
        this.name,
        `${this.#open}}`,
        this.seq === undefined ? null : formatCursor(this.#epoch, this.seq)
      )
      this.#shared.set(codec, frame)
    }
    return frame
  }

  /** The frame for one user, with that user's counts. Tabs of one user share it while their counts agree. */
  personalFrame(codec: Codec, { unread, unseen }: Counts): Buffer {
    const known = this.#personal
    if (known && known.codec === codec && known.unread === unread && known.unseen === unseen)
      return known.frame
    const id = this.seq === undefined ? null : formatCursor(this.#epoch, this.seq)
    const frame = codec.frame(
      this.name,
      `${this.#open},"counts":{"unread":${unread},"unseen":${unseen}}}`,
      id
    )
    this.#personal = { codec, unread, unseen, frame }
    return frame
  }

  /** An ephemeral event repeats the cursor that the reader is at, and the counts, where it is for one user alone. */
  frameAt(codec: Codec, cursor: string | null, counts: Counts | null): Buffer {
    return codec.frame(
      this.name,
      counts ? `${this.#open},"counts":${encodeCounts(counts)}}` : `${this.#open}}`,
      cursor
    )
  }
}
