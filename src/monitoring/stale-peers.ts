import { readFile } from 'node:fs/promises'
import fp from 'fastify-plugin'
import type { Connection } from '../delivery/connection.ts'
import type { Hub } from '../delivery/hub.ts'

/** Heartbeats without any acknowledgement before a peer counts as stale. */
const STALE_HEARTBEATS = 3
/** The kernel has sent the same bytes again at least so often: a reader that merely does not read acknowledges probes. */
const MIN_RETRIES = 3
const MAX_SAMPLE_MS = 5_000
/** Samples within the time that a reader may take nothing, and the least pause between two. */
const STALL_SAMPLES = 4
const MIN_SAMPLE_MS = 250

/**
 * Finds peers that vanished without a FIN. Neither heartbeats nor keep-alive do (writes succeed into the kernel's buffer for a quarter
 * of an hour), so the kernel is asked: `/proc/self/net/tcp` tells how many bytes of a socket nobody acknowledges. It also tells a slow
 * reader from one that has stopped: the kernel asks for more only when a good part of its buffer, which grows to megabytes, is free,
 * and until then its shrinking is the one sign that somebody reads. Elsewhere than on Linux this does nothing: the maximal age of a
 * connection bounds the ghosts, and a slow reader is judged by the buffer.
 */
export default fp<{ hub: Hub; onError: (error: unknown) => void }>(
  async (app, { hub, onError }) => {
    if (process.platform !== 'linux') return
    const everyMs = Math.min(hub.heartbeatMs, MAX_SAMPLE_MS)
    /** Peer → when it was first seen with the same bytes unacknowledged. */
    let suspects = new Map<string, { since: number; unacknowledged: number }>()
    /** What readers that are behind had not acknowledged. */
    let behind = new Map<Connection, number>()
    let sampledAt = performance.now()

    async function sample(): Promise<void> {
      const tables = await Promise.all(
        ['/proc/self/net/tcp', '/proc/self/net/tcp6'].map((file) =>
          readFile(file, 'latin1').catch(() => '')
        )
      )
      const now = performance.now()
      // After a stall of our own nothing is known about the time between: begin anew.
      const known = now - sampledAt > 3 * everyMs + 1000 ? new Map<never, never>() : suspects
      sampledAt = now
      const unacknowledged = new Map<string, number>()
      const next: typeof suspects = new Map()
      for (const { peer, bytes, tries } of tables.flatMap(waiting)) {
        unacknowledged.set(peer, bytes)
        if (tries < MIN_RETRIES) continue
        const before = known.get(peer)
        // Fewer bytes than before: something was acknowledged meanwhile.
        const since = before && bytes >= before.unacknowledged ? before.since : now
        next.set(peer, { since, unacknowledged: bytes })
      }
      suspects = next
      const stillBehind: typeof behind = new Map()
      for (const connection of hub.connections) {
        const { peer } = connection
        if (peer === null) continue
        if (connection.stallAt > 0) {
          const bytes = unacknowledged.get(peer) ?? 0
          if (bytes < (behind.get(connection) ?? 0)) connection.taking()
          stillBehind.set(connection, bytes)
        }
        const suspect = next.get(peer)
        const stale =
          suspect !== undefined && now - suspect.since >= STALE_HEARTBEATS * hub.heartbeatMs
        // Seen as stale for one sample first, so that an operator can see it too.
        if (stale && connection.stale) connection.close('stale')
        else connection.stale = stale
      }
      behind = stillBehind
    }

    const isBehind = (): boolean => {
      for (const { stallAt } of hub.connections) if (stallAt > 0) return true
      return false
    }
    let sampling = false
    const timer = setInterval(
      () => {
        if (sampling || (performance.now() - sampledAt < everyMs && !isBehind())) return
        sampling = true
        sample()
          .catch(onError)
          .finally(() => {
            sampling = false
          })
      },
      Math.max(MIN_SAMPLE_MS, Math.min(everyMs, hub.stallMs / STALL_SAMPLES))
    )
    timer.unref()
    app.addHook('preClose', async () => clearInterval(timer))
  },
  { name: 'stale-peers' }
)

/** The lines of a socket table with bytes that nobody has acknowledged, and how often the kernel sent them again in vain. */
function waiting(table: string): { peer: string; bytes: number; tries: number }[] {
  const found: { peer: string; bytes: number; tries: number }[] = []
  // sl local remote st tx:rx tr:when retrnsmt uid probes …; established, and something unacknowledged
  const line =
    /^ *\d+: [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]+):([0-9A-F]{4}) 01 (?!00000000)([0-9A-F]{8}):[0-9A-F]{8} (\d\d):[0-9A-F]+ ([0-9A-F]{8}) +\d+ +(\d+)/gm
  for (const [, address, port, queued, timer, retries, probes] of table.matchAll(line)) {
    found.push({
      peer: `${readableAddress(address!)}|${Number.parseInt(port!, 16)}`,
      bytes: Number.parseInt(queued!, 16),
      tries: timer === '04' ? Number(probes) : Number.parseInt(retries!, 16)
    })
  }
  return found
}

/** The kernel's words of host byte order (little-endian everywhere Node runs on Linux), as Node writes addresses. */
export function readableAddress(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).reverse())
  if (bytes.length === 4) return bytes.map((byte) => Number.parseInt(byte, 16)).join('.')
  const groups = Array.from({ length: 8 }, (_, i) =>
    bytes
      .slice(2 * i, 2 * i + 2)
      .join('')
      .toLowerCase()
  )
  if (groups.slice(0, 5).every((group) => group === '0000') && groups[5] === 'ffff') {
    return `::ffff:${bytes
      .slice(12)
      .map((byte) => Number.parseInt(byte, 16))
      .join('.')}`
  }
  // RFC 5952 by the platform's own URL parser
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}
