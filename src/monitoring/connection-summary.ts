import type { Hub } from '../delivery/hub.ts'
import type { Sink } from '../delivery/sink.ts'

/** What only a walk over all connections can tell, at one moment. */
export interface ConnectionSummary {
  readonly active: number
  readonly users: number
  readonly byTransport: Readonly<Record<Sink['transport'], number>>
  /** Connections whose peer acknowledges nothing. */
  readonly stale: number
  /** Connections that are behind. */
  readonly slow: number
  /** Bytes that wait for clients. */
  readonly bufferedBytes: number
  /** The address that all of them come from; null: several, or no connection. */
  readonly onlyAddress: string | null
  /** Worst lateness of the heartbeat wheel in the last second or two, milliseconds. */
  readonly heartbeatLagMs: number
}

export const NO_CONNECTIONS: ConnectionSummary = {
  active: 0,
  users: 0,
  byTransport: { sse: 0, websocket: 0, poll: 0 },
  stale: 0,
  slow: 0,
  bufferedBytes: 0,
  onlyAddress: null,
  heartbeatLagMs: 0
}

/** Walks over the connections once; changes nothing. */
export function summarize(hub: Hub): ConnectionSummary {
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
    // Once two differ, no further address is compared.
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
