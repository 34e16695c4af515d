import { Connection } from '../delivery/connection.ts'
import type { Hub } from '../delivery/hub.ts'
import { type WaitingSocket, waitingSockets } from './socket-table.ts'

/** Heartbeats without any acknowledgement before a peer counts as stale. */
const STALE_HEARTBEATS = 3
/**
 * Retransmissions before a peer is a suspect: one that merely does not read acknowledges probes.
 */
const MIN_RETRIES = 3
/** Longest pause between two samples. */
const MAX_SAMPLE_MS = 5_000
/** Samples within the time that a client may take nothing, and the shortest pause between two. */
const STALL_SAMPLES = 4
const MIN_SAMPLE_MS = 250

/**
 * A peer that was first seen with these bytes unacknowledged at `since`, monotonic milliseconds.
 */
interface Suspect {
  readonly since: number
  readonly bytes: number
}

/**
 * Finds peers that vanished without a FIN, and closes their connections as `stale`. Writes to them
 * succeed into the kernel's buffer for a quarter of an hour, so the kernel's socket table is read:
 * it says how many bytes of a socket nobody acknowledges.
 *
 * The table also tells a slow client from one that has stopped. The kernel asks for more data only
 * when a good part of its buffer, which grows to megabytes, is free; until then the shrinking of
 * that buffer is the only sign that the client reads.
 *
 * Linux only. Elsewhere the maximum age of a connection bounds how long a vanished peer stays.
 */
export class StalePeers {
  readonly #hub: Hub
  readonly #onError: (error: unknown) => void
  readonly #everyMs: number
  #suspects: ReadonlyMap<string, Suspect> = new Map()
  /** Connections that are behind, with the bytes that they had not acknowledged. */
  #behind: ReadonlyMap<Connection, number> = new Map()
  #sampledAt = performance.now()
  #sampling = false
  #timer: NodeJS.Timeout | undefined

  /** `onError` is called if the table cannot be read. */
  constructor(hub: Hub, onError: (error: unknown) => void) {
    this.#hub = hub
    this.#onError = onError
    this.#everyMs = Math.min(hub.heartbeatMs, MAX_SAMPLE_MS)
  }

  start(): void {
    if (process.platform !== 'linux') return
    const everyMs = Math.min(this.#everyMs, this.#hub.stallMs / STALL_SAMPLES)
    this.#timer = setInterval(() => void this.#tick(), Math.max(MIN_SAMPLE_MS, everyMs)).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Takes a sample if one is due: more often while a connection is behind. */
  async #tick(): Promise<void> {
    const due = performance.now() - this.#sampledAt >= this.#everyMs || this.#anyBehind()
    if (this.#sampling || !due) return
    this.#sampling = true
    try {
      this.#judge(await waitingSockets())
    } catch (error) {
      this.#onError(error)
    } finally {
      this.#sampling = false
    }
  }

  #anyBehind(): boolean {
    for (const { stallAt } of this.#hub.connections) if (stallAt !== null) return true
    return false
  }

  #judge(sockets: readonly WaitingSocket[]): void {
    const now = performance.now()
    this.#suspects = this.#suspectsAmong(sockets, now)
    this.#sampledAt = now
    const unacknowledged = new Map(sockets.map(({ peer, bytes }) => [peer, bytes]))
    const behind = new Map<Connection, number>()
    for (const connection of this.#hub.connections) {
      // A poll is answered in one write: there is nothing to watch.
      if (!(connection instanceof Connection)) continue
      const { peer } = connection
      if (peer === null) continue
      if (connection.stallAt !== null) {
        const bytes = unacknowledged.get(peer) ?? 0
        if (bytes < (this.#behind.get(connection) ?? 0)) connection.readSomething()
        behind.set(connection, bytes)
      }
      const since = this.#suspects.get(peer)?.since ?? now
      const stale = now - since >= STALE_HEARTBEATS * this.#hub.heartbeatMs
      connection.sampled(stale)
    }
    this.#behind = behind
  }

  #suspectsAmong(sockets: readonly WaitingSocket[], now: number): Map<string, Suspect> {
    // After this process stood still it knows nothing of the time between: it starts over.
    const stoodStill = now - this.#sampledAt > 3 * this.#everyMs + 1000
    const suspects = new Map<string, Suspect>()
    for (const { peer, bytes, tries } of sockets) {
      if (tries < MIN_RETRIES) continue
      const before = stoodStill ? undefined : this.#suspects.get(peer)
      // Fewer bytes than before: the peer acknowledged some.
      const since = before && bytes >= before.bytes ? before.since : now
      suspects.set(peer, { since, bytes })
    }
    return suspects
  }
}
