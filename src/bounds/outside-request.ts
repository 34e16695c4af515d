import http from 'node:http'
import https from 'node:https'
import { MAX_WAITING_OUTSIDE_BYTES, OUTSIDE_IDLE_MS } from './limits.ts'

/** A server outside that an operator named in a setting, and the bounds of what is asked of it. */
export interface OutsideOptions {
  /** The setting that holds the address; every error names it. */
  readonly setting: string
  readonly url: string
  /** Milliseconds from the question to the last byte of the answer, the wait for a turn included. */
  readonly timeoutMs: number
  /** Longest body that is read, in bytes; 0: only the status and the headers count, no body is read. */
  readonly maxBytes: number
  /** Questions under way at a time, which is also the number of sockets; further ones wait for a turn. */
  readonly maxConcurrent: number
}

/** One question. */
export interface OutsideRequest {
  readonly method?: 'GET' | 'POST' | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | undefined
  /** Gives the question up early. */
  readonly signal?: AbortSignal | undefined
}

/** What the server answered. A redirect is an answer like any other: it is reported, never followed. */
export interface OutsideAnswer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  /** Empty unless the status is 200. */
  readonly body: string
}

/**
 * No usable answer came. The message names the setting and the origin, never the path, the query or
 * the credentials of an address, which may be secrets.
 */
export class OutsideError extends Error {
  /** The setting that holds the address. */
  readonly setting: string
  readonly origin: string
  /** What went wrong, without the address. */
  readonly reason: string

  constructor(setting: string, origin: string, reason: string) {
    super(`${setting} (${origin}): ${reason}`)
    this.name = 'OutsideError'
    this.setting = setting
    this.origin = origin
    this.reason = reason
  }
}

/** A kept-alive socket failed before any of the answer came: the server closed it as we wrote (RFC 9110, 9.2.2). */
class StaleSocket extends Error {}

/**
 * The one way in which this service asks another server. Each question has a deadline, each answer
 * a size limit, and no more than `maxConcurrent` sockets are open. It uses node:http because its
 * agent documents what fetch hides: whether a socket was reused (`request.reusedSocket`).
 */
export class OutsideServer {
  readonly origin: string
  readonly #options: OutsideOptions
  readonly #url: URL
  readonly #http: Pick<typeof http, 'request'>
  readonly #agent: http.Agent
  /** First come, first served. */
  readonly #waiting = new Set<() => void>()
  #waitingBytes = 0
  #underWay = 0

  constructor(options: OutsideOptions) {
    this.#options = options
    this.#url = new URL(options.url)
    this.origin = this.#url.origin
    const secure = this.#url.protocol === 'https:'
    this.#http = secure ? https : http
    const agent = { keepAlive: true, maxSockets: options.maxConcurrent, timeout: OUTSIDE_IDLE_MS }
    this.#agent = secure ? new https.Agent(agent) : new http.Agent(agent)
  }

