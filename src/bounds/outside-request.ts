import http from 'node:http'
import https from 'node:https'
import { MAX_WAITING_OUTSIDE_BYTES, OUTSIDE_IDLE_MS } from './limits.ts'

/** Another server, whose address an operator has set, and the bounds of each request to it. */
export interface OutsideOptions {
  /** The setting that holds the address; every error names it. */
  readonly setting: string
  readonly url: string
  /**
   * Milliseconds from the request to the last byte of the response, including the wait for a turn.
   */
  readonly timeoutMs: number
  /** Longest body to read, in bytes; 0: only status and headers matter, and no body is read. */
  readonly maxBytes: number
  /** Most requests in flight, and most sockets; further requests wait for a turn. */
  readonly maxConcurrent: number
}

/** One request. */
export interface OutsideRequest {
  readonly method?: 'GET' | 'POST' | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | undefined
  /** Cancels the request. */
  readonly signal?: AbortSignal | undefined
}

/** The response. A redirect is returned like any other response, never followed. */
export interface OutsideAnswer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  /** Empty unless the status is 200. */
  readonly body: string
}

/**
 * There was no usable response. The message names the setting and the origin, but neither path,
 * query nor credentials of the address, which may be secret.
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

/**
 * A kept-alive socket failed before the response: the server closed it as we wrote (RFC 9110,
 * 9.2.2).
 */
class StaleSocket extends Error {}

/**
 * The only way this service sends requests to another server. Each request has a deadline, each
 * response a size limit, and at most `maxConcurrent` sockets are open. It uses node:http, which
 * tells what fetch hides: whether a socket was reused (`request.reusedSocket`).
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

  /** Sends a request. Rejects with an {@link OutsideError} without a usable response in time. */
  async ask(request: OutsideRequest = {}): Promise<OutsideAnswer> {
    const { timeoutMs, maxConcurrent } = this.#options
    const stop = new AbortController()
    const timer = setTimeout(
      () => stop.abort(this.error(`no answer within ${timeoutMs} ms`)),
      timeoutMs
    )
    const giveUp = (): void => stop.abort(this.error('the request was cancelled'))
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
            `no answer within ${timeoutMs} ms: ${maxConcurrent} earlier requests are still in progress`
          )
        : error
    }
    // Without a body to read, the socket stays open a moment longer than the promise.
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

  /** An error about this server, for responses that only the caller can judge. */
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
        reject(this.error('too many requests are waiting already'))
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
      // Not through the socket: one that the agent has just taken back has no error listener.
      const end = (error: OutsideError): void => {
        fail(error)
        request.destroy()
      }
      const abort = (): void => end(signal.reason)
      signal.addEventListener('abort', abort, { once: true })
      request.on('error', fail)
      request.once('close', () => {
        signal.removeEventListener('abort', abort)
        // For a close without an error, such as after 101.
        fail(new Error('the connection closed without an answer'))
        closed()
      })
      request.once('response', (response) => {
        answered = true
        response.on('error', fail)
        this.#read(response, resolve, end)
      })
      request.end(body)
    })
  }

  /** Reads a response to its end, within the bound, so that its socket can be used again. */
  #read(
    response: http.IncomingMessage,
    resolve: (answer: OutsideAnswer) => void,
    end: (error: OutsideError) => void
  ): void {
    const { maxBytes } = this.#options
    const { statusCode: status = 0, headers } = response
    const chunks: Buffer[] = []
    let size = 0
    const wanted = status === 200 && maxBytes > 0
    response.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > maxBytes) end(this.error(`the answer is larger than ${maxBytes} bytes`))
      else if (wanted) chunks.push(chunk)
    })
    response.once('end', () => {
      // A truncated body ends too; its error follows.
      if (wanted && response.complete)
        resolve({ status, headers, body: Buffer.concat(chunks).toString('utf8') })
    })
    if (!wanted) resolve({ status, headers, body: '' })
  }
}

/** The message and code of a failure; neither contains what was sent. */
function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  return (
    [message, code && !message.includes(code) ? `(${code})` : ''].filter(Boolean).join(' ') ||
    'it cannot be reached'
  )
}
