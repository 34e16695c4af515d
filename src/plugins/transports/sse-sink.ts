import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import { Socket } from 'node:net'
import { finished } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Sink } from '../../delivery/sink.ts'
import { detachSocket } from './detach-socket.ts'
import { closeLingering, dropRest } from './linger.ts'

/** Headers of every event stream. */
const STREAM_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store, no-transform',
  'x-accel-buffering': 'no'
} as const

type Headers = Record<string, string | number | string[] | undefined>

/**
 * The headers that hooks have set, and those of a stream. The body ends with the connection
 * (RFC 9112, 6.3), so it needs no chunked encoding.
 */
function streamHeaders(reply: FastifyReply): Headers {
  const headers: Headers = { ...reply.getHeaders(), ...STREAM_HEADERS, connection: 'close' }
  delete headers['content-length']
  delete headers['transfer-encoding']
  return headers
}

/** The status line and the headers of a response. */
function head(headers: Headers): string {
  let text = `HTTP/1.1 200 ${STATUS_CODES[200]}\r\nDate: ${new Date().toUTCString()}\r\n`
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue
    for (const one of Array.isArray(value) ? value : [value]) text += `${name}: ${one}\r\n`
  }
  return `${text}\r\n`
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
  readonly peer: string | null
  readonly #out: Socket | ServerResponse

  private constructor(out: Socket | ServerResponse, remoteAddress: string, peer: string | null) {
    this.#out = out
    this.remoteAddress = remoteAddress
    this.peer = peer
  }

  /** Hijacks the reply and writes the head. Keeps no reference to the request or reply. */
  static open(request: FastifyRequest, reply: FastifyReply): SseSink {
    const headers = streamHeaders(reply)
    reply.hijack()
    const { socket } = request.raw
    return SseSink.#over(
      request.raw,
      reply.raw,
      headers,
      request.ip,
      `${socket.remoteAddress}|${socket.remotePort}`
    )
  }

  static #over(
    request: IncomingMessage,
    response: ServerResponse,
    headers: Headers,
    ip: string,
    peer: string
  ): SseSink {
    const socket = detachSocket(request, response)
    if (!socket) {
      response.on('error', ignoreError)
      response.useChunkedEncodingByDefault = false
      for (const [name, value] of Object.entries(headers))
        if (value != null) response.setHeader(name, value as string)
      response.writeHead(200)
      response.flushHeaders()
      return new SseSink(response, ip, peer)
    }
    const sink = new SseSink(socket, ip, peer)
    // Sends the head and the first frame in one packet: the embedded store returns the first page
    // before the next turn of the event loop.
    socket.cork()
    socket.write(head(headers))
    setImmediate(uncork, socket)
    return sink
  }

  /** Reports to the owner when the socket has drained and when the client is gone. */
  connect(owner: StreamOwner): void {
    wire(this.#out, owner)
  }

  get bufferedBytes(): number {
    return this.#out.writableLength
  }

  write(bytes: Buffer): boolean {
    return this.#out.write(bytes)
  }

  end(last: Buffer | null): void {
    if (last) this.#out.write(last)
    // `end()` alone never ends if the client has stopped reading.
    if (this.#out instanceof Socket) closeLingering(this.#out)
    else {
      const { socket } = this.#out
      this.#out.end()
      if (socket) dropRest(socket)
    }
  }

  destroy(): void {
    this.#out.destroy()
  }
}

function uncork(socket: Socket): void {
  socket.uncork()
}

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