  /** Asks. Rejects with an {@link OutsideError} if no usable answer comes in time. */
  async ask(request: OutsideRequest = {}): Promise<OutsideAnswer> {
    const { timeoutMs, maxConcurrent } = this.#options
    const stop = new AbortController()
    const timer = setTimeout(
      () => stop.abort(this.error(`no answer within ${timeoutMs} ms`)),
      timeoutMs
    )
    const giveUp = (): void => stop.abort(this.error('the question was given up'))
    if (request.signal?.aborted) giveUp()
    request.signal?.addEventListener('abort', giveUp, { once: true })
    const settled = (): void => {
      clearTimeout(timer)
      request.signal?.removeEventListener('abort', giveUp)
    }
    try {
      await this.#turn(request, stop.signal)
    } catch (error) {
      settled()
      throw stop.signal.aborted && !request.signal?.aborted
        ? this.error(
            `no answer within ${timeoutMs} ms, as ${maxConcurrent} earlier questions are still under way`
          )
        : error
    }
    // Sockets of an answer whose body nobody wants stay open a moment longer than the promise.
    let open = 1
    const closed = (): void => {
      if (--open > 0) return
      settled()
      this.#next()
    }
    try {
      return await this.#send(request, this.#agent, stop.signal, () => open++, closed).catch(
        (error: unknown) => {
          if (!(error instanceof StaleSocket)) throw error
          return this.#send(request, false, stop.signal, () => open++, closed)
        }
      )
    } catch (error) {
      throw error instanceof OutsideError ? error : this.error(reasonOf(error as Error))
    } finally {
      closed()
    }
  }

  /** An error of this server's, for answers that only the caller can judge. */
  error(reason: string): OutsideError {
    return new OutsideError(this.#options.setting, this.origin, reason)
  }

  /** Closes idle sockets. */
  close(): void {
    this.#agent.destroy()
  }

  #turn({ headers = {}, body = '' }: OutsideRequest, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted()
      if (this.#underWay < this.#options.maxConcurrent) {
        this.#underWay++
        resolve()
        return
      }
      const size = Object.values(headers).reduce(
        (sum, value) => sum + value.length,
        1024 + body.length
      )
      if (this.#waitingBytes + size > MAX_WAITING_OUTSIDE_BYTES) {
        reject(this.error('too many questions are waiting already'))
        return
      }
      const leave = (): void => {
        this.#waiting.delete(go)
        this.#waitingBytes -= size
        signal.removeEventListener('abort', giveUp)
      }
      const go = (): void => {
        leave()
        resolve()
      }
      const giveUp = (): void => {
        leave()
        reject(signal.reason)
      }
      this.#waiting.add(go)
      this.#waitingBytes += size
      signal.addEventListener('abort', giveUp, { once: true })
    })
  }

  /** Passes a turn on. */
  #next(): void {
    const [go] = this.#waiting
    if (go) go()
    else this.#underWay--
  }

  #send(
    { method = 'GET', headers, body }: OutsideRequest,
    agent: http.Agent | false,
    signal: AbortSignal,
    opened: () => void,
    closed: () => void
  ): Promise<OutsideAnswer> {
    const { maxBytes } = this.#options
    return new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const request = this.#http.request(this.#url, {
        method,
        agent,
        headers: { 'user-agent': 'Bellwire', 'accept-encoding': 'identity', ...headers }
      })
      opened()
      let answered = false
      const fail = (error: NodeJS.ErrnoException): void => {
        if (error instanceof OutsideError) reject(error)
        else if (request.reusedSocket && !answered && method === 'GET') reject(new StaleSocket())
        else
          reject(
            this.error(answered ? `the answer was cut short: ${reasonOf(error)}` : reasonOf(error))
          )
      }
      // The error must not travel through the socket: one that was just given back has no listener for it.
      const end = (error: OutsideError): void => {
        fail(error)
        request.destroy()
      }
      const abort = (): void => end(signal.reason)
      signal.addEventListener('abort', abort, { once: true })
      request.on('error', fail)
      request.once('close', () => {
        signal.removeEventListener('abort', abort)
        // Where no error came before it, such as after 101.
        fail(new Error('the connection closed without an answer'))
        closed()
      })
      request.once('response', (response) => {
        answered = true
        const { statusCode: status = 0, headers } = response
        const chunks: Buffer[] = []
        let size = 0
        const wanted = status === 200 && maxBytes > 0
        response.on('error', fail)
        response.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > maxBytes) end(this.error(`the answer is larger than ${maxBytes} bytes`))
          else if (wanted) chunks.push(chunk)
        })
        response.once('end', () => {
          // A body that was cut ends too; its error follows.
          if (wanted && response.complete)
            resolve({ status, headers, body: Buffer.concat(chunks).toString('utf8') })
        })
        // The rest is read so that the socket can be used again, and bounded like any other.
        if (!wanted) resolve({ status, headers, body: '' })
      })
      request.end(body)
    })
  }
}

/** The code of what failed, or its words; neither holds what was sent. */
function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  return (
    [message, code && !message.includes(code) ? `(${code})` : ''].filter(Boolean).join(' ') ||
    'it cannot be reached'
  )
}
