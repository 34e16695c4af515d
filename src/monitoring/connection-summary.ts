import type { Hub } from '../delivery/hub.ts'
import type { Sink } from '../delivery/sink.ts'

/** What only a walk over all connections can tell, at one moment. */
export interface Census {
  readonly active: number
  readonly users: number
  readonly byTransport: Readonly<Record<Sink['transport'], number>>
  /** Peers that acknowledge nothing. */
  readonly stale: number
  /** Readers that are behind. */
  readonly slow: number
  readonly bufferedBytes: number
  /** The address that all of them come from; null where there are several, or none. */
  readonly onlyAddress: string | null
  /** Worst lateness of the heartbeat wheel within the last second or two, milliseconds. */
  readonly heartbeatLagMs: number
}

/** One walk over the connections; changes nothing. */
export function takeCensus(hub: Hub): Census {
  const byTransport = { sse: 0, websocket: 0, poll: 0 }
  let stale = 0
  let slow = 0
  let bufferedBytes = 0
  let onlyAddress: string | null | undefined
  for (const connection of hub.connections) {
    byTransport[connection.transport]++
    if (connection.stale) stale++
    if (connection.phase === 'blocked') slow++
    bufferedBytes += connection.bufferedBytes
    // Once two differ, nothing is compared any more.
    if (onlyAddress === undefined) onlyAddress = connection.remoteAddress
    else if (onlyAddress !== null && onlyAddress !== connection.remoteAddress) onlyAddress = null
  }
  return {
    active: hub.connections.size,
    users: hub.connections.users,
    byTransport,
    stale,
    slow,
    bufferedBytes,
    onlyAddress: onlyAddress ?? null,
    heartbeatLagMs: hub.heartbeats.worstLagMs
  }
}
