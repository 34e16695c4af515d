import { type Channel, channelsOf, isPersonal, userChannel } from '../../log/channel.ts'
import type { DroppedEvent, LoggedEvent, StateEvent } from '../../log/event.ts'
import type { Entry, Publication } from '../../log/notification.ts'
import { MemoryMarks } from './memory-marks.ts'

/** A notification with at least one entry. */
export interface Note {
  readonly publication: Publication
  /** Seq of its entry in each channel. */
  readonly seqs: Map<Channel, number>
}

/** One entry of one channel. */
export interface StoredEntry {
  readonly entry: Entry
  readonly note: Note
  /** Seq of the entry that it replaced. */
  readonly replaced?: number | undefined
}

interface StoredState {
  readonly event: StateEvent
  readonly at: number
  /** Only for a client that resumes at this seq or later; 0: for all. */
  readonly since: number
}

interface ChannelLog {
  /** By seq, oldest first: entries and states are appended in order, and a Map keeps it. */
  readonly entries: Map<number, StoredEntry>
  readonly states: Map<number, StoredState>
  /** Seq of the entry with each collapse key. */
  readonly keys: Map<string, number>
  /** No client can resume below this seq. */
  floor: number
  /** A seq above the last entries that left without an event. */
  dropped: number
}

const DAY_MS = 24 * 60 * 60 * 1000

/** The log in plain maps: channels with their entries and state events, and each user's marks. */
export class MemoryLog {
  readonly marks = new MemoryMarks()
  readonly #notes = new Map<string, Note>()
  readonly #channels = new Map<Channel, ChannelLog>()
  /** Collected for {@link takeDropped}. */
  readonly #dropped: DroppedEvent[] = []
  #head = 0
  #floor = 0
  readonly #keep: number
  readonly #days: number
  readonly #expiring = new Set<Note>()

  constructor({
    retentionDays,
    retentionPerChannel
  }: { readonly retentionDays: number; readonly retentionPerChannel: number }) {
    this.#days = retentionDays
    this.#keep = retentionPerChannel
  }

  /** Seq of the newest event. */
  get head(): number {
    return this.#head
  }

  /** No client can resume below this seq, in any channel. */
  get floor(): number {
    return this.#floor
  }

