/**
 * The readers, in a process of their own: raw sockets and one shared buffer, events counted by
 * their name and nothing parsed, so that the client is never what is measured. Speaks over IPC with
 * `bench.ts`.
 */
import { connect, type Socket } from 'node:net'
import { quantile } from './median.ts'

export type LoadCommand =
  | {
      readonly open: {
        readonly port: number
        readonly requests: readonly string[]
        readonly window: number
      }
    }
  | { readonly close: true }
  | { readonly count: true }
  /** From now on measures how long each event was on its way. */
  | { readonly time: true }
  /** Answers with what was measured, and stops measuring. */
  | { readonly latency: true }
export type LoadAnswer =
  | { readonly opened: number; readonly seconds: number }
  | { readonly closed: number }
  | { readonly received: number; readonly lost: number }
  | { readonly timing: true }
  | { readonly p50: number; readonly p99: number }

const NEEDLE = Buffer.from('event: notification\n')
const SENT_AT = Buffer.from('"t":')
const NEWLINE = 10
const sockets = new Set<Socket>()
/** What a socket's last read ended with, if that may be the beginning of the needle. */
const tails = new Map<Socket, Buffer>()
const shared = Buffer.allocUnsafe(256 * 1024)
let received = 0
/** Streams that ended although this process did not close them. */
let lost = 0
let closing = false
/** Milliseconds that events were on their way; null while that is not measured. */
let latencies: number[] | null = null

/** The body of every notification has the time when it was sent, in microseconds. */
function time(bytes: Buffer, found: number[]): void {
  const at = bytes.indexOf(SENT_AT)
  // Cut off at the end of a read: rare, and one event less does no harm.
  if (at < 0) return
  const sent = Number.parseInt(bytes.toString('latin1', at + SENT_AT.length, at + 24), 10)
  found.push(Number(process.hrtime.bigint() / 1000n - BigInt(sent)) / 1000)
}

function scan(socket: Socket, length: number): void {
  let bytes = shared.subarray(0, length)
  const tail = tails.get(socket)
  if (tail) {
    bytes = Buffer.concat([tail, bytes])
    tails.delete(socket)
  }
  let at = bytes.indexOf(NEEDLE)
  let after = 0
  while (at >= 0) {
    received++
    after = at + NEEDLE.length
    if (latencies) time(bytes.subarray(after), latencies)
    at = bytes.indexOf(NEEDLE, after)
  }
  // Frames end with a line end, so most reads leave no remainder.
  if (bytes[bytes.length - 1] === NEWLINE) return
  for (let size = Math.min(NEEDLE.length - 1, bytes.length - after); size > 0; size--) {
    if (bytes.compare(NEEDLE, 0, size, bytes.length - size) !== 0) continue
    tails.set(socket, Buffer.from(bytes.subarray(bytes.length - size)))
    return
  }
}

/**
 * Opens a stream per request, a number of them at once, and answers when each has received its
 * first bytes.
 */
function open({
  port,
  requests,
  window
}: {
  port: number
  requests: readonly string[]
  window: number
}): Promise<number> {
  const startedAt = performance.now()
  closing = false
  let next = 0
  let ready = 0
  return new Promise((resolve) => {
    const one = (): void => {
      const request = requests[next++]
      if (request === undefined) return
      let first = true
      const socket = connect({
        port,
        host: '127.0.0.1',
        noDelay: true,
        onread: {
          buffer: shared,
          callback: (length: number): boolean => {
            scan(socket, length)
            if (first) {
              first = false
              ready++
              if (ready === requests.length) resolve((performance.now() - startedAt) / 1000)
              else one()
            }
            return true
          }
        }
      })
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        if (!closing) lost++
      })
      socket.write(request)
      sockets.add(socket)
    }
    for (let i = 0; i < window; i++) one()
  })
}

process.on('message', (command: LoadCommand) => {
  const answer = (value: LoadAnswer): void => void process.send!(value)
  if ('open' in command)
    void open(command.open).then((seconds) => answer({ opened: sockets.size, seconds }))
  else if ('close' in command) {
    closing = true
    const closed = sockets.size
    // A reset leaves no port behind in TIME_WAIT.
    for (const socket of sockets) socket.resetAndDestroy()
    tails.clear()
    received = 0
    lost = 0
    answer({ closed })
  } else if ('time' in command) {
    latencies = []
    answer({ timing: true })
  } else if ('latency' in command) {
    answer({ p50: quantile(latencies ?? [], 0.5), p99: quantile(latencies ?? [], 0.99) })
    latencies = null
  } else answer({ received, lost })
})
process.on('disconnect', () => process.exit(0))
