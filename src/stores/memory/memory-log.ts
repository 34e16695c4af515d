import { type Channel, channelsOf, isPersonal, userChannel } from '../../log/channel.ts'
import type { DroppedEvent, StateEvent } from '../../log/event.ts'
import type { Entry, Marks, Publication } from '../../log/notification.ts'

/** A notification that lies somewhere. */
export interface Note {
  readonly publication: Publication
  readonly places: Map<Channel, number>
}

/** One entry of one channel. */
export interface Place {
  readonly entry: Entry
  readonly note: Note
  /** Place of the entry that it took the place of. */
  readonly replaced?: number | undefined
}

interface KeptState {
  readonly event: StateEvent
  readonly at: number
  /** It concerns only who comes from here or later; 0: everybody. */
  readonly since: number
}

interface ChannelLog {
  /** By place, oldest first: entries and states are appended in order, and a Map keeps it. */
  readonly entries: Map<number, Place>
  readonly states: Map<number, KeptState>
  readonly keys: Map<string, number>
  floor: number
  /** A place behind the last entries that left without an event. */
  dropped: number
}

const DAY_MS = 24 * 60 * 60 * 1000

/** The log in plain maps: channels, their entries and state events, and each user's marks. */
export class MemoryLog {
  head = 0
  floor = 0
  readonly notes = new Map<string, Note>()
  readonly channels = new Map<Channel, ChannelLog>()
  readonly marks = new Map<string, Map<number, Marks>>()
  /** Collects what the caller has to follow. */
  readonly dropped: DroppedEvent[] = []
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

  channel(name: Channel): ChannelLog {
    let log = this.channels.get(name)
    if (!log) {
      log = { entries: new Map(), states: new Map(), keys: new Map(), floor: 0, dropped: 0 }
      this.channels.set(name, log)
    }
    return log
  }

  /** Live entries of a channel, oldest first. */
  *live(name: Channel, now: number): Generator<Place> {
    for (const place of this.channels.get(name)?.entries.values() ?? []) {
      const { expiresAt } = place.entry
      if (expiresAt === undefined || expiresAt > now) yield place
    }
  }

  /** The note, unless it has expired. */
  note(id: string, now: number): Note | undefined {
    const note = this.notes.get(id)
    const expiresAt = note?.publication.expiresAt
    return expiresAt !== undefined && expiresAt <= now ? undefined : note
  }

  append(publication: Publication): { channel: Channel; entry: Entry }[] {
    const { id, content, createdAt, expiresAt, key } = publication
    const note: Note = { publication, places: new Map() }
    this.notes.set(id, note)
    if (expiresAt !== undefined) this.#expiring.add(note)
    return channelsOf(publication.to).map((name) => {
      const log = this.channel(name)
      const before = key === undefined ? undefined : log.entries.get(log.keys.get(key) ?? 0)
      if (before) this.#takeBack(name, before)
      this.head += 1
      const entry = {
        id,
        seq: this.head,
        content,
        createdAt,
        expiresAt,
        times: before ? before.entry.times + 1 : 0,
        replaces: before?.entry.id
      }
      log.entries.set(entry.seq, { entry, note, replaced: before?.entry.seq })
      note.places.set(name, entry.seq)
      if (key !== undefined) log.keys.set(key, entry.seq)
      this.#leaveRoom(name)
      this.#prune(name, log)
      return { channel: name, entry }
    })
  }

  appendState(event: Omit<StateEvent, 'seq' | 'kind'>): StateEvent {
    this.head += 1
    const state: StateEvent = { kind: 'state', seq: this.head, ...event }
    const log = this.channel(event.channel)
    log.states.set(state.seq, { event: state, at: Date.now(), since: 0 })
    this.#leaveRoom(event.channel)
    this.#prune(event.channel, log)
    return state
  }