  #channel(name: Channel): ChannelLog {
    const known = this.#channels.get(name)
    if (known) return known
    const log = { entries: new Map(), states: new Map(), keys: new Map(), floor: 0, dropped: 0 }
    this.#channels.set(name, log)
    return log
  }

  /** Live entries of a channel, oldest first. */
  *live(name: Channel, now: number): Generator<StoredEntry> {
    for (const stored of this.#channels.get(name)?.entries.values() ?? []) {
      const { expiresAt } = stored.entry
      if (expiresAt === undefined || expiresAt > now) yield stored
    }
  }

  /** A notification, unless it has expired. */
  note(id: string, now: number): Note | undefined {
    const note = this.#notes.get(id)
    const expiresAt = note?.publication.expiresAt
    return expiresAt !== undefined && expiresAt <= now ? undefined : note
  }

  /** The entry of a notification in a channel; undefined if there is none. */
  entryOf({ seqs }: Note, name: Channel): StoredEntry | undefined {
    const seq = seqs.get(name)
    return seq === undefined ? undefined : this.#channels.get(name)?.entries.get(seq)
  }

  /** True if the log no longer holds every event of these channels after a seq. */
  hasGap(scope: readonly Channel[], after: number): boolean {
    return (
      after < this.#floor || scope.some((name) => after < (this.#channels.get(name)?.floor ?? 0))
    )
  }

  /** The state events of a channel for a client that resumes at a seq. */
  *statesAfter(name: Channel, after: number): Generator<LoggedEvent> {
    for (const { event, since } of this.#channels.get(name)?.states.values() ?? [])
      if (event.seq > after && since <= after) yield event
  }

  /** Appends a notification: one entry in each of its channels. */
  append(publication: Publication): { channel: Channel; entry: Entry }[] {
    const { id, content, createdAt, expiresAt, key } = publication
    const note: Note = { publication, seqs: new Map() }
    this.#notes.set(id, note)
    if (expiresAt !== undefined) this.#expiring.add(note)
    return channelsOf(publication.to).map((name) => {
      const log = this.#channel(name)
      const before = key === undefined ? undefined : log.entries.get(log.keys.get(key) ?? 0)
      if (before) this.#retract(name, before)
      this.#head += 1
      const entry = {
        id,
        seq: this.#head,
        content,
        createdAt,
        expiresAt,
        times: before ? before.entry.times + 1 : 0,
        replaces: before?.entry.id
      }
      log.entries.set(entry.seq, { entry, note, replaced: before?.entry.seq })
      note.seqs.set(name, entry.seq)
      if (key !== undefined) log.keys.set(key, entry.seq)
      this.#skipSeq(name)
      this.#prune(name, log)
      return { channel: name, entry }
    })
  }

  /** Appends a state event. */
  appendState(event: Omit<StateEvent, 'seq' | 'kind'>): StateEvent {
    this.#head += 1
    const state: StateEvent = { kind: 'state', seq: this.#head, ...event }
    const log = this.#channel(event.channel)
    log.states.set(state.seq, { event: state, at: Date.now(), since: 0 })
    this.#skipSeq(event.channel)
    this.#prune(event.channel, log)
    return state
  }

  /**
   * Removes an entry that was recalled, expired or collapsed. If it replaced an earlier one, a
   * client that was offline may still show that one: a state event at the same seq tells the client
   * that it is gone.
   */
  #retract(name: Channel, stored: StoredEntry): void {
    const { seq, replaces, createdAt } = stored.entry
    this.#remove(name, stored)
    if (replaces === undefined) return
    const ids = [replaces]
    const event = { kind: 'state', op: 'removed', channel: name, seq, ids, upTo: null } as const
    this.#channel(name).states.set(seq, { event, at: createdAt, since: stored.replaced ?? 0 })
  }

  /** The seq after an event of a shared channel stays unused; see `Store`. */
  #skipSeq(name: Channel): void {
    if (!isPersonal(name)) this.#head += 1
  }

  /**
   * Whether a client that resumes at a seq may hold counts that the events after it do not correct;
   * see `LogPage`.
   */
  recounts(scope: readonly Channel[], after: number): boolean {
    if (this.#head <= after) return false
    return scope.some((name) => {
      const log = this.#channels.get(name)
      return (
        log &&
        (log.dropped > after ||
          (!isPersonal(name) && (log.entries.has(after) || log.states.has(after))))
      )
    })
  }

  /**
   * The channels that lost entries without an event since the last call. If there are any, the log
   * skips a seq.
   */
  takeDropped(): DroppedEvent[] {
    if (this.#dropped.length > 0) this.#head += 1
    for (const { channel } of this.#dropped) this.#channel(channel).dropped = this.#head
    return this.#dropped.splice(0)
  }

  /** Removes a notification from channels that have it, by default from all; returns them. */
  recall(note: Note, names = [...note.seqs.keys()]): Channel[] {
    for (const name of names) {
      const stored = this.entryOf(note, name)
      if (stored) this.#retract(name, stored)
    }
    return names
  }

  /** Removes one entry, and the notification with its last entry. */
  #remove(name: Channel, { entry, note }: StoredEntry): void {
    const log = this.#channel(name)
    log.entries.delete(entry.seq)
    const { key } = note.publication
    if (key !== undefined && log.keys.get(key) === entry.seq) log.keys.delete(key)
    note.seqs.delete(name)
    this.marks.forgetEntry(entry.seq)
    if (note.seqs.size > 0) return
    this.#notes.delete(entry.id)
    this.#expiring.delete(note)
  }

  /**
   * Removes the user's entries, state events and marks. A client cannot resume at an earlier
   * cursor.
   */
  erase(user: string): void {
    const name = userChannel(user)
    const log = this.#channel(name)
    for (const stored of [...log.entries.values()]) this.#remove(name, stored)
    log.states.clear()
    // A client at the last event has seen all of it, and that event may lie one seq before the
    // head.
    log.floor = this.#head - 1
    this.marks.forgetUser(user)
  }

  /** Removes what has expired. Returns when the next entry expires; infinity if none does. */
  expire(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const note of this.#expiring) {
      const at = note.publication.expiresAt ?? Number.POSITIVE_INFINITY
      if (at > now) next = Math.min(next, at)
      else {
        for (const channel of this.recall(note)) this.#dropped.push({ kind: 'dropped', channel })
      }
    }
    return next
  }

  /** Removes what is older than retention. */
  age(now: number): void {
    if (this.#days === 0) return
    const before = now - this.#days * DAY_MS
    for (const note of [...this.#notes.values()]) {
      if (note.publication.createdAt >= before) break
      this.#floor = Math.max(this.#floor, ...note.seqs.values())
      this.#drop(note)
    }
    for (const { states } of this.#channels.values()) {
      for (const state of states.values()) {
        if (state.at >= before) break
        states.delete(state.event.seq)
        this.#floor = Math.max(this.#floor, state.event.seq)
      }
    }
  }

  #drop(note: Note): void {
    for (const channel of [...note.seqs.keys()]) {
      const stored = this.entryOf(note, channel)
      if (stored) this.#remove(channel, stored)
      this.#dropped.push({ kind: 'dropped', channel })
    }
  }

  #prune(name: Channel, log: ChannelLog): void {
    if (this.#keep === 0) return
    const most = Math.floor(this.#keep * 1.5)
    if (log.entries.size > most) {
      for (const stored of log.entries.values()) {
        if (log.entries.size <= this.#keep) break
        log.floor = Math.max(log.floor, stored.entry.seq)
        this.#remove(name, stored)
      }
      this.#dropped.push({ kind: 'dropped', channel: name })
    }
    if (log.states.size <= most) return
    for (const seq of log.states.keys()) {
      if (log.states.size <= this.#keep) break
      log.floor = Math.max(log.floor, seq)
      log.states.delete(seq)
    }
  }
}
