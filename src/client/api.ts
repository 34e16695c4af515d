import { BellwireError, errorOf } from './error.ts'
import { TokenSource } from './token.ts'
import type { InboxOptions } from './types.ts'

/** How long an answer may take. */
const PATIENCE_MS = 20_000

export type Query = Readonly<Record<string, string | number | null | undefined>>

/** Requests to one service in the name of one user. */
export class Api {
  readonly token: TokenSource
  readonly ticket: InboxOptions['ticket']
  readonly base: string
  readonly #topics: string | undefined

  constructor({ url = '/', token, ticket, topics }: InboxOptions) {
    this.token = new TokenSource(token)
    this.ticket = ticket
    this.base = new URL(url, globalThis.location?.href).href.replace(/\/$/, '')
    this.#topics = topics?.join(',')
  }

  /** An address with its query; what is not set is left out. */
  address(path: string, query: Query = {}): string {
    const url = new URL(`${this.base}/v1/${path}`)
    for (const [name, value] of Object.entries({ topics: this.#topics, ...query })) {
      if (value != null) url.searchParams.set(name, String(value))
    }
    return url.href
  }

  /** Sends a request. A refused token is replaced, once; any other answer than 2xx is an error. */
  async send(path: string, query: Query, init: RequestInit = {}): Promise<Response> {
    for (let renewed = false; ; renewed = true) {
      const token = this.token.inUse ? await this.token.get() : undefined
      const response = await fetch(this.address(path, query), {
        ...init,
        cache: 'no-store',
        credentials: token === undefined ? 'include' : 'omit',
        headers: { ...init.headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) }
      }).catch((error: unknown) => {
        throw new BellwireError('network', `the service cannot be reached: ${error instanceof Error ? error.message : error}`)
      })
      if (response.ok) return response
      if (response.status === 401 && !renewed && this.token.refused(token)) continue
      throw await errorOf(response)
    }
  }

  /** The same for JSON; a body makes it a POST. */
  async json<T>(path: string, query: Query, body?: unknown, signal?: AbortSignal): Promise<T> {
    const response = await this.send(path, query, {
      signal: signal ?? AbortSignal.timeout(PATIENCE_MS),
      ...(body !== undefined && {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        // A mark on the way out of a page still arrives.
        keepalive: true
      })
    })
    try {
      return (await response.json()) as T
    } catch {
      throw new BellwireError(
        'network',
        'the answer is not JSON, or was cut; something in between answers in the place of the service'
      )
    }
  }
}
