import { readFile } from 'node:fs/promises'
import fp from 'fastify-plugin'
import type { Hub } from '../core/hub.ts'

/** Heartbeats without any acknowledgement before a peer counts as stale. */
const STALE_HEARTBEATS = 3
/** The kernel has sent the same bytes again at least so often: a reader that merely does not read acknowledges probes. */
const MIN_RETRIES = 3
const MAX_SAMPLE_MS = 5_000

/**
 * Finds peers that vanished without a FIN. Neither heartbeats nor keep-alive do (writes succeed into the kernel's buffer for a quarter
 * of an hour), so the kernel is asked: `/proc/self/net/tcp` tells how many bytes of a socket nobody acknowledges. Elsewhere than on
 * Linux this does nothing, and the maximal age of a connection bounds the ghosts.
 */
export default fp<{ hub: Hub; onError: (error: unknown) => void }>(
  async (app, { hub, onError }) => {
    if (process.platform !== 'linux') return
    const everyMs = Math.min(hub.heartbeatMs, MAX_SAMPLE_MS)
    /** Peer → when it was first seen with the same bytes unacknowledged. */
    let suspects = new Map<string, { since: number; unacknowledged: number }>()
    let sampledAt = performance.now()

    async function sample(): Promise<void> {
      const tables = await Promise.all(
        ['/proc/self/net/tcp', '/proc/self/net/tcp6'].map((file) => readFile(file, 'latin1').catch(() => ''))
      )
      const now = performance.now()
      // After a stall of our own nothing is known about the time between: begin anew.
      const known = now - sampledAt > 3 * everyMs + 1000 ? new Map<never, never>() : suspects
      sampledAt = now
      const next: typeof suspects = new Map()
      for (const { peer, unacknowledged } of tables.flatMap(retrying)) {
        const before = known.get(peer)
        // Fewer bytes than before: something was acknowledged meanwhile.
        next.set(
          peer,
          before && unacknowledged >= before.unacknowledged
            ? { since: before.since, unacknowledged }
            : { since: now, unacknowledged }
        )
      }
      suspects = next
      for (const connection of hub.connections()) {
        const suspect = next.size > 0 && connection.peer !== null ? next.get(connection.peer) : undefined
        const stale = suspect !== undefined && now - suspect.since >= STALE_HEARTBEATS * hub.heartbeatMs
        // Seen as stale for one sample first, so that an operator can see it too.
        if (stale && connection.stale) connection.close('stale')
        else connection.stale = stale
      }
    }

    const timer = setInterval(() => {
      sample().catch(onError)
    }, everyMs)
    timer.unref()
    app.addHook('preClose', async () => clearInterval(timer))
  },
  { name: 'stale-peers' }
)

/** The lines of a socket table whose bytes the kernel sends again and again in vain. */
function retrying(table: string): { peer: string; unacknowledged: number }[] {
  const found: { peer: string; unacknowledged: number }[] = []
  // sl local remote st tx:rx tr:when retrnsmt uid probes …; established, and something unacknowledged
  const line =
    /^ *\d+: [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]+):([0-9A-F]{4}) 01 (?!00000000)([0-9A-F]{8}):[0-9A-F]{8} (\d\d):[0-9A-F]+ ([0-9A-F]{8}) +\d+ +(\d+)/gm
  for (const [, address, port, queued, timer, retries, probes] of table.matchAll(line)) {
    const tries = timer === '04' ? Number(probes) : Number.parseInt(retries!, 16)
    if (tries >= MIN_RETRIES)
      found.push({
        peer: `${readableAddress(address!)}|${Number.parseInt(port!, 16)}`,
        unacknowledged: Number.parseInt(queued!, 16)
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
