import { readFile } from 'node:fs/promises'

/** A socket with bytes that its peer has not acknowledged. */
export interface WaitingSocket {
  /** `address|port` of the peer. */
  readonly peer: string
  readonly bytes: number
  /** How often the kernel has sent the same bytes again without an answer. */
  readonly tries: number
}

/**
 * An established TCP connection with unacknowledged bytes: sl local remote st tx:rx tr:when
 * retrnsmt uid probes …
 */
const WAITING =
  /^ *\d+: [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]+):([0-9A-F]{4}) 01 (?!00000000)([0-9A-F]{8}):[0-9A-F]{8} (\d\d):[0-9A-F]+ ([0-9A-F]{8}) +\d+ +(\d+)/gm
/** The timer that probes a peer whose window is closed; it counts probes, not retransmissions. */
const PROBE_TIMER = '04'

/** Reads the kernel's table of TCP sockets (Linux; elsewhere it is empty). */
export async function waitingSockets(): Promise<WaitingSocket[]> {
  const tables = await Promise.all(
    ['/proc/self/net/tcp', '/proc/self/net/tcp6'].map((file) =>
      readFile(file, 'latin1').catch(() => '')
    )
  )
  return tables.flatMap(waitingIn)
}

function waitingIn(table: string): WaitingSocket[] {
  return [...table.matchAll(WAITING)].map(
    ([, address = '', port = '', queued = '', timer, retries = '', probes]) => ({
      peer: `${readableAddress(address)}|${Number.parseInt(port, 16)}`,
      bytes: Number.parseInt(queued, 16),
      tries: timer === PROBE_TIMER ? Number(probes) : Number.parseInt(retries, 16)
    })
  )
}

/**
 * An address as Node writes it. The kernel writes 32-bit words in host byte order, which is
 * little-endian wherever Node runs on Linux.
 */
export function readableAddress(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).reverse())
  const dotted = (part: readonly string[]): string =>
    part.map((byte) => Number.parseInt(byte, 16)).join('.')
  if (bytes.length === 4) return dotted(bytes)
  if (/^0{20}ffff$/i.test(bytes.slice(0, 12).join(''))) return `::ffff:${dotted(bytes.slice(12))}`
  const groups = (bytes.join('').match(/.{4}/g) ?? []).join(':')
  // The platform's URL parser shortens it as RFC 5952 says.
  return new URL(`http://[${groups}]`).hostname.slice(1, -1)
}
