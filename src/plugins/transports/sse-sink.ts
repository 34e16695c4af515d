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

/** Every header that other routes carry, and those of a stream. The body ends with the connection (RFC 9112, 6.3), so a frame needs no chunk around it. */
function streamHeaders(reply: FastifyReply): Headers {
  const headers: Headers = { ...reply.getHeaders(), ...STREAM_HEADERS, connection: 'close' }
  delete headers['content-length']
  delete headers['transfer-encoding']
  return headers
}

function head(headers: Headers): string {
  let text = `HTTP/1.1 200 ${STATUS_CODES[200]}\r\nDate: ${new Date().toUTCString()}\r\n`
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue
    for (const one of Array.isArray(value) ? value : [value]) text += `${name}: ${one}\r\n`
  }
  return `${text}\r\n`
}

/** Answers the request with the head of a stream and nothing more. */
export function sendHeadOnly(reply: FastifyReply): FastifyReply {
  return reply.headers(STREAM_HEADERS).send()
}

/** Whoever writes to an event stream. */
export interface StreamOwner {
  /** The client has taken what was written. */
  drained(): void
  /** The client is gone. */
  close(reason: 'gone'): void
}

/** The wire end of one event stream: a bare socket, or the response if the socket cannot be detached. */
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

  /** Hijacks the reply and writes the head. Nothing refers to request or reply afterwards. */
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
    // The head and the first frame in one packet; the first read of the store takes no turn of the loop with the embedded store.
    socket.cork()
    socket.write(head(headers))
    setImmediate(uncork, socket)
    return sink
  }

  /** Tells the owner when the wire has drained, and when the client is gone. */
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
    // `end()` alone does not end a peer that is stalled.
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
  // 'close' follows, and tells the owner.
}

/** Listeners without closures: an idle stream pays for none of its own. */
function wire(out: Owned, owner: StreamOwner): void {
  out[OWNER] = owner
  out.on('drain', onDrain)
  if (!(out instanceof Socket)) {
    finished(out, () => owner.close('gone'))
    return
  }
  out.on('close', onClose)
  out.on('end', onEnd)
  // What a peer sends behind its request is not ours to read; reading it is how its FIN is heard.
  out.resume()
  if (out.destroyed) owner.close('gone')
}