  /**
   * Removes an entry before its time. If it had taken the place of another, who was away meanwhile may still show that one: what is
   * left of the entry in the log tells them that it is gone.
   */
  #takeBack(name: Channel, place: Place): void {
    const { seq, replaces, createdAt } = place.entry
    this.remove(name, place)
    if (replaces === undefined) return
    const event = {
      kind: 'state',
      op: 'removed',
      channel: name,
      seq,
      ids: [replaces],
      upTo: null
    } as const
    this.channel(name).states.set(seq, { event, at: createdAt, since: place.replaced ?? 0 })
  }

  /** The place behind an event of a shared channel is no event's. */
  #leaveRoom(name: Channel): void {
    if (!isPersonal(name)) this.head += 1
  }

  /** Whether whoever comes from a place may have other counts than the events behind it lead to; see `LogPage`. */
  recounts(scope: readonly Channel[], after: number): boolean {
    if (this.head <= after) return false
    return scope.some((name) => {
      const log = this.channels.get(name)
      return (
        log &&
        (log.dropped > after ||
          (!isPersonal(name) && (log.entries.has(after) || log.states.has(after))))
      )
    })
  }

  /** What the caller has to follow. The log moves on by a place for it. */
  takeDropped(): DroppedEvent[] {
    if (this.dropped.length > 0) this.head += 1
    for (const { channel } of this.dropped) this.channel(channel).dropped = this.head
    return this.dropped.splice(0)
  }

  /** Takes a note back everywhere; the channels that it was in. */
  recall(note: Note): Channel[] {
    const names = [...note.places.keys()]
    for (const name of names)
      this.#takeBack(name, this.channel(name).entries.get(note.places.get(name)!)!)
    return names
  }

  /** Removes one entry; the note with its last entry. */
  remove(name: Channel, { entry, note }: Place): void {
    const log = this.channel(name)
    log.entries.delete(entry.seq)
    const { key } = note.publication
    if (key !== undefined && log.keys.get(key) === entry.seq) log.keys.delete(key)
    note.places.delete(name)
    for (const marks of this.marks.values()) marks.delete(entry.seq)
    if (note.places.size > 0) return
    this.notes.delete(entry.id)
    this.#expiring.delete(note)
  }

  /** Removes the user's entries, state events and marks; a cursor from before can no longer be told what was there. */
  erase(user: string): void {
    const name = userChannel(user)
    const log = this.channel(name)
    for (const place of [...log.entries.values()]) this.remove(name, place)
    log.states.clear()
    // Whoever is at the last event has had all of it, and that may lie a place before the head.
    log.floor = this.head - 1
    this.marks.delete(user)
  }

  /** Removes what has expired, and tells when the next will. */
  expire(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const note of this.#expiring) {
      const at = note.publication.expiresAt ?? Number.POSITIVE_INFINITY
      if (at > now) next = Math.min(next, at)
      else {
        for (const channel of this.recall(note)) this.dropped.push({ kind: 'dropped', channel })
      }
    }
    return next
  }

  /** Removes what is older than retention. */
  age(now: number): void {
    if (this.#days === 0) return
    const before = now - this.#days * DAY_MS
    for (const note of [...this.notes.values()]) {
      if (note.publication.createdAt >= before) break
      this.floor = Math.max(this.floor, ...note.places.values())
      this.#drop(note)
    }
    for (const { states } of this.channels.values()) {
      for (const state of states.values()) {
        if (state.at >= before) break
        states.delete(state.event.seq)
        this.floor = Math.max(this.floor, state.event.seq)
      }
    }
  }

  #drop(note: Note): void {
    for (const [channel, seq] of [...note.places]) {
      const place = this.channel(channel).entries.get(seq)
      if (place) this.remove(channel, place)
      this.dropped.push({ kind: 'dropped', channel })
    }
  }

  #prune(name: Channel, log: ChannelLog): void {
    if (this.#keep === 0) return
    const most = Math.floor(this.#keep * 1.5)
    if (log.entries.size > most) {
      for (const place of log.entries.values()) {
        if (log.entries.size <= this.#keep) break
        log.floor = Math.max(log.floor, place.entry.seq)
        this.remove(name, place)
      }
      this.dropped.push({ kind: 'dropped', channel: name })
    }
    if (log.states.size <= most) return
    for (const seq of log.states.keys()) {
      if (log.states.size <= this.#keep) break
      log.floor = Math.max(log.floor, seq)
      log.states.delete(seq)
    }
  }
}
