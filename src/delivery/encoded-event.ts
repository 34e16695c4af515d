import { isPersonal } from '../log/channel.ts'
import { formatCursor } from '../log/cursor.ts'
import type { EphemeralEvent, LoggedEvent } from '../log/event.ts'
import { encodeItem } from '../log/item.ts'
import type { Counts } from '../log/notification.ts'
import type { Codec } from './codec.ts'

/** An event that has a frame. */
export type Sendable = LoggedEvent | EphemeralEvent

/** Counts as JSON. */
export const encodeCounts = ({ unread, unseen }: Counts): string =>
  `{"unread":${unread},"unseen":${unseen}}`

/** The `data` of an event's frame without the closing brace, so that counts may follow. */
function openData(event: Sendable, epoch: string): string {
  switch (event.kind) {
    case 'notification': {
      const cursor = formatCursor(epoch, event.seq)
      const item = encodeItem(event.entry, event.channel, cursor, event.marks)
      return `{"op":"${event.op}","item":${item}`
    }
    case 'ephemeral':
      return `{"op":"created","item":${encodeItem(event.entry, event.channel, null)}`
    case 'state': {
      const upTo = event.upTo === null ? 'null' : `"${formatCursor(epoch, event.upTo)}"`
      return `{"op":"${event.op}","ids":${JSON.stringify(event.ids)},"upTo":${upTo}`
    }
  }
}

/** An event on its way to clients. Its JSON is made once, its shared frame once per codec. */
export class EncodedEvent {
  readonly event: Sendable
  /** True if a notification was appended: everyone who receives it adds one to both counts. */
  readonly created: boolean
  readonly #open: string
  /** Null for an ephemeral event. */
  readonly #cursor: string | null
  readonly #shared = new Map<Codec, Buffer>()
  #personal: (Counts & { readonly codec: Codec; readonly frame: Buffer }) | undefined
  #connections = 0

  constructor(event: Sendable, epoch: string) {
    this.event = event
    this.created = event.kind === 'notification' && event.op === 'created'
    this.#open = openData(event, epoch)
    this.#cursor = event.kind === 'ephemeral' ? null : formatCursor(epoch, event.seq)
  }

  /** How many open connections it was handed to. */
  get connections(): number {
    return this.#connections
  }

  handedTo(connections: number): void {
    this.#connections += connections
  }

  /** Undefined for an ephemeral event: it is in no log. */
  get seq(): number | undefined {
    return this.event.kind === 'ephemeral' ? undefined : this.event.seq
  }

  /** True if it is for one user: then its frame carries that user's counts. */
  get personal(): boolean {
    return isPersonal(this.event.channel)
  }

  /** The frame for everyone who reads its shared channel. */
  frame(codec: Codec): Buffer {
    let frame = this.#shared.get(codec)
    if (!frame) {
      frame = this.frameAt(codec, this.#cursor, null)
      this.#shared.set(codec, frame)
    }
    return frame
  }

  /** The frame for one user. Connections of the user share it while their counts agree. */
  personalFrame(codec: Codec, counts: Counts): Buffer {
    const { unread, unseen } = counts
    const known = this.#personal
    if (known && known.codec === codec && known.unread === unread && known.unseen === unseen)
      return known.frame
    const frame = this.frameAt(codec, this.#cursor, counts)
    this.#personal = { codec, unread, unseen, frame }
    return frame
  }

  /** A frame that is not shared. An ephemeral event repeats the cursor that the client has. */
  frameAt(codec: Codec, cursor: string | null, counts: Counts | null): Buffer {
    const name = this.event.kind === 'state' ? 'state' : 'notification'
    const end = counts ? `,"counts":${encodeCounts(counts)}}` : '}'
    return codec.frame(name, `${this.#open}${end}`, cursor)
  }
}
