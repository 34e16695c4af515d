/** Requests over keep-alive connections, one at a time on each, as backends make them. */
import { connect, type Socket } from 'node:net'

interface Pace {
  readonly port: number
  /** The number of connections, which is the maximum of requests in flight. */
  readonly inFlight: number
  /** Stops after this many requests, or this much time. */
  readonly requests?: number
  readonly seconds?: number
  /** Requests a second; without it, as fast as the answers come. */
  readonly rate?: number
}

export interface RequestPlan extends Pace {
  /** The n-th request, with its head. */
  readonly request: (n: number) => string
}

export interface PublishPlan extends Pace {
  /** The path of the n-th request. */
  readonly path: (n: number) => string
  readonly headers: string
  /** The body of the n-th request. */
  readonly body: (n: number) => string
}

export interface PublishResult {
  readonly requests: number
  readonly refused: number
  readonly seconds: number
}

const END_OF_HEAD = Buffer.from('\r\n\r\n')

export class Poster {
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
      if (this.#socket.destroyed) return resolve(0)
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

/** Publishes, and counts the answers other than 2xx. */
export function publish({ path, headers, body, ...plan }: PublishPlan): Promise<PublishResult> {
  return drive({
    ...plan,
    request: (n) => {
      const text = body(n)
      return `POST ${path(n)} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${headers}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`
    }
  })
}

/** Sends any requests, and counts the answers other than 2xx. */
export async function drive(plan: RequestPlan): Promise<PublishResult> {
  const posters = await Promise.all(
    Array.from({ length: plan.inFlight }, () => Poster.open(plan.port))
  )
  const most = plan.requests ?? Number.POSITIVE_INFINITY
  const startedAt = performance.now()
  const endsAt = startedAt + (plan.seconds ?? 3600) * 1000
  let sent = 0
  let refused = 0
  const one = async (poster: Poster): Promise<void> => {
    const status = await poster.post(plan.request(sent++))
    if (status < 200 || status > 299) refused++
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
