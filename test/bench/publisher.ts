/** Posts over keep-alive connections, one request at a time on each, as backends do. */
import { connect, type Socket } from 'node:net'

export interface PublishPlan {
  readonly port: number
  readonly path: string
  readonly headers: string
  /** The number of connections, which is the maximum of requests in flight. */
  readonly inFlight: number
  /** The body of the n-th request. */
  readonly body: (n: number) => string
  /** Stops after this many requests, or this much time. */
  readonly requests?: number
  readonly seconds?: number
  /** Requests a second; without it, as fast as the answers come. */
  readonly rate?: number
}

export interface PublishResult {
  readonly requests: number
  readonly refused: number
  readonly seconds: number
}

const END_OF_HEAD = Buffer.from('\r\n\r\n')

class Poster {
  readonly #socket: Socket
  #pending: Buffer = Buffer.alloc(0)
  #resolve: ((status: number) => void) | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk) => this.#read(chunk))
    socket.on('error', () => this.#settle(0))
    socket.on('close', () => this.#settle(0))
  }

  static open(port: number): Promise<Poster> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => resolve(new Poster(socket)))
    })
  }

  /** The status of the answer; 0 if the connection broke. */
  post(request: string): Promise<number> {
    return new Promise((resolve) => {
      this.#resolve = resolve
      this.#socket.write(request)
    })
  }

  end(): void {
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    this.#pending = this.#pending.length ? Buffer.concat([this.#pending, chunk]) : chunk
    const head = this.#pending.indexOf(END_OF_HEAD)
    if (head < 0) return
    const text = this.#pending.toString('latin1', 0, head)
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
    if (this.#pending.length < head + END_OF_HEAD.length + length) return
    this.#pending = Buffer.alloc(0)
    this.#settle(Number(text.slice(9, 12)))
  }

  #settle(status: number): void {
    const resolve = this.#resolve
    this.#resolve = undefined
    resolve?.(status)
  }
}

export async function publish(plan: PublishPlan): Promise<PublishResult> {
  const posters = await Promise.all(
    Array.from({ length: plan.inFlight }, () => Poster.open(plan.port))
  )
  const most = plan.requests ?? Number.POSITIVE_INFINITY
  const startedAt = performance.now()
  const endsAt = startedAt + (plan.seconds ?? 3600) * 1000
  let sent = 0
  let refused = 0
  const one = async (poster: Poster): Promise<void> => {
    const body = plan.body(sent++)
    const status = await poster.post(
      `POST ${plan.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${plan.headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
    )
    if (status !== 201 && status !== 200) refused++
  }
  await Promise.all(
    posters.map(async (poster) => {
      while (sent < most && performance.now() < endsAt) {
        if (plan.rate !== undefined) {
          const due = startedAt + (sent / plan.rate) * 1000 - performance.now()
          if (due > 0) {
            await new Promise((resolve) => setTimeout(resolve, due))
            // Another connection may have taken this turn meanwhile.
            continue
          }
        }
        await one(poster)
      }
    })
  )
  const seconds = (performance.now() - startedAt) / 1000
  for (const poster of posters) poster.end()
  return { requests: sent, refused, seconds }
}
