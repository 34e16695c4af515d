import { type ServerResponse, STATUS_CODES } from 'node:http'
import { Socket } from 'node:net'
import { finished } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Sink } from '../../delivery/sink.ts'
import { parserMayRun } from './answer.ts'
import { detachSocket } from './detach-socket.ts'
import { closeLingering, dropRest } from './linger.ts'

/** Headers of every event stream. */
const STREAM_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store, no-transform',
  'x-accel-buffering': 'no'
} as const

/**
 * The body ends with the connection (RFC 9112, 6.3), so it needs no chunked encoding, and a stream
 * has no header about its length.
 */
const OWN_HEADERS: ReadonlySet<string> = new Set([
  ...Object.keys(STREAM_HEADERS),
  'connection',
  'content-length',
  'transfer-encoding'
])

/** The status line and the headers that are the same for every stream. */
const HEAD_START = `HTTP/1.1 200 ${STATUS_CODES[200]}\r\n${Object.entries(STREAM_HEADERS)
  .map(([name, value]) => `${name}: ${value}\r\n`)
  .join('')}connection: close\r\n`

/** The head of a stream: its own headers, and those that hooks have set. */
function head(reply: FastifyReply): string {
  let text = `${HEAD_START}Date: ${new Date().toUTCString()}\r\n`
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value === undefined || OWN_HEADERS.has(name)) continue
    if (Array.isArray(value)) for (const one of value) text += `${name}: ${one}\r\n`
    else text += `${name}: ${value}\r\n`
  }
  return `${text}\r\n`
}

/** Writes the same head to a response that keeps its socket. */
function writeHead(reply: FastifyReply): void {
  const { raw } = reply
  raw.useChunkedEncodingByDefault = false
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined && !OWN_HEADERS.has(name)) raw.setHeader(name, value)
  raw.writeHead(200, { ...STREAM_HEADERS, connection: 'close' })
  raw.flushHeaders()
}

/** Sends the head of a stream without a body. */
export function sendHeadOnly(reply: FastifyReply): FastifyReply {
  return reply.headers(STREAM_HEADERS).send()
}

/** The writer of an event stream. */
export interface StreamOwner {
  /** The kernel has taken what was written. */
  drained(): void
  /** The client is gone. */
  close(reason: 'gone'): void
}

/**
 * Writes one event stream: to a bare socket, or to the response if its socket cannot be detached.
 */
export class SseSink implements Sink {
  readonly transport = 'sse'
  readonly remoteAddress: string
  readonly #out: Socket | ServerResponse
  /** Sent with the first frame, in one packet. */
  #head: string | null

  private constructor(out: Socket | ServerResponse, remoteAddress: string, head: string | null) {
    this.#out = out
    this.remoteAddress = remoteAddress
    this.#head = head
  }

  /** Hijacks the reply and writes the head. Keeps no reference to the request or reply. */
  static async open(request: FastifyRequest, reply: FastifyReply): Promise<SseSink> {
    const { ip } = request
    reply.hijack()
    if (parserMayRun(request.raw, reply.raw)) await nextTurn()
    const socket = detachSocket(request.raw, reply.raw)
    if (!socket) {
      reply.raw.on('error', ignoreError)
      writeHead(reply)
      return new SseSink(reply.raw, ip, null)
    }
    const sink = new SseSink(socket, ip, head(reply))
    // The embedded store returns the first page before the next turn of the event loop. Others take
    // longer, and the head must not wait for them.
    setImmediate(sendHead, sink)
    return sink
  }

  /** Sends the head by itself if there was no frame to send it with. */
  static sendHead(sink: SseSink): void {
    if (sink.#head !== null) sink.write(NOTHING)
  }

  get peer(): string | null {
    const socket = this.#out instanceof Socket ? this.#out : this.#out.socket
    return socket?.remoteAddress === undefined
      ? null
      : `${socket.remoteAddress}|${socket.remotePort}`
  }

  /** Reports to the owner when the socket has drained and when the client is gone. */
  connect(owner: StreamOwner): void {
    wire(this.#out, owner)
  }

  get bufferedBytes(): number {
    return this.#out.writableLength
  }

  write(bytes: Buffer): boolean {
    if (this.#head === null) return this.#out.write(bytes)
    const first = Buffer.concat([Buffer.from(this.#head), bytes])
    this.#head = null
    return this.#out.write(first)
  }

  end(last: Buffer | null): void {
    if (last || this.#head !== null) this.write(last ?? NOTHING)
    // `end()` alone never ends if the client has stopped reading.
    if (this.#out instanceof Socket) closeLingering(this.#out)
    else {
      const { socket } = this.#out
      this.#out.end()
      if (socket) dropRest(socket)
    }
  }

  destroy(): void {
    this.#head = null
    this.#out.destroy()
  }
}

const NOTHING = Buffer.alloc(0)
const { sendHead } = SseSink

const OWNER = Symbol('owner')
type Owned = (Socket | ServerResponse) & { [OWNER]?: StreamOwner }

function onDrain(this: Owned): void {
  this[OWNER]?.drained()
}
function onClose(this: Owned): void {
  this[OWNER]?.close('gone')
}
function onEnd(this: Socket): void {
  this.destroy()
}
const ignoreError = (): void => {
  // 'close' follows and reaches the owner.
}

/**
 * Adds listeners that are shared by all streams, since closures cost memory in each idle stream.
 */
function wire(out: Owned, owner: StreamOwner): void {
  out[OWNER] = owner
  out.on('drain', onDrain)
  if (!(out instanceof Socket)) {
    finished(out, () => owner.close('gone'))
    return
  }
  out.on('close', onClose)
  out.on('end', onEnd)
  // Bellwire ignores what the client sends after its request, but must read it to notice its FIN.
  out.resume()
  if (out.destroyed) owner.close('gone')
}
