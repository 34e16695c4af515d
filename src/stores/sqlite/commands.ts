import type { Channel } from '../../log/channel.ts'
import type { MarkOp } from '../../log/event.ts'
import type { Publication } from '../../log/notification.ts'
import type { TicketHolder } from '../../log/store.ts'
import type { Flat } from './flat-encoding.ts'

/** An entry that a mark is for. */
export interface MarkedEntry {
  readonly channel: Channel
  readonly seq: number
  readonly id: string
}

/** Where a mark that is too long for one transaction continues. */
export interface MarkProgress {
  /** Index of the channel in the scope. */
  readonly channel: number
  /** Entries of that channel up to this seq are done. */
  readonly after: number
  /** Entries changed so far. */
  readonly affected: number
}

/** The arguments of each command. */
export interface Commands {
  publish: { readonly items: readonly Publication[] }
  recall: { readonly id: string }
  recallKey: { readonly channel: Channel; readonly key: string }
  mark: { readonly user: string; readonly op: MarkOp; readonly entries: readonly MarkedEntry[] }
  markUpTo: {
    readonly user: string
    readonly op: MarkOp
    readonly upTo: number
    readonly scope: readonly Channel[]
    readonly progress: MarkProgress
  }
  erase: { readonly user: string }
  putTicket: { readonly hash: string; readonly holder: TicketHolder; readonly expiresAt: number }
  takeTicket: { readonly hash: string }
  revoke: { readonly user: string }
}

/** What happened to one publication. */
export type ItemResult =
  | { readonly kind: 'key-reused' | 'expired' | 'ephemeral' }
  | { readonly kind: 'replayed'; readonly id: string; readonly createdAt: number }
  /**
   * Its k-th entry has the seq `first + k`. `collapses` has one element for each entry, or none if
   * no entry replaces another.
   */
  | { readonly kind: 'appended'; readonly first: number; readonly collapses: readonly Collapse[] }

/** What an entry took over from the one with the same key. */
export interface Collapse {
  readonly times: number
  /** Id of the notification it replaces; null if there was none. */
  readonly replaces: string | null
}

/**
 * The notification and the channels it was removed from; none if there was nothing to recall. Their
 * events follow each other; `first` is the seq of the first.
 */
export interface Recalled {
  readonly id: string
  readonly channels: readonly Channel[]
  readonly first: number
}

/** The result of each command. */
export interface Results {
  publish: readonly ItemResult[]
  recall: Recalled
  recallKey: Recalled
  /** Ids of the entries that changed, and the seq of the event, or of the head if none changed. */
  mark: { readonly ids: readonly string[]; readonly seq: number }
  /** `next` is null when the mark is complete. Before that there is no event, and `seq` is 0. */
  markUpTo: {
    readonly affected: number
    readonly seq: number
    readonly next: MarkProgress | null
  }
  /** Seq of the event; null if there is more to erase. */
  erase: number | null
  putTicket: null
  takeTicket: TicketHolder | null
  revoke: null
}

/** Name of a command. */
export type CommandKind = keyof Commands

/** Why a command failed. `full` and `unavailable` are the disk's fault, `broken` is a bug. */
export interface Failure {
  readonly kind: 'full' | 'unavailable' | 'broken'
  readonly message: string
}

/**
 * What the writer is doing, in memory that both threads see: nothing, a transaction, or nothing
 * ever again because the process ends.
 */
export const TURN = { idle: 0, busy: 1, over: 2 } as const

/** What the writer thread starts with. */
export interface WriterData {
  readonly path: string
  readonly sync: 'full' | 'normal'
  readonly retentionDays: number
  readonly retentionPerChannel: number
  /** The first event of this process comes after this seq; null in a new log. */
  readonly leap: number | null
  /** Shared memory; its one element holds a state of {@link TURN}. */
  readonly turn: Int32Array
}

/** What the writer does for each command. */
export type Handlers = { readonly [K in CommandKind]: (command: Commands[K]) => Results[K] }

/** To the writer: commands to run in one transaction, or the end. */
export type WriterRequest = Readonly<Flat> | 'close'

/** From the writer, after each transaction. */
export interface WriterReport {
  /** One answer for each command in flight, in order; null if the writer did work of its own. */
  readonly answers: Readonly<Flat> | null
  readonly head: number
  readonly floor: number
  /** Duration of the commit in milliseconds; 0 if there was none. */
  readonly commitMs: number
  /** Channels that lost entries without an event, before the commands ran. */
  readonly dropped: readonly Channel[]
  /** Why the last transaction failed; null if it succeeded. */
  readonly trouble: string | null
}
